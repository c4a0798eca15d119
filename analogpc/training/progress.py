"""The progress bar of a training run, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from analogpc.training.run import Position


class Progress:
    """A bar over all batches of a run, with the running training accuracy and the last test accuracy.

    Parameters
    ----------
    epochs, per_epoch : int
        Epochs of the study and batches in each.
    show : bool
        False for silence.
    """

    def __init__(self, epochs: int, per_epoch: int, *, show: bool) -> None:
        self._epochs, self._per_epoch = epochs, per_epoch
        self._test = ""
        text = TextColumn("{task.description}")
        columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True, elapsed_when_finished=True))
        self._bar = Bar(*columns, console=Console(stderr=True), disable=not show)
        self._task = self._bar.add_task("", total=epochs * per_epoch)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, position: Position) -> None:
        """Show where the run stands after a batch."""
        accuracy = position.correct / position.seen
        self._bar.update(
            self._task,
            completed=position.epoch * self._per_epoch + position.batch,
            description=f"epoch {position.epoch + 1}/{self._epochs}  train {accuracy:6.2%}{self._test}",
        )

    def epoch(self, history: dict[str, list[Any]]) -> None:
        """Take over the result of a finished epoch."""
        self._test = f"  test {history['test_accuracy'][-1]:6.2%}"
        self._bar.update(self._task, description=f"epoch {len(history['epoch'])}/{self._epochs}{self._test}")
