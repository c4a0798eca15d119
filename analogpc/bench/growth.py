"""Growth of speed with the number of threads, computed from one thread: which work more threads would share, and which is serial."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from analogpc.kernels.threads import shared_work

if TYPE_CHECKING:
    from analogpc.bench.results import Result

_LEAST_CALLS = 3
# Processor time does not count other processes; where it advances in steps of 16 milliseconds, it counts nothing.
_CLOCK = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter
THREADS = (2, 4, 16)
"""Numbers of threads for which `growth_table` shows the computed gain."""


@dataclass(frozen=True)
class Growth:
    """Time of one call in one thread, divided by how many threads may share it.

    Attributes
    ----------
    seconds : float
        Processor time of the whole call.
    shared : dict of float by int
        Seconds in work that up to this number of threads may share.
    """

    seconds: float
    shared: Mapping[int, float]

    @property
    def serial(self) -> float:
        """Share of the time that no second thread can take over."""
        return 1 - sum(self.shared.values()) / self.seconds

    def gain(self, threads: int) -> float:
        """Return the speed with a number of threads relative to one, by Amdahl's law, as if sharing took no time."""
        rest = self.serial * self.seconds
        return self.seconds / (rest + sum(seconds / min(threads, most) for most, seconds in self.shared.items()))

    def plain(self) -> dict[str, Any]:
        """Return numbers and strings."""
        return {"serial_share": self.serial, "shared_s": {str(most): self.shared[most] for most in sorted(self.shared)}}


def growth_of(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, Growth]:
    """Return the growth of every call, from its fastest repetition within about ``seconds``; to be called with one thread."""
    found = {}
    for name, call in calls.items():
        call()
        best, count, end = Growth(float("inf"), {}), 0, time.perf_counter() + seconds / len(calls)
        while count < _LEAST_CALLS or time.perf_counter() < end:
            with shared_work(_CLOCK) as stopwatch:
                start = _CLOCK()
                call()
                took = _CLOCK() - start
            best, count = min(best, Growth(took, stopwatch.seconds), key=lambda one: one.seconds), count + 1
        found[name] = best
    return found


def growth_table(results: list[Result]) -> Table:
    """Return a table with one line per variant: serial share, computed gains, and the gain that was measured with most threads."""
    shown = Table()
    columns = ["workload", "variant", "ms", "serial %", *(f"{count} threads" for count in THREADS), "measured"]
    for column in columns:
        shown.add_column(column, justify="left" if column in ("workload", "variant") else "right", no_wrap=True)
    for one in results:
        others = [other for other in results if other.name == one.name and other.threads > 1]
        for number, (variant, growth) in enumerate(one.growth.items()):
            cells = [one.name if number == 0 else "", variant, f"{1e3 * growth.seconds:.3g}", f"{100 * growth.serial:.1f}"]
            cells += [f"{growth.gain(count):.2f}" for count in THREADS]
            if others:
                most = max(others, key=lambda other: other.threads)
                cells.append(f"{most.threads}: {one.times[variant].median / most.times[variant].median:.2f}")
            shown.add_row(*cells)
    return shown
