"""Meters against counts by hand: what heats lines and devices in reads and pulses, and what is kept beside them digitally."""

import numpy as np
import pytest

from analogpc.devices.converters.specification import DAC
from analogpc.devices.costs.meter import Meter
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.device import Device
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.nonidealities import Sinh
from analogpc.devices.responses import ConstantStep
from analogpc.devices.substrate import Analog
from analogpc.kernels.lines import (
    half_selected,
    line_magnitudes,
    line_pulses,
    line_squares,
    line_sums,
    weighted_count,
)
from analogpc.kernels.random.streams import Key
from analogpc.kernels.words import SIGN

STEPS = Device(name="steps", response=ConstantStep(dw_min=0.01, dw_min_std=0.0), g_min_siemens=1e-6, g_max_siemens=41e-6)


def matrix(weights, **fields):
    plain = {"device": STEPS, "read_noise": 0.0, "dac": DAC(bits=np.inf, bound=1.0, scaling="none"), "adc_bits": None}
    made = make_matrix(Analog(**{**plain, **fields}), np.asarray(weights, np.float64), Key(0))
    assert isinstance(made, CrossbarMatrix)
    return made


def legs(made):
    """Conductances (n_in, n_out) of all devices that a read drives, leg by leg."""
    return [array.conductance() for array in made.arrays]


WEIGHTS = np.array([[0.5, -0.25, 0.0], [0.1, 0.3, -0.4]])
X = np.array([[1.0, 0.5, -0.25], [0.0, 0.2, 1.0]])
G = np.array([[0.5, -1.0]])


