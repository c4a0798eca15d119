"""GPU converters against CPU converters: bit-identical."""

from __future__ import annotations

import math

import emulated_gpu
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analogpc.kernels.converters.per_line import bit_plane, convert, imprint
from analogpc.kernels.converters.shared import adc, dac, quantisation_step
from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.random.streams import Key
from analogpc.kernels.random.streams import bits as bits_of_keys

KINDS = [np.float32, np.float64]
SHAPES = [(1, 1), (3, 7), (5, 64), (2, 1030), (300, 101), (0, 4), (3, 0)]
NEVER_RESET = [HealthCheck.function_scoped_fixture]
KEY, STEP = Key(2**63 + 5), 2**40 + 3


def values(rng, shape, kind):
    """Numbers of which many leave the range; among many vectors also zeros, infinities and what is no number."""
    x = (3 * rng.normal(size=shape)).astype(kind)
    if len(x) > 5 and x.size > 0:
        x[1] = 0
        x[:5, 0] = np.nan, np.inf, -np.inf, -0.0, 1e-30
    return x


def same(found, expected):
    """Assert that two arrays are bit-identical (zeros of different sign differ) and of the same type."""
    found = gpu.to_host(found)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    some = expected == expected
    np.testing.assert_array_equal(np.signbit(found[some]), np.signbit(expected[some]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_dac(device, rng, kind, shape) -> None:
    x = values(rng, shape, kind)
    given_magnitudes = rng.uniform(0, 3, shape[0]).astype(kind)
    given_magnitudes[:1] = 0
    clipped = 0
    for bits, bound in ((7, 1.3), (2, 0.7), (math.inf, 0.9), (math.inf, math.inf)):
        for managed, reduction, magnitudes in (
            (True, 1.0, None), (True, 4.0, None), (False, 1.0, None), (False, 2.0, None), (True, 2.0, given_magnitudes),
        ):  # fmt: skip
            there = None if magnitudes is None else device.array(magnitudes)
            found = dac(device.array(x), bits, bound, managed, reduction, there)
            expected = dac(x, bits, bound, managed, reduction, magnitudes)
            same(found[0], expected[0])
            same(found[1], expected[1])
            assert gpu.on_gpu(found[2])
            assert found[2].dtype == np.int64
            assert int(found[2]) == expected[2]
            clipped += expected[2]
    assert clipped > 0 or x.size < 2


def test_the_largest_magnitude_is_found_wherever_it_is(device, rng) -> None:
    x = rng.uniform(-1, 1, (150, 77)).astype(np.float32)
    for b in range(150):
        x[b, b % 77] = (-1) ** b * (2 + b)
    scale = dac(device.array(x), 8, 1.0, True)[1].get()
    np.testing.assert_array_equal(scale, 2 + np.arange(150, dtype=np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_strided_vectors_are_converted_as_they_are(device, rng, kind) -> None:
    x = values(rng, (40, 30), kind)
    wide = device.array(np.repeat(x, 2, axis=1))
    same(dac(wide[:, ::2], 6, 1.0, True)[0], dac(x, 6, 1.0, True)[0])
    one, other, scale = device.array(np.ones_like(x)), np.ones_like(x), np.arange(40).astype(kind)
    same(adc(wide[:, ::2], one, device.array(scale), 0.1, 6, 2.0, KEY, STEP), adc(x, other, scale, 0.1, 6, 2.0, KEY, STEP))
    same(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("fresh", [False, True])
def test_adc(device, rng, kind, shape, noise, fresh) -> None:
    y, start, scale = values(rng, shape, kind), rng.normal(size=shape).astype(kind), rng.normal(size=shape[0]).astype(kind)
    clipped = 0
    for bits, bound in ((9, 4.0), (3, 0.5), (math.inf, 2.0), (math.inf, math.inf)):
        total, there = start.copy(), device.array(start)
        expected = adc(y, total, scale, noise, bits, bound, KEY, STEP, fresh)
        found = adc(device.array(y), there, device.array(scale), noise, bits, bound, KEY, STEP, fresh)
        same(found, expected)
        same(there, total)
        clipped += expected.sum()
    assert clipped > 0 or y.size < 2


def test_a_fresh_total_may_hold_anything(device, rng) -> None:
    y, scale = rng.normal(size=(4, 9)).astype(np.float32), np.ones(4, np.float32)
    there = device.array(np.full((4, 9), np.nan, np.float32))
    adc(device.array(y), there, device.array(scale), 0.1, 8, 4.0, KEY, 0, fresh=True)
    assert np.isfinite(there.get()).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tabled", [False, True])
@pytest.mark.parametrize(("resting", "pulsed"), [(0.0, 0.0), (0.0, 0.2), (0.1, 0.2)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (90, 101), (0, 4), (3, 0)])
def test_imprint(device, rng, kind, tabled, resting, pulsed, shape) -> None:
    bits, most = 5, 15
    driven = (rng.integers(-most, most + 1, shape) * 0.3).astype(kind)
    if driven.size > 100:
        driven[0, 0] = np.nan
    affine, levels = rng.normal(size=(2, shape[1])).astype(kind), rng.normal(size=(shape[1], 2**bits - 1)).astype(kind)
    levels = levels if tabled else np.empty((0, 0), kind)
    rest = 0.3, affine, levels, resting, pulsed, KEY, STEP
    there = 0.3, device.array(affine), device.array(levels), resting, pulsed, KEY, STEP
    same(imprint(device.array(driven), *there), imprint(driven, *rest))


@pytest.mark.parametrize("kind", KINDS)
def test_bit_planes(device, rng, kind) -> None:
    driven = (rng.integers(-127, 128, (40, 51)) * 0.25).astype(kind)
    driven[0, 0] = np.nan
    for place in range(7):
        same(bit_plane(device.array(driven), 0.25, place, 1.5, 127), bit_plane(driven, 0.25, place, 1.5, 127))


def lines_of(rng, kind, lines, bits, tables, bound):
    """Tables, gains and offsets of converters that are far from even."""
    most = 2 ** (bits - 1) - 1
    transitions = np.sort(rng.uniform(-bound, bound, (tables, 2 * most + 1)), axis=1).astype(kind)
    transitions[:, :1] = -np.inf
    entry, leave = rng.normal(size=(2, 2, lines)).astype(kind)
    return entry, transitions, rng.integers(0, max(1, tables), lines), leave


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tables", [0, 4])
@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (90, 101), (0, 4), (3, 0)])
def test_convert(device, rng, kind, tables, noise, varied, shape) -> None:
    bits, bound = 5, 3.0
    y, start = values(rng, shape, kind), rng.normal(size=shape).astype(kind)
    scale, none = rng.normal(size=shape[0]).astype(kind), np.empty((0, 0), kind)
    variance = rng.uniform(0, 1, shape).astype(kind) if varied else none
    entry, transitions, row, leave = lines_of(rng, kind, shape[1], bits, tables, bound)
    own = (entry, transitions if tables else none, row, leave)
    for fresh in (False, True):
        total, there = start.copy(), device.array(start)
        expected = convert(y, total, scale, noise, variance, bits, bound, *own, KEY, STEP, fresh)
        found = convert(
            *(device.array(y), there, device.array(scale), noise, device.array(variance), bits, bound),
            *(device.array(array) for array in own),
            *(KEY, STEP, fresh),
        )
        same(found, expected)
        same(there, total)
        assert expected.sum() > 0 or y.size < 100


@settings(max_examples=40, deadline=None, suppress_health_check=NEVER_RESET)
@given(
    n=st.integers(1, 9),
    lines=st.integers(1, 70),
    bits=st.sampled_from([2, 3, 8, 16, math.inf]),
    bound=st.floats(0.01, 30),
    noise=st.sampled_from([0.0, 0.01, 2.0]),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 1000),
)
def test_a_read_is_the_same_whatever_its_shape(device, n, lines, bits, bound, noise, kind, seed) -> None:
    x = (bound * np.random.default_rng(seed).normal(size=(n, lines))).astype(kind)
    totals = []
    for put in (np.array, device.array):
        driven, scale, clipped = dac(put(x), bits, bound, True, 0.5)
        total = np.zeros((n, lines), kind, like=driven)
        saturated = adc(driven, total, scale, noise, bits, bound, Key(seed), seed)
        totals.append((gpu.to_host(total), gpu.to_host(saturated), int(clipped)))
    same(totals[1][0], totals[0][0])
    same(totals[1][1], totals[0][1])
    assert totals[0][2] == totals[1][2]


def test_nothing_waits_for_the_gpu(emulated, rng) -> None:
    """Conversions run in every step of a relaxation; a table of levels and a bit plane among them."""
    bits, lines, lsb = 4, 33, quantisation_step(4, 1.0)
    x, none = emulated.array(rng.normal(size=(5, lines)).astype(np.float32)), emulated.empty((0, 0), np.float32)
    entry, transitions, row, leave = (emulated.array(array) for array in lines_of(rng, np.float32, lines, bits, 3, 1.0))
    levels = emulated.array(rng.normal(size=(lines, 15)).astype(np.float32))
    # What graphs find on the GPU is brought there by a first call.
    bits_of_keys(KEY, 0, 1, like=x)
    before = emulated_gpu.MACHINE.waits
    with emulated.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        driven, scale, _ = dac(x, bits, 1.0, True)
        driven = imprint(bit_plane(driven, lsb, 1, 1.0, 7), lsb, entry, levels, 0.1, 0.1, KEY, 0)
        total = np.empty(driven.shape, np.float32, like=x)
        adc(driven, total, scale, 0.1, bits, 1.0, KEY, 0, fresh=True)
        convert(driven, total, scale, 0.1, none, bits, 1.0, entry, transitions, row, leave, KEY, 1)
        tape = stream.end_capture()
    assert emulated_gpu.MACHINE.waits == before
    once = total.get()
    tape.launch()
    np.testing.assert_array_equal(total.get(), once)
