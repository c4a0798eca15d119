"""Floor 1: arrays in, arrays out. Numba kernels for the CPU and keyed random streams; no idea what a device or a network is."""
