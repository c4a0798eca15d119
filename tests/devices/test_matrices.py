"""The protocol: crossbars without nonidealities are the digital reference; with them, the laws of the read and of the update."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.costs.meter import Meter
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.device import Device
from analogpc.devices.mappings import DifferentialPair
from analogpc.devices.matrix import NonFiniteError, ReadStream, UnsupportedUpdateError
from analogpc.devices.responses import ConstantStep
from analogpc.devices.schemes import IdealUpdate, StochasticPulses
from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.converters.shared import quantisation_step
from analogpc.kernels.random.streams import Key

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def close(a, b, dtype):
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[dtype] * np.abs(b).max(initial=1e-30))


@given(
    n_in=st.integers(1, 40),
    n_out=st.integers(1, 40),
    rows=st.integers(1, 50),
    columns=st.integers(1, 50),
    minus=st.sampled_from(["reference", "active"]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_without_nonidealities_crossbar_and_digital_are_equal(n_in, n_out, rows, columns, minus, dtype, seed):
    """Forward, transposed, update in place and increment, through tiles that need not divide the shape."""
    rng = np.random.default_rng(seed)
    w, x, g = (rng.normal(size=s).astype(dtype) for s in ((n_out, n_in), (6, n_in), (6, n_out)))
    substrate = Analog.ideal(rows=rows, columns=columns, mapping=DifferentialPair(minus=minus))
    crossbar, digital = make_matrix(substrate, w, Key(seed)), make_matrix(Digital(), w, Key(seed))
    for matrix in (crossbar, digital):
        matrix.learn([(x[:4], g[:4]), (x[4:], g[4:])], 0.3)
        matrix.increment(0.1 * w)
    close(crossbar.weights(), digital.weights(), dtype)
    close(crossbar.forward(x), digital.forward(x), dtype)
    close(crossbar.backward(g), digital.backward(g), dtype)
    for result in (crossbar.forward(x), crossbar.backward(g), crossbar.weights()):
        assert result.dtype == np.dtype(dtype)


def test_digital_is_the_plain_product(rng):
    w, x, g = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    matrix = make_matrix(Digital(), w, Key(0))
    np.testing.assert_allclose(matrix.forward(x), x @ w.T, rtol=1e-14)
    np.testing.assert_allclose(matrix.backward(g), g @ w, rtol=1e-14)
    matrix.learn([(x, g)], 0.5)
    np.testing.assert_allclose(matrix.weights(), w + 0.5 * g.T @ x, rtol=1e-13)
    w[:] = 0
    assert matrix.weights().any()


def test_a_read_is_the_difference_of_two_currents(rng):
    """In amperes: (plus - minus currents) / siemens_per_state, times the scale, is the logical product."""
    w, x = rng.normal(size=(6, 9)), rng.normal(size=(4, 9))
    device = Device(name="t", response=ConstantStep(dw_min=0.01), g_min_siemens=2e-6, g_max_siemens=3e-5)
    matrix = make_matrix(Analog.ideal(device=device, rows=4, columns=5, mapping=DifferentialPair(minus="active")), w, Key(0))
    total = np.zeros((4, 6))
    for tile in matrix.tiles():
        total[:, tile.columns] += x[:, tile.rows] @ (tile.conductances["plus"] - tile.conductances["minus"])
    np.testing.assert_allclose(total * matrix.scales[0, 0] / device.siemens_per_state, matrix.forward(x), rtol=1e-9)
    np.testing.assert_allclose(matrix.forward(x), x @ w.T, rtol=1e-9)


def test_quantised_read_follows_the_stated_steps(rng):
    """Every tile along the input converts its own partial sum."""
    w, x = rng.normal(size=(5, 12)), rng.normal(size=(3, 12))
    substrate = Analog.ideal(dac=DAC(bits=5), adc=ADC(bits=6, bound=3.0), rows=8)
    scale = np.abs(x).max(1, keepdims=True)
    step_in, step_out = quantisation_step(5, 1.0), quantisation_step(6, 3.0)
    driven = np.rint(x / scale / step_in) * step_in
    expected = 0
    for part in (slice(0, 8), slice(8, 12)):
        expected = expected + np.rint(np.clip(driven[:, part] @ w[:, part].T, -3, 3) / step_out) * step_out
    matrix = make_matrix(substrate, w, Key(0))
    np.testing.assert_allclose(matrix.forward(x), scale * expected, rtol=1e-12, atol=1e-12)
    assert matrix.meter.conversions_in == x.size
    assert matrix.meter.conversions_out == 3 * 5 * 2


def test_bound_management_reads_again_until_nothing_saturates(rng):
    """A saturated vector ends at the weakest halving that fits, quantised there; the others are read once."""
    w = np.full((2, 8), 1.0)
    x = np.array([[1.0] * 8, [0.1] + [0.0] * 7, [1.0, -1.0] * 4])
    bound, bits = 3.0, 8
    exact = DAC(bits=math.inf, bound=1.0)
    matrix = make_matrix(Analog.ideal(dac=exact, adc=ADC(bits=bits, bound=bound, bound_management="iterative")), w, Key(0))
    y = matrix.forward(x)
    step = quantisation_step(bits, bound)
    # Eight inputs of one give 8, four times as strong as 8 / 4 = 2, the first that fits under 3.
    expected = [4 * np.rint(2.0 / step) * step, 0.1 * np.rint(1.0 / step) * step, 0.0]
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-12, atol=1e-12)
    assert matrix.meter.repeated_reads == 2
    assert matrix.meter.saturated_out == 0
    assert matrix.meter.conversions_out == 2 * (3 + 2)
    clipping = make_matrix(Analog.ideal(dac=exact, adc=ADC(bits=bits, bound=bound)), w, Key(0))
    assert clipping.forward(x)[0, 0] == bound
    assert clipping.meter.saturated_out == 2


def test_bound_management_ends_at_the_resolution_of_the_inputs():
    """3 bits resolve a third of the range: one halving is made, and what still saturates is counted."""
    w = np.full((1, 64), 1.0)
    matrix = make_matrix(Analog.ideal(dac=DAC(bits=3), adc=ADC(bits=8, bound=1.0, bound_management="iterative")), w, Key(0))
    matrix.forward(np.ones((1, 64)))
    assert matrix.meter.repeated_reads == 1
    assert matrix.meter.saturated_out == 1


def test_read_noise_has_the_deviation_of_the_tiles(rng):
    """Two tiles along the input add two independent noises; 5 standard errors."""
    w = np.zeros((50, 20))
    w[0, 0] = 1.0
    noise = 0.1
    matrix = make_matrix(Analog.ideal(read_noise=noise, rows=10, dac=DAC(bits=math.inf)), w, Key(1))
    x = np.ones((2000, 20))
    y = matrix.forward(x)[:, 1:]
    assert abs(y.std() / (noise * np.sqrt(2)) - 1) < 5 / np.sqrt(2 * y.size)
    assert not np.array_equal(y, matrix.forward(x)[:, 1:])


def hard_substrate(**tiles):
    return Analog(device="reram-sb", mapping=DifferentialPair(minus="active"), **tiles)


def test_tiles_change_no_device_and_no_update(rng):
    w = rng.normal(size=(30, 40)).astype(np.float32)
    x, g = rng.normal(size=(8, 40)).astype(np.float32), rng.normal(size=(8, 30)).astype(np.float32)
    matrices = [make_matrix(hard_substrate(rows=r, columns=c), w, Key(3)) for r, c in ((512, 512), (7, 9), (40, 30), (13, 1))]
    for matrix in matrices:
        matrix.learn([(x, g)], 0.01)
    for matrix in matrices[1:]:
        np.testing.assert_array_equal(matrix.weights(), matrices[0].weights())
    # Cutting the sensed side leaves the noise and the conversions of a read as they are.
    wide, narrow = (make_matrix(hard_substrate(columns=c), w, Key(3)) for c in (512, 4))
    np.testing.assert_array_equal(wide.forward(x), narrow.forward(x))


def test_expected_update_is_the_rate_times_the_outer_product(rng):
    """Mean over many devices with the same inputs, including device-to-device spread; 5 standard errors."""
    device = Device(
        name="t",
        response=ConstantStep(dw_min=1e-3, dw_min_dtod=0.3, dw_min_std=0.3, w_max=9, w_min=-9),
        g_min_siemens=0,
        g_max_siemens=1e-5,
    )
    for scheme in (
        StochasticPulses(),
        StochasticPulses(update_management=False, length_management=False),
        StochasticPulses(length=8),
    ):
        for minus in ("reference", "active"):
            matrix = make_matrix(
                Analog.ideal(device=device, scheme=scheme, mapping=DifferentialPair(minus=minus)),
                np.zeros((400, 500), np.float64),
                Key(1),
            )
            x, g = np.tile([0.5, -1.0], (20, 250)), np.tile([0.2, -0.1], (20, 200))
            wanted = 0.02 * g.T @ x
            matrix.learn([(x, g)], 0.02)
            assert matrix.meter.clipped_probabilities == 0
            for i in (0, 1):
                for j in (0, 1):
                    change = matrix.weights()[i::2, j::2]
                    # Lines share their trains: rows of devices are correlated, so the error is taken over independent line means.
                    errors = [change.mean(axis).std() / np.sqrt(change.shape[1 - axis]) for axis in (0, 1)]
                    assert abs(change.mean() - wanted[i, j]) < 5 * np.hypot(*errors)


def test_a_negative_rate_turns_the_update_around(rng):
    x, g = rng.normal(size=(5, 6)), rng.normal(size=(5, 4))
    up, down = (make_matrix(Analog(device="idealized"), np.zeros((4, 6)), Key(1)) for _ in range(2))
    up.learn([(x, -g)], 0.01)
    down.learn([(x, g)], -0.01)
    np.testing.assert_array_equal(up.weights(), down.weights())


def test_pulses_and_products_are_counted(rng):
    matrix = make_matrix(
        Analog.ideal(device="idealized", scheme=StochasticPulses(length=1, length_management=False)), np.zeros((3, 2)), Key(0)
    )
    # Probabilities of one on all lines: every device of both samples is pulsed once, two for a weight, except in the line of zeros.
    x, g = np.array([[1.0, 0.0], [1.0, 1.0]]), np.ones((2, 3))
    matrix.learn([(x, g)], 2 * matrix.granularity)
    assert matrix.meter.updates == 2
    assert matrix.meter.pulses == 2 * (3 + 6)
    assert matrix.meter.clipped_probabilities == (1 + 3) + (2 + 3)


def test_pulses_refuse_what_they_cannot_do(rng):
    matrix = make_matrix(Analog(device="reram-sb"), np.ones((2, 2)), Key(0))
    assert not matrix.takes_increments
    with pytest.raises(UnsupportedUpdateError, match="plain SGD"):
        matrix.increment(np.ones((2, 2)))
    with pytest.raises(NonFiniteError):
        matrix.learn([(np.array([[1.0, np.nan]]), np.ones((1, 2)))], 0.1)


def test_exact_writing_stops_at_the_bounds():
    matrix = make_matrix(Analog.ideal(device="reram-sb", scheme=IdealUpdate()), np.full((20, 20), 0.1), Key(0))
    matrix.increment(np.full((20, 20), 100.0))
    np.testing.assert_array_equal(matrix.arrays[0].state, matrix.arrays[0].parameters["high"])


@pytest.mark.parametrize("substrate", [Digital(), Analog(device="reram-sb"), hard_substrate(rows=5)])
def test_copies_and_restored_matrices_continue_to_the_same_bits(substrate, rng):
    w = rng.normal(size=(6, 8)).astype(np.float32)
    x, g = rng.normal(size=(4, 8)).astype(np.float32), rng.normal(size=(4, 6)).astype(np.float32)
    first = make_matrix(substrate, w, Key(1))
    first.learn([(x, g)], 0.1)
    first.forward(x)
    twin, other = first.copy(), make_matrix(substrate, w, Key(2))
    other.restore(first.snapshot())
    for matrix in (first, twin, other):
        matrix.learn([(x, g)], 0.1)
    for matrix in (twin, other):
        np.testing.assert_array_equal(first.weights(), matrix.weights())
        assert matrix.meter == first.meter
    results = [(m.forward(x), m.backward(g)) for m in (first, twin, other)]
    for forward, backward in results[1:]:
        np.testing.assert_array_equal(forward, results[0][0])
        np.testing.assert_array_equal(backward, results[0][1])


def test_a_swapped_session_leaves_no_trace(rng):
    x = rng.normal(size=(4, 8)).astype(np.float32)
    matrix = make_matrix(Analog(device="idealized"), rng.normal(size=(6, 8)).astype(np.float32), Key(1))
    undisturbed = matrix.copy().forward(x)
    former = matrix.swap_session(ReadStream(Key(9)), Meter())
    aside = matrix.forward(x)
    matrix.swap_session(*former)
    assert matrix.meter.forward_reads == 0
    assert not np.array_equal(aside, undisturbed)
    np.testing.assert_array_equal(matrix.forward(x), undisturbed)


def test_keyed_streams_change_the_noise_but_not_the_devices(rng):
    matrix = make_matrix(Analog(device="idealized"), np.zeros((6, 8), np.float32), Key(1))
    assert isinstance(matrix, CrossbarMatrix)
    twin = matrix.copy()
    twin.key_streams(Key(77))
    x = rng.normal(size=(4, 8)).astype(np.float32)
    assert not np.array_equal(matrix.forward(x), twin.forward(x))
    for name, values in matrix.arrays[0].parameters.items():
        np.testing.assert_array_equal(values, twin.arrays[0].parameters[name])
