"""Specifications of digital-to-analog and analog-to-digital converters.

A converter of b bits has the 2**b - 1 codes k = -M .. M with M = 2**(b-1) - 1; its least significant bit is LSB = bound / M. The
errors of each instance are drawn once (see `banks`) from the spreads given here; "from converter to converter" means a standard
deviation, with mean zero. Differential (DNL) and integral nonlinearity (INL) follow IEEE Std 1241: the width of a code less 1 LSB,
and the distance of a transition (DAC: of a level) from the straight line.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from analogpc.devices.bounds import NonNegative
from analogpc.devices.specification import Specification

_MOST_BITS = 64
"""Largest number of bits of a converter; floating-point types resolve fewer."""


def _whole_bits(value: Any) -> Any:
    """Convert ``None`` to infinite resolution, and reject fractional bits."""
    if value is None:
        return math.inf
    if isinstance(value, float) and math.isfinite(value) and value != int(value):
        raise ValueError("a converter has a whole number of bits, or inf for infinite resolution")
    if not isinstance(value, bool) and isinstance(value, (int, float)) and _MOST_BITS < value < math.inf:
        raise ValueError(f"a converter has at most {_MOST_BITS} bits, or inf for infinite resolution")
    return value


Bits = Annotated[float, BeforeValidator(_whole_bits), Field(ge=2, le=math.inf)]
Bound = Annotated[float, Field(gt=0, le=math.inf)]
# The normal draws end at 6.34 standard deviations, so no gain and no capacitance can be zero or negative.
Relative = Annotated[FiniteFloat, Field(ge=0, le=0.15)]

_MOST_TABLE_BITS = 16
_MOST_SERIAL_BITS = 53


class Converter(Specification):
    """Converter symmetric about zero: 2**bits - 1 levels from -bound to +bound, saturating beyond.

    By default every error is zero and the converter is uniform.

    Attributes
    ----------
    bits : float
        Resolution: an integer from 2, or ``inf`` (also accepted as ``None``) for infinite resolution.
    bound : float
        Largest magnitude, in the normalised units of the read (see `Analog`), or ``inf``.
    offset_lsb : float
        Fixed offset: standard deviation from converter to converter, in LSB.
    gain_error : float
        Relative gain error: standard deviation from converter to converter; at most 0.15.
    dnl_lsb : float
        Random differential nonlinearity: its rms over the codes, in LSB. Every transition (DAC: every level) has an independent
        normal error of standard deviation ``dnl_lsb / sqrt(2)``, so that the INL does not accumulate; the ramp ADC differs, see
        there. A code of an ADC cannot have negative width: beyond about 0.3 LSB transitions change order and the measured rms
        is smaller.
    inl_lsb : float
        Smooth bow: INL(u) = ± inl_lsb (1 - u**2), u = -1 .. 1 over the range, with a sign drawn for each converter, in LSB. At
        most (M - 1/2) / 2, beyond which the curve is no longer monotonic.
    noise_lsb : float
        Thermal noise of each conversion, rms, in LSB.
    """

    _in_lsb: ClassVar[tuple[str, ...]] = ("offset_lsb", "dnl_lsb", "inl_lsb", "noise_lsb")

    bits: Bits
    bound: Bound
    offset_lsb: NonNegative = 0.0
    gain_error: Relative = 0.0
    dnl_lsb: NonNegative = 0.0
    inl_lsb: NonNegative = 0.0
    noise_lsb: NonNegative = 0.0

    @model_validator(mode="after")
    def _levels_need_a_bound(self) -> Converter:
        if math.isfinite(self.bits) and math.isinf(self.bound):
            raise ValueError(f"bits = {self.bits:g} levels need a finite bound, not inf")
        return self

    @model_validator(mode="after")
    def _errors_need_levels(self) -> Converter:
        if math.isinf(self.bits):
            for name in self._in_lsb:
                if getattr(self, name) > 0:
                    raise ValueError(f"{name} = {getattr(self, name):g} needs finite bits; bits = inf leaves the LSB undefined")
            return self
        largest = (2.0 ** (self.bits - 1) - 1.5) / 2
        if self.inl_lsb > largest:
            raise ValueError(f"inl_lsb = {self.inl_lsb:g} bends the scale back on itself; {self.bits:g} bits allow {largest:g}")
        if self.tabled and self.bits > _MOST_TABLE_BITS:
            raise ValueError(
                f"bits = {self.bits:g} is too many for nonlinearity, whose tables hold 2**bits numbers for each converter; "
                f"at most {_MOST_TABLE_BITS}"
            )
        return self

    @property
    def lsb(self) -> float:
        """Distance between two levels, in units of the read; 0 for infinite bits."""
        return 0.0 if math.isinf(self.bits) else self.bound / (2.0 ** (self.bits - 1) - 1.0)

    def with_noise(self, noise: float) -> float:
        """Return the standard deviation of a ``noise`` and the converter's own together, in units of the read."""
        return math.hypot(noise, self.noise_lsb * self.lsb) if self.noise_lsb > 0 else noise

    @property
    def tabled(self) -> bool:
        """Whether the levels are unevenly spaced, so that instances need tables."""
        return self.dnl_lsb > 0 or self.inl_lsb > 0

    @property
    def uniform(self) -> bool:
        """Whether all instances are identical and evenly spaced; noise is allowed."""
        return not self.tabled and self.offset_lsb == 0 and self.gain_error == 0


