"""Responses of devices to update pulses or programming. A new response is one new file, here or in your own package.

Contains: subclasses of `DeviceResponse`, most of them of `PulseResponse`; each is registered by its ``kind``.
"""

from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny

from analogpc.devices.families import by_kind, import_members
from analogpc.devices.responses.base import DeviceResponse, PulseResponse
from analogpc.devices.responses.exponential import ExponentialStep
from analogpc.devices.responses.ideal import Ideal
from analogpc.devices.responses.linear import ConstantStep, LinearStep, SoftBounds, SoftBoundsReference
from analogpc.devices.responses.measured import MeasuredSteps
from analogpc.devices.responses.piecewise import PiecewiseStep
from analogpc.devices.responses.power import PowerStep
from analogpc.devices.responses.programmable import Programmable

import_members(__path__, __name__)

Response = Annotated[SerializeAsAny[DeviceResponse], BeforeValidator(by_kind(DeviceResponse))]
"""Any response, or a table of its fields with its ``kind``."""

__all__ = [
    "ConstantStep",
    "DeviceResponse",
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
