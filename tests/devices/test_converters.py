"""Specifications of converters, and the resulting DACs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analogpc.devices.converters.banks import DacBank
from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.converters.shared import dac
from analogpc.kernels.random.streams import Key

lsbs = st.floats(0, 5)
relatives = st.floats(0, 0.15)
ALARM = 1e-6


def spread_is(values, expected):
    """Whether independent normal values of mean zero have this standard deviation, at a false-alarm rate of 1e-6."""
    statistic = (values**2).sum() / expected**2
    return stats.chi2.ppf(ALARM / 2, values.size) < statistic < stats.chi2.isf(ALARM / 2, values.size)


@st.composite
def shared_fields(draw, bits):
    return {
        "bits": bits,
        "bound": draw(st.floats(0.01, 100)),
        "offset_lsb": draw(lsbs),
        "gain_error": draw(relatives),
        "dnl_lsb": draw(lsbs),
        "inl_lsb": draw(st.floats(0, (2.0 ** (bits - 1) - 1.5) / 2)),
        "noise_lsb": draw(lsbs),
    }


@st.composite
def dacs(draw):
    fields = draw(shared_fields(draw(st.integers(2, 16))))
    encoding = draw(st.sampled_from(["amplitude", "pulse-width", "bit-serial"]))
    if encoding == "bit-serial":
        fields["dnl_lsb"] = fields["inl_lsb"] = 0.0
    scaling = draw(st.sampled_from(["absmax", "none", "average", "constant", "percentile"]))
    value = draw(st.floats(1e-3, 100)) if scaling in ("constant", "percentile") else 0.0
    jitter = draw(lsbs) if encoding == "pulse-width" else 0.0
    return DAC(**fields, encoding=encoding, scaling=scaling, scaling_value=value, jitter_lsb=jitter)


@st.composite
def adcs(draw):
    fields = draw(shared_fields(draw(st.integers(3, 16))))
    architecture = draw(st.sampled_from(["uniform", "sar", "ramp"]))
    mismatch = draw(relatives) if architecture == "sar" else 0.0
    calibration = draw(st.sampled_from(["none", "gain-offset"]))
    return ADC(**fields, architecture=architecture, capacitor_mismatch=mismatch, calibration=calibration)


@given(first=st.one_of(dacs(), adcs()))
@settings(max_examples=80, deadline=None)
def test_any_converter_survives_toml(first):
    assert type(first).from_toml(first.to_toml()) == first


REFUSALS = [
    (lambda name=name, make=make: make(bits=math.inf, **{name: 0.5}), f"{name} = 0.5 needs finite bits")
    for make in (DAC, ADC)
    for name in ("offset_lsb", "dnl_lsb", "inl_lsb", "noise_lsb")
]
REFUSALS += [
    (lambda name=name, value=value: ADC(**{name: value}), f"ADC: {name} = {value} is not allowed")
    for name in ("offset_lsb", "gain_error", "dnl_lsb", "inl_lsb", "noise_lsb", "capacitor_mismatch")
    for value in (-0.1, math.nan, math.inf)
]
REFUSALS += [
    (lambda: ADC(gain_error=0.2), "gain_error = 0.2 is not allowed: input should be less than or equal to 0.15"),
    (lambda: ADC(bits=5, inl_lsb=8), "ADC: inl_lsb = 8 bends the scale back on itself; 5 bits allow 7.25"),
    (lambda: ADC(bits=2, inl_lsb=0.1), "ADC: inl_lsb = 0.1 needs at least 3 bits"),
    (lambda: ADC(bits=17, dnl_lsb=0.1), "ADC: bits = 17 is too many for nonlinearity"),
    (lambda: ADC(architecture="flash"), "architecture = 'flash' is not allowed"),
    (lambda: ADC(bits=math.inf, architecture="sar"), "ADC: architecture = 'sar' needs finite bits"),
    (lambda: ADC(capacitor_mismatch=0.1), "ADC: capacitor_mismatch = 0.1 needs architecture = 'sar', not 'uniform'"),
    (lambda: ADC(calibration="offset"), "calibration = 'offset' is not allowed"),
    (lambda: DAC(scaling="percentile"), "DAC: scaling_value must be given above 0 with scaling = 'percentile'"),
    (lambda: DAC(scaling="constant"), "DAC: scaling_value must be given above 0 with scaling = 'constant'"),
    (lambda: DAC(scaling="percentile", scaling_value=101), "DAC: scaling_value = 101 is not a percentile"),
    (lambda: DAC(scaling_value=3), "DAC: scaling_value = 3 has no meaning with scaling = 'absmax'"),
    (lambda: DAC(jitter_lsb=0.1), "DAC: jitter_lsb = 0.1 needs encoding = 'pulse-width', not 'amplitude'"),
    (
        lambda: DAC(bits=math.inf, encoding="pulse-width", jitter_lsb=0.1),
        "DAC: jitter_lsb = 0.1 needs finite bits",
    ),
    (lambda: DAC(bits=math.inf, encoding="bit-serial"), "DAC: encoding = 'bit-serial' needs finite bits, not inf"),
    (lambda: DAC(encoding="bit-serial", dnl_lsb=0.1), "DAC: dnl_lsb = 0.1 has no meaning for the three levels of 'bit-serial'"),
    (lambda: DAC(encoding="bit-serial", inl_lsb=0.1), "DAC: inl_lsb = 0.1 has no meaning for the three levels of 'bit-serial'"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSALS)
def test_bad_converters_are_refused_in_one_sentence(make, sentence):
    with pytest.raises(SpecificationError) as refusal:
        make()
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_infinite_resolution_may_have_a_gain_error(rng):
    x = rng.normal(size=(3, 40))
    drive = DacBank(DAC(bits=math.inf, bound=math.inf, gain_error=0.1), 40, Key(1), x.dtype).drive(x, 1.0, Key(2), 0)
    gains = drive.planes[0][0] / x
    np.testing.assert_allclose(gains, np.broadcast_to(gains[0], gains.shape), rtol=1e-12)
    assert 0.03 < gains[0].std() < 0.3


@pytest.mark.parametrize("scaling", ["absmax", "none"])
@pytest.mark.parametrize("encoding", ["amplitude", "pulse-width"])
def test_an_ideal_bank_is_the_fused_kernel(rng, scaling, encoding):
    x = rng.normal(size=(6, 30)).astype(np.float32)
    bank = DacBank(DAC(scaling=scaling, encoding=encoding), 30, Key(1), x.dtype)
    drive = bank.drive(x, 2.0, Key(2), 0)
    driven, scale, clipped = dac(x, 7, 1.0, scaling == "absmax", 2.0)
    ((values, weight),) = drive.planes
    np.testing.assert_array_equal(values, driven)
    np.testing.assert_array_equal(drive.scale, scale)
    assert (weight, drive.clipped, drive.full_voltage) == (1.0, clipped, encoding == "pulse-width")
    assert bank.levels.size == 0


def test_noise_management_has_its_closed_forms(rng):
    x = rng.normal(size=(5, 101))
    x[3] = 0
    largest = np.abs(x).max(1)

    def scale(**fields):
        return DacBank(DAC(bound=2.0, **fields), 101, Key(0), x.dtype).drive(x, 4.0, Key(0), 0).scale

    np.testing.assert_allclose(scale(scaling="none"), 4)
    np.testing.assert_allclose(scale(scaling="absmax"), np.where(largest > 0, largest / 2 * 4, 4))
    np.testing.assert_allclose(scale(scaling="average"), largest.mean() / 2 * 4)
    np.testing.assert_allclose(scale(scaling="constant", scaling_value=3.0), 3 / 2 * 4)
    # With 101 values the 90th percentile is the 91st smallest.
    tenth = np.sort(np.abs(x), axis=1)[:, 90]
    np.testing.assert_allclose(scale(scaling="percentile", scaling_value=90), np.where(tenth > 0, tenth / 2 * 4, 4))
    np.testing.assert_array_equal(scale(scaling="percentile", scaling_value=100), scale(scaling="absmax"))


def test_a_percentile_of_zero_gives_way_to_the_largest():
    x = np.zeros((1, 10))
    x[0, 0] = -8.0
    bank = DacBank(DAC(scaling="percentile", scaling_value=50), 10, Key(0), x.dtype)
    assert bank.drive(x, 1.0, Key(0), 0).scale == 8
    assert bank.drive(x, 1.0, Key(0), 0).clipped == 0


def measured_levels(spec, lines, key):
    """Return the output of every line for every code, in LSB, with shape (lines, codes), and the codes."""
    most = 2 ** (int(spec.bits) - 1) - 1
    codes = np.arange(-most, most + 1)
    x = np.repeat(codes[:, None] * spec.lsb, lines, axis=1)
    ((driven, _),) = DacBank(spec, lines, key, np.float64).drive(x, 1.0, Key(9), 0).planes
    return driven.T / spec.lsb, codes


def test_dac_nonlinearity_is_as_specified():
    spec = DAC(bits=7, bound=3.0, scaling="none", dnl_lsb=0.2)
    levels, codes = measured_levels(spec, 100, Key(4))
    assert spread_is(levels - codes, 0.2 / math.sqrt(2))
    # Neighbouring widths share a level: the variance of their mean square is 3/2 times that of independent ones.
    dnl = np.diff(levels) - 1
    assert abs((dnl**2).mean() / 0.04 - 1) < 5 * math.sqrt(2 * 1.5 / dnl.size)
    levels, codes = measured_levels(spec.but(dnl_lsb=0.0, inl_lsb=1.5), 100, Key(4))
    signs = np.sign(levels[:, len(codes) // 2])
    np.testing.assert_allclose(levels - codes, signs[:, None] * 1.5 * (1 - (codes / 63) ** 2), atol=1e-12)
    assert stats.binomtest(int((signs > 0).sum()), 100).pvalue > ALARM


def test_dac_offsets_and_gains_are_recovered():
    levels, codes = measured_levels(DAC(bits=4, scaling="none", offset_lsb=0.7, gain_error=0.02), 2000, Key(5))
    gains, offsets = np.polynomial.polynomial.polyfit(codes, levels.T, 1)[::-1]
    assert spread_is(gains - 1, 0.02)
    assert spread_is(offsets, 0.7)
    assert stats.pearsonr(gains, offsets).pvalue > ALARM


def test_dac_noise_and_jitter():
    x = np.full((400, 51), 0.5)
    x[:, ::2] = 0
    spec = DAC(bits=6, scaling="none", encoding="pulse-width", noise_lsb=0.3, jitter_lsb=0.4)
    bank = DacBank(spec, 51, Key(0), np.float64)
    ((values, _),) = bank.drive(x, 1.0, Key(6), 11).planes
    error = (values - dac(x, 6, 1.0, False)[0]) / spec.lsb
    assert spread_is(error[:, ::2], 0.3)
    assert spread_is(error[:, 1::2], 0.5)
    np.testing.assert_array_equal(values, bank.drive(x, 1.0, Key(6), 11).planes[0][0])
    assert (values != bank.drive(x, 1.0, Key(6), 12).planes[0][0]).all()


@pytest.mark.parametrize("scaling", ["absmax", "none", "average"])
def test_bit_serial_equals_amplitude_through_ideal_converters(rng, scaling):
    x, matrix = rng.normal(size=(20, 30)), rng.normal(size=(30, 8))
    one = DacBank(DAC(bits=6, bound=1.3, scaling=scaling), 30, Key(1), x.dtype).drive(x, 1.0, Key(0), 0)
    two = DacBank(DAC(bits=6, bound=1.3, scaling=scaling, encoding="bit-serial"), 30, Key(1), x.dtype).drive(x, 1.0, Key(0), 0)
    assert len(two.planes) == 5
    assert two.full_voltage
    np.testing.assert_array_equal(two.scale, one.scale)
    assert two.clipped == one.clipped
    np.testing.assert_allclose(
        sum(w * (values @ matrix) for values, w in two.planes), one.planes[0][0] @ matrix, rtol=1e-12, atol=1e-12
    )


def test_bit_serial_errors_meet_every_plane():
    """An offset adds up with weight sum 2**p / M = 1, independent noise with variance sum 4**p / M**2."""
    spec = DAC(bits=5, scaling="none", encoding="bit-serial", offset_lsb=0.5)
    x = np.zeros((300, 40))
    total = sum(w * v for v, w in DacBank(spec, 40, Key(3), x.dtype).drive(x, 1.0, Key(0), 0).planes)
    ((amplitude, _),) = DacBank(spec.but(encoding="amplitude"), 40, Key(3), x.dtype).drive(x, 1.0, Key(0), 0).planes
    np.testing.assert_allclose(total, amplitude, rtol=1e-12)
    spec = spec.but(offset_lsb=0.0, noise_lsb=0.5)
    total = sum(w * v for v, w in DacBank(spec, 40, Key(3), x.dtype).drive(x, 1.0, Key(0), 0).planes)
    assert spread_is(total, 0.5 * spec.lsb * math.sqrt(sum(4**p for p in range(4))) / 15)


def test_a_smaller_dac_bank_has_the_same_converters():
    spec = DAC(offset_lsb=0.5, gain_error=0.01, dnl_lsb=0.2, inl_lsb=0.5)
    small, large = (DacBank(spec, lines, Key(8), np.float32) for lines in (7, 30))
    np.testing.assert_array_equal(small.affine, large.affine[:, :7])
    np.testing.assert_array_equal(small.levels, large.levels[:7])
    again = DacBank(spec, 30, Key(large.key_value), np.float32)
    np.testing.assert_array_equal(again.levels, large.levels)
    assert (DacBank(spec, 30, Key(9), np.float32).levels != large.levels).any()


def test_vectors_that_do_not_fit_are_refused():
    bank = DacBank(DAC(), 4, Key(0), np.float32)
    with pytest.raises(ValueError, match=r"x is float64 of shape \(2, 4\); the bank needs float32 of shape \(n, 4\)"):
        bank.drive(np.zeros((2, 4)), 1.0, Key(0), 0)