class DAC(Converter):
    """Converter of the input lines.

    Attributes
    ----------
    scaling : "absmax", "none", "average", "constant" or "percentile"
        Noise management. Every vector is divided digitally by a magnitude, which is mapped to ``bound``, and the result is
        multiplied by it: the largest magnitude of the vector; the mean of the largest magnitudes of the vectors of one call;
        ``scaling_value``; or the percentile ``scaling_value`` of its magnitudes (linear interpolation; the largest where it is
        zero). With "none", the values drive the lines directly. An infinite ``bound`` disables scaling.
    scaling_value : float
        Magnitude for "constant", percentile (0 to 100) for "percentile"; not allowed otherwise.
    encoding : "amplitude", "pulse-width" or "bit-serial"
        "amplitude": a level is a voltage. "pulse-width": a level is the time for which the line carries the full voltage, so that
        a nonlinear current-voltage relation of the devices scales the result but does not distort it. "bit-serial": the magnitude
        is sent bit by bit in bits - 1 reads with lines at -bound, 0 or +bound, each converted separately and added digitally with
        weights 2**p / M. Its drivers have only three levels, so ``dnl_lsb`` and ``inl_lsb`` are not allowed; offset, noise and
        gain error act on each read.
    jitter_lsb : float
        Timing noise of pulses of nonzero width, rms, in LSB; only for "pulse-width".
    noise_lsb : float
        Noise on every driven line (aihwkit's ``inp_noise``), drawn for each vector, in LSB.

    References
    ----------
    Gokmen, Onen and Haensch, Front. Neurosci. 11:538 (2017); defaults as in aihwkit's ``IOParameters``. Pulse widths: Marinella et
    al., IEEE J. Emerg. Sel. Topics Circuits Syst. 8:86 (2018). Bit-serial: Shafiee et al. (ISAAC), ISCA 2016.
    """

    _in_lsb: ClassVar[tuple[str, ...]] = (*Converter._in_lsb, "jitter_lsb")

    bits: Bits = 7
    bound: Bound = 1.0
    scaling: Literal["absmax", "none", "average", "constant", "percentile"] = "absmax"
    scaling_value: NonNegative = 0.0
    encoding: Literal["amplitude", "pulse-width", "bit-serial"] = "amplitude"
    jitter_lsb: NonNegative = 0.0

    @model_validator(mode="after")
    def _scaling_fits(self) -> DAC:
        takes_value = self.scaling in ("constant", "percentile")
        if takes_value and self.scaling_value == 0:
            raise ValueError(f"scaling_value must be given above 0 with scaling = '{self.scaling}'")
        if not takes_value and self.scaling_value != 0:
            raise ValueError(f"scaling_value = {self.scaling_value:g} has no meaning with scaling = '{self.scaling}'")
        if self.scaling == "percentile" and self.scaling_value > 100:
            raise ValueError(f"scaling_value = {self.scaling_value:g} is not a percentile; at most 100 is allowed")
        return self

    @model_validator(mode="after")
    def _encoding_fits(self) -> DAC:
        if self.jitter_lsb > 0 and self.encoding != "pulse-width":
            raise ValueError(f"jitter_lsb = {self.jitter_lsb:g} needs encoding = 'pulse-width', not '{self.encoding}'")
        if self.encoding == "bit-serial":
            if math.isinf(self.bits):
                raise ValueError("encoding = 'bit-serial' needs finite bits, not inf")
            if self.bits > _MOST_SERIAL_BITS:
                raise ValueError(
                    f"bits = {self.bits:g} is too many for encoding = 'bit-serial': beyond {_MOST_SERIAL_BITS} no floating type "
                    "distinguishes the codes"
                )
            for name in ("dnl_lsb", "inl_lsb"):
                if getattr(self, name) > 0:
                    raise ValueError(f"{name} = {getattr(self, name):g} has no meaning for the three levels of 'bit-serial'")
        return self

    @property
    def reads(self) -> int:
        """Number of array reads per vector: one, or one per bit of the magnitude."""
        return int(self.bits) - 1 if self.encoding == "bit-serial" else 1


