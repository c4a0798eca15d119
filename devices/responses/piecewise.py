"""Piecewise step: a table of steps along the range, such as measured data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegative
from analogpc.devices.responses.base import PulseResponse
from analogpc.kernels.pulses.updates import MULTIPLICATIVE, PIECEWISE, Law

Nodes = Annotated[tuple[NonNegative, ...], Field(min_length=2)]


class PiecewiseStep(PulseResponse):
    """A pulse changes w by dw times a factor that is interpolated linearly between nodes.

    Attributes
    ----------
    nodes_up, nodes_down : tuple of float
        Factors for pulses upwards and downwards at states equally spaced from the lower to the upper bound of the device: equally
        many for both, at least 2, none negative.

    References
    ----------
    aihwkit, ``PiecewiseStepDevice``; the linear table of NeuroSim (Chen, Peng and Yu, IEEE TCAD 37:3067, 2018) is a special case.
    """

    kind: Literal["piecewise-step"] = "piecewise-step"
    nodes_up: Nodes
    nodes_down: Nodes

    @model_validator(mode="after")
    def _as_many_up_as_down(self) -> PiecewiseStep:
        up, down = len(self.nodes_up), len(self.nodes_down)
        if up != down:
            raise ValueError(f"nodes_up has {up} factors and nodes_down {down}; the numbers must be equal")
        return self

    @property
    @override
    def law(self) -> Law:
        return Law(PIECEWISE, (*self.nodes_up, *self.nodes_down), self.dw_min_std, MULTIPLICATIVE)

    @override
    def shapes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        # The table is the same for all devices; the kernel reads this entry and ignores it.
        return {"shape_up": np.zeros_like(drawn["up"]), "shape_down": np.zeros_like(drawn["up"])}
