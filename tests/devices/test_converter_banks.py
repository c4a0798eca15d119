"""Sampled ADCs: the errors measured by a fine ramp equal the specified ones."""

import math

import numpy as np
import pytest
from scipy import stats

from analogpc.devices.converters.banks import AdcBank, DacBank
from analogpc.devices.converters.levels import capacitor_levels
from analogpc.devices.converters.specification import ADC, DAC
from analogpc.kernels.converters.shared import SLOW, adc
from analogpc.kernels.random.streams import Key, normals

ALARM = 1e-6
FINE = 64


def spread_is(values, expected):
    """Whether independent normal values of mean zero have this standard deviation, at a false-alarm rate of 1e-6."""
    statistic = (values**2).sum() / expected**2
    return stats.chi2.ppf(ALARM / 2, values.size) < statistic < stats.chi2.isf(ALARM / 2, values.size)


def output(spec, y, key, per=10**9, dtype=np.float64, noise=0.0, **others):
    """Values that a bank of one cut gives for sums ``y``, and the clipped ones of each vector."""
    total = np.zeros_like(y, dtype)
    bank = AdcBank(spec, 1, y.shape[1], per, key, dtype)
    return total, bank.convert(y.astype(dtype), total, np.ones(len(y), dtype), 0, noise, Key(77), 3, **others)


def measured(spec, lines, key, per=10**9):
    """Transition levels by a ramp of 1/64 LSB, in LSB: (lines, codes - 1), each within 1/128 of the truth; and the ideal ones."""
    most = 2 ** (int(spec.bits) - 1) - 1
    ramp = np.arange(-FINE * (most + 6), FINE * (most + 6)) / FINE + 0.5 / FINE
    values, _ = output(spec, np.repeat(ramp[:, None] * spec.lsb, lines, axis=1), key, per)
    codes = np.rint(values / spec.lsb).astype(int)
    assert (np.diff(codes, axis=0) >= 0).all()
    nominal = np.arange(-most, most) + 0.5
    below = np.array([np.searchsorted(codes[:, line], nominal) for line in range(lines)])
    return ramp[below] - 0.5 / FINE, nominal


def test_uniform_dnl_is_as_specified():
    found, nominal = measured(ADC(bits=7, dnl_lsb=0.2), 64, Key(1))
    assert spread_is(found - nominal, 0.2 / math.sqrt(2))
    # Neighbouring widths share a transition: the variance of their mean square is 3/2 times that of independent ones.
    dnl = np.diff(found) - 1
    assert abs((dnl**2).mean() / 0.04 - 1) < 5 * math.sqrt(2 * 1.5 / dnl.size)


