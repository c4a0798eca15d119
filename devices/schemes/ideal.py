"""Exact writing: only the conductance limits and the reads remain nonideal."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.costs.digital import count_digital
from analogpc.devices.matrix import TwoPhases
from analogpc.devices.schemes.base import Scheme, total
from analogpc.kernels.gpu.arrays import as_type
from analogpc.kernels.products import matmul

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedMatrix


class IdealUpdate(Scheme):
    """Write every change exactly, up to the bounds of each device, without granularity and pulses."""

    kind: Literal["ideal"] = "ideal"
    takes_increments: ClassVar[bool] = True

    @property
    @override
    def repeatable(self) -> bool:
        return True

    @override
    def learn(self, matrix: PulsedMatrix, products: Products, rate: float) -> None:
        scale = as_type(rate, matrix.dtype)
        if isinstance(products, TwoPhases):
            matrix.shift(scale * total(matrix, products))
            return
        for pre, post in products:
            matrix.meter.updates += len(pre)
            count_digital(matrix, len(pre) * matrix.shape[0] * matrix.shape[1], 0)
            change = matmul(pre.T, post)
            change *= scale
            matrix.shift(change)

    @override
    def increment(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        matrix.shift(change.T)
