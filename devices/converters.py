"""Digital-to-analog and analog-to-digital converters as specifications."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from analogpc.devices.specification import Specification


def _whole_bits(value: Any) -> Any:
    """Allow ``None`` for infinite resolution, and refuse fractions of bits."""
    if value is None:
        return math.inf
    if isinstance(value, float) and math.isfinite(value) and value != int(value):
        raise ValueError("a converter has a whole number of bits, or inf for infinite resolution")
    return value


Bits = Annotated[float, BeforeValidator(_whole_bits), Field(ge=2, le=math.inf)]
Bound = Annotated[float, Field(gt=0, le=math.inf)]


class Converter(Specification):
    """A uniform converter, symmetric about zero: 2**bits - 1 levels from -bound to +bound, saturating beyond.

    Attributes
    ----------
    bits : float
        Whole number from 2, or ``inf`` (also given as ``None``) for infinite resolution.
    bound : float
        Largest magnitude, in the normalised units of the read (see `Analog`), or ``inf``.
    """

    bits: Bits
    bound: Bound

    @model_validator(mode="after")
    def _levels_need_a_bound(self) -> Converter:
        if math.isfinite(self.bits) and math.isinf(self.bound):
            raise ValueError(f"bits = {self.bits:g} levels need a finite bound, not inf")
        return self


class DAC(Converter):
    """The converter of the input lines.

    Attributes
    ----------
    scaling : "absmax" or "none"
        Noise management: scale every vector digitally so that its largest magnitude meets ``bound``, and the result back; or
        drive the values as they are.

    References
    ----------
    Gokmen, Onen and Haensch, Front. Neurosci. 11:538 (2017); defaults as in aihwkit's ``IOParameters``.
    """

    bits: Bits = 7
    bound: Bound = 1.0
    scaling: Literal["absmax", "none"] = "absmax"


class ADC(Converter):
    """The converter of the output lines; bits and bound by default as in aihwkit's ``IOParameters``.

    Attributes
    ----------
    bound_management : "none" or "iterative"
        What happens to a vector of which an output saturates: it stays clipped; or it is read again with inputs half as strong, as
        often as needed, until the inputs fall below the resolution of the DAC (at most 1,000 times weaker).

    References
    ----------
    Gokmen, Onen and Haensch, Front. Neurosci. 11:538 (2017).
    """

    bits: Bits = 9
    bound: Bound = 12.0
    bound_management: Literal["none", "iterative"] = "none"
