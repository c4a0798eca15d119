"""The GPU: CuPy arrays (`arrays`), kernels and how they are started (`cuda_kernel`), cuBLAS products (`blas`), CUDA graphs (`graphs`).

Enters: whatever talks to CUDA or CuPy itself, and nothing else.
The CUDA twin of a kernel lies beside the kernel, not here.
"""