@pytest.mark.parametrize("tile", [(512, 512), (2, 1), (1, 2)])
def test_a_read_heats_every_line_by_its_square_times_its_conductances(tile):
    made = matrix(WEIGHTS, rows=tile[0], columns=tile[1])
    made.forward(X)
    by_hand = sum((X[n, j] ** 2) * leg[j, i] for leg in legs(made) for n in range(2) for j in range(3) for i in range(2))
    assert made.meter.read_siemens == pytest.approx(by_hand, rel=1e-12)
    beside = -(-2 // tile[1])
    assert made.meter.charged_rows == pytest.approx(2 * beside * np.square(X).sum(), rel=1e-12)
    made.backward(G)
    by_hand += sum(G[0, i] ** 2 * leg[j, i] for leg in legs(made) for j in range(3) for i in range(2))
    assert made.meter.read_siemens == pytest.approx(by_hand, rel=1e-12)
    assert made.meter.charged_columns == pytest.approx(2 * -(-3 // tile[0]) * np.square(G).sum(), rel=1e-12)


def test_lines_at_full_voltage_count_the_time_they_carry_it():
    made = matrix(WEIGHTS, dac=DAC(bits=9, bound=1.0, scaling="none", encoding="pulse-width"))
    made.forward(X)
    driven = np.rint(X * 255) / 255
    lines = sum(leg.sum(axis=1) for leg in legs(made))
    assert made.meter.read_siemens == pytest.approx((np.abs(driven) @ lines).sum(), rel=1e-12)
    assert made.meter.charged_rows == 2 * np.count_nonzero(driven)


def test_bit_serial_reads_count_every_set_bit():
    made = matrix(WEIGHTS, dac=DAC(bits=4, bound=1.0, scaling="none", encoding="bit-serial"))
    made.forward(X)
    codes = np.abs(np.rint(X * 7)).astype(int)
    set_bits = np.array([[bin(code).count("1") for code in row] for row in codes])
    lines = sum(leg.sum(axis=1) for leg in legs(made))
    assert made.meter.read_siemens == pytest.approx((set_bits @ lines).sum(), rel=1e-12)
    assert made.meter.charged_rows == 2 * set_bits.sum()


def test_references_are_heated_too():
    made = matrix(WEIGHTS, mapping={"kind": "offset-column"}, rows=2, columns=2)
    made.forward(X)
    lines = legs(made)[0].sum(axis=1) + made.cells.shared.conductance().sum(axis=1)
    assert made.meter.read_siemens == pytest.approx((np.square(X) @ lines).sum(), rel=1e-12)
    before = made.meter.read_siemens
    made.backward(G)
    # The reference column of each row of tiles is driven against all outputs.
    opposed = np.square(G.sum()) * made.cells.shared.conductance().sum()
    assert made.meter.read_siemens - before == pytest.approx(
        (np.square(G) @ legs(made)[0].sum(axis=0)).sum() + opposed, rel=1e-12
    )
    pair = matrix(WEIGHTS, mapping={"kind": "differential-pair", "minus": "reference"})
    pair.forward(X)
    rest = STEPS.conductance(np.zeros(1))[0]
    assert pair.meter.read_siemens == pytest.approx((np.square(X) @ (legs(pair)[0].sum(axis=1) + 2 * rest)).sum(), rel=1e-12)


def test_curved_currents_count_voltage_times_current():
    curved = STEPS.but(conduction=Sinh(scale_volts=0.1))
    made = matrix(WEIGHTS, device=curved, read_volts=0.3)
    made.forward(X)
    currents = 0.1 * np.sinh(0.3 * X / 0.1)
    power = (np.abs(0.3 * X * currents) @ sum(leg.sum(axis=1) for leg in legs(made))).sum()
    assert made.meter.read_siemens * 0.3**2 == pytest.approx(power, rel=1e-10)


def test_a_pulse_selects_some_devices_and_half_selects_the_others():
    """Rows 0 and 2 and column 1 carry one pulse: two coincidences on each leg."""
    scheme = {"kind": "stochastic-pulses", "trains": "deterministic", "length": 1, "update_management": False}
    made = matrix(WEIGHTS, scheme=scheme, rows=2, columns=1)
    before = legs(made)
    pre, post = np.array([[1.0, 0.0, 1.0]]), np.array([[0.0, 1.0]])
    made.learn([(pre, post)], made.granularity)
    meter = made.meter
    assert (meter.pulses, meter.pulse_slots) == (2 * 2, 1)
    # A word line reaches two arrays beside each other, a bit line two below each other; and there are two legs.
    assert (meter.row_pulses, meter.column_pulses) == (2 * 2 * 2, 2 * 2)
    assert meter.pulsed_siemens == pytest.approx(sum(leg[0, 1] + leg[2, 1] for leg in before), rel=1e-12)
    half = sum(leg[0].sum() + leg[2].sum() + leg[:, 1].sum() for leg in before)
    assert meter.half_selected_siemens == pytest.approx(half, rel=1e-12)
    assert (meter.updates, meter.update_cycles) == (1, 1)


def test_pulses_weight_by_weight_count_their_slots_and_columns(rng):
    made = matrix(rng.normal(size=(5, 6)), rows=4, columns=3)
    counts, before = rng.integers(-3, 4, (6, 5)).astype(np.int32), legs(made)
    made.pulse_each(counts, Key(1), 0)
    rows = half = 0.0
    for sign, leg in zip((1, -1), before, strict=True):
        own = sign * counts
        for left in (0, 3):
            part = own[:, left : left + 3]
            slots = np.maximum(part.max(axis=1), 0) - np.minimum(part.min(axis=1), 0)
            rows += slots.sum()
            half += slots @ leg[:, left : left + 3].sum(axis=1)
        for top in (0, 4):
            half += np.abs(own[top : top + 4]).sum(axis=0) @ leg[top : top + 4].sum(axis=0)
    assert made.meter.row_pulses == rows
    assert made.meter.column_pulses == made.meter.pulses == 2 * np.abs(counts).sum()
    assert made.meter.half_selected_siemens == pytest.approx(half, rel=1e-12)
    assert made.meter.pulsed_siemens == pytest.approx(sum((np.abs(counts) * leg).sum() for leg in before), rel=1e-12)


def test_tiles_add_up_to_the_whole(rng):
    """What is counted for a matrix of four arrays is the sum of what is counted for four matrices of one array."""
    weights, x, g = rng.normal(size=(6, 8)), rng.normal(size=(5, 8)), rng.normal(size=(5, 6))
    scheme = {"kind": "stochastic-pulses", "trains": "deterministic", "update_management": False, "length_management": False}
    fields = {"rows": 4, "columns": 3, "scheme": scheme}
    whole, parts = matrix(weights, **fields), Meter()
    whole.forward(x)
    whole.backward(g)
    whole.learn([(x, g)], 1e-3)
    for top in (0, 4):
        for left in (0, 3):
            rows, columns = slice(top, top + 4), slice(left, left + 3)
            one = matrix(weights[columns, rows], **fields)
            one.scales[...] = whole.scales[0, 0]
            one.restore(one.snapshot() | {"converter_key": Key(0).value})
            one.program(weights[columns, rows])
            one.forward(x[:, rows])
            one.backward(g[:, columns])
            one.learn([(x[:, rows], g[:, columns])], 1e-3)
            parts.add(one.meter)
    for name in ("conversions_in", "conversions_out", "row_pulses", "column_pulses", "pulses"):
        assert getattr(parts, name) == getattr(whole.meter, name), name
    for name in ("read_siemens", "charged_rows", "charged_columns", "half_selected_siemens", "pulsed_siemens"):
        assert getattr(parts, name) == pytest.approx(getattr(whole.meter, name), rel=1e-10), name


def test_what_is_counted_does_not_depend_on_threads(with_threads, rng):
    weights, x, g = (rng.normal(size=shape).astype(np.float32) for shape in ((40, 70), (30, 70), (30, 40)))

    def meters():
        made = make_matrix(Analog(device="reram-sb", rows=32, columns=32), weights, Key(3))
        for _ in range(2):
            made.forward(x)
            made.backward(g)
            made.learn([(x, g)], 1e-3)
        return made.meter.as_dict()

    one, two = with_threads(meters)
    assert one == two
    assert min(one["read_siemens"], one["half_selected_siemens"], one["pulsed_siemens"]) > 0


def test_digital_matrices_count_their_words(rng):
    made = DigitalMatrix(rng.normal(size=(4, 5)))
    made.learn([(np.ones((3, 5)), np.ones((3, 4)))], 0.1)
    assert (made.meter.digital_macs, made.meter.digital_words, made.meter.update_cycles) == (3 * 20, 2 * 20, 1)
    mixed = matrix(rng.normal(size=(4, 5)), scheme={"kind": "mixed-precision"})
    mixed.learn([(np.ones((3, 5)), np.ones((3, 4)))], 0.1)
    # The sum of the products is formed, and added to what waits.
    assert (mixed.meter.digital_macs, mixed.meter.digital_words) == (3 * 20, 4 * 20)


def test_reads_are_counted_for_whoever_held_the_meter_and_the_conductances_of_the_time(rng):
    """Reads are summed up before they are priced: by then the meter may be another, and the devices must not."""
    weights, x, change = rng.normal(size=(3, 4)), rng.uniform(-1, 1, (6, 4)), 0.1 * rng.normal(size=(4, 3))
    made = matrix(weights)
    every = [made.meter]

    def priced(n):
        return (np.square(x[:n]) @ sum(leg.sum(axis=1) for leg in legs(made))).sum()

    expected = [priced(6) + priced(2), 0.0, 0.0]
    made.forward(x)
    made.forward(x[:2])
    for number in (1, 2):
        reads, meter = made.swap_session(made._reads, Meter())
        assert meter is every[-1]
        assert reads is made._reads
        every.append(made.meter)
        made.forward(x[:3])
        expected[number] += priced(3)
        made.shift(change)
        made.forward(x)
        expected[number] += priced(6)
    made.meter.read_siemens = 0.0
    made.forward(x[:1])
    expected[2] = priced(1)
    for meter, value in zip(every, expected, strict=True):
        assert meter.read_siemens == pytest.approx(value, rel=1e-12)
        assert meter.as_dict()["read_siemens"] == meter.read_siemens


@pytest.mark.parametrize("shape", [(7, 11), (37, 45)])
def test_line_sums_against_plain_numpy(device, rng, shape):
    grid, words = rng.normal(size=shape), rng.integers(0, 2**32, (9, 11), dtype=np.uint32)
    counts = rng.integers(0, 5, shape).astype(np.int32)
    rows, columns = shape[0] // 2, shape[1] // 2 - 1
    tops, lefts = range(0, shape[0], rows), range(0, shape[1], columns)
    weighted, on_rows, on_columns = 2 * grid + 0.5, rng.integers(0, 9, shape[0]), rng.integers(0, 9, shape[1])
    for put in (np.asarray, device.array):
        along, across = line_sums(put(grid), rows, columns, 2.0, 0.5)
        for tile, left in enumerate(lefts):
            np.testing.assert_allclose(_host(along)[:, tile], weighted[:, left : left + columns].sum(axis=1), rtol=1e-11)
        for tile, top in enumerate(tops):
            np.testing.assert_allclose(_host(across)[tile], weighted[top : top + rows].sum(axis=0), rtol=1e-11)
        half = on_rows @ weighted.sum(axis=1) + on_columns @ weighted.sum(axis=0)
        assert float(half_selected(along, across, put(on_rows), put(on_columns))) == pytest.approx(half, rel=1e-11)
        np.testing.assert_allclose(_host(line_squares(put(grid))), np.square(grid).sum(axis=0), rtol=1e-12)
        np.testing.assert_allclose(_host(line_magnitudes(put(grid))), np.abs(grid).sum(axis=0), rtol=1e-12)
        np.testing.assert_array_equal(_host(line_pulses(put(words))), np.bitwise_count(words & ~SIGN).sum(axis=0))
        assert float(weighted_count(put(counts), put(grid))) == pytest.approx((counts * grid).sum(), rel=1e-11)


def test_weighted_counts_are_summed_in_a_fixed_order(rng):
    """Eight rows after each other in the type of the values; their sums in float64; then four interleaved sums over the columns."""
    counts, values = rng.integers(-3, 5, (21, 11)), rng.normal(size=(21, 11)).astype(np.float32)
    columns = np.zeros(11)
    for top in range(0, 21, 8):
        few = np.zeros(11, np.float32)
        for row in range(top, min(top + 8, 21)):
            few += counts[row].astype(np.float32) * values[row]
        columns += few
    parts = [0.0] * 4
    for column in range(11):
        parts[0 if column >= 8 else column % 4] += columns[column]
    expected = (parts[0] + parts[1]) + (parts[2] + parts[3])
    assert weighted_count(counts, values) == weighted_count(counts.astype(np.int32), values) == expected


def _host(array):
    return array if isinstance(array, np.ndarray) else array.get()
