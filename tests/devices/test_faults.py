"""Faults: specified frequency, and positions that do not depend on other settings."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.arrays.array import Array
from analogpc.devices.device import Device
from analogpc.devices.nonidealities import Endurance, Faults
from analogpc.devices.responses import ConstantStep
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key

F32 = np.dtype("float32")
FIELDS = ("stuck_low", "stuck_high", "stuck_random", "open_devices", "dead_rows", "dead_columns")
third = st.floats(0, 1 / 3)
any_faults = st.builds(Faults, **dict.fromkeys(FIELDS, third))


def within(found, probability, n):
    """5 standard errors: false alarms below 6e-7."""
    return abs(found - probability) < 5 * math.sqrt(probability * (1 - probability) / n)


def test_frequencies_and_levels():
    shape, n = (300, 200), 60_000
    faults = Faults(stuck_low=0.1, stuck_high=0.05, stuck_random=0.2, open_devices=0.02)
    masks = faults.sample(Key(1), shape, 64, 64, F32)
    stuck, level = masks["stuck"], masks["level"]
    assert level.dtype == F32
    assert (level[~stuck] == 0).all()
    assert within((stuck & (level == 0)).mean(), 0.1, n)
    assert within((level == 1).mean(), 0.05, n)
    between = level[stuck & (level > 0) & (level < 1)]
    assert within(between.size / n, 0.2, n)
    assert within((between < 0.5).mean(), 0.5, between.size)
    assert abs(between.std() * math.sqrt(12) - 1) < 5 / math.sqrt(2 * between.size)
    assert within(masks["open"].mean(), 0.02, n)
    # Open devices are stuck as often as any other.
    assert within(stuck[masks["open"]].mean(), 0.35, masks["open"].sum())


def test_dead_lines_end_with_their_physical_array():
    faults = Faults(dead_rows=0.2, dead_columns=0.1)
    rows, columns = 1000, 40
    broken = faults.sample(Key(2), (rows, columns), 30, 16, F32)["open"]
    only_rows = faults.but(dead_columns=0.0).sample(Key(2), (rows, columns), 30, 16, F32)["open"]
    only_columns = faults.but(dead_rows=0.0).sample(Key(2), (rows, columns), 30, 16, F32)["open"]
    np.testing.assert_array_equal(broken, only_rows | only_columns)
    blocks = [only_rows[:, start : start + 16] for start in range(0, columns, 16)]
    lines = np.stack([block[:, 0] for block in blocks])
    for block, line in zip(blocks, lines, strict=True):
        np.testing.assert_array_equal(block, np.repeat(line[:, None], block.shape[1], axis=1))
    assert within(lines.mean(), 0.2, lines.size)
    assert (lines[0] != lines[1]).any()
    starts = range(0, rows, 30)
    lines = np.stack([only_columns[start] for start in starts])
    for start, line in zip(starts, lines, strict=True):
        block = only_columns[start : start + 30]
        np.testing.assert_array_equal(block, np.repeat(line[None], block.shape[0], axis=0))
    assert within(lines.mean(), 0.1, lines.size)


@given(faults=any_faults, rows=st.integers(1, 30), columns=st.integers(1, 30), tile=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_place_keeps_its_fault_in_a_grid_of_any_size(faults, rows, columns, tile, seed):
    large = faults.sample(Key(seed), (30, 30), tile, tile, F32)
    small = faults.sample(Key(seed), (rows, columns), tile, tile, F32)
    for name, mask in small.items():
        assert mask.shape == (rows, columns)
        np.testing.assert_array_equal(mask, large[name][:rows, :columns])
    assert faults.active == any(getattr(faults, name) > 0 for name in FIELDS)
    assert Faults.from_toml(faults.to_toml()) == faults


@given(faults=any_faults, share=st.floats(0, 1), name=st.sampled_from(FIELDS))
@settings(max_examples=30, deadline=None)
def test_more_of_one_fault_heals_no_place(faults, share, name):
    """Raising one probability adds faulty places; only what a stuck device is stuck at may change."""
    fewer = faults.but(**{name: getattr(faults, name) * share}).sample(Key(3), (20, 20), 7, 7, F32)
    more = faults.sample(Key(3), (20, 20), 7, 7, F32)
    assert (more["stuck"] >= fewer["stuck"]).all()
    assert (more["open"] >= fewer["open"]).all()
    if not name.startswith("stuck"):
        np.testing.assert_array_equal(more["stuck"], fewer["stuck"])
        np.testing.assert_array_equal(more["level"], fewer["level"])
    else:
        np.testing.assert_array_equal(more["open"], fewer["open"])


def test_another_cut_moves_no_device_fault():
    faults = Faults(stuck_low=0.2, stuck_random=0.2, open_devices=0.1)
    first, second = (faults.sample(Key(4), (40, 40), tile, tile, F32) for tile in (8, 13))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conductances_with_faults(dtype):
    g = np.full((2, 3), 5e-6, dtype)
    masks = {
        "stuck": np.array([[True, True, True], [False, True, False]]),
        "level": np.array([[0, 1, 0.5], [0, 1, 0]], np.float32),
        "open": np.array([[False, False, False], [False, True, True]]),
    }
    found = Faults.apply(g, masks, 1e-6, 9e-6)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [[1e-6, 9e-6, 5e-6], [5e-6, 0, 0]], rtol=1e-6)


def test_everything_or_nothing():
    nothing = Faults().sample(Key(5), (10, 12), 4, 4, F32)
    assert not any(mask.any() for mask in nothing.values())
    everything = Faults(stuck_low=0.7, stuck_high=0.2, stuck_random=0.1, dead_rows=1.0).sample(Key(5), (50, 50), 4, 4, F32)
    assert everything["stuck"].all()
    assert everything["open"].all()


REFUSALS = [
    (lambda: Faults(stuck_low=-0.1), "stuck_low = -0.1 is not allowed"),
    (lambda: Faults(dead_rows=1.5), "dead_rows = 1.5 is not allowed"),
    (lambda: Faults(open_devices=math.nan), "open_devices = nan is not allowed"),
    (lambda: Faults(stuck_low=0.6, stuck_high=0.6), "stuck_low + stuck_high + stuck_random = 1.2 must not exceed 1"),
    (lambda: Faults(shorts=0.1), "Faults has no field 'shorts'"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSALS)
def test_bad_values_are_refused(make, sentence):
    with pytest.raises(SpecificationError) as refusal:
        make()
    assert sentence in str(refusal.value)


WEARING = Device(
    name="wearing",
    response=ConstantStep(dw_min=0.01),
    g_min_siemens=1e-6,
    g_max_siemens=1e-5,
    endurance=Endurance(stuck_low_pulses=40.0, stuck_low_shape=2.0, stuck_high_pulses=100.0),
)


def test_devices_fail_by_the_law_of_their_endurance_and_stay_where_they_are():
    shape, n = (100, 80), 8000
    array = Array(WEARING, shape, Key(4), F32)
    sent = 0
    for k, count in enumerate((5, 20, 15, 40)):
        array.pulse_each(np.full(shape, count if k % 2 else -count, np.int32), Key(5), k)
        sent += count
        stuck = array.stuck
        assert within(stuck.mean(), float(WEARING.endurance.fraction(np.array(sent))), n)
    at = array.state[stuck]
    assert set(np.unique(at)) == {-1, 1}
    # Constant hazards would share the failures by their rates; here by quadrature of both laws up to 80 pulses.
    t = np.linspace(0, 80, 4001)
    high = np.trapezoid((1 - WEARING.endurance.fraction(t)) / 100, t)
    assert within((at == 1).sum() / n, high, n)
    array.pulse_each(np.full(shape, 30, np.int32), Key(5), 9)
    np.testing.assert_array_equal(array.state[stuck], at)


def test_wear_is_kept_and_programming_wears():
    array = Array(WEARING, (20, 20), Key(4), F32)
    array.pulse_each(np.full((20, 20), 12, np.int32), Key(5), 0)
    again = Array(WEARING, (20, 20), Key(6), F32)
    again.restore(array.snapshot())
    for one in (array, again):
        one.pulse(np.full((3, 20), 7, np.uint32), np.full((3, 20), 5, np.uint32), False, Key(5), 1)
        for _ in range(40):
            one.program(np.zeros((20, 20), F32))
    np.testing.assert_array_equal(again.state, array.state)
    assert within(array.stuck.mean(), float(WEARING.endurance.fraction(np.array(55.0))), 400)
    assert Device.from_toml(WEARING.to_toml()) == WEARING
    # Devices in a larger grid live as long.
    lives = WEARING.endurance.sample(Key(1), (3, 4))["life"]
    np.testing.assert_array_equal(WEARING.endurance.sample(Key(1), (5, 9))["life"][:3, :4], lives)
