"""Wire resistance with badcrossbar, next to one matrix product of NumPy; needs a Python with badcrossbar.

    PYTHON badcrossbar.py THREADS SECONDS [WORKLOAD ...]

Computes the output currents of all 128 vectors together, segments of 1 ohm, without branch currents and node voltages,
which it would otherwise return. It assembles and solves the whole circuit in each call.
"""

import logging
from functools import partial

import _turns

numpy = _turns.library("numpy")
badcrossbar = _turns.library("badcrossbar")


def wires(size):
    """Solve for all vectors together."""
    rng = numpy.random.default_rng(size)
    g = rng.uniform(1e-6, 5e-5, (size, size))
    v = rng.uniform(-0.2, 0.2, (_turns.BATCH, size))

    def work():
        badcrossbar.compute(v.T, 1 / g, r_i=1.0, node_voltages=False, all_currents=False)

    return lambda: v @ g, work


WORKLOADS = {"wires-128": partial(wires, 128), "wires-256": partial(wires, 256)}

if __name__ == "__main__":
    logging.disable(logging.INFO)
    _turns.measure(WORKLOADS)
