"""Pooling against NumPy definitions, its transposes, ties and NaN."""

import numpy as np
import pytest
from device_arrays import COMPLEX, KINDS, drawn, layouts, same
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.images.pooling import average_pool, average_unpool, max_pool, max_unpool
from analogpc.kernels.images.soft_pooling import soft_pool, soft_unpool

POOLS = [((2, 4, 6, 3), 2, 2), ((2, 7, 5, 4), 3, 2), ((1, 6, 5, 33), 3, 1), ((1, 7, 8, 2), 2, 3), ((0, 4, 4, 3), 2, 2)]


def windows(x, size, stride):
    """Every window with its places side by side: (batch, out_h, out_w, channels, size * size)."""
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return view.reshape(*view.shape[:4], size * size)


def plain_unpool(g, where, shape, size, stride):
    """Number all pixels, pick the number of every winner, and add up by number."""
    numbers = windows(np.arange(np.prod(shape)).reshape(shape), size, stride)
    winners = np.take_along_axis(numbers, where[..., None].astype(np.int64), -1)
    return np.bincount(winners.reshape(-1), weights=g.reshape(-1), minlength=np.prod(shape)).reshape(shape)


pools = st.tuples(st.integers(0, 3), st.integers(4, 9), st.integers(4, 9), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(st.just(shape), st.integers(1, 4), st.integers(1, 5))
)


@given(pool=pools, levels=st.sampled_from([2, 5, 1000]), holes=st.sampled_from([0.0, 0.2]), seed=st.integers(0, 1000))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_pooling_follows_the_plain_statement(pool, levels, holes, seed):
    """Few levels make ties, holes are NaN: argmax gives the first maximum and the first NaN, max propagates NaN."""
    shape, size, stride = pool
    draw = np.random.default_rng(seed)
    x = draw.integers(-levels, levels, shape).astype(np.float64)
    x[draw.random(shape) < holes] = np.nan
    y, where = max_pool(x, size, stride)
    np.testing.assert_array_equal(y, windows(x, size, stride).max(-1))
    np.testing.assert_array_equal(where, windows(x, size, stride).argmax(-1))


@given(pool=pools, seed=st.integers(0, 1000))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_unpooling_follows_the_plain_statement_and_is_the_transpose(pool, seed):
    shape, size, stride = pool
    draw = np.random.default_rng(seed)
    y, where = max_pool(draw.normal(size=shape), size, stride)
    g, other = draw.normal(size=y.shape), draw.normal(size=shape)
    back = max_unpool(g, where, shape, size, stride)
    np.testing.assert_allclose(back, plain_unpool(g, where, shape, size, stride), rtol=0, atol=1e-13)
    picked = np.take_along_axis(windows(other, size, stride), where[..., None].astype(np.int64), -1)[..., 0]
    assert abs(np.vdot(picked, g) - np.vdot(other, back)) <= 1e-13 * np.abs(picked * g).sum()


@pytest.mark.parametrize("place", range(4))
def test_nan_is_never_hidden(place):
    x = np.array([1.0, 3.0, 2.0, 0.0])
    x[place] = np.nan
    y, where = max_pool(x.reshape(1, 2, 2, 1), 2, 2)
    assert np.isnan(y).all()
    assert where.item() == place


def test_infinities_are_numbers():
    x = np.array([-np.inf, -np.inf, -np.inf, -np.inf, 1.0, np.inf, 0.0, np.inf]).reshape(2, 2, 2, 1)
    y, where = max_pool(x, 2, 2)
    assert y.reshape(-1).tolist() == [-np.inf, np.inf]
    assert where.reshape(-1).tolist() == [0, 1]


def test_a_value_that_is_not_finite_goes_back_to_its_winner_only():
    _, where = max_pool(np.arange(4.0).reshape(1, 2, 2, 1), 2, 2)
    back = max_unpool(np.full((1, 1, 1, 1), np.inf), where, (1, 2, 2, 1), 2, 2)
    assert back.reshape(-1).tolist() == [0, 0, 0, np.inf]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_is_kept(dtype, rng):
    x = rng.normal(size=(2, 6, 6, 3)).astype(dtype)
    y, where = max_pool(x, 2, 2)
    assert y.dtype == dtype
    assert where.dtype == np.uint8
    assert max_unpool(y, where, x.shape, 2, 2).dtype == dtype


