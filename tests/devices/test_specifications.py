"""Specifications: refused in one sentence, frozen, and unchanged by TOML."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.device import Device
from analogpc.devices.mappings import DifferentialPair
from analogpc.devices.presets import PRESETS, preset
from analogpc.devices.responses import ConstantStep, SoftBounds
from analogpc.devices.schemes import IdealUpdate, StochasticPulses
from analogpc.devices.specification import SpecificationError
from analogpc.devices.substrate import Analog

positive = st.floats(1e-6, 10)
spread = st.floats(0, 5)
bits = st.one_of(st.integers(2, 16), st.just(math.inf))


@st.composite
def devices(draw):
    response = draw(st.sampled_from([ConstantStep, SoftBounds]))(
        dw_min=draw(positive),
        up_down=draw(st.floats(-0.99, 0.99)),
        w_max=draw(positive),
        w_min=-draw(positive),
        dw_min_dtod=draw(spread),
        dw_min_std=draw(spread),
        write_noise_std=draw(spread),
        mult_noise=draw(st.booleans()),
        corrupt_prob=draw(st.floats(0, 1)),
    )
    low = draw(st.floats(0, 1e-4))
    return Device(
        name=draw(st.text(max_size=8)), response=response, g_min_siemens=low, g_max_siemens=low + draw(st.floats(1e-6, 1e-3))
    )


@given(
    device=devices(),
    rows=st.integers(1, 4096),
    dac_bits=bits,
    adc_bits=bits,
    noise=spread,
    mapping=st.builds(DifferentialPair, minus=st.sampled_from(["reference", "active"]), headroom=st.floats(1, 20)),
    scheme=st.one_of(
        st.builds(IdealUpdate), st.builds(StochasticPulses, length=st.integers(1, 31), update_management=st.booleans())
    ),
)
@settings(max_examples=60, deadline=None)
def test_any_substrate_survives_toml(device, rows, dac_bits, adc_bits, noise, mapping, scheme):
    first = Analog(
        device=device, rows=rows, dac=DAC(bits=dac_bits), adc=ADC(bits=adc_bits), read_noise=noise, mapping=mapping, scheme=scheme
    )
    assert Analog.from_toml(first.to_toml()) == first


REFUSALS = [
    (
        lambda: Analog(device="reram"),
        "Analog: device = 'reram' is not allowed: there is no device preset 'reram'; the presets are",
    ),
    (lambda: Analog(adc_bits=1), "Analog: adc.bits = 1 is not allowed: input should be greater than or equal to 2"),
    (lambda: Analog(adc_bits=9.5), "a whole number of bits"),
    (lambda: Analog(adcbits=3), "Analog has no field 'adcbits'; did you mean 'adc'?"),
    (lambda: Analog(rows=0), "rows = 0 is not allowed: input should be greater than or equal to 1"),
    (lambda: Analog(read_noise=math.nan), "read_noise = nan is not allowed"),
    (lambda: Analog(read_noise=-1.0), "read_noise = -1.0 is not allowed"),
    (lambda: ADC(bits=4, bound=math.inf), "bits = 4 levels need a finite bound"),
    (lambda: Analog(device="ideal", scheme=StochasticPulses()), "does not respond to pulses"),
    (lambda: StochasticPulses(length=32), "length = 32 is not allowed: input should be less than or equal to 31"),
    (lambda: ConstantStep(dw_min=0.0), "dw_min = 0.0 is not allowed: input should be greater than 0"),
    (lambda: ConstantStep(dw_min=0.1, w_min=0.5), "w_min = 0.5 is not allowed"),
    (lambda: ConstantStep(), "ConstantStep needs the field 'dw_min'"),
    (lambda: ConstantStep(dw_min=0.1, w_max=math.inf), "w_max = inf is not allowed"),
    (lambda: preset("ideal").but(g_max_siemens=1e-7), "g_max_siemens = 1e-07 must lie above g_min_siemens = 1e-06"),
    (lambda: Analog.from_toml("rows = ["), "this is not TOML"),
    (lambda: Analog.from_toml("[device]\nname = 'x'"), "Analog needs the field 'device.response'"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSALS)
def test_bad_values_are_refused_in_one_sentence(make, sentence):
    with pytest.raises(SpecificationError) as refusal:
        make()
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_specifications_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        preset("ideal").name = "mine"


def test_infinite_resolution_has_two_spellings():
    assert Analog(adc_bits=None).adc == Analog(adc_bits=math.inf).adc
    assert Analog(dac_bits=5, dac={"scaling": "none"}).dac == DAC(bits=5, scaling="none")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_its_source_and_survives_toml(name):
    device = preset(name)
    assert device.source
    assert device.name == name
    assert Device.from_toml(device.to_toml()) == device


def test_presets_hold_the_published_values():
    """aihwkit's IdealizedPresetDevice and ReRamSBPresetDevice."""
    idealized, sb = preset("idealized").response, preset("reram-sb").response
    assert (idealized.dw_min, idealized.w_max, idealized.w_min, idealized.up_down) == (0.0002, 1, -1, 0)
    assert (idealized.dw_min_dtod, idealized.up_down_dtod, idealized.w_max_dtod, idealized.dw_min_std) == (0.3, 0, 0.3, 0.3)
    assert (sb.dw_min, sb.up_down, sb.w_max, sb.w_min) == (0.002, 0, 1.25, -0.75)
    assert (sb.dw_min_dtod, sb.up_down_dtod, sb.dw_min_std, sb.write_noise_std) == (0.3, 0.01, 3.75, 56)
    assert (sb.w_max_dtod * sb.w_max, sb.w_min_dtod * -sb.w_min) == pytest.approx((0.3, 0.3))
    assert not sb.mult_noise
