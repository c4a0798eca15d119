"""Schemes with digital accumulation: sign pulses, mixed precision, program-and-verify."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.mappings import BitSliced, DifferentialPair
from analogpc.devices.matrix import NonFiniteError
from analogpc.devices.nonidealities import Faults
from analogpc.devices.nonidealities.noise import ConstantNoise
from analogpc.devices.nonidealities.programming import ConstantSpread
from analogpc.devices.presets import preset
from analogpc.devices.responses import ConstantStep, Programmable, SoftBounds
from analogpc.devices.schemes import IdealUpdate, MixedPrecision, ProgramVerify, SignPulses
from analogpc.devices.schemes.mixed_precision import whole_granules
from analogpc.devices.substrate import Analog
from analogpc.kernels.random.streams import Key

STEP = 2.0**-10


def crossbar(scheme, shape=(6, 8), response=None, dtype=np.float64, mapping=None, weights=None, **fields):
    response = response or ConstantStep(dw_min=STEP, w_max=64, w_min=-64)
    device = Device(name="t", response=response, g_min_siemens=0, g_max_siemens=1e-5, **fields)
    substrate = Analog.ideal(device=device, scheme=scheme, mapping=mapping or DifferentialPair())
    matrix = make_matrix(substrate, np.zeros(shape, dtype), Key(7))
    matrix.scales[...] = 1.0
    matrix.program(np.zeros(shape, dtype) if weights is None else weights)
    return matrix


def test_sign_pulses_write_the_sign_of_what_exceeds_the_threshold(rng):
    x, d, rate = rng.normal(size=(9, 8)), rng.normal(size=(9, 6)), 0.01
    wanted = rate * d.T @ x
    matrix = crossbar(SignPulses())
    matrix.learn([(x[:4], d[:4]), (x[4:], d[4:])], rate)
    np.testing.assert_allclose(matrix.weights(), matrix.granularity * np.sign(wanted), rtol=1e-12)
    assert matrix.meter.pulses == 2 * 48
    assert matrix.meter.updates == 9
    # Eight word lines, each written first up and then down; every line here has both signs.
    assert matrix.meter.pulse_slots == 16
    # A threshold in granules, several pulses, and two cycles added up.
    matrix = crossbar(SignPulses(threshold=5.0, pulses=3, every=2))
    matrix.learn([(x, d)], rate)
    assert not matrix.weights().any()
    matrix.learn([(x, d)], rate)
    chosen = np.abs(2 * wanted) > 5 * matrix.granularity
    assert 0 < chosen.sum() < 48
    np.testing.assert_allclose(matrix.weights(), 3 * matrix.granularity * np.sign(wanted) * chosen, rtol=1e-12)
    # A threshold relative to the size of all changes, whatever the rate.
    for rate in (1e-6, 1.0):
        matrix = crossbar(SignPulses(threshold=1.0, threshold_unit="rms"))
        matrix.increment(-rate * wanted)
        chosen = np.abs(wanted) > np.sqrt(np.mean(wanted**2))
        np.testing.assert_allclose(matrix.weights(), -matrix.granularity * np.sign(wanted) * chosen, rtol=1e-12)
    assert not matrix.memory["sum"].any()


def test_zero_is_never_written():
    matrix = crossbar(SignPulses(threshold_unit="rms"))
    matrix.learn([(np.zeros((3, 8)), np.ones((3, 6)))], 1.0)
    assert matrix.meter.pulses == 0


@given(
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from(["float32", "float64"]),
    granule=st.floats(0.1, 7),
    most=st.sampled_from([1, 3, np.inf]),
)
@settings(max_examples=100, deadline=None)
def test_what_is_written_and_what_is_kept_make_the_whole(seed, dtype, granule, most):
    """Without a limit to the last bit: pulses times granule plus the rest, in exact arithmetic, is what there was."""
    rng = np.random.default_rng(seed)
    chi = (rng.normal(size=50) * 10.0 ** rng.integers(-3, 3, 50)).astype(dtype)
    epsilon = np.full(50, granule, dtype)
    counts, rest = whole_granules(chi, epsilon, most)
    assert counts.dtype == np.int32
    assert rest.dtype == chi.dtype
    assert np.abs(counts).max() <= most
    if most == np.inf:
        assert (np.abs(rest) < epsilon).all()
        for c, n, r, e in zip(chi, counts, rest, epsilon, strict=True):
            assert Fraction(float(c)) == int(n) * Fraction(float(e)) + Fraction(float(r))
    else:
        np.testing.assert_allclose(counts * epsilon + rest, chi, rtol=1e-5)
        assert (np.abs(rest) >= epsilon)[np.abs(chi) >= (most + 1) * epsilon].all()


@pytest.mark.parametrize(
    "scheme", [MixedPrecision(), MixedPrecision(every=3), MixedPrecision(lines=3), MixedPrecision(most_pulses=2)]
)
def test_mixed_precision_is_sgd_to_within_a_granule(scheme, rng):
    """Devices of ideal steps: what is on them and in chi is exactly what exact writing gives."""
    matrix, exact = crossbar(scheme), crossbar(IdealUpdate())
    for _ in range(12):
        x, d = rng.normal(size=(4, 8)), rng.normal(size=(4, 6))
        for m in (matrix, exact):
            m.learn([(x, d)], 2e-3)
    np.testing.assert_allclose(matrix.weights() + matrix.memory["chi"].T, exact.weights(), rtol=0, atol=1e-14)
    # Sums of steps of 2^-10 have no rounding: the weights are whole granules to the bit.
    counts = matrix.weights() / matrix.granularity
    np.testing.assert_array_equal(counts, np.rint(counts))
    if scheme == MixedPrecision():
        assert np.abs(matrix.memory["chi"]).max() < matrix.granularity
        assert np.abs(matrix.weights() - exact.weights()).max() < matrix.granularity
    assert matrix.meter.pulses > 0
    assert matrix.meter.pulses == sum(array.pulses for array in matrix.arrays)


def test_mixed_precision_writes_as_many_pulses_as_there_are_granules():
    matrix = crossbar(MixedPrecision(), shape=(2, 3))
    change = matrix.granularity * np.array([[1.5, -2.0, 0.9], [0.0, 3.2, -0.5]])
    matrix.increment(change)
    counts = np.array([[1, -2, 0], [0, 3, 0]])
    np.testing.assert_allclose(matrix.weights(), counts * matrix.granularity, rtol=1e-12)
    np.testing.assert_allclose(matrix.memory["chi"].T, change - counts * matrix.granularity, atol=1e-15)
    assert matrix.meter.pulses == 2 * 6
    # Word lines 0 and 1 need 1 up, then 3 up and 2 down; line 2 none.
    assert matrix.meter.pulse_slots == 1 + 3 + 2
    coarse = crossbar(MixedPrecision(granule=2.0), shape=(2, 3))
    coarse.increment(change)
    np.testing.assert_allclose(coarse.weights(), np.trunc(change / 2 / matrix.granularity) * matrix.granularity, rtol=1e-12)


def test_lines_take_turns_and_transfers_wait():
    matrix = crossbar(MixedPrecision(lines=3))
    written = []
    for _ in range(4):
        before = matrix.weights()
        matrix.increment(np.full((6, 8), 10 * matrix.granularity))
        written.append(np.flatnonzero((matrix.weights() != before).any(axis=0)).tolist())
    assert written == [[0, 1, 2], [3, 4, 5], [0, 6, 7], [1, 2, 3]]
    waiting, pulses = crossbar(MixedPrecision(every=3)), []
    for _ in range(7):
        waiting.increment(np.full((6, 8), waiting.granularity))
        pulses.append(waiting.meter.pulses // 96)
    assert pulses == [0, 0, 3, 3, 3, 6, 6]


@pytest.mark.parametrize("stochastic", [True, False])
def test_rounding_to_bins(stochastic):
    """5 bins: two steps to each side of zero; stochastic rounding is right on average, 5 standard errors."""
    scheme = MixedPrecision(pre_bins=5, post_bins=5, stochastic_rounding=stochastic, granule=1e6)
    x, d = np.tile([1.0, 0.6, -0.3, 0.0], (4000, 1)), np.tile([-0.5, 0.2], (4000, 1))
    matrix = crossbar(scheme, shape=(2, 4))
    matrix.learn([(x, d)], 1 / 4000)
    if stochastic:
        wanted = d[0][:, None] * x[0]
        error = 5 * 0.25 * 0.5 / np.sqrt(4000)
    else:
        wanted, error = np.array([-0.5, 0.25])[:, None] * np.array([1.0, 0.5, -0.5, 0.0]), 1e-12
    assert np.abs(matrix.memory["chi"].T - wanted).max() < error
    assert not stochastic or np.abs(matrix.memory["chi"].T - wanted).max() > 1e-6


HEALTHY = SoftBounds(dw_min=0.002, dw_min_dtod=0.15, up_down_dtod=0.05, w_max_dtod=0.1, w_min_dtod=0.1, dw_min_std=0.5)


@pytest.mark.parametrize("single", [True, False])
def test_program_and_verify_reaches_its_tolerance_and_reports_the_rest(single, rng):
    """100 x 100 weights, one device in a hundred stuck: 99.9 % of the healthy ones get there, no other is called converged."""
    scheme = ProgramVerify(tolerance=1.0, budget=1500, single=single)
    faults, alone = Faults(stuck_low=0.01, stuck_high=0.01), DifferentialPair(minus="reference")
    matrix = crossbar(scheme, shape=(100, 100), response=HEALTHY, mapping=alone, faults=faults)
    target = rng.uniform(-0.6, 0.6, (100, 100))
    matrix.increment(target)
    error = np.abs(matrix.weights() - (matrix.memory["target"].T))
    stuck, failed = matrix.cells.stuck.T, matrix.memory["failed"].T
    np.testing.assert_array_equal(failed, error > matrix.granularity)
    assert failed[~stuck].mean() < 1e-3
    assert failed[stuck].mean() > 0.99
    assert 0.01 < stuck.mean() < 0.03
    assert matrix.memory["converged"] == pytest.approx(1 - failed.mean())
    assert matrix.meter.unverified == failed.sum()
    assert matrix.meter.pulses <= 1500 * 100 * 100
    # Single pulses cost as many reads; more at a time need fewer.
    assert (matrix.meter.device_reads > 30 * 10**4) == single


def test_the_partner_of_a_stuck_device_makes_up_for_it(rng):
    matrix = crossbar(ProgramVerify(budget=600), shape=(60, 60), response=HEALTHY, faults=Faults(stuck_random=0.02))
    matrix.increment(rng.uniform(-0.2, 0.2, (60, 60)))
    plus, minus = matrix.arrays
    one = plus.stuck ^ minus.stuck
    held = np.where(plus.stuck, plus.state, minus.state)
    near, far = one & (np.abs(held) < 0.5), one & (np.abs(held) > 0.9)
    assert min(near.sum(), far.sum()) > 5
    assert not matrix.memory["failed"][near].any()
    assert matrix.memory["failed"][far].any()


def test_what_was_verified_once_more_needs_nothing(rng):
    matrix = crossbar(ProgramVerify(every=2, budget=600), response=HEALTHY)
    matrix.increment(rng.uniform(-0.3, 0.3, (6, 8)))
    assert matrix.meter.pulses == 0
    matrix.increment(np.zeros((6, 8)))
    assert matrix.meter.pulses > 0
    assert matrix.memory["converged"] == 1.0
    pulses = matrix.meter.pulses
    for _ in range(2):
        matrix.increment(np.zeros((6, 8)))
    assert matrix.meter.pulses == pulses


def test_verification_is_counted_as_by_hand():
    """Four weights of two devices; one is three granules off."""
    change = np.array([[3.0, 0.0], [0.0, 0.0]])
    for single, reads in ((False, 8 + 2), (True, 8 + 3 * 2)):
        matrix = crossbar(ProgramVerify(single=single, tolerance=0.5), shape=(2, 2))
        matrix.increment(change * matrix.granularity)
        assert matrix.meter.device_reads == reads
        assert matrix.meter.pulses == 6
        assert matrix.meter.pulse_slots == 3
        assert matrix.meter.unverified == 0
        np.testing.assert_allclose(matrix.weights(), change * matrix.granularity, rtol=1e-12)
    short = crossbar(ProgramVerify(budget=2, tolerance=0.5), shape=(2, 2))
    short.increment(change * short.granularity)
    assert short.meter.pulses == 4
    assert short.meter.unverified == 1
    assert short.memory["converged"] == 0.75
    np.testing.assert_array_equal(short.memory["failed"].T, change > 0)


def test_targets_stay_within_what_devices_can_hold():
    matrix = crossbar(ProgramVerify(budget=1000), response=ConstantStep(dw_min=0.01))
    for sign in (1.0, -1.0):
        matrix.increment(np.full((6, 8), sign * 1e3))
        np.testing.assert_allclose(matrix.weights(), sign * 2.0, rtol=1e-12)
        assert matrix.memory["converged"] == 1.0


@pytest.mark.parametrize("mapping", [DifferentialPair(headroom=1.0), BitSliced()])
def test_programmed_devices_are_programmed_again_until_they_agree(mapping, rng):
    """Programming noise of 0.2 uS on a pair: the tolerance of 0.3 uS, about one deviation, is reached by repetition."""
    scheme = ProgramVerify(tolerance=3e-7 if mapping.kind == "differential-pair" else 5e-7, unit="siemens", budget=40)
    matrix = crossbar(
        scheme,
        shape=(30, 40),
        response=Programmable(),
        mapping=mapping,
        weights=rng.uniform(-0.5, 0.5, (30, 40)),
        programming=ConstantSpread(std_siemens=2e-7),
    )
    change = rng.uniform(-0.3, 0.3, (30, 40))
    allowed = scheme.tolerance / matrix.substrate.device.siemens_per_state
    moved = (np.abs(change) > allowed).sum()
    matrix.increment(change)
    assert matrix.memory["converged"] > 0.999
    off = np.abs(matrix.weights().T - matrix.memory["target"])[~matrix.memory["failed"]]
    assert off.max() <= allowed * (1 + 1e-9)
    assert matrix.meter.programmed > moved * len(matrix.arrays)
    assert matrix.meter.pulses == 0


def test_a_noisy_read_deceives_the_verification(rng):
    """If the read noise exceeds the tolerance, converged conductances deviate by about the noise."""
    noise = ConstantNoise(std_siemens=5e-8)
    matrix = crossbar(
        ProgramVerify(tolerance=0.5, budget=2000), shape=(40, 40), response=ConstantStep(dw_min=1e-4), read_noise=noise
    )
    matrix.increment(rng.uniform(-0.1, 0.1, (40, 40)))
    device = matrix.substrate.device
    deviation = np.sqrt(2) * matrix.arrays[0].read_deviation(matrix.substrate.read_seconds).mean()
    off = (matrix.weights().T - matrix.memory["target"])[~matrix.memory["failed"]]
    assert deviation * device.siemens_per_state > 0
    assert off.std() > 0.3 * deviation


def test_exact_writing_counts_the_devices_that_it_writes():
    matrix = crossbar(IdealUpdate(), shape=(2, 2))
    matrix.increment(np.array([[0.1, 0.0], [0.0, -0.2]]))
    assert matrix.meter.programmed == 2 * 2


def test_refusals(rng):
    with pytest.raises(ValueError, match="does not respond to pulses"):
        Analog.ideal(scheme=MixedPrecision())
    with pytest.raises(ValueError, match="bit-sliced"):
        Analog(device="idealized", mapping=BitSliced(), scheme=SignPulses())
    with pytest.raises(ValueError, match="need no verification"):
        Analog.ideal(scheme=ProgramVerify())
    with pytest.raises(ValueError, match="siemens"):
        Analog(device=preset("idealized").but(response=Programmable()), scheme=ProgramVerify())
    with pytest.raises(ValueError, match="bit-sliced"):
        Analog(device="idealized", mapping=BitSliced(), scheme=ProgramVerify())
    for scheme in (MixedPrecision(), ProgramVerify(), SignPulses()):
        with pytest.raises(NonFiniteError):
            crossbar(scheme).learn([(np.full((1, 8), np.nan), np.ones((1, 6)))], 0.1)
    for scheme in (MixedPrecision(), ProgramVerify()):
        with pytest.raises(NonFiniteError):
            crossbar(scheme).increment(np.full((6, 8), np.inf))
