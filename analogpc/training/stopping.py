"""Selection of the best epoch, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analogpc.training.metrics import Metric

_PARTS = ("train", "validation", "test")


@dataclass
class Best:
    """The best epoch of a run.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1.
    value : float
        Value of the monitored metric.
    network : dict
        State of the network in that epoch; see `Network.state`.
    """

    epoch: int
    value: float
    network: dict[str, Any]


def watched_column(monitor: str, metrics: Sequence[Metric], splits: Sequence[str]) -> tuple[str, bool]:
    """Return the monitored column of the history, and whether higher is better.

    Parameters
    ----------
    monitor : str
        A column, such as "validation_loss", or a metric, which is evaluated on the validation part, else the test part, else the
        training part; empty for the first metric.
    metrics : sequence of Metric
    splits : sequence of str
        Available splits of the data.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    part = next(split for split in ("validation", "test", "train") if split in splits)
    by_name = {metric.name: metric for metric in metrics}
    name = monitor or metrics[0].name
    if name in by_name:
        split, name = part, name
    else:
        split, _, name = monitor.partition("_")
    running = ("accuracy", "loss")
    known = name in by_name and split in splits and (split != "train" or name in running)
    if not known:
        columns = [f"{s}_{m}" for s in _PARTS if s in splits for m in by_name if s != "train" or m in running]
        raise ValueError(f"monitor = '{monitor or name}' is not a column of the history, which has {', '.join(columns)}")
    return f"{split}_{name}", by_name[name].better == "higher"


def better(value: float, other: float, higher: bool) -> bool:
    """Return whether a value is better than another; NaN is worse than any number."""
    if math.isnan(value) or math.isnan(other):
        return not math.isnan(value)
    return value > other if higher else value < other


def best_epoch(values: Sequence[float], higher: bool) -> int:
    """Return the index of the first best value."""
    best = 0
    for place, value in enumerate(values):
        if place and better(value, values[best], higher):
            best = place
    return best


def reason_to_stop(history: Mapping[str, Sequence[float]], column: str, higher: bool, study: Any) -> str:
    """Return the reason to stop a run after the epochs of its history; empty if it should continue."""
    values = history[column]
    waited = len(values) - 1 - best_epoch(values, higher)
    if 0 < study.patience <= waited:
        return f"no improvement of {column} in {waited} epoch{'s' if waited > 1 else ''}"
    if study.hopeless_after and len(values) == study.hopeless_after and not better(values[-1], study.hopeless_value, higher):
        return (
            f"{column} = {values[-1]:.4g} after {len(values)} epochs is not better than hopeless_value = {study.hopeless_value:g}"
        )
    return ""
