"""The GPU: CuPy arrays (`arrays`), kernel launches (`cuda_kernel`), cuBLAS products (`blas`), CUDA graphs (`graphs`).

Contains: code that calls CUDA or CuPy directly, and nothing else.
The CUDA twin of a kernel is a file next to the kernel, not here.
"""
