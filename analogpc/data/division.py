"""Selection of samples for validation."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analogpc.data.samples import DataError

Division = Literal["random", "stratified"]
"""Selection of held-out samples: at random, or from each class in proportion."""


def class_by_class(order: np.ndarray, apart: int, labels: np.ndarray, classes: int) -> np.ndarray:
    """Reorder samples so that the first ``apart`` contain the classes in proportion (by largest remainders).

    Parameters
    ----------
    order : (n,) int array
        A permutation of the samples.
    apart : int
    labels : (n,) int array
        Labels before the permutation.
    classes : int
        Number of classes; 0 is refused.
    """
    if not classes:
        raise DataError("a stratified validation part needs classes, but these data are for regression")
    members = [order[labels[order] == number] for number in range(classes)]
    shares = np.array([len(group) * apart / len(order) for group in members])
    counts = shares.astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: apart - counts.sum()]] += 1
    first = [group[:n] for group, n in zip(members, counts, strict=True)]
    last = [group[n:] for group, n in zip(members, counts, strict=True)]
    return np.concatenate([*first, *last])
