"""Digital operations on values of states and errors, with their memory accesses and arithmetic."""

from __future__ import annotations

from typing import NamedTuple


class Operation(NamedTuple):
    """Cost of one operation per value: words read and written, and multiply-adds."""

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
"""By the kinds of `schedule.work`.

An activation reads its argument and writes its value, a slope reads argument and error; both count as one multiply-add, as does a
comparison. An error is a state less its prediction; a gradient is an error less the feedback from above; a step is a state less a
multiple of its gradient, with a velocity that is also read and written under momentum.
"""
