"""Alternating timing: compared calls run under the same conditions of the machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

_TURN_SECONDS = 0.02
_PAUSE_SECONDS = 0.03
_ROW_SECONDS = 0.002
_BLOCK_SECONDS = 0.25


@dataclass(frozen=True)
class Times:
    """Times of one call, per turn.

    Attributes
    ----------
    seconds : (turns,) float64 array
        Time of the fastest call of every turn.
    """

    seconds: np.ndarray

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        """Quartiles, in seconds."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float(low), float(high)


def take_turns(
    calls: Mapping[str, Callable[[], Any]], seconds: float, turns: int = 5, finish: Callable[[], None] | None = None
) -> dict[str, Times]:
    """Time calls alternately.

    In each turn a call is repeated for 20 ms, at least once, and its fastest time counts: short disturbances are excluded, and
    longer ones appear in the spread of the turns. There is a pause of 30 ms before each turn: the threads of OpenBLAS
    spin for 2**26 cycles after a product, and would share the cores with the next call. The first call after the pause does not
    count, since other calls have left their data in the caches. Every call is made once before, for compilation.

    Parameters
    ----------
    calls : dict of functions by name
    seconds : float
        Approximate total time.
    turns : int
        Minimum number of turns, however long they take.
    finish : function
        Waits for asynchronous work of the calls, as on a GPU. A turn is then a series of calls of 2 ms, and its mean counts.
    """
    together = {name: _together(call, finish) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    while len(next(iter(found.values()))) < turns or time.perf_counter() - began < seconds:
        for name, call in calls.items():
            time.sleep(_PAUSE_SECONDS)
            if finish is None:
                call()
            best, end = float("inf"), time.perf_counter() + _TURN_SECONDS
            while True:
                start = time.perf_counter()
                for _ in range(together[name]):
                    call()
                if finish is not None:
                    finish()
                now = time.perf_counter()
                best = min(best, (now - start) / together[name])
                if now > end:
                    break
            found[name].append(best)
    return {name: Times(np.array(values)) for name, values in found.items()}


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep ``count`` other processes computing without a pause."""
    started = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(_PAUSE_SECONDS)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def loaded_ratios(calls: Mapping[str, Callable[[], Any]], busy: int, blocks: int = 3) -> dict[str, float]:
    """Return the time of every call beside busy processes, as a ratio to its time without them.

    Both are means over blocks of 0.25 s or at least three calls, since a delay that only some calls suffer is what such a load causes;
    blocks with and without load alternate, and medians over the blocks are compared.

    Parameters
    ----------
    calls : dict of functions by name
    busy : int
        Number of other processes.
    blocks : int
        Number of blocks of each kind.
    """
    found = {}
    for name, call in calls.items():
        call()
        alone, beside = [], []
        for _ in range(blocks):
            alone.append(_mean_seconds(call))
            with busy_processes(busy):
                beside.append(_mean_seconds(call))
        found[name] = float(np.median(beside) / np.median(alone))
    return found


def _mean_seconds(call: Callable[[], Any]) -> float:
    start, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() < start + _BLOCK_SECONDS:
        call()
        count += 1
    return (time.perf_counter() - start) / count


def _together(call: Callable[[], Any], finish: Callable[[], None] | None) -> int:
    """Return the number of calls timed together, after three calls for compilation and caching."""
    if finish is None:
        call()
        return 1
    for _ in range(3):
        call()
    finish()
    start = time.perf_counter()
    call()
    finish()
    return max(1, round(_ROW_SECONDS / (time.perf_counter() - start)))
