"""Mappings: each gives the logical product, and has its specific properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.arrays.array import Array
from analogpc.devices.arrays.population import working_lines
from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.mappings import BitSliced, DeviceVector, DifferentialPair, OffsetColumn, OneSidedPair
from analogpc.devices.nonidealities import Faults
from analogpc.devices.presets import preset
from analogpc.devices.responses import ConstantStep, ExponentialStep, Programmable
from analogpc.devices.specification import SpecificationError
from analogpc.devices.substrate import Analog, default_mapping
from analogpc.kernels.random.streams import Key


def exact(response, **fields):
    return Device(name="exact", response=response, g_min_siemens=1e-6, g_max_siemens=4e-5, **fields)


BIPOLAR = exact(ConstantStep(dw_min=1e-3))
UNIPOLAR = exact(ConstantStep(dw_min=1e-3, w_min=0.0))
PROGRAMMED = exact(Programmable())
ROOM = {"headroom": 1.5}
CASES = [
    (BIPOLAR, DifferentialPair(**ROOM)),
    (BIPOLAR, DifferentialPair(minus="reference", **ROOM)),
    (BIPOLAR, DifferentialPair(subtraction="digital", **ROOM)),
    (UNIPOLAR, DifferentialPair(**ROOM)),
    (UNIPOLAR, DifferentialPair(minus="reference", **ROOM)),
    (UNIPOLAR, OneSidedPair(**ROOM)),
    (BIPOLAR, OffsetColumn(**ROOM)),
    (UNIPOLAR, OffsetColumn(reference="exact", **ROOM)),
    (PROGRAMMED, OffsetColumn(**ROOM)),
    (BIPOLAR, DeviceVector(gammas=(1.0, 0.5, 0.25), **ROOM)),
    (PROGRAMMED, DeviceVector(**ROOM)),
    (PROGRAMMED, BitSliced(slices=4, bits=6)),
    (BIPOLAR, BitSliced(slices=3, bits=8, accumulation="analog")),
]


@pytest.mark.parametrize("scaling", ["matrix", "tile", "column"])
@pytest.mark.parametrize(("device", "mapping"), CASES)
def test_every_mapping_is_the_logical_product(device, mapping, scaling, rng):
    """With exact devices and converters, to the digits that the slices hold; in tiles that do not divide, from both sides."""
    w = rng.normal(size=(7, 11)) * rng.uniform(0.1, 3, (7, 1))
    w[3] = 0
    mapping = mapping.but(scaling=scaling)
    matrix = make_matrix(Analog.ideal(device=device, mapping=mapping, rows=4, columns=3, scheme={"kind": "ideal"}), w, Key(0))
    digits = 2.0 ** (mapping.slices * mapping.bits) if isinstance(mapping, BitSliced) else 1e12
    largest = np.abs(w).max() * (mapping.headroom if isinstance(mapping, BitSliced) else 1)
    tolerance = largest / digits + 1e-12
    np.testing.assert_allclose(matrix.weights(), w, atol=tolerance)
    x, g = rng.normal(size=(5, 11)), rng.normal(size=(5, 7))
    np.testing.assert_allclose(matrix.forward(x), x @ matrix.weights().T, atol=1e-10)
    np.testing.assert_allclose(matrix.backward(g), g @ matrix.weights(), atol=1e-10)
    change = -w * rng.uniform(0, 0.02, w.shape)
    before = matrix.weights()
    matrix.increment(change)
    np.testing.assert_allclose(matrix.weights(), before + change, atol=2 * tolerance)


@pytest.mark.parametrize(("device", "mapping"), [case for case in CASES if case[1].takes_pulses and case[0] is not PROGRAMMED])
@pytest.mark.parametrize("scaling", ["matrix", "column"])
def test_updates_by_pulses_have_the_right_mean(device, mapping, scaling, rng):
    """Sum of 400 updates against rate * post pre^T, 5 standard errors of a binomial count (false alarms 1e-6 per weight)."""
    mapping = mapping.but(scaling=scaling, **({"refresh_every": 0} if isinstance(mapping, OneSidedPair) else {}))
    w = rng.normal(size=(4, 6)) * np.array([[1], [0.3], [2], [1]])
    matrix = make_matrix(Analog.ideal(device=device, mapping=mapping, rows=4, columns=3), w, Key(1))
    if device.response.unipolar:
        # Room for steps in both directions.
        for array in matrix.arrays:
            array.program(np.full(array.state.shape, 0.5))
    before = matrix.weights()
    pre, post = rng.normal(size=(1, 6)), rng.normal(size=(1, 4))
    repeats, rate = 400, 0.3 * matrix.granularity / np.abs(pre).max() / np.abs(post).max()
    matrix.learn([(np.repeat(pre, repeats, 0), np.repeat(post, repeats, 0))], rate)
    wanted = repeats * rate * post.T @ pre
    largest_step = matrix.granularity * 3
    spread = np.sqrt(np.abs(wanted) * largest_step) + largest_step
    assert (np.abs(matrix.weights() - before - wanted) < 5 * spread).all()
    assert matrix.meter.updates == repeats


def test_scales_follow_tiles_and_columns(rng):
    w = rng.normal(size=(6, 8)) * np.array([[1, 2, 4, 8, 16, 32]]).T
    mapping = DifferentialPair(headroom=1.0)
    reach = mapping.range(BIPOLAR)
    largest = np.stack([np.abs(w[:, :4]).max(axis=1), np.abs(w[:, 4:]).max(axis=1)])
    np.testing.assert_allclose(mapping.but(scaling="column").scales(w, BIPOLAR, 4, 3), largest / reach)
    tiles = np.repeat(np.stack([largest[:, :3].max(axis=1), largest[:, 3:].max(axis=1)], axis=1), 3, axis=1)
    np.testing.assert_allclose(mapping.but(scaling="tile").scales(w, BIPOLAR, 4, 3), tiles / reach)
    np.testing.assert_allclose(mapping.scales(w, BIPOLAR, 4, 3), np.full((2, 6), np.abs(w).max() / reach))


def test_scales_by_column_make_small_outputs_as_fine_as_large_ones(rng):
    """With 6-bit weights (levels), the relative error of every column is that of its own largest weight."""
    w = rng.normal(size=(5, 40)) * np.array([[1e-2], [1e-1], [1], [10], [100]])
    device = exact(Programmable(), levels={"count": 32})
    fine, coarse = (
        make_matrix(
            Analog.ideal(device=device, mapping=DifferentialPair(scaling=scaling, headroom=1.0), scheme={"kind": "ideal"}),
            w,
            Key(0),
        )
        for scaling in ("column", "matrix")
    )
    steps = np.abs(w).max(axis=1, keepdims=True) / 31
    assert (np.abs(fine.weights() - w) <= steps / 2 * (1 + 1e-9)).all()
    assert np.abs(coarse.weights()[0]).max() == 0


def test_digits_are_those_of_the_rounded_weight():
    """A slice is read with its own converter; digits and their weights make the number."""
    mapping = BitSliced(slices=3, bits=2)
    targets = mapping.split(np.array([[1.0, -0.5, 27 / 63]]), PROGRAMMED)
    digits = [(plus - minus) * 3 for plus, minus in zip(targets[0::2], targets[1::2], strict=True)]
    # 63 = 333 in base 4, round(31.5) = 32 = 200, 27 = 123; the first slice holds the last digit.
    np.testing.assert_allclose(np.array(digits)[:, 0], [[3, 0, 3], [3, 0, 2], [3, -2, 1]])
    np.testing.assert_allclose(mapping.group_weights, np.array([3, 12, 48]) / 63)


def test_digital_accumulation_quantises_every_slice():
    """Two slices behind ADCs that saturate: analog accumulation clips the sum, digital accumulation each part."""
    w, x = np.full((1, 64), 1.0), np.ones((1, 64))
    common = {"device": PROGRAMMED, "scheme": {"kind": "ideal"}, "adc": ADC(bits=None, bound=32.0)}
    digital, analog = (
        make_matrix(Analog.ideal(mapping=BitSliced(accumulation=accumulation), **common), w, Key(0))
        for accumulation in ("digital", "analog")
    )
    np.testing.assert_allclose(digital.forward(x), [[32.0]])
    np.testing.assert_allclose(analog.forward(x), [[32.0]])
    assert digital.meter.saturated_out == 2
    assert digital.meter.conversions_out == 2
    assert analog.meter.saturated_out == 1


def test_digital_subtraction_converts_both_currents(rng):
    """Each converter sees the whole current of its device, offset included, so it saturates where the difference would not."""
    w, x = rng.normal(size=(3, 50)), np.ones((1, 50))
    common = {"device": BIPOLAR, "scheme": {"kind": "ideal"}, "adc": ADC(bits=None, bound=20.0)}
    analog = make_matrix(Analog.ideal(mapping=DifferentialPair(), **common), w, Key(0))
    digital = make_matrix(Analog.ideal(mapping=DifferentialPair(subtraction="digital"), **common), w, Key(0))
    assert analog.forward(x).shape == digital.forward(x).shape
    assert analog.meter.saturated_out == 0
    assert digital.meter.saturated_out == 6


def test_the_reference_column_has_errors_that_all_outputs_share():
    device = preset("pcm-joshi")
    w = np.zeros((6, 300))
    matrix = make_matrix(
        Analog.ideal(device=device, mapping=OffsetColumn(), rows=300, columns=3, scheme={"kind": "ideal"}), w, Key(0)
    )
    pairs = make_matrix(Analog.ideal(device=device, mapping=OffsetColumn(reference="exact"), scheme={"kind": "ideal"}), w, Key(0))
    shared = matrix.weights() - pairs.weights()
    # Programming errors of the weights are the same devices in both; what is left is the reference, alike for all columns of an array.
    np.testing.assert_allclose(shared[:3], np.repeat(shared[:1], 3, axis=0), atol=1e-12)
    assert np.abs(shared[0] - shared[3]).max() > 0
    assert shared.std() > 0


def test_white_noise_of_the_reference_column_is_common_to_its_array():
    """Forwards: variance (sum of both) and covariance (of the reference) of outputs; transposed: the reference carries minus the sum of
    the inputs of its array. 5 standard errors.
    """
    device = exact(Programmable(), read_noise={"kind": "constant", "std_siemens": 1e-7})
    substrate = Analog.ideal(device=device, mapping=OffsetColumn(), rows=4, columns=2, scheme={"kind": "ideal"})
    matrix = make_matrix(substrate, np.full((4, 5), 0.3), Key(0))
    n, scale = 40_000, matrix.scales[0, 0] / device.siemens_per_state
    x = np.array([0.5, -1.0, 2.0, 0.3, 1.0])
    covariance = np.cov(matrix.forward(np.repeat(x[None], n, 0)).T)
    one = (1e-7 * scale) ** 2 * np.square(x).sum()
    expected = one * (np.eye(4) + np.kron(np.eye(2), np.ones((2, 2))))
    assert np.abs(covariance - expected).max() < 5 * 2 * one * np.sqrt(2 / n)
    g = np.array([1.0, 0.5, -1.0, -2.0])
    covariance = np.cov(matrix.backward(np.repeat(g[None], n, 0)).T)
    one = (1e-7 * scale) ** 2 * (np.square(g).sum() + 1.5**2 + 3.0**2)
    assert np.abs(covariance - one * np.eye(5)).max() < 5 * one * np.sqrt(2 / n)


def test_a_broken_word_line_is_broken_for_the_reference_column_too(rng):
    device = exact(Programmable(), faults=Faults(dead_rows=0.3))
    substrate = Analog.ideal(device=device, mapping=OffsetColumn(), rows=40, columns=3, scheme={"kind": "ideal"})
    matrix = make_matrix(substrate, rng.normal(size=(6, 40)), Key(2))
    weights, dead = matrix.weights(), matrix.arrays[0].parameters["open"]
    assert 0 < dead.mean() < 1
    assert np.abs(weights.T[dead]).max() < 1e-12 * np.abs(weights).max()


def test_random_members_differ_from_matrix_to_matrix():
    mapping = DeviceVector(policy="random")
    products = np.arange(64)
    one, same, other = (mapping.receives(products, 0, Key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_array_equal(one, mapping.receives(products, 1, Key(1)))
    np.testing.assert_array_equal(one, ~mapping.receives(products, 2, Key(1)))


def test_members_of_a_vector_learn_all_in_turn_or_at_random(rng):
    w = np.zeros((5, 5))
    w[0, 0] = 1.0
    pre, post = np.ones((200, 5)), np.ones((200, 5))
    moved = {}
    for policy in ("all", "in-turn", "random"):
        mapping = DeviceVector(gammas=(1.0, 1.0), policy=policy)
        matrix = make_matrix(Analog.ideal(device=BIPOLAR, mapping=mapping), w, Key(0))
        before = [array.state.copy() for array in matrix.arrays]
        matrix.learn([(pre, post)], 0.5 * matrix.granularity)
        moved[policy] = [np.abs(array.state - old).mean() / 1e-3 for array, old in zip(matrix.arrays, before, strict=True)]
    for policy, expected in (("all", 100), ("in-turn", 50), ("random", 50)):
        np.testing.assert_allclose(moved[policy], expected, rtol=0.2)


def wear(device, refresh, cycles=60, **fields):
    """Alternate equal updates up and down of a one-sided pair: the weight should stay, the devices rise."""
    matrix = make_matrix(
        Analog.ideal(device=device, mapping=OneSidedPair(refresh_every=refresh, **fields)), np.full((10, 10), 0.5), Key(0)
    )
    ones = np.ones((1, 10))
    for cycle in range(cycles):
        matrix.learn([(ones, ones * (-1) ** cycle)], 10 * matrix.granularity)
    return matrix


def test_one_sided_pairs_wear_out_without_refresh_and_are_refreshed():
    device = exact(ConstantStep(dw_min=5e-3, w_min=0.0))
    worn, fresh = wear(device, 0), wear(device, 1)
    assert all((array.state > 0.9).all() for array in worn.arrays)
    assert fresh.meter.refreshed > 0
    assert fresh.meter.device_reads == 60 * 200
    assert all(array.state.max() < 0.9 for array in fresh.arrays)
    # The pulses that write back are whole steps.
    np.testing.assert_allclose(fresh.weights(), 0.5, atol=fresh.granularity * 0.75 * (1 + fresh.meter.refreshed / 100))


def test_refresh_writes_back_with_the_pulses_that_the_curve_needs():
    """A strongly curved response: the difference is kept to a step of the device, which no constant-step count would do."""
    response = ExponentialStep(
        dw_min=0.002, w_max=2.0, w_min=0.0, a=-1.0, b=0.0, A_up=-9.0, A_down=0.0, gamma_up=1.5, gamma_down=1.0
    )
    matrix = make_matrix(Analog.ideal(device=exact(response), mapping=OneSidedPair(headroom=1.0)), np.array([[0.3, 1.0]]), Key(0))
    for array, states in zip(matrix.arrays, ([[1.7], [1.9]], [[1.0], [0.6]]), strict=True):
        array.program(np.array(states))
    before = matrix.weights()
    matrix.learn([(np.zeros((1, 2)), np.zeros((1, 1)))], 1.0)
    assert matrix.meter.refreshed == 2
    states = response.trajectory(0.0, [True] * 400)
    largest_step = np.diff(states, prepend=0.0).max() * matrix.scales[0, 0]
    np.testing.assert_allclose(matrix.weights(), before, atol=largest_step)
    assert max(array.state.min() for array in matrix.arrays) < 0.8


def test_spare_lines_replace_those_with_most_faults():
    bad = np.zeros((6, 7), bool)
    bad[1, :4] = bad[4, 5] = bad[0, 6] = bad[3, 6] = True
    rows, columns = working_lines(bad, (5, 6), (5, 6), (1, 1))
    np.testing.assert_array_equal(rows[:, 0], [0, 2, 3, 4, 5])
    np.testing.assert_array_equal(columns[0], [0, 1, 2, 3, 4, 5])


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 9), columns=st.integers(1, 9), spare=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_line_choice_is_one_to_one_within_each_array(seed, rows, columns, spare):
    rng, shape, tile = np.random.default_rng(seed), (rows, columns), (4, 3)
    tiles = [-(-lines // most) for lines, most in zip(shape, tile, strict=True)]
    bad = rng.random((rows + tiles[0] * spare, columns + tiles[1] * spare)) < 0.3
    places = working_lines(bad, shape, tile, (spare, spare))
    flat = places[0] * bad.shape[1] + places[1]
    assert len(np.unique(flat)) == flat.size
    assert bad[places].sum() <= bad[:rows, :columns].size
    if spare == 0:
        np.testing.assert_array_equal(places[0], np.arange(rows)[:, None] + np.zeros((1, columns), int))


def test_redundancy_and_compensation_repair_stuck_devices(rng):
    """Error of the stored weights, stuck devices included: each remedy helps, both together most."""
    w = rng.normal(size=(64, 64))
    device = exact(Programmable(), faults=Faults(stuck_low=0.05, stuck_high=0.01, dead_rows=0.05))
    errors = {}
    for name, fields in {
        "none": {},
        "spare": {"spare_rows": 8, "spare_columns": 8},
        "compensate": {"compensate": True},
        "both": {"spare_rows": 8, "spare_columns": 8, "compensate": True},
    }.items():
        mapping = DifferentialPair(headroom=1.2, **fields)
        matrix = make_matrix(
            Analog.ideal(device=device, mapping=mapping, rows=64, columns=64, scheme={"kind": "ideal"}), w, Key(3)
        )
        errors[name] = np.sqrt(np.mean((matrix.weights() - w) ** 2))
    assert errors["both"] < errors["compensate"] < errors["none"]
    assert errors["both"] < errors["spare"] < errors["none"]


def test_large_weights_are_clipped_before_programming(rng):
    w = np.concatenate([rng.normal(size=999), [50.0]]).reshape(20, 50)
    matrix = make_matrix(Analog.ideal(device=BIPOLAR, mapping=DifferentialPair(clip_deviations=3.0)), w, Key(0))
    np.testing.assert_allclose(matrix.weights(), np.clip(w, w.mean() - 3 * w.std(), w.mean() + 3 * w.std()), atol=1e-12)


def test_defaults_fit_the_device():
    assert default_mapping(preset("pcm")).kind == "one-sided-pair"
    assert default_mapping(preset("reram-array-om")).minus == "reference"
    assert default_mapping(preset("reram-wan")).headroom == 1.0
    assert Analog(device="reram-array-om", mapping=DifferentialPair()).mapping.minus == "reference"
    assert default_mapping(preset("reram-sb")) == DifferentialPair()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"device": "reram-sb", "mapping": OneSidedPair()}, "needs w_min = 0"),
        ({"device": "reram-array-om", "mapping": DifferentialPair(minus="active")}, "minus = 'reference'"),
        ({"device": "reram-array-om", "mapping": DeviceVector()}, "minus = 'reference'"),
        ({"device": "reram-array-om", "mapping": OffsetColumn()}, "minus = 'reference'"),
        ({"device": "reram-sb", "mapping": BitSliced()}, "programmed, not pulsed"),
        ({"device": "reram-wan", "scheme": {"kind": "stochastic-pulses"}}, "does not respond to pulses"),
        ({"device": "ideal", "wire_ohms": 1.0}, "wires need devices with limits"),
        ({"device": "rram-milo", "wire_ohms": 1.0}, "milo-rram"),
        ({"mapping": {"kind": "differential-pair", "minus": "reference", "subtraction": "digital"}}, "subtraction = 'digital'"),
        ({"mapping": {"kind": "device-vector", "gammas": [1.0]}}, "gammas"),
    ],
)
def test_what_does_not_fit_is_refused(fields, sentence):
    with pytest.raises(SpecificationError, match=sentence):
        Analog(**fields)


def test_curved_currents_bend_amplitudes_and_not_pulse_widths(rng):
    """I = G V_s sinh(V / V_s): the closed form for voltages; for pulse widths only a factor at the full voltage."""
    w, x = rng.normal(size=(4, 9)), rng.uniform(-1, 1, (3, 9))
    device = exact(Programmable(), conduction={"kind": "sinh", "scale_volts": 0.15})
    common = {"device": device, "scheme": {"kind": "ideal"}, "read_volts": 0.3}
    bent = make_matrix(Analog.ideal(**common), w, Key(0))
    np.testing.assert_allclose(bent.forward(x), 0.5 * np.sinh(2 * x) @ w.T, rtol=1e-9)
    np.testing.assert_allclose(bent.backward(x[:, :4]), 0.5 * np.sinh(2 * x[:, :4]) @ w, rtol=1e-9)
    timed = make_matrix(Analog.ideal(dac=DAC(bits=None, bound=1.0, scaling="none", encoding="pulse-width"), **common), w, Key(0))
    np.testing.assert_allclose(timed.forward(x), 0.5 * np.sinh(2.0) * x @ w.T, rtol=1e-9)


def test_array_currents_are_those_of_every_device(rng):
    device = preset("rram-milo")
    array = Array(device, (5, 4), Key(0), np.dtype("float64"))
    array.program(rng.uniform(0, 1, (5, 4)))
    volts, g = rng.uniform(-0.3, 0.3, (2, 5)), array.conductance()
    expected = [[sum(device.conduction.current(g[j, i], v[j]) for j in range(5)) for i in range(4)] for v in volts]
    np.testing.assert_allclose(array.read(volts), expected, rtol=1e-12)
