"""Properties of every specification of the device library: round trips, and rejection of non-finite numbers."""

import math
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.mappings import BitSliced, DeviceVector, DifferentialPair, OffsetColumn, OneSidedPair
from analogpc.devices.nonidealities import (
    ConstantExponent,
    ConstantNoise,
    ConstantSpread,
    Cubic,
    Endurance,
    Faults,
    Levels,
    ProportionalSpread,
    RelativeNoise,
    Retention,
    Sinh,
    Telegraph,
    Thermal,
    UniformSpread,
)
from analogpc.devices.physics import VTEAM, Filament, LinearIonDrift
from analogpc.devices.presets import PRESETS
from analogpc.devices.responses import MeasuredSteps, PiecewiseStep, PowerStep
from analogpc.devices.specification import Specification, SpecificationError
from analogpc.devices.substrate import Analog
from analogpc.devices.wires.wired_array import Wires
from analogpc.files.storage import read_file, write_file

EXAMPLES = [
    *(device.response for device in PRESETS.values()),
    *(device.programming for device in PRESETS.values()),
    *(device.drift for device in PRESETS.values()),
    *(device.read_noise for device in PRESETS.values()),
    *(device.flicker for device in PRESETS.values()),
    PowerStep(dw_min=0.1),
    PiecewiseStep(dw_min=0.1, nodes_up=(1.0, 0.5), nodes_down=(0.5, 1.0)),
    MeasuredSteps(
        dw_min=0.1, chances=(0.0, 0.3, 1.0), quantiles_up=((0.5, 1.0, 2.0),) * 2, quantiles_down=((-0.5, 1.0, 1.5),) * 2
    ),
    *(DAC(), ADC(), ADC(architecture="sar", capacitor_mismatch=0.01), DAC(scaling="percentile", scaling_value=99.0)),
    *(BitSliced(), DeviceVector(), DifferentialPair(), OffsetColumn(), OneSidedPair()),
    *(
        Cubic(),
        Endurance(stuck_low_pulses=1e6),
        Faults(),
        Levels(),
        Levels(positions=(0.0, 0.3, 1.0)),
        Retention(lifetime_seconds=1.0),
        Sinh(scale_volts=0.1),
    ),
    *(Telegraph(), Thermal(), Wires(), VTEAM(), Filament(), LinearIonDrift()),
    *(UniformSpread(half_width_siemens=1e-6), ConstantSpread(std_siemens=1e-6), ProportionalSpread(relative=0.1)),
    *(ConstantNoise(std_siemens=1e-6), RelativeNoise(relative=0.1), ConstantExponent(mean=0.05, std=0.01)),
    *PRESETS.values(),
    Analog(),
]
UNIQUE = list({example.to_toml() + type(example).__name__: example for example in EXAMPLES}.values())


def numbers(example):
    """Names of the fields that hold a floating-point number, and of those that hold tuples of them."""
    return [name for name, value in example if isinstance(value, float) or (isinstance(value, tuple) and value)]


@pytest.mark.parametrize("example", UNIQUE, ids=lambda example: type(example).__name__)
def test_what_is_not_a_number_is_refused_by_name(example):
    for name in numbers(example):
        value = getattr(example, name)
        bad = (math.nan, *value[1:]) if isinstance(value, tuple) else math.nan
        if isinstance(value, tuple) and isinstance(value[0], tuple):
            bad = ((math.nan, *value[0][1:]), *value[1:])
        with pytest.raises(SpecificationError, match=name) as error:
            example.but(**{name: bad})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("example", UNIQUE, ids=lambda example: type(example).__name__)
def test_every_example_survives_toml(example):
    assert type(example).from_toml(example.to_toml()) == example


POSITIVE = st.floats(1e-6, 1e6)
SHARE = st.floats(0, 1)
RESPONSES = st.sampled_from([device.response for device in PRESETS.values() if device.name != "ideal"])
STATICS = st.fixed_dictionaries(
    {},
    optional={
        "levels": st.builds(Levels, count=st.integers(2, 4096).map(float)),
        "programming": st.sampled_from([device.programming for device in PRESETS.values()]),
        "read_noise": st.sampled_from([device.read_noise for device in PRESETS.values()]),
        "flicker": st.sampled_from([device.flicker for device in PRESETS.values()]),
        "drift": st.sampled_from([device.drift for device in PRESETS.values()])
        | st.builds(Retention, lifetime_seconds=POSITIVE, lifetime_dtod=SHARE, activation_ev=SHARE),
        "telegraph": st.builds(Telegraph, probability=SHARE, amplitude=SHARE, high_seconds=POSITIVE),
        "faults": st.builds(Faults, stuck_low=st.floats(0, 0.3), stuck_high=st.floats(0, 0.3), dead_rows=SHARE),
        "conduction": st.builds(Sinh, scale_volts=POSITIVE) | st.builds(Cubic, per_square_volt=SHARE),
        "thermal": st.builds(Thermal, activation_ev=st.floats(-1, 1), activation_ev_dtod=SHARE),
    },
)


@st.composite
def substrates(draw):
    low = draw(st.floats(0, 1e-4))
    device = PRESETS["reram-wan"].but(
        name=draw(st.text(max_size=20)),
        response=draw(RESPONSES),
        g_min_siemens=low,
        g_max_siemens=low + draw(st.floats(1e-9, 1e-3)),
        source=draw(st.text(max_size=60)),
        **draw(STATICS),
    )
    converters = {
        "dac": draw(st.sampled_from([DAC(), DAC(bits=math.inf), DAC(encoding="pulse-width", jitter_lsb=0.3), DAC(dnl_lsb=0.2)])),
        "adc": draw(st.builds(ADC, bits=st.integers(2, 14), bound=POSITIVE, gain_error=st.floats(0, 0.15), noise_lsb=SHARE)),
    }
    return Analog(
        device=device,
        rows=draw(st.integers(1, 4096)),
        read_noise=draw(POSITIVE),
        temperature_kelvin=draw(st.floats(1e-3, 5e3)),
        drift_compensation=draw(st.booleans()),
        **converters,
    )


@given(substrate=substrates())
@settings(max_examples=60, deadline=None)
def test_any_substrate_survives_toml_and_hdf5(substrate, tmp_path_factory):
    text = substrate.to_toml()
    assert Analog.from_toml(text) == substrate
    path = tmp_path_factory.mktemp("toml") / "x.h5"
    write_file(path, "test", {"substrate": text})
    assert Analog.from_toml(read_file(path, "test")["substrate"]) == substrate


def subclasses(base):
    for one in base.__subclasses__():
        yield one
        yield from subclasses(one)


def inside(example):
    """A specification and all that it holds."""
    yield example
    for _, value in example:
        if isinstance(value, Specification):
            yield from inside(value)


def test_every_kind_has_an_example():
    """A new class that is missing above would be missing from the tests of this page. (Update schemes have pages of their own.)"""
    kinds = {
        one.__name__
        for one in subclasses(Specification)
        if one.__module__.startswith("analogpc.devices")
        and not one.__module__.startswith("analogpc.devices.schemes")
        and typing.get_origin(one.model_fields.get("kind", FieldInfo()).annotation) is typing.Literal
    }
    seen = {type(one).__name__ for example in EXAMPLES for one in inside(example)}
    assert kinds - seen == {"Digital"}
