"""Converters of single lines against NumPy definitions."""

import math

import emulated_gpu
import numpy as np
import pytest
from device_arrays import KINDS, odd_numbers, same
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.converters.per_line import bit_plane, convert, imprint
from analogpc.kernels.converters.shared import SLOW, adc, dac, quantisation_step
from analogpc.kernels.random.streams import Key, normals
from analogpc.kernels.random.streams import bits as draw_bits

KEY, STEP = Key(2**63 + 5), 2**40 + 3

NONE = np.empty((0, 0))


def draws(key, step, n, lines):
    """What `adc` draws, found through it: its noise alone, without converter."""
    total = np.zeros((n, lines))
    adc(np.zeros_like(total), total, np.ones(n), 1.0, math.inf, math.inf, key, step)
    return total


def identity(lines):
    return np.repeat([[1.0], [0.0]], lines, axis=1)


@given(
    bits=st.integers(2, 8),
    n=st.integers(1, 4),
    lines=st.integers(1, 9),
    tabled=st.booleans(),
    noisy=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_imprint_follows_the_plain_statement(bits, n, lines, tabled, noisy, seed):
    rng = np.random.default_rng(seed)
    most = 2 ** (bits - 1) - 1
    codes = rng.integers(-most, most + 1, (n, lines))
    lsb, affine = 0.3, rng.normal(size=(2, lines))
    levels = rng.normal(size=(lines, 2 * most + 1)) if tabled else NONE
    resting, pulsed = (0.1, 0.2) if noisy else (0.0, 0.0)
    out = imprint(codes * lsb, lsb, affine, levels, resting, pulsed, Key(seed), 7)
    carried = levels[np.arange(lines), codes + most] if tabled else codes * lsb
    noise = np.where(codes == 0, resting, pulsed) * draws(Key(seed), 7, n, lines)
    np.testing.assert_allclose(out, affine[0] * carried + affine[1] + noise, rtol=1e-12, atol=1e-12)


@given(bits=st.integers(2, 10), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_bit_planes_add_up_to_the_code(bits, seed):
    most = 2 ** (bits - 1) - 1
    codes = np.random.default_rng(seed).integers(-most, most + 1, (3, 7))
    planes = [bit_plane(codes * 0.25, 0.25, place, 1.5, 2 ** (bits - 1) - 1) for place in range(bits - 1)]
    assert {*np.unique(planes)} <= {-1.5, 0.0, 1.5}
    np.testing.assert_array_equal(sum(2**place * plane for place, plane in enumerate(planes)), 1.5 * codes)


@given(
    bits=st.integers(2, 8),
    lines=st.integers(1, 9),
    tables=st.integers(1, 9),
    noise=st.sampled_from([0.0, 0.4]),
    varied=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_convert_follows_the_plain_statement(bits, lines, tables, noise, varied, seed):
    rng = np.random.default_rng(seed)
    n, most, bound = 4, 2 ** (bits - 1) - 1, 3.0
    lsb = quantisation_step(bits, bound)
    transitions = np.sort(rng.uniform(-bound, bound, (tables, 2 * most + 1)), axis=1)
    transitions[:, 0] = -np.inf
    row, entry, leave = rng.integers(0, tables, lines), rng.normal(size=(2, lines)), rng.normal(size=(2, lines))
    y, total, scale = rng.normal(size=(n, lines)) * 3, rng.normal(size=(n, lines)), rng.normal(size=n)
    variance = rng.uniform(0, 2, (n, lines)) if varied else NONE
    before = total.copy()
    clipped = convert(y, total, scale, noise, variance, bits, bound, entry, transitions, row, leave, Key(seed), 2**40)
    spread = np.sqrt(noise**2 + variance) if varied else noise
    value = entry[0] * (y + spread * draws(Key(seed), 2**40, n, lines)) + entry[1]
    own = transitions[row]
    codes = (own[None] <= value[:, :, None]).sum(2) - most - 1
    np.testing.assert_allclose(total, before + scale[:, None] * (leave[0] * codes * lsb + leave[1]), rtol=1e-12, atol=1e-12)
    outside = (value > own[:, -1] + lsb) | (value < own[:, 1] - lsb)
    np.testing.assert_array_equal(clipped, outside.sum(1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("tabled", [False, True])
def test_convert_has_the_bits_of_plain_arithmetic(rng, dtype, fresh, varied, tabled):
    """NumPy, operation by operation, in more numbers than one thread converts alone."""
    n, lines, bits, bound, most = 701, 103, 5, 3.0, 15
    assert n * lines > SLOW
    lsb, noise = dtype(quantisation_step(bits, bound)), dtype(0.2)
    y, total = (3 * rng.normal(size=(2, n, lines))).astype(dtype)
    scale, variance = rng.normal(size=n).astype(dtype), rng.uniform(0, 1, (n, lines)).astype(dtype)
    entry, leave = rng.normal(size=(2, 2, lines)).astype(dtype)
    table = np.sort(rng.uniform(-bound, bound, (lines, 2 * most + 1)), axis=1).astype(dtype)
    table[:, 0] = -np.inf
    draw = draws(Key(5), 11, n, lines).astype(np.float32)
    value = entry[0] * (y + (np.sqrt(noise * noise + variance) if varied else noise) * draw) + entry[1]
    if tabled:
        levels = ((table[None] <= value[:, :, None]).sum(2) - most - 1).astype(dtype) * lsb
    else:
        levels = np.rint(np.clip(value, -dtype(bound), dtype(bound)) / lsb) * lsb
    expected = (dtype(0) if fresh else total) + scale[:, None] * (leave[0] * levels + leave[1])
    assert expected.dtype == dtype
    none = np.empty((0, 0), dtype)
    own = entry, table if tabled else none, np.arange(lines), leave, Key(5), 11, fresh
    convert(y, total, scale, noise, variance if varied else none, bits, bound, *own)
    np.testing.assert_array_equal(total, expected)


def test_strips_of_many_vectors_are_imprinted_like_few(rng):
    n, lines, most = 1400, 51, 7
    driven = (rng.integers(-most, most + 1, (n, lines)) / most).astype(np.float32)
    affine, levels = rng.normal(size=(2, lines)).astype(np.float32), rng.normal(size=(lines, 2 * most + 1)).astype(np.float32)
    assert n * lines > SLOW
    every = imprint(driven, 1 / most, affine, levels, 0.1, 0.2, Key(6), 1)
    draw = draws(Key(6), 1, n, lines).astype(np.float32)
    carried = levels[np.arange(lines), np.rint(driven * most).astype(int) + most]
    spread = np.where(driven == 0, np.float32(0.1), np.float32(0.2))
    np.testing.assert_array_equal(every, affine[0] * carried + affine[1] + spread * draw)
    np.testing.assert_array_equal(every[:9], imprint(driven[:9], 1 / most, affine, levels, 0.1, 0.2, Key(6), 1))


def test_convert_without_errors_is_the_uniform_converter(rng):
    y, scale = (8 * rng.normal(size=(5, 11))).astype(np.float32), rng.uniform(1, 2, 5).astype(np.float32)
    one, two = np.zeros_like(y), np.zeros_like(y)
    none, line = np.empty((0, 0), np.float32), identity(11).astype(np.float32)
    clipped = convert(y, one, scale, 0.5, none, 6, 9.0, line, none, np.arange(11), line, Key(3), 4)
    np.testing.assert_array_equal(clipped, adc(y, two, scale, 0.5, 6, 9.0, Key(3), 4))
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32


def test_infinities_saturate_and_nan_stays_nan():
    most = 7
    transitions = np.concatenate([[-np.inf], np.arange(-most, most) + 0.5])[None]
    y, total = np.array([[np.inf, -np.inf, np.nan, 1e300]]), np.zeros((1, 4))
    where = identity(4), transitions, np.zeros(4, np.int64), identity(4), Key(0), 0
    assert convert(y, total, np.ones(1), 0.0, NONE, 4, 7.0, *where) == 3
    np.testing.assert_array_equal(total, [[7, -7, np.nan, 7]])
    assert np.isnan(imprint(np.array([[np.nan]]), 1.0, identity(1), np.zeros((1, 15)), 0.0, 0.0, Key(0), 0)).all()
    assert np.isnan(bit_plane(np.array([[np.nan]]), 1.0, 0, 1.0, 1)).all()


def test_given_magnitudes_meet_the_bound(rng):
    x = rng.normal(size=(3, 20))
    driven, scale, clipped = dac(x, 8, 2.0, True, 4.0, np.array([0.1, 0.0, 100.0]))
    np.testing.assert_allclose(scale, [0.2, 4.0, 200.0])
    assert clipped == np.count_nonzero(np.abs(x / scale[:, None]) > 2) > 0
    for one, two in zip(dac(x, 8, 2.0, True, 1.0, np.abs(x).max(1))[:2], dac(x, 8, 2.0, True)[:2], strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.abs(driven).max() <= 2


def test_threads_change_nothing(with_threads):
    key, n, lines, most = Key(5), 800, 91, 31
    assert n * lines > SLOW
    x = normals(key, 0, (n, lines), np.float32)
    levels = np.sort(normals(key, 1, (lines, 2 * most + 1), np.float32), axis=1)
    transitions = levels.copy()
    transitions[:, 0] = -np.inf
    variance, line = x**2, identity(lines).astype(np.float32)

    def both():
        driven = dac(x, 6, 1.0, True)[0]
        carried = imprint(driven, 1 / most, line, levels, 0.1, 0.2, key, 2)
        total = np.zeros_like(x)
        clipped = convert(carried, total, x[:, 0], 0.1, variance, 6, 1.0, line, transitions, np.arange(lines), line, key, 3)
        return carried, total, clipped

    for one, two in zip(*with_threads(both), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tabled", [False, True])
@pytest.mark.parametrize(("resting", "pulsed"), [(0.0, 0.0), (0.0, 0.2), (0.1, 0.2)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (90, 101), (0, 4), (3, 0)])
def test_imprint_on_every_backend(device, rng, kind, tabled, resting, pulsed, shape) -> None:
    bits, most = 5, 15
    driven = (rng.integers(-most, most + 1, shape) * 0.3).astype(kind)
    if driven.size > 100:
        driven[0, 0] = np.nan
    affine, levels = rng.normal(size=(2, shape[1])).astype(kind), rng.normal(size=(shape[1], 2**bits - 1)).astype(kind)
    levels = levels if tabled else np.empty((0, 0), kind)
    rest = 0.3, affine, levels, resting, pulsed, KEY, STEP
    there = 0.3, device.array(affine), device.array(levels), resting, pulsed, KEY, STEP
    assert same(imprint(device.array(driven), *there), imprint(driven, *rest))


@pytest.mark.parametrize("kind", KINDS)
def test_bit_planes_on_every_backend(device, rng, kind) -> None:
    driven = (rng.integers(-127, 128, (40, 51)) * 0.25).astype(kind)
    driven[0, 0] = np.nan
    for place in range(7):
        assert same(bit_plane(device.array(driven), 0.25, place, 1.5, 127), bit_plane(driven, 0.25, place, 1.5, 127))


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
def test_convert_on_every_backend(device, rng, kind, tables, noise, varied, shape) -> None:
    bits, bound = 5, 3.0
    y, start = odd_numbers(rng, shape, kind), rng.normal(size=shape).astype(kind)
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
        assert same(found, expected)
        assert same(there, total)
        assert expected.sum() > 0 or y.size < 100


def test_nothing_waits_for_the_gpu(emulated, rng) -> None:
    """Conversions run in every step of a relaxation; a table of levels and a bit plane among them."""
    bits, lines, lsb = 4, 33, quantisation_step(4, 1.0)
    x, none = emulated.array(rng.normal(size=(5, lines)).astype(np.float32)), emulated.empty((0, 0), np.float32)
    entry, transitions, row, leave = (emulated.array(array) for array in lines_of(rng, np.float32, lines, bits, 3, 1.0))
    levels = emulated.array(rng.normal(size=(lines, 15)).astype(np.float32))
    # What graphs find on the GPU is brought there by a first call.
    draw_bits(KEY, 0, 1, like=x)
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
