"""Labels: integers, names or one-hot rows; and vectors for regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analogpc.data.samples import DataError

Task = Literal["classification", "regression"]
_MOST_CLASSES = 10**7


@dataclass(frozen=True)
class Targets:
    """Meaning of the outputs of a network, and conversion of labels to numbers and back.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes, in the order of the outputs; empty for regression.
    named : bool
        Whether labels are names; otherwise they are integers from 0.
    outputs : int
        Length of a target vector: the number of classes or of regression targets.
    """

    classes: tuple[str, ...]
    named: bool
    outputs: int

    @property
    def task(self) -> Task:
        """Task: "classification" or "regression"."""
        return "classification" if self.classes else "regression"

    @classmethod
    def of(cls, labels: Any, what: str, task: Task | None = None, classes: int | Sequence[Any] | None = None) -> Targets:
        """Infer the targets from the labels of a training part, or from given ``task`` and ``classes``.

        Parameters
        ----------
        labels : array
            (n,) integers from 0, (n,) names, (n, classes) one-hot rows; or (n,) or (n, k) floating numbers for
            regression.
        what : str
            Name of the labels in messages.
        task : "classification" or "regression"
            Inferred from the labels by default: floating numbers that are not one-hot mean regression.
        classes : int, or sequence of names
            All classes, including those without a training sample.
        """
        labels = plain(labels, what)
        named = labels.dtype.kind == "U"
        if task not in (None, "classification", "regression"):
            raise DataError(f"task = {task!r} is not allowed: it is classification or regression")
        if task == "regression" or (task is None and classes is None and labels.dtype.kind == "f" and not _one_hot(labels)):
            if named:
                raise DataError(f"{what} are names, which cannot be the numbers of a regression")
            return cls((), False, 1 if labels.ndim == 1 else labels.shape[1])
        names = _class_names(labels, what, classes)
        return cls(names, named, len(names))

    def encode(self, labels: Any, what: str) -> np.ndarray:
        """Convert labels to numbers: (n,) int64 classes, or (n, outputs) float64 vectors.

        Raises
        ------
        DataError
            If a label is not one of the classes, or a vector has another length.
        """
        labels = plain(labels, what)
        if self.task == "regression":
            return self._vectors(labels, what)
        if _one_hot(labels):
            if labels.shape[1] != self.outputs:
                raise DataError(f"{what} are one-hot rows of {labels.shape[1]}, but there are {self.outputs} classes")
            return labels.argmax(axis=1).astype(np.int64)
        if labels.ndim != 1:
            raise DataError(f"{what} must be (n,) labels or one-hot rows (n, {self.outputs}), not of shape {labels.shape}")
        if labels.dtype.kind == "U":
            return self._by_name(labels, what)
        return self._by_number(labels, what)

    def _vectors(self, labels: np.ndarray, what: str) -> np.ndarray:
        if labels.dtype.kind not in "biuf":
            raise DataError(f"{what} must be numbers, since the task is regression, not {labels.dtype}")
        rows = labels.reshape(len(labels), -1) if labels.ndim <= 2 else labels
        if rows.ndim != 2 or rows.shape[1] != self.outputs:
            raise DataError(f"{what} must be (n, {self.outputs}) numbers, not of shape {labels.shape}")
        if not np.isfinite(rows).all():
            raise DataError(f"{what} must be finite numbers")
        return rows.astype(np.float64)

    def _by_name(self, labels: np.ndarray, what: str) -> np.ndarray:
        places = {name: place for place, name in enumerate(self.classes)}
        unknown = sorted(set(labels.tolist()) - set(places))
        if unknown:
            raise DataError(
                f"{what} have the label '{unknown[0]}', which is not one of the classes {_listed(self.classes)}: "
                "list all of them in classes = [...]"
            )
        return np.array([places[name] for name in labels.tolist()], np.int64)

    def _by_number(self, labels: np.ndarray, what: str) -> np.ndarray:
        if self.named:
            raise DataError(f"{what} must be names out of {_listed(self.classes)}, not {labels.dtype}")
        whole = _whole(labels, what)
        if len(whole) and not 0 <= whole.min() <= whole.max() < self.outputs:
            raise DataError(f"{what} must lie from 0 to {self.outputs - 1}, not {whole.min()} to {whole.max()}")
        return whole

    def decode(self, numbers: np.ndarray) -> np.ndarray:
        """Convert class numbers (n,) to labels of the given kind: names, or the numbers."""
        return np.array(self.classes)[numbers] if self.named else numbers


def plain(labels: Any, what: str) -> np.ndarray:
    """Convert labels to an array of numbers or strings, one value or row per sample."""
    if isinstance(labels, np.ma.MaskedArray):
        raise DataError(f"{what} are a masked array; leave out the masked samples first")
    array = np.asarray(labels)
    if array.dtype.kind == "O":
        if not all(isinstance(label, str) for label in array.ravel()):
            raise DataError(f"{what} must all be numbers or all be texts")
        array = array.astype(str)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind not in "biufU" or not 1 <= array.ndim <= 2 or (array.dtype.kind == "U" and array.ndim != 1):
        raise DataError(f"{what} must be (n,) or (n, k) numbers or (n,) texts, not {array.shape} of {array.dtype}")
    return array


def _one_hot(labels: np.ndarray) -> bool:
    """Return whether every row is one-hot."""
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind == "U" or not len(labels):
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _whole(labels: np.ndarray, what: str) -> np.ndarray:
    whole = labels.astype(np.int64)
    if labels.dtype.kind == "f" and (whole != labels).any():
        raise DataError(f"{what} must be whole numbers from 0, names or one-hot rows, not {labels.dtype}")
    return whole


def _class_names(labels: np.ndarray, what: str, classes: int | Sequence[Any] | None) -> tuple[str, ...]:
    if isinstance(classes, (bool, np.bool_, float)):
        raise DataError(f"classes = {classes} is not allowed: it is a whole number from 1, or the names of all classes")
    if isinstance(classes, (int, np.integer)):
        if classes < 1:
            raise DataError(f"classes = {classes} is not allowed: there must be at least one")
        # Each sample becomes a vector of this length: more classes are assumed to be a mistake.
        if classes > _MOST_CLASSES:
            raise DataError(f"classes = {classes} is not allowed: there may be at most {_MOST_CLASSES}")
        names = tuple(map(str, range(int(classes))))
    elif isinstance(classes, str):
        raise DataError(f"classes = {classes!r} is not allowed: it is a whole number from 1, or the names of all classes")
    elif classes is not None:
        names = tuple(map(str, classes))
    elif labels.dtype.kind == "U":
        names = tuple(np.unique(labels).tolist())
    elif _one_hot(labels):
        names = tuple(map(str, range(labels.shape[1])))
    elif labels.ndim != 1:
        raise DataError(f"{what} must be (n,) labels or one-hot rows, not of shape {labels.shape}")
    else:
        names = _counted(_whole(labels, what), what)
    if len(set(names)) != len(names):
        raise DataError(f"class names must be distinct, not {_listed(names)}")
    return names


def _counted(labels: np.ndarray, what: str) -> tuple[str, ...]:
    """Return the names of classes numbered from 0, including those without samples."""
    if not len(labels):
        raise DataError(f"{what} are empty")
    if labels.min() < 0 or labels.max() >= max(1000, len(labels)):
        raise DataError(
            f"{what} from {labels.min()} to {labels.max()} are not class numbers, which count from 0: convert names "
            "to strings (labels.astype(str))"
        )
    return tuple(map(str, range(int(labels.max()) + 1)))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:10])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 10 else shown
