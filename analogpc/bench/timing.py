"""Timing by turns: calls that are compared see the same machine, whatever else it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_TURN_SECONDS = 0.02
_PAUSE_SECONDS = 0.03
_ROW_SECONDS = 0.002


@dataclass(frozen=True)
class Times:
    """Seconds that one call took, turn by turn.

    Attributes
    ----------
    seconds : (turns,) float64 array
        The fastest call of every turn.
    """

    seconds: np.ndarray

    @property
    def median(self) -> float:
        """In seconds."""
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        """In seconds."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float(low), float(high)


def take_turns(
    calls: Mapping[str, Callable[[], Any]], seconds: float, turns: int = 5, finish: Callable[[], None] | None = None
) -> dict[str, Times]:
    """Time calls that take turns.

    In its turn a call is repeated for 20 ms, at least once, and its fastest time counts: what disturbs a single call is left out, what
    disturbs the machine for longer is in the spread of the turns. Before each turn is a pause of 30 ms: the threads of OpenBLAS
    spin for 2**26 cycles after a product, and would share the cores with whatever comes next. Every call is made once beforehand,
    which compiles and caches.

    Parameters
    ----------
    calls : dict of functions by name
    seconds : float
        How long to go on, roughly.
    turns : int
        At least so many turns, however long they take.
    finish : function
        Waits until all is done that calls only begin, as those of a GPU do. Then a turn is a row of calls of 2 ms, and its mean counts.
    """
    together = {name: _together(call, finish) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    while len(next(iter(found.values()))) < turns or time.perf_counter() - began < seconds:
        for name, call in calls.items():
            time.sleep(_PAUSE_SECONDS)
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


def _together(call: Callable[[], Any], finish: Callable[[], None] | None) -> int:
    """How many calls are timed together, after three that compile and cache."""
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
