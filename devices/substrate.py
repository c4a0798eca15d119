"""Substrates: where the matrices of a network live. Swap one for the other and everything else stays as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.device import Device, NamedDevice
from analogpc.devices.fields import completes, lay, over
from analogpc.devices.mappings import AnyMapping, DifferentialPair, OneSidedPair
from analogpc.devices.mappings import Mapping as DeviceMapping
from analogpc.devices.presets import preset
from analogpc.devices.responses import PulseResponse
from analogpc.devices.schemes import AnyScheme, IdealUpdate, StochasticPulses
from analogpc.devices.specification import Specification, SpecificationError, table_of
from analogpc.devices.wires.wired_array import Wires
from analogpc.kernels.gpu.arrays import Backend

Lines = Annotated[int, Field(ge=1)]
Positive = Annotated[FiniteFloat, Field(gt=0)]


class Digital(Specification):
    """The ideal-digital reference: exact arrays in memory."""

    kind: Literal["digital"] = "digital"


class Analog(Specification):
    """Memristor crossbars with their converters.

    Reads are normalised: a device state of 1 driven by an input of 1 gives an output of 1. One unit of output current is
    ``siemens_per_state`` of the device times the volts that stand for an input of 1.

    Attributes
    ----------
    device : Device or str
        A device or the name of a preset.
    rows, columns : int
        Lines of one physical array; larger matrices are cut into tiles. Every tile has converters of its own, and partial sums
        are added digitally.
    mapping : Mapping
        How devices make a weight; by default a differential pair, with a reference device where the response has one, and a
        one-sided pair for unipolar devices that fade under pulses (see `default_mapping`).
    dac, adc : DAC, ADC
        Converters of the driven and of the sensed lines, in both read directions. ``dac_bits`` and ``adc_bits`` are accepted as
        shorthands.
    read_noise : float
        Standard deviation of the noise on every analog sum before the ADC, in normalised units (aihwkit's ``out_noise``).
    read_volts, read_seconds : float
        The voltage that stands for an input of 1, and the duration of a read: what curved current-voltage relations and white noise
        of devices depend on.
    temperature_kelvin : float
        Of the devices.
    drift_compensation : bool
        When time passes, all outputs are multiplied by how much less the matrix answered after it than before, measured with one
        input line at a time (global drift compensation; Joshi et al., Nat. Commun. 11:2473, 2020).
    wires : Wires
        Resistances of the lines of every array. ``wire_ohms`` is accepted as a shorthand for those of all segments.
    scheme : Scheme
        How products become conductance changes; by default stochastic pulses, and exact writing for the ideal device.

    Examples
    --------
    >>> Analog(device="reram-sb", adc_bits=9).adc.bits
    9.0
    """

    kind: Literal["analog"] = "analog"
    device: NamedDevice = preset("idealized")
    rows: Lines = 512
    columns: Lines = 512
    mapping: AnyMapping
    dac: DAC = DAC()
    adc: ADC = ADC()
    read_noise: Annotated[FiniteFloat, Field(ge=0)] = 0.06
    read_volts: Positive = 0.2
    read_seconds: Positive = 1e-7
    temperature_kelvin: Positive = 300.0
    drift_compensation: bool = False
    wires: Wires = Wires()
    scheme: AnyScheme

    shorthands: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "dac_bits": ("dac.bits",),
        "adc_bits": ("adc.bits",),
        "wire_ohms": ("wires.row_ohms", "wires.column_ohms"),
    }

    @override
    @classmethod
    def opened(cls, fields: dict[str, Any]) -> dict[str, Any]:
        mapping = fields.get("mapping")
        if isinstance(mapping, DeviceMapping):
            # What its author left open depends on the device: see `default_mapping`.
            return {**fields, "mapping": table_of(mapping)}
        return fields

    @override
    @classmethod
    def consequences(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        device = _device(said.get("device", "idealized"))
        if device is None:
            return {}
        pulsed = isinstance(device.response, PulseResponse)
        return {"mapping": default_mapping(device), "scheme": StochasticPulses() if pulsed else IdealUpdate()}

    @model_validator(mode="after")
    def _parts_fit(self) -> Analog:
        self._wires_fit()
        for name, reason in (
            ("mapping", self.mapping.refuse(self.device)),
            ("scheme", self.scheme.refuse(self.device, self.mapping)),
        ):
            if reason:
                raise ValueError(f"the {name} '{getattr(self, name).kind}' does not fit: {reason}")
        return self

    def _wires_fit(self) -> None:
        if not self.wires.present:
            return
        if not self.device.response.bounded:
            raise ValueError("wires need devices with limits: the conductances of the device 'ideal' can be negative")
        if self.device.conduction.linear:
            return
        reason = ""
        if self.device.conduction.kind == "milo-rram":
            reason = "wires need a current that is one function of the voltage times the conductance"
        elif self.dac.encoding != "amplitude":
            reason = "wires need inputs that are voltages (dac.encoding = 'amplitude')"
        elif self.mapping.kind == "offset-column":
            reason = "wires need devices in pairs, not an offset column"
        elif self.device.read_noise.kind != "none":
            reason = "white noise of devices behind wires is not modelled"
        if reason:
            raise ValueError(f"for the conduction '{self.device.conduction.kind}', {reason}")

    @classmethod
    def ideal(cls, **fields: Any) -> Analog:
        """Crossbars with every nonideality off: ideal devices and converters, no noise. Fields may be set back on."""
        off = {
            "device": "ideal",
            "dac": DAC(bits=math.inf, bound=math.inf),
            "adc": ADC(bits=math.inf, bound=math.inf),
            "read_noise": 0.0,
        }
        return cls.from_dict(lay(cls, off, fields))

    @property
    def reads_exactly(self) -> bool:
        """Whether reads are linear and without noise: the read of a sum is the sum of the reads, up to the rounding of the type."""
        converters = all(math.isinf(c.bits) and math.isinf(c.bound) and c.uniform for c in (self.dac, self.adc))
        device = self.device
        return converters and self.read_noise == 0 and device.read_noise.kind == "none" and device.conduction.linear

    def refuse_backend(self, backend: Backend) -> str:
        """Why matrices on this substrate cannot live on a backend; empty if they can."""
        if backend == "gpu" and self.wires.present and not self.device.conduction.linear:
            return f"currents of the conduction '{self.device.conduction.kind}' behind wires are found by the CPU alone, vector by vector"
        return ""


def default_mapping(device: Device) -> DeviceMapping:
    """The mapping that a device is meant for.

    A reference device of every weight where the response has one; a one-sided pair for unipolar devices that are pulsed; otherwise
    a differential pair, which fills the whole range of devices that are programmed and leaves room for those that learn.
    """
    if device.has_reference:
        return DifferentialPair(minus="reference")
    if not isinstance(device.response, PulseResponse):
        return DifferentialPair(headroom=device.response.headroom)
    return OneSidedPair() if device.response.unipolar else DifferentialPair()


def _device(value: Any) -> Device | None:
    """The device that a field stands for; None if it is not allowed, which its own validation will say."""
    try:
        if isinstance(value, str):
            return preset(value)
        if isinstance(value, Device):
            return value
        usual = preset("idealized")
        return Device.from_dict(over(usual, value) if completes(usual, value) else value)
    except (ValueError, TypeError):
        return None


def substrate(name: str) -> Digital | Analog:
    """The substrate of a short name: "digital", or crossbars of the devices of a preset.

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    return Digital() if name == "digital" else Analog(device=preset(name))


def as_substrate(given: Any) -> Digital | Analog:
    """A substrate that was given as one, by its short name, or by its fields.

    Raises
    ------
    SpecificationError
        If it is none of these, or not allowed.
    """
    if isinstance(given, (Digital, Analog)):
        return given
    if isinstance(given, Mapping):
        fields = _by_name(given)
        return Digital.from_dict(fields) if fields.get("kind") == "digital" else Analog.from_dict(fields)
    if not isinstance(given, str):
        raise SpecificationError(
            f"substrate = {given!r} is not allowed: it is Digital(), Analog(...) or a short name, such as 'pcm'"
        )
    return substrate(given)


def _by_name(value: Any) -> Any:
    """A short name stands for its substrate; a table that does not say its kind has fields of crossbars."""
    if isinstance(value, str):
        return substrate(value)
    return {"kind": "analog", **value} if isinstance(value, Mapping) and "kind" not in value else value


Substrate = Annotated[Digital | Analog, Field(discriminator="kind"), BeforeValidator(_by_name)]
"""A substrate, or its short name."""
