"""Progress bar of a training run, on standard error or in the output of a notebook cell."""

from __future__ import annotations

import html
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from analogpc.training.position import Position

_REFRESH_SECONDS = 0.1


class _Bar(Protocol):
    """Protocol of a progress display."""

    def start(self) -> None: ...

    def show(self, done: int, text: str) -> None: ...

    def stop(self) -> None: ...


class Progress:
    """A bar over all batches of a run, with the running training accuracy (or loss) and the last validation or test accuracy.

    Parameters
    ----------
    epochs, per_epoch : int
        Number of epochs, and of batches per epoch.
    show : bool
        False disables the bar.
    """

    def __init__(self, epochs: int, per_epoch: int, *, show: bool) -> None:
        self._epochs, self._per_epoch = epochs, per_epoch
        self._last = ""
        total = epochs * per_epoch
        self._bar: _Bar | None = (_NotebookBar(total) if in_notebook() else _TerminalBar(total)) if show else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, position: Position, *, classes: bool = True) -> None:
        """Show the position after a batch."""
        if self._bar is None:
            return
        now = f"{position.correct / position.seen:6.2%}" if classes else f"loss {position.loss / position.seen:.4g}"
        done = position.epoch * self._per_epoch + position.batch
        self._bar.show(done, f"epoch {position.epoch + 1}/{self._epochs}  train {now}{self._last}")

    def epoch(self, history: dict[str, list[Any]]) -> None:
        """Show the result of a finished epoch."""
        if self._bar is None:
            return
        parts = [split for split in ("validation", "test") if f"{split}_loss" in history]
        self._last = "".join(f"  {split} {_latest(history, split)}" for split in parts)
        done = len(history["epoch"])
        self._bar.show(done * self._per_epoch, f"epoch {done}/{self._epochs}{self._last}")


def _latest(history: dict[str, list[Any]], split: str) -> str:
    """Return the last accuracy on a split, or for regression the last loss, as text."""
    if f"{split}_accuracy" in history:
        return f"{history[f'{split}_accuracy'][-1]:6.2%}"
    return f"loss {history[f'{split}_loss'][-1]:.4g}"


class _TerminalBar:
    """Progress bar of Rich."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        remaining = TimeRemainingColumn(compact=True, elapsed_when_finished=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), remaining)
        self._bar = Bar(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=total)

    def start(self) -> None:
        self._bar.start()

    def show(self, done: int, text: str) -> None:
        self._bar.update(self._task, completed=done, description=text)

    def stop(self) -> None:
        self._bar.stop()


class _NotebookBar:
    """Progress bar in the output of a notebook cell: plain HTML without widgets, kept in the saved notebook."""

    def __init__(self, total: int) -> None:
        self._total, self._began, self._shown, self._last = total, time.monotonic(), 0.0, (0, "")

    def start(self) -> None:
        from IPython.display import HTML, display

        self._html = HTML
        self._handle = display(HTML(self._markup()), display_id=True)

    def _markup(self) -> str:
        done, text = self._last
        spent = time.monotonic() - self._began
        left = spent * (self._total - done) / done if done else 0.0
        clock = f"{left:.0f} s left" if done < self._total else f"{spent:.0f} s"
        bar = f'<progress value="{done}" max="{self._total}" style="width: 40%"></progress>'
        return f'<div style="font-family: monospace">{html.escape(text)} {bar} {done}/{self._total} {clock}</div>'

    def show(self, done: int, text: str) -> None:
        self._last = done, text
        now = time.monotonic()
        if now - self._shown >= _REFRESH_SECONDS:
            self._shown = now
            self._handle.update(self._html(self._markup()))

    def stop(self) -> None:
        self._handle.update(self._html(self._markup()))


def in_notebook() -> bool:
    """Return whether the code runs in a notebook whose kernel shows HTML."""
    shell = sys.modules.get("IPython")
    instance = shell.get_ipython() if shell is not None else None
    return instance is not None and type(instance).__name__ == "ZMQInteractiveShell"
