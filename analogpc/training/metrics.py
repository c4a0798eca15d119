"""Metrics, by name or as user functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from analogpc.data.targets import Targets, Task
from analogpc.devices.names import unknown
from analogpc.dynamics.relaxation import Output, output_energy, softmax
from analogpc.training.position import ResumeError


@dataclass(frozen=True, eq=False)
class Answers:
    """Outputs of a network for some samples, with the true labels.

    Attributes
    ----------
    outputs : (n, outputs) array
    labels : (n,) int64 class numbers, or (n, outputs) float64 vectors
    targets : Targets
    output : "squared-error" or "cross-entropy"
        The loss at the output layer, chosen by the rule.
    """

    outputs: np.ndarray
    labels: np.ndarray
    targets: Targets
    output: Output

    @cached_property
    def predictions(self) -> np.ndarray:
        """Class numbers (n,), or for regression the outputs."""
        return self.outputs.argmax(axis=1) if self.targets.classes else self.outputs

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Rows of sum 1; see `probabilities`."""
        return probabilities(self.outputs, self.output)

    @cached_property
    def vectors(self) -> np.ndarray:
        """The labels as targets of the outputs, (n, outputs) float64: one-hot for classes."""
        return np.eye(self.targets.outputs)[self.labels] if self.targets.classes else self.labels


def probabilities(outputs: np.ndarray, output: Output) -> np.ndarray:
    """Convert outputs to class probabilities, as float64 rows with sum 1.

    Under cross-entropy this is the softmax. Outputs trained on one-hot targets by squared error estimate the probabilities
    directly, so they are clipped at 0 and divided by their sum (rows without a positive output become uniform).

    Parameters
    ----------
    outputs : (n, classes) array
    output : "squared-error" or "cross-entropy"
    """
    values = outputs.astype(np.float64)
    if output == "cross-entropy":
        return softmax(values)
    cut = np.maximum(values, 0.0)
    total = cut.sum(axis=1, keepdims=True)
    return np.where(total > 0, cut / np.where(total > 0, total, 1.0), 1.0 / outputs.shape[1])


@dataclass(frozen=True)
class Metric:
    """A metric of a network's answers.

    Attributes
    ----------
    name : str
        Name in the history: "f1" gives the columns "validation_f1" and "test_f1".
    function : callable
        (right, answered) -> float, called with the labels (class numbers, or vectors for regression) and the quantity named by
        ``takes``; most metrics of scikit-learn have this form. Files do not keep it.
    better : "higher" or "lower"
    takes : "predictions", "outputs", "probabilities" or "answers"
        Class numbers (for regression: outputs); outputs; rows of probabilities; or the `Answers` as the only argument.
    task : "classification", "regression" or "any"

    Examples
    --------
    >>> errors = Metric("errors", lambda right, answered: (right != answered).sum(), better="lower")
    """

    name: str
    function: Callable[..., Any]
    better: Literal["higher", "lower"] = "higher"
    takes: Literal["predictions", "outputs", "probabilities", "answers"] = "predictions"
    task: Task | Literal["any"] = "any"

    def __call__(self, answers: Answers) -> float:
        """Compute the metric of some answers."""
        if self.takes == "answers":
            return float(self.function(answers))
        return float(self.function(answers.labels, getattr(answers, self.takes)))


def _loss(answers: Answers) -> float:
    return float(output_energy(answers.output, answers.vectors, answers.outputs.astype(np.float64)))


def _balanced(right: np.ndarray, answered: np.ndarray) -> float:
    return float(np.mean([np.mean(answered[right == number] == number) for number in np.unique(right)]))


def _calibration(answers: Answers) -> float:
    from analogpc.analysis.confidence import adaptive_calibration_error

    bins = min(15, len(answers.labels))
    return adaptive_calibration_error(answers.probabilities, answers.labels, bins)


def _squares(answers: Answers) -> float:
    return float(np.mean((answers.outputs - answers.vectors) ** 2))


def _explained(answers: Answers) -> float:
    off = np.sum((answers.outputs - answers.vectors) ** 2, axis=0)
    spread = np.sum((answers.vectors - answers.vectors.mean(axis=0)) ** 2, axis=0)
    # As in scikit-learn: a constant target counts 1 if it is predicted exactly, else 0.
    parts = np.where(spread > 0, 1 - off / np.where(spread > 0, spread, 1.0), (off == 0).astype(float))
    return float(parts.mean())