class ADC(Converter):
    """Converter of the output lines; default bits and bound are those of aihwkit's ``IOParameters``.

    Offset, gain error and thermal noise act on the input: code = Q((1 + gain) y + offset). An input counts as clipped if it lies
    more than one LSB outside the first and last transition of the converter; values that round to an outermost level do not count.

    Attributes
    ----------
    architecture : "uniform", "sar" or "ramp"
        "uniform": parallel thresholds (flash) with independent errors.

        "sar": successive approximation with binary-weighted capacitors, C_p = 2**p (1 + capacitor_mismatch xi_p / sqrt(2**p)) units
        and one more unit that is never switched; the threshold of code c = 0 .. 2**bits - 1 lies at
        2**bits sum_p c_p C_p / C_total LSB, less half a step, and the bits are decided from the largest to the smallest. The
        code below -M is reported as -M. To first order the width of the mid-scale code has the variance
        (2**bits - 1) capacitor_mismatch**2, and the INL of code c the variance c (1 - c / 2**bits) capacitor_mismatch**2, in LSB**2.
        Thresholds out of order give missing codes.

        "ramp": all converters of one array compare their lines with one common ramp; the time gives the code. Steps of the ramp
        are positive, log-normal with mean 1 LSB and standard deviation ``dnl_lsb``, and the ramp is scaled to its end points, so
        that the INL is a random walk pinned at both ends: variance dnl_lsb**2 i (1 - i / N) after i of the N = 2M - 1 steps. The
        gain error and bow of the ramp are common to the array; every comparator has its own offset and noise.
    capacitor_mismatch : float
        Relative standard deviation of a unit capacitor, only for "sar"; at most 0.15.
    calibration : "none" or "gain-offset"
        "gain-offset": the digital values of each converter are corrected by the least-squares line through its own transition
        levels, as in a noiseless measurement; only the INL remains.
    bound_management : "none" or "iterative"
        Treatment of a vector with saturated outputs: "none" leaves them clipped; "iterative" halves the inputs and repeats the read
        until no output saturates or the inputs fall below the resolution of the DAC (at most 1,000 times weaker).

    References
    ----------
    Gokmen, Onen and Haensch, Front. Neurosci. 11:538 (2017). SAR and ramp in crossbars: Spear et al., IEEE J. Explor. Solid-State
    Comput. Devices Circuits 9 (2023). Capacitor mismatch: Saberi, Lotfi, Mafinezhad and Serdijn, IEEE Trans. Circuits Syst. I
    58:1736 (2011).
    """

    bits: Bits = 9
    bound: Bound = 12.0
    architecture: Literal["uniform", "sar", "ramp"] = "uniform"
    capacitor_mismatch: Relative = 0.0
    calibration: Literal["none", "gain-offset"] = "none"
    bound_management: Literal["none", "iterative"] = "none"

    @property
    def tabled(self) -> bool:
        """Whether the levels are unevenly spaced; see `Converter`."""
        return super().tabled or self.capacitor_mismatch > 0

    @model_validator(mode="after")
    def _architecture_fits(self) -> ADC:
        if self.architecture != "uniform" and math.isinf(self.bits):
            raise ValueError(f"architecture = '{self.architecture}' needs finite bits, not inf")
        if self.capacitor_mismatch > 0 and self.architecture != "sar":
            raise ValueError(
                f"capacitor_mismatch = {self.capacitor_mismatch:g} needs architecture = 'sar', not '{self.architecture}'"
            )
        if self.inl_lsb > 0 and self.bits < 3:
            raise ValueError(f"inl_lsb = {self.inl_lsb:g} needs at least 3 bits: two transitions always lie on a line")
        return self