def test_places_of_large_windows_fit_their_type(rng):
    x = np.zeros((1, 17, 17, 1))
    x[0, 16, 16, 0] = 1
    y, where = max_pool(x, 17, 17)
    assert where.item() == 17 * 17 - 1
    assert max_unpool(y, where, x.shape, 17, 17)[0, 16, 16, 0] == 1


def test_views_are_pooled_as_they_look(rng):
    x = rng.normal(size=(2, 6, 7, 3)).transpose(0, 2, 1, 3)[:, ::-1]
    y, where = max_pool(x, 3, 2)
    np.testing.assert_array_equal(y, windows(x, 3, 2).max(-1))
    g = y[::-1, :, ::-1]
    np.testing.assert_array_equal(max_unpool(g, where, x.shape, 3, 2), max_unpool(g.copy(), where, x.shape, 3, 2))


def test_threads_change_nothing(with_threads, rng):
    x = rng.normal(size=(9, 12, 11, 6)).astype(np.float32)
    g = rng.normal(size=(9, 5, 5, 6)).astype(np.float32)

    def both_ways():
        y, where = max_pool(x, 3, 2)
        return y, where, max_unpool(g, where, x.shape, 3, 2)

    for one, two in zip(*with_threads(both_ways), strict=True):
        assert one.tobytes() == two.tobytes()


def test_bad_shapes_are_refused(rng):
    x = rng.normal(size=(2, 4, 4, 3))
    y, where = max_pool(x, 2, 2)
    with pytest.raises(ValueError, match=r"a window of 5 x 5 with padding 0 does not fit into images of shape \(2, 4, 4, 3\)"):
        max_pool(x, 5, 1)
    with pytest.raises(
        ValueError, match=r"^g of images of shape \(2, 4, 4, 3\) has the shape \(2, 2, 2, 3\), not \(1, 2, 2, 3\)"
    ):
        max_unpool(y[:1], where, x.shape, 2, 2)
    with pytest.raises(
        ValueError, match=r"^g of images of shape \(2, 6, 6, 3\) has the shape \(2, 3, 3, 3\), not \(2, 2, 2, 3\)"
    ):
        max_unpool(y, where, (2, 6, 6, 3), 2, 2)
    with pytest.raises(
        ValueError, match=r"^where of images of shape \(2, 4, 4, 3\) has the shape \(2, 2, 2, 3\), not \(1, 2, 2, 3\)"
    ):
        max_unpool(y, where[:1], x.shape, 2, 2)


def numbers_of(shape, kind, seed):
    draw = np.random.default_rng(seed)
    real = draw.normal(size=shape)
    return real if kind is float else real + 0.5j * draw.normal(size=shape)


