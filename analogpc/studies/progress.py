"""Progress of a sweep on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from analogpc.studies.trials import Result, Trial

_LINE_SECONDS = 15.0


class SweepProgress:
    """Count trials and estimate the remaining time.

    Parameters
    ----------
    total : int
        Total number of trials.
    slots : int
        Number of trials computed in parallel.
    show : bool
        False disables the output.
    """

    def __init__(self, total: int, slots: int, *, show: bool) -> None:
        self._total, self._slots, self._show = total, slots, show
        self._over = self._remembered = self._failed = 0
        self._seconds: list[float] = []
        self._best = ""
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
        self._bar = Progress(*columns, console=self._console, disable=not (show and self._console.is_terminal))
        self._task = self._bar.add_task("trials", total=total, left="")
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def over(self, trial: Trial, result: Result, *, remembered: bool) -> None:
        """Count a finished trial; print the reason if it failed."""
        self._over += 1
        self._remembered += remembered
        if result.status in ("failed", "lost"):
            self._failed += 1
            what = ", ".join(f"{name} = {value}" for name, value in trial.cells.items())
            if self._show:
                print(f"trial {trial.number} ({what}) {result.status}: {result.sentence}", file=sys.stderr)
        elif not remembered:
            self._seconds.append(result.seconds)
        self.show()

    def show(self) -> None:
        """Show the progress."""
        text = f"trials{f', {self._failed} failed' if self._failed else ''}"
        self._bar.update(self._task, completed=self._over, description=text, left=self.estimate())
        if self._show and not self._console.is_terminal and time.monotonic() - self._told > _LINE_SECONDS:
            self._told = time.monotonic()
            print(f"{self._over} of {self._total} {text}, {self.estimate()}", file=sys.stderr)

    def estimate(self) -> str:
        """Estimate the remaining time from the mean of the finished trials."""
        if not self._seconds:
            return ""
        left = (self._total - self._over) * sum(self._seconds) / len(self._seconds) / self._slots
        return f"about {duration(left)} left"

    def summary(self) -> dict[str, Any]:
        """Return the counts of finished, previously stored and failed trials."""
        return {"trials": self._total, "over": self._over, "remembered": self._remembered, "failed": self._failed}


def duration(seconds: float) -> str:
    """Format a duration in a readable unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
