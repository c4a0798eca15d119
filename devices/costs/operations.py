"""Digital operations on values of states and errors: what each of them asks of memory and arithmetic."""

from __future__ import annotations

from typing import NamedTuple


class Operation(NamedTuple):
    """What one operation takes for each value: words read and written, and multiply-adds."""

    reads: int
    writes: int
    macs: int


OPERATIONS: dict[str, Operation] = {
    "activation": Operation(1, 1, 1),
    "slope": Operation(2, 1, 1),
    "normalisation": Operation(1, 1, 2),
    "pooling": Operation(1, 1, 1),
    "error": Operation(2, 1, 1),
    "gradient": Operation(2, 1, 1),
    "step": Operation(2, 1, 1),
    "momentum step": Operation(3, 2, 2),
}
"""By the kinds that `schedule.work` is told.

An activation takes its argument and gives its value, a slope takes argument and error; both count as one multiply-add, as does a
comparison. An error is a state less its prediction; a gradient, an error less what came back from above; a step, a state less a
multiple of its gradient, with a velocity that is read and written besides under momentum.
"""
