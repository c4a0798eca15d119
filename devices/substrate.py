"""Substrates: digital arrays or analog crossbars. Exchanging the substrate leaves the rest of a study unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, PositiveInteger
from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.device import Device, NamedDevice
from analogpc.devices.fields import completes, lay, over
from analogpc.devices.mappings import AnyMapping, DifferentialPair, OneSidedPair
from analogpc.devices.mappings import Mapping as DeviceMapping
from analogpc.devices.presets import preset
from analogpc.devices.schemes import AnyScheme, IdealUpdate, StochasticPulses
from analogpc.devices.specification import Specification, SpecificationError, table_of
from analogpc.devices.wires.wired_array import Wires
from analogpc.kernels.gpu.arrays import Backend


class Digital(Specification):
    """Exact digital reference: weights are arrays in memory."""

    kind: Literal["digital"] = "digital"


class Analog(Specification):
    """Memristor crossbars with their converters.

    Reads are normalised: a device state of 1 driven by an input of 1 gives an output of 1. One unit of output current is
    ``siemens_per_state`` of the device times the volts that stand for an input of 1.

    Attributes
    ----------
    device : Device or str
        Device specification, or the name of a preset.
    rows, columns : int
        Number of word lines and bit lines of one physical array. Larger matrices are cut into tiles; every tile has its own
        converters, and partial sums are added digitally.
    mapping : Mapping
        Mapping of weights to devices. The default is a differential pair (with a reference device where the response has one),
        or a one-sided pair for unipolar devices whose response fades under pulses; see `default_mapping`.
    dac, adc : DAC, ADC
        Converters of the driven and sensed lines, in both read directions. ``dac_bits`` and ``adc_bits`` are accepted as
        shorthands.
    read_noise : float
        Standard deviation of the noise on every analog sum before the ADC, in normalised units (aihwkit's ``out_noise``).
    read_volts, read_seconds : float
        Voltage that represents an input of 1, up to 1000 V, and duration of a read, up to 1e6 s. Nonlinear current-voltage relations and
        the white noise of devices depend on them.
    temperature_kelvin : float
        Temperature of the devices, up to 5000 K.
    drift_compensation : bool
        Global drift compensation (Joshi et al., Nat. Commun. 11:2473, 2020): when time passes, all outputs are multiplied by the
        ratio of the responses of the matrix before and after, measured with one input line at a time.
    wires : Wires
        Line resistances of every array. ``wire_ohms`` is accepted as a shorthand for the resistance of all segments.
    scheme : Scheme
        Update scheme, which converts products to conductance changes. The default is stochastic pulses, or exact writing for the
        ideal device.

    Examples
    --------
    >>> Analog(device="reram-sb", adc_bits=9).adc.bits
    9.0
    """

    kind: Literal["analog"] = "analog"
    device: NamedDevice = preset("idealized")
    rows: PositiveInteger = 512
    columns: PositiveInteger = 512
    mapping: AnyMapping
    dac: DAC = DAC()
    adc: ADC = ADC()
    read_noise: NonNegative = 0.06
    read_volts: Annotated[FiniteFloat, Field(gt=0, le=1e3)] = 0.2
    read_seconds: Annotated[FiniteFloat, Field(gt=0, le=1e6)] = 1e-7
    temperature_kelvin: Annotated[FiniteFloat, Field(gt=0, le=5e3)] = 300.0
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
            # The default of a mapping whose kind was not given depends on the device: see `default_mapping`.
            return {**fields, "mapping": table_of(mapping)}
        return fields

    @override
    @classmethod
    def consequences(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        device = _device(said.get("device", "idealized"))
        if device is None:
            return {}
        pulsed = device.response.pulsed
        return {"mapping": default_mapping(device), "scheme": StochasticPulses() if pulsed else IdealUpdate()}

    @model_validator(mode="after")
    def _parts_fit(self) -> Analog:
        self._wires_fit()
        for name, reason in (
            ("mapping", self.mapping.refuse(self.device)),
            ("scheme", self.scheme.refuse(self.device, self.mapping)),
        ):
            if reason:
                raise ValueError(f"the {name} '{getattr(self, name).kind}' is not compatible: {reason}")
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
            reason = "wires need a current that is a single function of the voltage times the conductance"
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
        """Build crossbars with every nonideality off: ideal devices and converters, no noise. Given fields are set back on."""
        off = {
            "device": "ideal",
            "dac": DAC(bits=math.inf, bound=math.inf),
            "adc": ADC(bits=math.inf, bound=math.inf),
            "read_noise": 0.0,
        }
        return cls.from_dict(lay(cls, off, fields))

    @property
    def reads_exactly(self) -> bool:
        """Whether reads are linear and free of noise: up to rounding, the read of a sum is the sum of the reads."""
        converters = all(math.isinf(c.bits) and math.isinf(c.bound) and c.uniform for c in (self.dac, self.adc))
        device = self.device
        return converters and self.read_noise == 0 and device.read_noise.kind == "none" and device.conduction.linear

    def refuse_backend(self, backend: Backend) -> str:
        """Return the reason why matrices on this substrate cannot be placed on a backend; empty if they can."""
        if backend == "gpu" and self.wires.present and not self.device.conduction.linear:
            return f"wires with the conduction '{self.device.conduction.kind}' are solved on the CPU only, one vector at a time"
        return ""


def default_mapping(device: Device) -> DeviceMapping:
    """Return the default mapping of a device.

    A reference device for every weight where the response has one; a one-sided pair for pulsed unipolar devices; otherwise a
    differential pair, which uses the whole range of programmed devices and leaves headroom for devices that learn.
    """
    if device.has_reference:
        return DifferentialPair(minus="reference")
    if not device.response.pulsed:
        return DifferentialPair(headroom=device.response.headroom)
    return OneSidedPair() if device.response.unipolar else DifferentialPair()


def _device(value: Any) -> Device | None:
    """Return the device given by a field, or None if the value is invalid; the validation of the field reports it."""
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
    """Return the substrate of a short name: "digital", or crossbars with the devices of a preset.

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    return Digital() if name == "digital" else Analog(device=preset(name))


def as_substrate(given: Any) -> Digital | Analog:
    """Convert a substrate, its short name, or a mapping of its fields to a substrate.

    Raises
    ------
    SpecificationError
        If the value is none of these, or a field is not allowed.
    """
    if isinstance(given, (Digital, Analog)):
        return given
    if isinstance(given, Mapping):
        fields = _by_name(given)
        return Digital.from_dict(fields) if fields.get("kind") == "digital" else Analog.from_dict(fields)
    if not isinstance(given, str):
        raise SpecificationError(
            f"substrate = {given!r} is not allowed: give Digital(), Analog(...) or a short name such as 'pcm'"
        )
    return substrate(given)


def _by_name(value: Any) -> Any:
    """Resolve a short name to its substrate; a table without a ``kind`` holds fields of `Analog`."""
    if isinstance(value, str):
        return substrate(value)
    return {"kind": "analog", **value} if isinstance(value, Mapping) and "kind" not in value else value


Substrate = Annotated[Digital | Analog, Field(discriminator="kind"), BeforeValidator(_by_name)]
"""A substrate, or its short name."""
