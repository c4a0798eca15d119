"""CUDA twins of patches, pooling and normalisation against the kernels of the processor, equal to the bit unless it is said why not."""

from __future__ import annotations

import emulated_gpu
import numpy as np
import pytest

from analogpc.kernels.images.patches import fold, patches
from analogpc.kernels.images.pooling import average_pool, average_unpool, max_pool, max_unpool
from analogpc.kernels.images.soft_pooling import soft_pool, soft_unpool
from analogpc.kernels.normalisation import column_moments, normalisation_transposed, normalise_columns

KINDS = [np.float32, np.float64]
COMPLEX = [np.complex64, np.complex128]
# Shapes of images, and (kernel, stride, padding): few and odd channels, channels that move in units of 16 bytes, windows beyond the
# image, gaps between windows, more channels than threads that share them.
CUTS = [
    ((2, 5, 4, 3), (3, 1, 1)),
    ((2, 5, 4, 4), (3, 1, 1)),
    ((1, 7, 6, 8), (3, 2, 0)),
    ((3, 4, 5, 1), (2, 3, 3)),
    ((2, 6, 6, 5), (5, 2, 2)),
    ((1, 3, 3, 2), (1, 2, 0)),
    ((1, 2, 1, 36), (2, 1, 1)),
    ((0, 4, 4, 3), (3, 1, 1)),
    ((1, 2, 2, 0), (1, 1, 0)),
]
POOLS = [((2, 4, 6, 3), 2, 2), ((2, 7, 5, 4), 3, 2), ((1, 6, 5, 33), 3, 1), ((1, 7, 8, 2), 2, 3), ((0, 4, 4, 3), 2, 2)]


def drawn(rng: np.random.Generator, shape: tuple[int, ...], kind: type) -> np.ndarray:
    real = rng.normal(size=shape)
    return (real + 1j * rng.normal(size=shape) if np.dtype(kind).kind == "c" else real).astype(kind)


def same(found, expected: np.ndarray) -> bool:
    """The same type, shape and bits, up to the payload of what is not a number."""
    back = found.get()
    return back.dtype == expected.dtype and back.shape == expected.shape and np.array_equal(back, expected, equal_nan=True)


