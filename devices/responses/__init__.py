"""Pulse responses: what one update pulse does to a device. A new response is a new file here and a name in `Response`."""

from typing import Annotated

from pydantic import Field

from analogpc.devices.responses.base import PulseResponse
from analogpc.devices.responses.exponential import ExponentialStep
from analogpc.devices.responses.ideal import Ideal
from analogpc.devices.responses.linear import ConstantStep, LinearStep, SoftBounds, SoftBoundsReference
from analogpc.devices.responses.measured import MeasuredSteps
from analogpc.devices.responses.piecewise import PiecewiseStep
from analogpc.devices.responses.power import PowerStep
from analogpc.devices.responses.programmable import Programmable

Pulsed = (
    ConstantStep | LinearStep | SoftBounds | SoftBoundsReference | ExponentialStep | PowerStep | PiecewiseStep | MeasuredSteps
)
Response = Annotated[Ideal | Programmable | Pulsed, Field(discriminator="kind")]

__all__ = [
    "ConstantStep",
    "ExponentialStep",
    "Ideal",
    "LinearStep",
    "MeasuredSteps",
    "PiecewiseStep",
    "PowerStep",
    "Programmable",
    "PulseResponse",
    "Response",
    "SoftBounds",
    "SoftBoundsReference",
]
