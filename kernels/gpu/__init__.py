"""The GPU: CuPy arrays and kernel launches (`arrays`), cuBLAS products (`blas`), CUDA graphs (`graphs`).

Enters: whatever talks to CUDA or CuPy itself, and nothing else.
The CUDA twin of a kernel lies beside the kernel, not here.
"""
