"""Overhead of metering: reads and pulsed updates with meters, and without the counting of conductances.

    python experiments/benchmarks/metering.py [--turns 25] [--threads 1] [--out experiments/benchmarks/results/metering.json]

The counters of conversions and pulses are always active. The second variant skips the counts that only bills need: squares of drives, sums
per line, pulses per line, and the conductance of coincidences. The variants alternate in one process; results are medians and their ratio.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numba
import numpy as np

import analogpc as apc
from analogpc.devices.arrays import array, cells
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.crossbars.read_path import ReadPath
from analogpc.kernels.pulses.batches import apply_batch
from analogpc.kernels.random.streams import Key
from analogpc.training.environment import describe_environment

SHAPES = ((256, 784), (256, 256), (512, 512), (10, 256))


class Uncounted:
    """Null objects for the loads and their lines: they count nothing."""

    def __init__(self, *given: Any) -> None:
        pass

    def forward(self) -> Uncounted:
        """Return the null object."""
        return self

    def backward(self, *given: Any) -> Uncounted:
        """Return the null object."""
        return self

    def squares(self, *given: Any) -> None:
        """Return no array to add to."""

    def count(self, *given: Any) -> None:
        """Do nothing."""

    def settle(self) -> None:
        """Do nothing."""


@contextmanager
def without() -> Iterator[None]:
    """Disable the counts that only bills need."""
    loads = mock.patch.object(ReadPath, "loads", Uncounted())
    lines = mock.patch.object(cells, "count_trains", Uncounted)
    words = mock.patch.object(cells, "line_pulses", return_value=None)
    unsummed = mock.patch.object(array, "apply_batch", lambda *given: apply_batch(*given[:-2], None, given[-1]))
    with loads, lines, words, unsummed:
        yield


def medians(work: Callable[[], Any], turns: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return milliseconds with and without counting, measured in pairs of alternating order, and the median of their ratios."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for metered in (True, False):
        with nullcontext() if metered else without():
            work()
    for turn in range(turns):
        for metered in (turn % 2 == 0, turn % 2 == 1):
            with nullcontext() if metered else without():
                began = clock()
                work()
                times[metered].append(clock() - began)
    on, off = (1e3 * float(np.median(times[metered])) for metered in (True, False))
    pairs = np.array(times[True]) / np.array(times[False])
    return {"metered_ms": on, "bare_ms": off, "ratio": float(np.median(pairs))}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="reram-sb")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results/metering.json"))
    arguments = parser.parse_args()
    # With one thread, measure its processor time, which hardly depends on other load.
    clock = time.thread_time if arguments.threads == 1 else time.perf_counter
    numba.set_num_threads(arguments.threads)
    rng, rows = np.random.default_rng(0), []
    for n_out, n_in in SHAPES:
        weights = rng.normal(0, 0.1, (n_out, n_in)).astype(np.float32)
        matrix = make_matrix(apc.Analog(device=arguments.device), weights, Key(1))
        x, g = (rng.normal(size=(128, size)).astype(np.float32) for size in (n_in, n_out))
        steps = {
            "read": lambda matrix=matrix, x=x: matrix.forward(x),
            "read backwards": lambda matrix=matrix, g=g: matrix.backward(g),
            "read, read backwards and learn": lambda matrix=matrix, x=x, g=g: (
                matrix.forward(x),
                matrix.backward(g),
                matrix.learn([(x, 0.1 * g)], 1e-4),
            ),
        }
        for what, work in steps.items():
            # Reads are short.
            repeat = 1 if "learn" in what else 20
            found = medians(lambda work=work, repeat=repeat: [work() for _ in range(repeat)], arguments.turns, clock)
            rows.append({"shape": [n_out, n_in], "what": what, "repeat": repeat, **found})
            print(f"{n_out} x {n_in}, {what}: {found['ratio'] - 1:+.1%} ({found['metered_ms'] / repeat:.2f} ms)", flush=True)
    document = {"batch": 128, "device": arguments.device, "threads": arguments.threads, "turns": arguments.turns, "results": rows}
    arguments.out.write_text(
        json.dumps({**document, "environment": describe_environment("cpu")}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
