"""Floor 1: Numba and CUDA kernels on arrays, and keyed random streams; independent of devices and networks.

Modules outside of rooms are single operations, each with its CUDA twin beside it, and helpers of all kernels.
A new operation is one module with a plain NumPy definition in its docstring or test.
"""

import os

# Kernels and BLAS products alternate. A kernel thread pool that spins while idle takes the cores from the product (a quantised read of
# 784 x 256 took ten times as long on two cores), so it sleeps instead, unless a policy is set.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
