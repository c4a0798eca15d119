"""Patches against a NumPy definition, and folding as their exact transpose."""

import numpy as np
import pytest
from device_arrays import COMPLEX, KINDS, drawn, layouts, same
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.images.patches import fold, output_size, patches

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


def plain_patches(x, kernel, stride, padding):
    """Pad with zeros, take every window, order its columns (ky, kx, channel)."""
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel * kernel * x.shape[3])


def plain_fold(p, shape, kernel, stride, padding):
    """Number all pixels, cut the numbers like the pixels, and sum by number; 0 is padding."""
    numbers = plain_patches(np.arange(1, np.prod(shape) + 1).reshape(shape), kernel, stride, padding)
    return np.bincount(numbers.reshape(-1), weights=p.reshape(-1), minlength=np.prod(shape) + 1)[1:].reshape(shape)


@st.composite
def cuts(draw):
    """A shape of images and a window that fits, kernels smaller and larger than the image, also with padding beyond the kernel."""
    shape = tuple(draw(st.integers(1, top)) for top in (3, 9, 9, 5))
    kernel, stride, padding = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(0, 6))
    if kernel > min(shape[1:3]) + 2 * padding:
        kernel = min(shape[1:3]) + 2 * padding
    return shape, kernel, stride, padding


@given(cut=cuts(), seed=st.integers(0, 1000))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_patches_follow_the_plain_statement(cut, seed):
    shape, *window = cut
    x = np.random.default_rng(seed).normal(size=shape)
    np.testing.assert_array_equal(patches(x, *window), plain_patches(x, *window))


@given(cut=cuts(), seed=st.integers(0, 1000))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_fold_follows_the_plain_statement_and_is_the_transpose(cut, seed):
    shape, *window = cut
    draw = np.random.default_rng(seed)
    x = draw.normal(size=shape)
    cut_out = patches(x, *window)
    p = draw.normal(size=cut_out.shape)
    folded = fold(p, shape, *window)
    np.testing.assert_allclose(folded, plain_fold(p, shape, *window), rtol=0, atol=1e-13)
    # Both sides sum the same products; their rounding is bounded by the sum of magnitudes.
    assert abs(np.vdot(cut_out, p) - np.vdot(x, folded)) <= 1e-13 * np.abs(cut_out * p).sum()


def test_transpose_is_exact_in_whole_numbers(rng):
    x = rng.integers(-9, 10, (3, 7, 6, 4)).astype(np.float64)
    p = rng.integers(-9, 10, patches(x, 3, 2, 1).shape).astype(np.float64)
    assert np.vdot(patches(x, 3, 2, 1), p) == np.vdot(x, fold(p, x.shape, 3, 2, 1)) != 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_is_kept(dtype, rng):
    x = rng.normal(size=(2, 5, 5, 3)).astype(dtype)
    p = patches(x, 3, 1, 1)
    assert p.dtype == dtype
    assert fold(p, x.shape, 3, 1, 1).dtype == dtype


def test_views_are_cut_as_they_look(rng):
    x = rng.normal(size=(3, 6, 7, 2)).transpose(0, 2, 1, 3)[:, ::-1]
    np.testing.assert_array_equal(patches(x, 3, 1, 1), plain_patches(x, 3, 1, 1))
    p = patches(x, 2)[:, ::-1]
    np.testing.assert_allclose(fold(p, x.shape, 2), plain_fold(p, x.shape, 2, 1, 0), rtol=0, atol=1e-13)


def test_an_empty_batch_has_no_patches():
    p = patches(np.zeros((0, 4, 4, 3)), 3, 1, 1)
    assert p.shape == (0, 27)
    assert fold(p, (0, 4, 4, 3), 3, 1, 1).shape == (0, 4, 4, 3)


def test_threads_change_nothing(with_threads, rng):
    x = rng.normal(size=(9, 12, 11, 6)).astype(np.float32)
    p = rng.normal(size=patches(x, 3, 1, 1).shape).astype(np.float32)
    for one, two in zip(*with_threads(lambda: (patches(x, 3, 1, 1), fold(p, x.shape, 3, 1, 1))), strict=True):
        assert one.tobytes() == two.tobytes()


@given(size=st.integers(1, 20), kernel=st.integers(1, 8), stride=st.integers(1, 5), padding=st.integers(0, 4))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_output_size_counts_the_windows(size, kernel, stride, padding):
    starts = [s for s in range(0, size + 2 * padding, stride) if s + kernel <= size + 2 * padding]
    assert output_size(size, kernel, stride, padding) == len(starts)


def test_bad_shapes_are_refused():
    x = np.zeros((2, 3, 3, 1))
    with pytest.raises(ValueError, match=r"a window of 4 x 4 with padding 0 does not fit into images of shape \(2, 3, 3, 1\)"):
        patches(x, 4)
    with pytest.raises(ValueError, match=r"not kernel 2, stride 0 and padding 0"):
        patches(x, 2, 0)
    with pytest.raises(ValueError, match=r"four axes .* not the shape \(3, 3, 1\)"):
        patches(x[0], 2)
    with pytest.raises(ValueError, match=r"have the shape \(8, 4\), not \(7, 4\)"):
        fold(np.zeros((7, 4)), x.shape, 2)


@pytest.mark.parametrize("kind", [*KINDS, *COMPLEX])
@pytest.mark.parametrize(("shape", "window"), CUTS)
def test_every_backend_cuts_and_folds_alike(device, rng, kind, shape, window) -> None:
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
