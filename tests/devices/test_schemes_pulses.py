"""Pulse trains: mean and variance of an update against closed forms, trains without chance, directions, and two phases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.mappings import DeviceVector, DifferentialPair, OneSidedPair
from analogpc.devices.matrix import TwoPhases
from analogpc.devices.responses import ConstantStep, SoftBounds
from analogpc.devices.schemes import IdealUpdate, MixedPrecision, ProgramVerify, SignPulses, StochasticPulses
from analogpc.devices.schemes.deterministic_trains import by_direction, deterministic_trains
from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.random.streams import Key

STEP, SPREAD = 1e-3, 0.5
PRE = np.array([0.0, 0.25, -0.5, 1.0, -2.0])
POST = np.array([0.0, 0.2, -0.4, 1.0])


def device(response=None):
    wide = ConstantStep(dw_min=STEP, dw_min_std=SPREAD, w_max=99, w_min=-99)
    return Device(name="t", response=response or wide, g_min_siemens=0, g_max_siemens=1e-5)


def crossbar(scheme, shape=(160, 200), minus="active", **fields):
    substrate = Analog.ideal(device=device(), scheme=scheme, mapping=DifferentialPair(minus=minus), **fields)
    matrix = make_matrix(substrate, np.zeros(shape), Key(5))
    matrix.scales[...] = 1.0
    return matrix


def diagonal_changes(matrix, learn, repeats, lines=40):
    """Changes of crosspoints that share no line, for every pair of values: (pre, post, samples)."""
    changes = []
    for _ in range(repeats):
        before = matrix.weights()
        learn(matrix)
        blocks = (matrix.weights() - before).reshape(len(POST), lines, len(PRE), lines)
        changes.append(np.einsum("akbk->bak", blocks))
    return np.concatenate(changes, axis=2)


def check_moments(changes, mean, variance):
    """Mean and variance of each pair of values at 5.5 standard errors: under 2e-6 false alarms for 25 pairs of values."""
    n = changes.shape[2]
    found = changes.var(axis=2)
    assert (np.abs(changes.mean(axis=2) - mean) <= 5.5 * np.sqrt(variance / n) + 1e-9).all()
    fourth = ((changes - changes.mean(axis=2, keepdims=True)) ** 4).mean(axis=2)
    assert (np.abs(found - variance) <= 5.5 * np.sqrt((fourth - found**2) / n) + 1e-12).all()


@pytest.mark.parametrize("rate", [0.0041, -0.0203, 0.0997])
@pytest.mark.parametrize(
    ("fields", "minus"),
    [
        ({}, "reference"),
        ({"update_management": False, "length_management": False}, "active"),
        ({"length": 7, "directions": "separate"}, "active"),
        ({"bound_management": "spare-pre"}, "reference"),
        ({"bound_management": "repeat"}, "active"),
    ],
    ids=str,
)
def test_mean_and_variance_of_an_update(fields, minus, rate):
    """Zeros, both signs, and at the highest rate probabilities that saturate: 100 coincidences are wanted, 31 fit."""
    scheme = StochasticPulses(**fields)
    matrix = crossbar(scheme, minus=minus)
    x, d = np.repeat(PRE, 40)[None], np.repeat(POST, 40)[None]
    gain_pre, gain_post, length, trains = scheme.gains(x, d, rate / matrix.granularity)
    slots = length[0] * (1 if trains is None else trains[0])
    p = np.minimum(gain_pre[0] * np.abs(PRE), 1)[:, None] * np.minimum(gain_post[0] * np.abs(POST), 1)
    sign = np.sign(rate) * np.sign(PRE)[:, None] * np.sign(POST)
    granule = matrix.granularity
    # The noise of the two devices of an active pair is independent: that of their sum is weaker.
    spread = SPREAD / np.sqrt(len(matrix.arrays))
    changes = diagonal_changes(matrix, lambda m: m.learn([(x, d)], rate), 40)
    check_moments(changes, sign * granule * slots * p, granule**2 * slots * (p * (1 - p) + p * spread**2))
    wanted = rate * PRE[:, None] * POST
    if (gain_pre[0] * 2 <= 1 and gain_post[0] <= 1) or fields.get("bound_management") == "repeat":
        np.testing.assert_allclose(sign * granule * slots * p, wanted, rtol=1e-12)
        assert matrix.meter.clipped_probabilities == 0
    else:
        assert matrix.meter.clipped_probabilities > 0
    if fields.get("bound_management") == "spare-pre":
        assert gain_pre[0] * 2 <= 1 + 1e-12
    assert matrix.meter.pulse_slots == 40 * slots * (4 if fields.get("directions") == "separate" else 1)
    assert matrix.meter.updates == 40


@given(length=st.integers(1, 31), data=st.data())
@settings(max_examples=200, deadline=None)
def test_deterministic_trains_coincide_as_often_as_the_rounded_product(length, data):
    a, b = (data.draw(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=6)) for _ in range(2))
    lengths, gain = np.array([length]), np.ones(1)
    rows, over_a = deterministic_trains(np.array([a]), gain, lengths, "first")
    columns, over_b = deterministic_trains(np.array([b]), gain, lengths, "spread")
    levels = [np.rint(np.minimum(np.abs(values), 1) * length) for values in (a, b)]
    expected = np.floor(np.outer(*levels) / length + 0.5)
    shared = rows[0][:, None] & columns[0][None, :] & np.uint32(0x7FFFFFFF)
    np.testing.assert_array_equal(np.bitwise_count(shared), expected)
    assert not ((rows | columns[:, :1]) & np.uint32(0x7FFFFFFF)).max() >> length
    np.testing.assert_array_equal(rows[0] >> 31, np.array(a) < 0)
    assert (over_a, over_b) == tuple(np.count_nonzero(np.abs(values) > 1) for values in (a, b))


def test_deterministic_updates_follow_the_rounded_product():
    """The mean is exactly the rounded number of coincidences; only the noise of the steps remains."""
    scheme = StochasticPulses(trains="deterministic", length_management=False)
    matrix = crossbar(scheme)
    x, d, rate = np.repeat(PRE, 40)[None], np.repeat(POST, 40)[None], 0.02
    gain_pre, gain_post, length, _ = scheme.gains(x, d, rate / matrix.granularity)
    levels = np.rint(gain_pre[0] * np.abs(PRE) * 31), np.rint(gain_post[0] * np.abs(POST) * 31)
    counts = np.floor(np.outer(*levels) / 31 + 0.5) * np.outer(np.sign(PRE), np.sign(POST))
    changes = diagonal_changes(matrix, lambda m: m.learn([(x, d)], rate), 40)
    check_moments(changes, matrix.granularity * counts, (STEP * SPREAD) ** 2 * 2 * np.abs(counts))
    assert matrix.meter.pulses == 40 * 2 * 1600 * np.abs(counts).sum()
    assert length[0] == 31


@given(seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_passes_by_direction_share_out_the_coincidences(seed):
    rng = np.random.default_rng(seed)
    rows, columns = (rng.integers(0, 2**32, (3, n), dtype=np.uint32) for n in (5, 4))
    slots, down = np.uint32(0x7FFFFFFF), np.uint32(0x80000000)

    def coincidences(r, c):
        return r[:, :, None] & c[:, None, :] & slots, ((r[:, :, None] ^ c[:, None, :]) & down) > 0

    whole, downward = coincidences(rows, columns)
    parts = [coincidences(*part) for part in by_direction(rows, columns)]
    np.testing.assert_array_equal(sum(shared for shared, _ in parts), whole)
    for number, (shared, _) in enumerate(parts):
        assert not shared[downward == (number < 2)].any()
    assert all(not (hit & (direction != (k >= 2)) & (hit > 0)).any() for k, (hit, direction) in enumerate(parts))


def test_directions_change_the_order_of_the_pulses_only(rng):
    """The same pulses: equal for steps that do not depend on the state, different for those that do."""
    x, d = rng.normal(size=(20, 30)), rng.normal(size=(20, 25))
    for response, equal in ((ConstantStep(dw_min=STEP, w_max=99, w_min=-99), True), (SoftBounds(dw_min=0.02), False)):
        matrices = []
        for directions in ("together", "separate"):
            substrate = Analog.ideal(device=device(response), scheme=StochasticPulses(directions=directions), rows=11)
            matrices.append(make_matrix(substrate, np.zeros((25, 30)), Key(1)))
            matrices[-1].learn([(x, d)], 0.05)
        assert matrices[0].meter.pulses == matrices[1].meter.pulses
        difference = np.abs(matrices[0].weights() - matrices[1].weights()).max()
        assert (difference < 1e-12) == equal


def phases_of(s, other):
    return TwoPhases([(s, s)], [(other, other)])


@pytest.mark.parametrize("phases", ["trains", "twin"])
def test_two_phases_cancel_on_average_but_not_in_noise(phases):
    """Variance of eta/(2 beta) (s+ s+^T - s- s-^T): 2 |s s^T| granule eta/(2 beta), half of it on twins, for rare coincidences."""
    rate, lines = 0.004, 150
    plus = np.repeat([0.9, 0.5, 0.0, 0.2], lines)[None]
    minus = plus * 0.97
    matrix = crossbar(StochasticPulses(phases=phases, length_management=False), shape=(600, 600))
    changes = []
    for _ in range(16):
        before = matrix.weights()
        matrix.learn(phases_of(plus, minus), rate)
        blocks = (matrix.weights() - before).reshape(4, lines, 4, lines)
        changes.append(np.einsum("akbk->bak", blocks))
    changes = np.concatenate(changes, axis=2)
    values = plus[0, ::lines]
    granule = matrix.granularity / (2 if phases == "twin" else 1)
    spread = SPREAD / (1 if phases == "twin" else np.sqrt(2))
    counts = np.array([rate * np.outer(v, v) / granule for v in (values, 0.97 * values)])
    # A line does not meet itself: the two of a crosspoint are different lines with independent trains, also where values agree.
    variance = granule**2 * (counts * (1 - counts / 31) + counts * spread**2).sum(axis=0)
    check_moments(changes, rate * np.outer(values, values) * (1 - 0.97**2), variance)
    rough = 2 * np.outer(values, values) * matrix.granularity * rate / (2 if phases == "twin" else 1)
    np.testing.assert_allclose(variance, rough * (1 + spread**2), rtol=0.12)
    # Predictive coding moves by the difference in one small product: its noise is that of the mean alone.
    single = crossbar(StochasticPulses(length_management=False), shape=(600, 600))
    single.learn([(plus, plus)], rate * (1 - 0.97**2))
    assert single.weights()[:150, :150].var() < 0.1 * changes[0, 0].var()


def test_twins_leave_the_mismatch_of_their_devices():
    """Two equal phases: nothing on an ideal pair on average; with a spread of steps sigma, N steps leave sigma sqrt(2) N."""
    sigma, count = 0.2, 20
    response = ConstantStep(dw_min=STEP, dw_min_dtod=sigma, w_max=99, w_min=-99)
    scheme = StochasticPulses(trains="deterministic", phases="twin")
    matrix = make_matrix(Analog.ideal(device=device(response), scheme=scheme), np.zeros((80, 80)), Key(2))
    s = np.ones((1, 80))
    step = matrix.granularity / 2
    matrix.learn(phases_of(s, s), count * step)
    left = matrix.weights()
    expected = np.sqrt(2) * sigma * count * step
    assert abs(left.mean()) < 5 * expected / 80
    assert abs(left.std() / expected - 1) < 5 / np.sqrt(2 * left.size)
    assert matrix.meter.pulses == 2 * count * left.size
    plus, minus = (array.state - array.state.mean() for array in matrix.arrays)
    assert abs((plus * minus).mean()) < 5 * plus.std() * minus.std() / 80
    assert all(array.state.min() > 0 for array in matrix.arrays)


@pytest.mark.parametrize("scheme", [IdealUpdate(), MixedPrecision(), SignPulses(every=9), ProgramVerify()])
def test_schemes_that_add_up_digitally_form_the_difference_there(scheme, rng):
    """Equal phases leave nothing at all, and no pulse is spent."""
    s = rng.normal(size=(5, 6))
    matrix = crossbar(scheme, shape=(6, 6))
    matrix.learn(phases_of(s, s), 0.3)
    assert matrix.meter.pulses == matrix.meter.programmed == 0
    assert not matrix.weights().any()
    digital = make_matrix(Digital(), np.zeros((6, 6)), Key(0))
    digital.learn(phases_of(s, 0.5 * s), 0.3)
    np.testing.assert_allclose(digital.weights(), 0.3 * 0.75 * s.T @ s, rtol=1e-12)


def test_twins_need_pairs_that_go_both_ways():
    twin = StochasticPulses(phases="twin")
    for mapping in (DifferentialPair(minus="reference"),):
        with pytest.raises(ValueError, match="twin"):
            Analog(device="idealized", scheme=twin, mapping=mapping)
    with pytest.raises(ValueError, match="twin"):
        Analog(device="pcm", scheme=twin, mapping=OneSidedPair())
    with pytest.raises(ValueError, match="update_management = true"):
        StochasticPulses(bound_management="spare-pre", update_management=False)
    Analog(device="idealized", scheme=twin, mapping=DeviceVector())


@pytest.mark.parametrize("policy", ["all", "in-turn", "random"])
def test_counted_pulses_of_device_vectors_move_by_the_mean_granule(policy, rng):
    """Whichever of the devices an update reaches; mean over many updates at 5 standard errors."""
    response = ConstantStep(dw_min=STEP, w_max=99, w_min=-99)
    mapping = DeviceVector(gammas=(0.3, 0.9), policy=policy)
    matrix = make_matrix(
        Analog.ideal(device=device(response), scheme=MixedPrecision(), mapping=mapping), np.zeros((2, 2)), Key(1)
    )
    cycles = 400
    for _ in range(cycles):
        matrix.increment(np.full((2, 2), matrix.granularity))
    moved = matrix.weights() / (cycles * matrix.granularity)
    bound = {"all": 1e-6, "in-turn": 1e-6, "random": 5 * 0.5 / np.sqrt(cycles)}[policy]
    assert np.abs(moved - 1).max() < bound
