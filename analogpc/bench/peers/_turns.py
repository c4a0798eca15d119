"""Shared parts of the scripts: arguments, libraries, threads, timing, shapes. Needs only the standard library.

A script is in the same folder and is run as

    PYTHON NAME.py THREADS SECONDS [WORKLOAD ...]

It imports its libraries with `library`, defines a dict ``WORKLOADS`` of functions that return (floor, work) by the names of the
workloads of analogpc, and ends with `measure`, which prints one JSON object: for each workload the median ratio to the floor and the
median time of the work in milliseconds.
"""

import importlib
import json
import os
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

BATCH = 128

PC_MLP = ((784, 256, 256, 10), 8)
"""Widths and steps of the workload pc-mlp."""

PC_VGG5 = ((3, 128, 256, 512, 512), 5)
"""Channels and steps of the workload pc-vgg5, on images of 32 x 32, pooled by two after every convolution, and read out to 10."""

EP_HOPFIELD = ((784, 512, 512, 10), 20, 4)
"""Widths, free steps and steps of each nudged phase of the workload ep-hopfield."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Spinning OpenMP threads would slow down the threads of other libraries and processes.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


def arguments():
    """Return THREADS, SECONDS and the names of workloads."""
    try:
        return int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    except (IndexError, ValueError):
        sys.exit(f"run it as: PYTHON {Path(sys.argv[0]).name} THREADS SECONDS [WORKLOAD ...]")


def library(name: str, hint: str = "") -> Any:
    """Import a module after setting the number of threads; end the script if it is not installed."""
    threads, _, _ = arguments()
    os.environ.update(_WAITING | dict.fromkeys(_THREADS, str(threads)))
    # A script has the name of its library, and would be imported instead of it.
    own = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != own]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        sys.exit(f"the module '{name}' cannot be imported by this Python: {error}{hint}")


def pin():
    """Restrict the process to one processor per thread: JAX has no other setting for all of its threads."""
    threads, _, _ = arguments()
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("this peer can be measured with a number of threads on Linux alone")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def turns(floor, work, seconds):
    """Return the median ratio of the work to the floor, per turn, and the median time of the work in milliseconds.

    In each turn a call is repeated for 20 ms, at least once, after a pause of 30 ms and one call that does not count, and its fastest
    time counts; both are called once before, and take at least five turns.
    """
    floor()
    work()
    found, began = [], time.perf_counter()
    while len(found) < 5 or time.perf_counter() - began < seconds:
        times = []
        for call in (floor, work):
            time.sleep(0.03)
            call()
            best, end = float("inf"), time.perf_counter() + 0.02
            while True:
                start = time.perf_counter()
                call()
                best = min(best, time.perf_counter() - start)
                if time.perf_counter() > end:
                    break
            times.append(best)
        found.append(times)
    ratio = statistics.median(work / floor for floor, work in found)
    return {"ratio": ratio, "ms": 1e3 * statistics.median(work for _, work in found)}


def measure(workloads):
    """Measure the requested workloads, or all, and print the results."""
    _, seconds, names = arguments()
    found = {name: turns(*make(), seconds) for name, make in workloads.items() if not names or name in names}
    print(json.dumps(found))


def dense_shapes(widths):
    """Return rows, inputs and outputs of the products of one batch in dense layers."""
    return [(BATCH, a, b) for a, b in pairwise(widths)]


def vgg5_shapes():
    """Return rows, inputs and outputs of the products of one batch in VGG5, convolutions as products on patches."""
    channels, _ = PC_VGG5
    sides = (32, 16, 8, 4)
    shapes = [(BATCH * side**2, 9 * a, b) for side, (a, b) in zip(sides, pairwise(channels), strict=True)]
    return [*shapes, (BATCH, 4 * channels[-1], 10)]


def relaxation_products(shapes, steps):
    """Return the products that a relaxation requires in a network of such layers.

    Returns a list of (shape, forward reads, transposed reads, updates). A layer is read if its input changed, and its transpose if
    an error has arrived; the error moves down one layer per step.
    """
    found = []
    for index, shape in enumerate(shapes):
        reached = max(0, steps - (len(shapes) - 1 - index)) if index else 0
        found.append((shape, 1 + reached, reached, 1))
    return found


def equilibrium_products(shapes, free, nudged):
    """Return the products for equilibrium propagation with two nudged phases: all states move in every step, the input never."""
    first, *others = shapes
    return [(first, 1, 0, 2), *[(shape, free + 1 + 2 * nudged, free + 2 * nudged, 2) for shape in others]]