def layouts(device, x: np.ndarray) -> list:
    """On the GPU: contiguous, turned round, every other one of a wider array, and contiguous but not aligned to 16 bytes."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    shifted = device.array(np.concatenate([np.zeros(1, x.dtype), x.reshape(-1)]))[1:].reshape(x.shape)
    assert shifted.flags.c_contiguous
    return [device.array(x), device.array(x[::-1])[::-1], device.array(wide)[..., ::2], shifted]


@pytest.mark.parametrize("kind", [*KINDS, *COMPLEX])
@pytest.mark.parametrize(("shape", "window"), CUTS)
def test_patches_and_their_transpose(device, rng, kind, shape, window) -> None:
    x = drawn(rng, shape, kind)
    x.reshape(-1)[:1] = np.nan
    x.reshape(-1)[1:2] = -0.0
    cut = patches(x, *window)
    p = drawn(rng, cut.shape, kind)
    folded = fold(p, shape, *window)
    for there in layouts(device, x):
        assert same(patches(there, *window), cut)
    for there in layouts(device, p):
        assert same(fold(there, shape, *window), folded)


def test_one_memory_may_be_cut_by_units_and_by_numbers(device, rng) -> None:
    """Slices of samples start anywhere in a buffer, as in chunks of a convolution."""
    x = rng.normal(size=(7, 3, 3, 4)).astype(np.float32)
    there = device.array(x)
    for first in range(5):
        assert same(patches(there[first : first + 2], 2, 1, 1), patches(x[first : first + 2], 2, 1, 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "size", "stride"), [*POOLS, ((1, 17, 19, 2), 17, 1)])
def test_maxima(device, rng, kind, shape, size, stride) -> None:
    """Few levels make ties; holes are NaN, of which the first counts."""
    x = rng.integers(-3, 4, shape).astype(kind)
    x[rng.random(shape) < 0.1] = np.nan
    y, where = max_pool(x, size, stride)
    g = drawn(rng, y.shape, kind)
    for there in layouts(device, x):
        found, places = max_pool(there, size, stride)
        assert same(found, y)
        assert same(places, where)
    assert where.dtype == (np.uint8 if size <= 16 else np.uint32)
    for there, marks in zip(layouts(device, g), layouts(device, where), strict=True):
        assert same(max_unpool(there, marks, shape, size, stride), max_unpool(g, where, shape, size, stride))
    g[np.isfinite(g)] = np.inf
    assert same(max_unpool(device.array(g), places, shape, size, stride), max_unpool(g, where, shape, size, stride))


@pytest.mark.parametrize("kind", [*KINDS, *COMPLEX])
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS)
def test_averages(device, rng, kind, shape, size, stride) -> None:
    x = drawn(rng, shape, kind)
    y = average_pool(x, size, stride)
    g = drawn(rng, y.shape, kind)
    for there in layouts(device, x):
        assert same(average_pool(there, size, stride), y)
    for there in layouts(device, g):
        assert same(average_unpool(there, shape, size, stride), average_unpool(g, shape, size, stride))


@pytest.mark.parametrize("kind", [*KINDS, *COMPLEX])
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS)
def test_soft_maxima(device, rng, kind, shape, size, stride) -> None:
    """The exponential function of CUDA differs from the processor's in the last bits (2 units of float32, 1 of float64, by its manual).

    Each share is a ratio of sums of few of them, and a value that goes back a sum of few products with shares: 32 units is plenty.
    """
    x = drawn(rng, shape, kind)
    if np.iscomplexobj(x):
        x.imag *= 0.1
    y, weights = soft_pool(x, size, stride, 0.7)
    g = drawn(rng, y.shape, kind)
    near = 32 * np.finfo(kind).eps
    for there in layouts(device, x):
        found, shares = soft_pool(there, size, stride, 0.7)
        assert found.get().dtype == shares.get().dtype == kind
        np.testing.assert_allclose(shares.get(), weights, rtol=0, atol=near)
        np.testing.assert_allclose(found.get(), y, rtol=0, atol=near * max(1, np.abs(x).max(initial=0)))
    expected = soft_unpool(g, x, y, weights, size, stride, 0.7)
    sent = [device.array(array) for array in (y, weights)]
    for there, images in zip(layouts(device, g), layouts(device, x), strict=True):
        back = soft_unpool(there, images, *sent, size, stride, 0.7)
        if kind in KINDS:
            assert same(back, expected)
        else:
            # Products of complex numbers are sums, which the processor's compiler may round once.
            np.testing.assert_allclose(back.get(), expected, rtol=0, atol=near * max(1, np.abs(expected).max(initial=0)))


def test_soft_maxima_take_the_wider_type_and_hide_nothing(device, rng) -> None:
    x = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
    y, weights = soft_pool(x, 2, 2, 1.0)
    g = rng.normal(size=y.shape)
    back = soft_unpool(device.array(g), *map(device.array, (x, y, weights)), 2, 2, 1.0)
    assert back.dtype == np.float64
    np.testing.assert_allclose(back.get(), soft_unpool(g, x, y, weights, 2, 2, 1.0), rtol=1e-6)
    for bad in (np.nan, np.inf, -np.inf):
        x[0, 0, 0, 0] = bad
        assert np.isnan(soft_pool(device.array(x), 2, 2, 1.0)[0].get()[0, 0, 0]).tolist() == [True, False]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (256, 4), (257, 5), (700, 33), (3, 300)])
def test_normalisation(device, rng, kind, shape) -> None:
    x, g = (drawn(rng, shape, kind) for _ in range(2))
    factor, scale, bias = (drawn(rng, shape[1:], kind) for _ in range(3))
    mean, variance = column_moments(x)
    vectors = [device.array(array) for array in (mean.astype(kind), factor, scale, bias)]
    y, normal = normalise_columns(x, mean.astype(kind), factor, scale, bias)
    back = normalisation_transposed(g, normal, factor)
    for there, errors, values in zip(layouts(device, x), layouts(device, g), layouts(device, normal), strict=True):
        moments = column_moments(there)
        assert moments[0].dtype == moments[1].dtype == np.float64
        found = normalise_columns(there, *vectors)
        assert same(found[0], y)
        assert same(found[1], normal)
        returned = normalisation_transposed(errors, values, vectors[1])
        if device is emulated_gpu.module or shape[0] <= 256:
            assert same(moments[0], mean)
            assert same(moments[1], variance)
            assert same(returned, back)
        else:
            # The parts are added up by CuPy, in an order of its own and in float64: the means may round to a neighbour.
            np.testing.assert_allclose(moments[0].get(), mean, rtol=1e-14, atol=1e-14)
            np.testing.assert_allclose(moments[1].get(), variance, rtol=1e-13)
            np.testing.assert_allclose(returned.get(), back, rtol=0, atol=16 * np.finfo(kind).eps * np.abs(back).max())


def test_empty_tables(device) -> None:
    empty, one = device.zeros((0, 3), np.float32), device.ones(3, np.float32)
    assert normalisation_transposed(empty, empty, one).shape == (0, 3)
    assert [part.shape for part in normalise_columns(empty, one, one, one, one)] == [(0, 3), (0, 3)]


def test_graphs_replay_them(device, rng) -> None:
    """All of it may be captured: nothing waits, and a second run in the same memory gives what it would give afresh."""
    first, second = rng.normal(size=(2, 2, 6, 6, 4)).astype(np.float32)
    x, one = device.array(first), device.ones(4, np.float32)

    def everything(x, one) -> list:
        y, where = max_pool(x, 2, 2)
        soft, shares = soft_pool(x, 3, 2, 1.0)
        rows = x.reshape(-1, 4)
        mean, variance = column_moments(rows)
        normal = normalise_columns(rows, mean.astype(x.dtype), one, one, one)[1]
        backs = [max_unpool(y, where, x.shape, 2, 2), soft_unpool(soft, x, soft, shares, 3, 2, 1.0)]
        backs += [average_unpool(average_pool(x, 2, 2), x.shape, 2, 2), fold(patches(x, 3, 1, 1), x.shape, 3, 1, 1)]
        return [variance, normalisation_transposed(rows, normal, one), *backs]

    # Compilation and first allocations come before.
    everything(x, one)
    stream = device.cuda.Stream(non_blocking=True)
    pool = device.cuda.MemoryPool()
    with stream, device.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        results = everything(x, one)
        graph = stream.end_capture()
        x.set(second)
        graph.launch(stream)
        stream.synchronize()
    for found, expected in zip(results, everything(device.array(second), one), strict=True):
        assert np.array_equal(found.get(), expected.get())
