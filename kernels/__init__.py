"""Floor 1: arrays in, arrays out. Numba kernels for the CPU and keyed random streams; no idea what a device or a network is."""

import os

# Kernels and BLAS products take turns. A kernel pool that spins while it waits for its turn takes the cores from the product
# (a quantised read of 784 x 256 took ten times as long on two cores), so it sleeps instead, unless a policy is set.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
