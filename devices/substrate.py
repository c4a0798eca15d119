"""Substrates: where the matrices of a network live. Swap one for the other and everything else stays as it is."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from analogpc.devices.converters import ADC, DAC
from analogpc.devices.device import NamedDevice
from analogpc.devices.mapping import DifferentialPair
from analogpc.devices.matrix import DigitalMatrix, Matrix
from analogpc.devices.presets import preset
from analogpc.devices.schemes import AnyScheme
from analogpc.devices.specification import Specification
from analogpc.kernels.streams import Key

Lines = Annotated[int, Field(ge=1)]


class Digital(Specification):
    """The ideal-digital reference: exact arrays in memory."""

    kind: Literal["digital"] = "digital"

    def matrix(self, weights: np.ndarray, key: Key) -> Matrix:
        """A matrix (n_out, n_in) on this substrate, in the type of ``weights``."""
        return DigitalMatrix(weights)


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
    mapping : DifferentialPair
        How devices make a weight.
    dac, adc : DAC, ADC
        Converters of the driven and of the sensed lines, in both read directions. ``dac_bits`` and ``adc_bits`` are accepted as
        shorthands.
    read_noise : float
        Standard deviation of the noise on every analog sum before the ADC, in normalised units (aihwkit's ``out_noise``).
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
    mapping: DifferentialPair = DifferentialPair()
    dac: DAC = DAC()
    adc: ADC = ADC()
    read_noise: Annotated[FiniteFloat, Field(ge=0)] = 0.06
    scheme: AnyScheme

    @model_validator(mode="before")
    @classmethod
    def _shorthands(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        fields = dict(fields)
        for name in ("dac", "adc"):
            if f"{name}_bits" in fields:
                given = fields.get(name, {})
                given = given.to_dict() if isinstance(given, Specification) else dict(given)
                fields[name] = {**given, "bits": fields.pop(f"{name}_bits")}
        if "scheme" not in fields:
            device = fields.get("device", "idealized")
            fields["scheme"] = {"kind": "ideal" if _is_ideal(device) else "stochastic-pulses"}
        return fields

    @model_validator(mode="after")
    def _scheme_fits(self) -> Analog:
        reason = self.scheme.refuse(self.device)
        if reason:
            raise ValueError(f"the scheme '{self.scheme.kind}' does not fit: {reason}")
        return self

    @classmethod
    def ideal(cls, **fields: Any) -> Analog:
        """Crossbars with every nonideality off: ideal devices and converters, no noise. Fields may be set back on."""
        off = {
            "device": "ideal",
            "dac": DAC(bits=math.inf, bound=math.inf),
            "adc": ADC(bits=math.inf, bound=math.inf),
            "read_noise": 0.0,
        }
        return cls(**{**off, **fields})

    def matrix(self, weights: np.ndarray, key: Key) -> Matrix:
        """A matrix (n_out, n_in) on this substrate, in the type of ``weights``; ``key`` says which devices it gets."""
        from analogpc.devices.crossbar_matrix import CrossbarMatrix

        return CrossbarMatrix(weights, self, key)


def _is_ideal(device: Any) -> bool:
    if isinstance(device, str):
        return device == "ideal"
    if isinstance(device, dict):
        return device.get("response", {}).get("kind") == "ideal"
    return device.response.kind == "ideal"


def substrate(name: str) -> Digital | Analog:
    """The substrate of a short name: "digital", or crossbars of the devices of a preset.

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    return Digital() if name == "digital" else Analog(device=preset(name))


def _by_name(value: Any) -> Any:
    return substrate(value) if isinstance(value, str) else value


Substrate = Annotated[Digital | Analog, Field(discriminator="kind"), BeforeValidator(_by_name)]
"""A substrate, or its short name."""
