"""Setting samples apart for validation."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analogpc.data.samples import DataError

Division = Literal["random", "stratified"]
"""How samples are set apart: at random, or class by class in proportion."""


def class_by_class(order: np.ndarray, apart: int, labels: np.ndarray, classes: int) -> np.ndarray:
    """The same samples in another order, whose first ``apart`` have the classes in proportion (by largest remainders).

    Parameters
    ----------
    order : (n,) int array
        A permutation of the samples.
    apart : int
    labels : (n,) int array
        Of the samples before the permutation.
    classes : int
        How many there are; 0 is refused.
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