@pytest.mark.parametrize("architecture", ["uniform", "sar", "ramp"])
def test_the_bow_is_as_specified(architecture):
    found, nominal = measured(ADC(bits=6, inl_lsb=1.5, architecture=architecture), 40, Key(2), per=1)
    signs = np.sign(found[:, len(nominal) // 2])
    bow = 1.5 * (1 - (nominal / 30.5) ** 2)
    np.testing.assert_allclose(found - nominal, signs[:, None] * bow, atol=1.01 / FINE)
    assert stats.binomtest(int((signs > 0).sum()), 40).pvalue > ALARM


@pytest.mark.parametrize("architecture", ["uniform", "sar", "ramp"])
def test_offsets_and_gains_are_recovered(architecture):
    found, nominal = measured(ADC(bits=5, offset_lsb=0.8, gain_error=0.03, architecture=architecture), 1000, Key(3), per=1)
    gains = np.ptp(nominal) / np.ptp(found, axis=1)
    offsets = -gains * found.mean(1)
    assert spread_is(gains - 1, 0.03)
    assert spread_is(offsets, 0.8)
    assert stats.pearsonr(gains, offsets).pvalue > ALARM


def test_capacitor_mismatch_gives_the_theoretical_inl_and_dnl():
    """Saberi et al. 2011: mid-scale DNL variance (2**b - 1) s**2, INL variance c (1 - c / 2**b) s**2."""
    bits, mismatch = 6, 0.02
    found, nominal = measured(ADC(bits=bits, architecture="sar", capacitor_mismatch=mismatch), 1000, Key(4))
    middle = 2 ** (bits - 1) - 2
    assert nominal[middle] == -0.5
    width = found[:, middle] - found[:, middle - 1]
    assert spread_is(width - 1, mismatch * math.sqrt(2**bits - 1))
    inl, code = found - nominal, nominal + 2 ** (bits - 1) + 0.5
    assert spread_is(inl[:, middle], mismatch * math.sqrt(2**bits / 4))
    power = (inl**2).mean(1)
    expected = (code * (1 - code / 2**bits)).mean() * mismatch**2
    assert abs(power.mean() - expected) < 5 * power.std() / math.sqrt(len(power))


def test_large_mismatch_misses_codes_as_often_as_predicted():
    """The code below mid-scale is missing where the largest capacitor is smaller than all others without the fixed one."""
    bits, mismatch = 8, 0.05
    found, _ = measured(ADC(bits=bits, architecture="sar", capacitor_mismatch=mismatch), 400, Key(5))
    middle = 2 ** (bits - 1) - 2
    missing = int((found[:, middle] == found[:, middle - 1]).sum())
    # Measured on a grid of 1/64 LSB, narrower codes look missing too.
    chance = stats.norm.cdf((0.5 / FINE - 1) / (mismatch * math.sqrt(2**bits - 1)))
    assert stats.binomtest(missing, 400, chance).pvalue > ALARM
    assert missing > 10


def test_sar_takes_the_steps_of_successive_approximation():
    """Against the algorithm itself, bit by bit, with mismatch enough for thresholds out of order."""
    bits, lines, spec = 6, 20, ADC(bits=6, architecture="sar", capacitor_mismatch=0.15)
    y = spec.lsb * np.random.default_rng(6).uniform(-36, 36, (500, lines))
    levels = capacitor_levels(bits, 0.15, Key(6).fold("capacitors"), 0, lines)
    assert (np.diff(levels) < 0).any()
    code = np.zeros(y.shape, int)
    for place in reversed(range(bits)):
        trial = code | 1 << place
        passed = y / spec.lsb >= levels[np.arange(lines), trial] - 2 ** (bits - 1) - 0.5
        code = np.where(passed, trial, code)
    expected = np.maximum(code - 2 ** (bits - 1), -(2 ** (bits - 1)) + 1)
    np.testing.assert_array_equal(np.rint(output(spec, y, Key(6))[0] / spec.lsb), expected)


def test_ramps_rise_and_are_shared_by_the_converters_of_an_array():
    spec = ADC(bits=6, architecture="ramp", dnl_lsb=0.5, offset_lsb=0.4, inl_lsb=2.0, gain_error=0.05)
    bank = AdcBank(spec, 2, 30, 10, Key(7), np.float64)
    for table in bank.transitions:
        assert table.shape == (3, 63)
        assert (np.diff(table[:, 1:]) > 0).all()
    assert (bank.entry[0][0].reshape(3, 10) == bank.entry[0][0][::10, None]).all()
    found, _ = measured(spec, 30, Key(7), per=10)
    common = (found - found.mean(1, keepdims=True)).reshape(3, 10, -1)
    np.testing.assert_allclose(common, np.broadcast_to(common[:, :1], common.shape), atol=2.1 / FINE)
    assert np.abs(common[0, 0] - common[1, 0]).max() > 0.1
    # The offsets of the comparators of one array differ.
    assert found.mean(1).reshape(3, 10).std(1).min() > 0.1


def test_ramp_errors_add_up_to_a_tied_random_walk():
    found, nominal = measured(ADC(bits=6, architecture="ramp", dnl_lsb=0.1), 1000, Key(8), per=1)
    inl, steps = found - nominal, len(nominal) - 1
    np.testing.assert_allclose(inl[:, [0, -1]], 0, atol=1 / FINE)
    for walked in (5, steps // 2, steps - 15):
        assert spread_is(inl[:, walked], 0.1 * math.sqrt(walked * (1 - walked / steps)))
    power = ((np.diff(found) - 1) ** 2).mean(1)
    grid = 2 * (1 / FINE) ** 2 / 12
    assert abs(power.mean() - grid - 0.01 * (1 - 1 / steps)) < 5 * power.std() / math.sqrt(len(power))


@pytest.mark.parametrize("architecture", ["uniform", "sar", "ramp"])
@pytest.mark.parametrize("calibration", ["none", "gain-offset"])
def test_calibration_removes_gain_and_offset_and_leaves_the_inl(architecture, calibration):
    spec = ADC(
        bits=6, architecture=architecture, offset_lsb=1.0, gain_error=0.03, inl_lsb=1.0, dnl_lsb=0.1, calibration=calibration
    )
    lines = 30
    found, nominal = measured(spec.but(calibration="none"), lines, Key(9), per=10)
    levels = np.sort(
        output(spec, np.repeat(np.linspace(-40, 40, 9000)[:, None] * spec.lsb, lines, axis=1), Key(9), 10)[0], axis=0
    )
    edges = np.array([(np.unique(column)[1:] + np.unique(column)[:-1]) / 2 for column in levels.T]) / spec.lsb
    slopes = np.array([np.polyfit(inputs, outputs, 1) for inputs, outputs in zip(edges, found, strict=True)])
    if calibration == "none":
        assert np.abs(slopes - [1, 0]).max(0).min() > 0.02
        return
    np.testing.assert_allclose(slopes[:, 0], 1, atol=1e-3)
    np.testing.assert_allclose(slopes[:, 1], 0, atol=0.5 / FINE)
    inl = [seen - np.polyval(np.polyfit(nominal, seen, 1), nominal) for seen in found]
    np.testing.assert_allclose(found - edges, inl, atol=1.1 / FINE)
    assert np.abs(inl).max() > 0.5


def test_calibration_of_infinite_resolution_is_exact(rng):
    y = rng.normal(size=(5, 20))
    spec = ADC(bits=math.inf, bound=math.inf, gain_error=0.1, calibration="gain-offset")
    np.testing.assert_allclose(output(spec, y, Key(10))[0], y, rtol=1e-12)
    assert np.abs(output(spec.but(calibration="none"), y, Key(10))[0] / y - 1).max() > 0.05


@pytest.mark.parametrize(
    "fields",
    [{}, {"inl_lsb": 1e-9}, {"offset_lsb": 1.0, "gain_error": 0.05, "calibration": "gain-offset"}, {"architecture": "sar"}],
)
def test_quantisation_noise_is_that_of_a_uniform_error(fields):
    """LSB**2 / 12 in the middle of the range, at 5 standard errors."""
    spec = ADC(bits=7, bound=3.0, **fields)
    y = np.random.default_rng(11).uniform(-2, 2, (1000, 100))
    power = (output(spec, y, Key(11))[0] - y) ** 2
    gains = AdcBank(spec, 1, 100, 100, Key(11), np.float64).entry[0][0]
    expected = spec.lsb**2 / 12 * (1 / gains**2).mean()
    assert abs(power.mean() - expected) < 5 * power.std() / math.sqrt(power.size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "fields", [{"dnl_lsb": 0.2}, {"architecture": "sar", "capacitor_mismatch": 0.02}, {"architecture": "ramp", "dnl_lsb": 0.2}]
)
def test_saturation_is_exact(dtype, fields):
    spec = ADC(bits=6, bound=2.0, **fields)
    y = np.repeat(np.linspace(-3, 3, 3001)[:, None], 20, axis=1)
    values, clipped = output(spec, y, Key(12), 5, dtype)
    assert values.dtype == dtype
    np.testing.assert_allclose(values.min(0), -2, rtol=1e-6)
    np.testing.assert_allclose(values.max(0), 2, rtol=1e-6)
    bank = AdcBank(spec, 1, 20, 5, Key(12), dtype)
    outer = bank.transitions[0][bank.row][:, [1, -1]]
    # The outer transitions lie half a step inside of the outermost levels, and half a step beyond these rounds to them.
    step = dtype(spec.lsb)
    outside = (y.astype(dtype) < outer[:, 0] - step) | (y.astype(dtype) > outer[:, 1] + step)
    np.testing.assert_array_equal(clipped, outside.sum(1))
    assert 900 < outside[:, 0].sum() < 1100


@pytest.mark.parametrize(
    "fields", [{}, {"dnl_lsb": 0.3, "gain_error": 0.01}, {"architecture": "sar"}, {"bits": math.inf, "bound": math.inf}]
)
def test_noise_has_the_variance_of_its_parts(fields):
    """Through a converter much finer than the noise; chi-square."""
    spec = ADC(**{"bits": 13, "bound": 50.0, **fields})
    if "gain_error" not in fields and not math.isinf(spec.bits):
        spec = spec.but(noise_lsb=20.0)
    y = np.zeros((800, 50))
    variance = np.repeat(np.linspace(0, 2, 50)[None], 800, axis=0)
    values, _ = output(spec, y, Key(13), noise=0.5, variance=variance)
    assert spread_is(values / np.sqrt(0.25 + variance + (spec.noise_lsb * spec.lsb) ** 2), 1.0)
    assert spread_is(output(spec, y, Key(13), noise=0.5)[0], math.hypot(0.5, spec.noise_lsb * spec.lsb))


def test_an_ideal_bank_is_the_fused_kernel(rng):
    y, scale = (8 * rng.normal(size=(9, 21))).astype(np.float32), rng.uniform(1, 2, 9).astype(np.float32)
    one, two, three = (np.ones_like(y) for _ in range(3))
    bank = AdcBank(ADC(bits=6), 3, 21, 8, Key(1), y.dtype)
    clipped = bank.convert(y, one, scale, 2, 0.5, Key(2), 4)
    np.testing.assert_array_equal(clipped, adc(y, two, scale, 0.5, 6, 12.0, Key(2), 4))
    np.testing.assert_array_equal(one, two)
    assert all(table.size == 0 for table in bank.transitions)
    # The general kernel draws the same bits.
    bank.convert(y, three, scale, 2, 0.5, Key(2), 4, column_scale=np.ones(21))
    np.testing.assert_array_equal(one, three)


def test_noise_that_is_equal_for_all_lines_of_a_vector(rng):
    """One column of variances gives the same bits as the full table, in both kernels."""
    y, scale = (8 * rng.normal(size=(9, 21))).astype(np.float32), rng.uniform(1, 2, 9).astype(np.float32)
    variance = rng.uniform(0, 2, (9, 1)).astype(np.float32)
    bank, results = AdcBank(ADC(bits=6), 3, 21, 8, Key(1), y.dtype), []
    for given, column_scale in ((variance, None), (np.repeat(variance, 21, 1), None), (variance, np.ones(21))):
        total = np.zeros_like(y)
        clipped = bank.convert(y, total, scale, 0, 0.5, Key(2), 4, given, column_scale)
        results.append((clipped, total))
    for clipped, total in results[1:]:
        np.testing.assert_array_equal(clipped, results[0][0])
        np.testing.assert_array_equal(total, results[0][1])
    with pytest.raises(ValueError, match="variance has shape"):
        bank.convert(y, total, scale, 0, 0.5, Key(2), 4, variance[:4])


@pytest.mark.parametrize("fields", [{}, {"dnl_lsb": 0.2, "offset_lsb": 1.0, "calibration": "gain-offset"}])
def test_columns_may_have_their_own_scale(rng, fields):
    y, factors = 5 * rng.normal(size=(4, 7)), rng.uniform(0.5, 2, 7)
    plain, scaled = (output(ADC(**fields), y, Key(3), column_scale=factor)[0] for factor in (None, factors))
    np.testing.assert_allclose(scaled, plain * factors, rtol=1e-12)


def test_bit_serial_reads_weigh_their_noise_and_quantisation():
    """Independent errors of the reads add with 4**p / M**2: noise and LSB**2 / 12 alike; 5 standard errors."""
    x, matrix = np.random.default_rng(14).normal(size=(800, 64)), np.random.default_rng(15).normal(size=(64, 20))
    drive = DacBank(DAC(bits=5, encoding="bit-serial"), 64, Key(1), x.dtype).drive(x, 1.0, Key(0), 0)
    spec = ADC(bits=8, bound=40.0)
    bank = AdcBank(spec, 1, 20, 20, Key(1), x.dtype)
    total, noise = np.zeros((800, 20)), 0.3
    exact = sum(weight * (values @ matrix) for values, weight in drive.planes)
    for plane, (values, weight) in enumerate(drive.planes):
        assert not bank.convert(values @ matrix, total, np.full(800, weight), 0, noise, Key(16), plane).any()
    power = (total - exact) ** 2
    expected = (noise**2 + spec.lsb**2 / 12) * sum(4**p for p in range(4)) / 15**2
    assert abs(power.mean() - expected) < 5 * power.std() / math.sqrt(power.size)


SPECS = [
    ADC(offset_lsb=0.5, gain_error=0.01, dnl_lsb=0.2, inl_lsb=0.5, noise_lsb=0.3, calibration="gain-offset"),
    ADC(architecture="sar", capacitor_mismatch=0.01, offset_lsb=0.5),
    ADC(architecture="ramp", dnl_lsb=0.1, gain_error=0.01, offset_lsb=0.5, calibration="gain-offset"),
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_bank_with_other_cuts_and_lines_has_the_same_converters(spec):
    y = 5 * normals(Key(17), 0, (6, 24), np.float32)
    totals = []
    for cuts, lines, again in ((3, 24, False), (2, 24, True), (2, 13, False)):
        bank = AdcBank(spec, cuts, lines, 5, Key(18), np.float32)
        if again:
            bank = AdcBank(spec, cuts, lines, 5, Key(bank.key_value), np.float32)
        total = np.zeros((6, lines), np.float32)
        bank.convert(y[:, :lines].copy(), total, np.ones(6, np.float32), 1, 0.1, Key(19), 0, variance=y[:, :lines] ** 2)
        totals.append(total)
    np.testing.assert_array_equal(totals[0], totals[1])
    np.testing.assert_array_equal(totals[0][:, :13], totals[2])
    bank = AdcBank(spec, 2, 24, 5, Key(18), np.float32)
    assert (bank.entry[0] != bank.entry[1]).any()


@pytest.mark.parametrize("spec", SPECS)
def test_threads_change_nothing(with_threads, spec):
    y = 5 * normals(Key(20), 0, (1700, 40), np.float32)
    assert y.size > SLOW
    one, two = with_threads(lambda: output(spec, y, Key(21), 10, np.float32, 0.1, variance=y**2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


def test_what_does_not_fit_a_bank_is_refused():
    bank = AdcBank(ADC(), 2, 4, 4, Key(0), np.float64)
    y, scale = np.zeros((3, 4)), np.ones(3)
    with pytest.raises(ValueError, match=r"y is float64 of shape \(3, 2\); the bank needs float64 of shape \(n, 4\)"):
        bank.convert(y[:, :2], y.copy(), scale, 0, 0.0, Key(0), 0)
    with pytest.raises(ValueError, match="cut = 2 is not allowed: the bank has 2"):
        bank.convert(y, y.copy(), scale, 2, 0.0, Key(0), 0)
    with pytest.raises(ValueError, match=r"variance has shape \(4,\); the sums have \(3, 4\)"):
        bank.convert(y, y.copy(), scale, 0, 0.0, Key(0), 0, variance=np.ones(4))
    with pytest.raises(ValueError, match=r"column_scale has shape \(3,\); the bank needs \(4,\)"):
        bank.convert(y, y.copy(), scale, 0, 0.0, Key(0), 0, column_scale=np.ones(3))