_NAMED = {
    metric.name: metric
    for metric in (
        Metric("accuracy", lambda right, answered: np.mean(right == answered), task="classification"),
        Metric("balanced-accuracy", _balanced, task="classification"),
        Metric("loss", _loss, "lower", "answers"),
        Metric("mean-squared-error", _squares, "lower", "answers"),
        Metric("mean-absolute-error", lambda a: np.mean(np.abs(a.outputs - a.vectors)), "lower", "answers"),
        Metric("r2", _explained, "higher", "answers", "regression"),
        Metric("calibration", _calibration, "lower", "answers", "classification"),
    )
}
METRIC_NAMES = (*_NAMED, "top-K")
"""Names of the metrics; K is a number, as in "top-5"."""


def metric(given: str | Metric | Callable[..., Any]) -> Metric:
    """Return a metric from its name, a `Metric`, or a function (right, predictions) -> float, whose name it takes.

    - "accuracy"; "balanced-accuracy", the mean over classes; "top-5" etc., the share of samples whose class is among the 5 largest outputs.
    - "loss": loss at the output layer per sample, chosen by ``output`` of the rule: 1/2 ||y - u||^2, or the cross-entropy.
    - "mean-squared-error", "mean-absolute-error": over samples and outputs. "r2": explained share of the variance.
    - "calibration": difference between confidence and accuracy (`adaptive_calibration_error`).

    Raises
    ------
    ValueError
        If there is no metric of that name.
    """
    if isinstance(given, Metric):
        return given
    if callable(given):
        return Metric(getattr(given, "__name__", type(given).__name__).strip("<>"), given)
    if isinstance(given, str):
        if given in _NAMED:
            return _NAMED[given]
        if found := re.fullmatch(r"top-([1-9]\d*)", given):
            return Metric(given, _among_the_largest(int(found[1])), takes="outputs", task="classification")
    raise ValueError(unknown("metric", given, METRIC_NAMES))


def _among_the_largest(k: int) -> Callable[[np.ndarray, np.ndarray], float]:
    def top(right: np.ndarray, outputs: np.ndarray) -> float:
        # Number of outputs larger than that of the true class; ties are broken by position, as in argmax.
        own = outputs[np.arange(len(right)), right][:, None]
        before = (outputs > own) | ((outputs == own) & (np.arange(outputs.shape[1]) < right[:, None]))
        return float(np.mean(before.sum(axis=1) < k))

    return top


def metrics_for(given: Sequence[Any], task: Task) -> tuple[Metric, ...]:
    """Return the metrics of a run: accuracy and loss (for regression: loss and r2), then the given ones.

    Raises
    ------
    ValueError
        If a metric does not exist, or does not apply to the task.
    """
    usual = ("accuracy", "loss") if task == "classification" else ("loss", "r2")
    chosen = {name: metric(name) for name in usual}
    for one in map(metric, given):
        if one.task not in ("any", task):
            raise ValueError(f"the metric '{one.name}' is for {one.task}, but the task of the run is {task}")
        chosen[one.name] = one
    return tuple(chosen.values())


def measured(answers: Answers, metrics: Sequence[Metric]) -> dict[str, float]:
    """Compute metrics of some answers, by name.

    Raises
    ------
    ValueError
        If there are no answers.
    """
    if not len(answers.labels):
        raise ValueError("there are no samples to evaluate")
    return {one.name: one(answers) for one in metrics}


@dataclass(frozen=True, eq=False)
class Confusion:
    """Confusion matrix: counts of samples by true class (row) and predicted class (column).

    Attributes
    ----------
    counts : (classes, classes) int64 array
    classes : tuple of str
    """

    counts: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def of(cls, answers: Answers) -> Confusion:
        """Compute the confusion matrix of a classifier's answers."""
        if not answers.targets.classes:
            raise ValueError("a regression has no confusion matrix: it has no classes")
        size = len(answers.targets.classes)
        places = answers.labels * size + answers.predictions
        return cls(np.bincount(places, minlength=size * size).reshape(size, size), answers.targets.classes)

    @property
    def accuracy(self) -> float:
        """Share of samples on the diagonal."""
        return float(np.trace(self.counts) / self.counts.sum())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.counts, dtype)

    def __repr__(self) -> str:
        width = max(5, *(len(name) for name in self.classes)) + 1
        head = " " * width + "".join(f"{name:>{width}}" for name in self.classes)
        rows = ("".join(f"{count:>{width}}" for count in row) for row in self.counts)
        body = (f"{name:>{width}}{row}" for name, row in zip(self.classes, rows, strict=True))
        return "\n".join((f"true class (rows), predicted class (columns), accuracy {self.accuracy:.2%}", head, *body))


def refuse_missing(names: Sequence[str], given: Sequence[Any]) -> None:
    """Refuse to resume without the function metrics of these names, which a file cannot keep.

    Raises
    ------
    ResumeError
        If one is not among those given.
    """
    if missing := set(names) - {metric(one).name for one in given}:
        raise ResumeError(
            f"the metric '{min(missing)}' of the run is a function, which is not in its file: pass it again, as in "
            "run.train(metrics=[...])"
        )
