"""Pulse responses: what one update pulse does to a device. A new response is a new file here and a name in `Response`."""

from typing import Annotated

from pydantic import Field

from analogpc.devices.responses.base import PulseResponse
from analogpc.devices.responses.ideal import Ideal
from analogpc.devices.responses.linear import ConstantStep, LinearStep, SoftBounds

Response = Annotated[Ideal | ConstantStep | LinearStep | SoftBounds, Field(discriminator="kind")]

__all__ = ["ConstantStep", "Ideal", "LinearStep", "PulseResponse", "Response", "SoftBounds"]