@given(pool=pools, kind=st.sampled_from([float, complex]), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_averages_follow_the_plain_statement_and_go_back_by_the_transpose(pool, kind, seed):
    shape, size, stride = pool
    x = numbers_of(shape, kind, seed)
    y = average_pool(x, size, stride)
    assert y.dtype == kind
    np.testing.assert_allclose(y, windows(x, size, stride).mean(-1), rtol=1e-12, atol=1e-14)
    g, other = numbers_of(y.shape, kind, seed + 1), numbers_of(shape, kind, seed + 2)
    back = average_unpool(g, shape, size, stride)
    # Sums without conjugation: the transpose, not the adjoint.
    assert abs((average_pool(other, size, stride) * g).sum() - (other * back).sum()) <= 1e-12 * max(1, g.size)


@given(pool=pools, kind=st.sampled_from([float, complex]), temperature=st.floats(0.3, 3), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_soft_maxima_follow_the_plain_statement(pool, kind, temperature, seed):
    shape, size, stride = pool
    # Imaginary parts within a quarter turn keep the denominator away from zero.
    x = numbers_of(shape, kind, seed)
    x = np.clip(x.real, -3, 3) + (0 if kind is float else 1j * np.clip(x.imag, -0.2, 0.2))
    y, weights = soft_pool(x, size, stride, temperature)
    grown = np.exp(windows(x, size, stride) / temperature)
    shares = grown / grown.sum(-1, keepdims=True)
    np.testing.assert_allclose(np.moveaxis(weights, 3, -1), shares, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(y, (shares * windows(x, size, stride)).sum(-1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [float, complex])
def test_soft_maxima_go_back_by_the_transposed_derivative_without_conjugation(kind):
    """Differences along real and along imaginary directions give one and the same complex derivative."""
    x = numbers_of((2, 5, 4, 2), kind, 1)
    y, weights = soft_pool(x, 3, 1, 0.7)
    g, direction = numbers_of(y.shape, kind, 2), numbers_of(x.shape, kind, 3)
    back = soft_unpool(g, x, y, weights, 3, 1, 0.7)
    for turn in (1,) if kind is float else (1, 1j):
        step = 1e-6 * turn * direction
        difference = (soft_pool(x + step, 3, 1, 0.7)[0] - soft_pool(x - step, 3, 1, 0.7)[0]) / (2e-6 * turn)
        assert (g * difference).sum() == pytest.approx((back * direction).sum(), rel=1e-7)


def test_soft_maxima_lie_between_mean_and_maximum(rng):
    x = rng.normal(size=(2, 4, 4, 3))
    np.testing.assert_allclose(soft_pool(x, 2, 2, 1e-3)[0], max_pool(x, 2, 2)[0], atol=1e-3)
    np.testing.assert_allclose(soft_pool(x, 2, 2, 1e6)[0], average_pool(x, 2, 2), atol=1e-5)
    y, _ = soft_pool(x, 2, 2, 1.0)
    assert (average_pool(x, 2, 2) < y).all()
    assert (y < max_pool(x, 2, 2)[0]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_soft_maxima_of_large_values_do_not_overflow(dtype):
    """A common real offset moves the result and nothing else; exp(1000) alone is infinite."""
    x = np.array([0.0, 1, 2, 3], dtype).reshape(1, 2, 2, 1)
    y, weights = soft_pool(x, 2, 2, 1.0)
    for offset in (1000, -1000):
        moved, same = soft_pool(x + dtype(offset), 2, 2, 1.0)
        assert moved.dtype == same.dtype == dtype
        np.testing.assert_array_equal(same, weights)
        np.testing.assert_allclose(moved, y + offset, rtol=1e-6)
    assert soft_unpool(y, x, y, weights, 2, 2, 1.0).dtype == dtype


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_soft_maxima_and_averages_hide_nothing_that_is_not_finite(bad):
    x = np.array([1.0, bad, 2.0, 0.0]).reshape(1, 2, 2, 1)
    assert not np.isfinite(average_pool(x, 2, 2)).any()
    assert np.isnan(soft_pool(x, 2, 2, 1.0)[0]).all()


def test_threads_change_no_average_and_no_soft_maximum(with_threads, rng):
    x = rng.normal(size=(9, 12, 11, 6)).astype(np.float32)
    g = rng.normal(size=(9, 5, 5, 6)).astype(np.float32)

    def both_ways():
        y, weights = soft_pool(x, 3, 2, 0.5)
        return y, soft_unpool(g, x, y, weights, 3, 2, 0.5), average_pool(x, 3, 2), average_unpool(g, x.shape, 3, 2)

    for one, two in zip(*with_threads(both_ways), strict=True):
        assert one.tobytes() == two.tobytes()


def test_bad_shapes_are_refused_by_averages_and_soft_maxima(rng):
    x = rng.normal(size=(2, 4, 4, 3))
    y, weights = soft_pool(x, 2, 2, 1.0)
    for call in (lambda: average_pool(x, 5, 1), lambda: soft_pool(x, 5, 1, 1.0)):
        with pytest.raises(
            ValueError, match=r"a window of 5 x 5 with padding 0 does not fit into images of shape \(2, 4, 4, 3\)"
        ):
            call()
    for call in (lambda: average_unpool(y[:1], x.shape, 2, 2), lambda: soft_unpool(y[:1], x, y, weights, 2, 2, 1.0)):
        with pytest.raises(
            ValueError, match=r"g of images of shape \(2, 4, 4, 3\) has the shape \(2, 2, 2, 3\), not \(1, 2, 2, 3\)"
        ):
            call()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "size", "stride"), [*POOLS, ((1, 17, 19, 2), 17, 1)])
def test_maxima_on_every_backend(device, rng, kind, shape, size, stride) -> None:
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
def test_averages_on_every_backend(device, rng, kind, shape, size, stride) -> None:
    x = drawn(rng, shape, kind)
    y = average_pool(x, size, stride)
    g = drawn(rng, y.shape, kind)
    for there in layouts(device, x):
        assert same(average_pool(there, size, stride), y)
    for there in layouts(device, g):
        assert same(average_unpool(there, shape, size, stride), average_unpool(g, shape, size, stride))


@pytest.mark.parametrize("kind", [*KINDS, *COMPLEX])
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS)
def test_soft_maxima_on_every_backend(device, rng, kind, shape, size, stride) -> None:
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
