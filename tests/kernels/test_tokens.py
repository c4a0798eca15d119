"""Kernels for language models, on both backends: row look-up, cross-entropy of labels, batched products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.lookups import one_hot, rows_of, sum_rows
from analogpc.kernels.products import batched, outer
from analogpc.kernels.softmax import BLOCKED, divergence_slopes, log_softmax, softmax, softmax_product
from analogpc.kernels.targets import cross_entropy

KINDS = [np.float32, np.float64]


@given(st.integers(1, 6), st.integers(0, 9), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_rows_are_products_with_one_hot_vectors(count, m, columns, seed):
    rng = np.random.default_rng(seed)
    ids, table, g = rng.integers(0, count, m).astype(np.int32), rng.normal(size=(count, columns)), rng.normal(size=(m, columns))
    hot = one_hot(ids, count, np.dtype(float))
    assert (hot.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(rows_of(table, ids), hot @ table)
    np.testing.assert_allclose(sum_rows(ids, g, count), hot.T @ g, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(outer(ids, g, count), sum_rows(ids, g, count))
    np.testing.assert_array_equal(outer(hot, g, count), hot.T @ g)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_on_the_gpu(device, rng, kind):
    ids, g = rng.integers(0, 7, 50).astype(np.int32), rng.normal(size=(50, 9)).astype(kind)
    there = sum_rows(device.array(ids), device.array(g), 8).get()
    # In the same order, without atomic additions: equal to the bit.
    np.testing.assert_array_equal(there, sum_rows(ids, g, 8))
    np.testing.assert_array_equal(rows_of(device.array(g), device.array(ids)).get(), g[ids])


def test_softmax_and_its_transposed_jacobian(rng):
    x, g = 30 * rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 4, 5))
    p = softmax(x)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-14)
    np.testing.assert_allclose(np.log(p), log_softmax(x), rtol=1e-12, atol=1e-15)
    assert np.isfinite(log_softmax(1e4 * x)).all()
    step = 1e-6
    for place in np.ndindex(3, 4, 5):
        shift = np.zeros_like(x)
        shift[place] = step
        slope = np.vdot(g, softmax(x + shift) - softmax(x - shift)) / (2 * step)
        assert softmax_product(p, g)[place] == pytest.approx(slope, abs=1e-8)


def test_cross_entropy_of_labels(rng):
    logits, labels = rng.normal(size=(6, 5)), np.array([0, 4, -1, 2, 2, -1], np.int32)
    losses, errors = cross_entropy(logits, labels)
    counted = labels >= 0
    np.testing.assert_allclose(losses[counted], -log_softmax(logits)[counted, labels[counted]], rtol=1e-13)
    assert not losses[~counted].any()
    assert not errors[~counted].any()
    np.testing.assert_allclose(errors[counted], np.eye(5)[labels[counted]] - softmax(logits)[counted], atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_cross_entropy_on_the_gpu(device, exact, rng, kind):
    logits, labels = rng.normal(size=(6, 5)).astype(kind), np.array([0, 4, -1, 2, 2, -1], np.int32)
    for found, expected in zip(
        cross_entropy(device.array(logits), device.array(labels)), cross_entropy(logits, labels), strict=True
    ):
        tolerance = 0 if exact else 20 * np.finfo(kind).eps
        np.testing.assert_allclose(found.get(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_many_products_on_the_gpu(device, whole_products, rng, kind, turned):
    a, b = rng.normal(size=(3, 4, 5)).astype(kind), rng.normal(size=(3, 5, 6)).astype(kind)

    def there(x, turn):
        return device.array(np.ascontiguousarray(x.swapaxes(1, 2))).swapaxes(1, 2) if turn else device.array(x)

    found = batched(there(a, turned[0]), there(b, turned[1])).get()
    assert found.dtype == kind
    np.testing.assert_allclose(found, a @ b, rtol=0, atol=50 * np.finfo(kind).eps)
    np.testing.assert_allclose(batched(a, b), a @ b, rtol=0, atol=0)


def test_products_that_do_not_fit_are_refused(device):
    with pytest.raises(ValueError, match=r"^no products of \(2, 3, 4\) float32 and \(2, 3, 4\) float32"):
        batched(device.array(np.zeros((2, 3, 4), np.float32)), device.array(np.zeros((2, 3, 4), np.float32)))


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 40), st.integers(1, 70))


@given(SHAPES, st.floats(0.01, 30), st.booleans(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_kernels_in_float32_are_the_formulas_in_float64(shape, size, masked, seed):
    """Softmax, its divergence and the cross-entropy, each row in one pass, beside what NumPy makes of the formulas."""
    rng = np.random.default_rng(seed)
    x = (size * rng.normal(size=shape)).astype(np.float32)
    mu = x + rng.normal(size=shape).astype(np.float32)
    if masked:
        blocked = rng.random((shape[0], 1, 1, shape[3])) < 0.3
        x, mu = (np.where(blocked, np.float32(BLOCKED), values) for values in (x, mu))
    wide = x.astype(float), mu.astype(float)
    np.testing.assert_allclose(softmax(x), softmax(wide[0]), rtol=2e-5, atol=1e-7)
    for found, expected in zip(divergence_slopes(x, mu), divergence_slopes(*wide), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * (1 + size))
    logits = x.reshape(-1, shape[3])
    labels = rng.integers(-1, shape[3], len(logits)).astype(np.int32)
    for found, expected in zip(cross_entropy(logits, labels), cross_entropy(logits.astype(float), labels), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6 * (1 + size))


@pytest.mark.parametrize("size", [0.1, 5.0, 60.0])
def test_kernels_in_float32_give_the_same_bits_on_the_gpu(device, rng, size):
    """Polynomials instead of a library's exponentials, and sums in float64: nothing is left that a GPU rounds otherwise.

    Except that CuPy's own elementwise kernels replace subnormal results by zero.
    """
    x = (size * rng.normal(size=(4, 2, 30, 37))).astype(np.float32)
    x[1, :, :, 5:] = BLOCKED
    mu = x + rng.normal(size=x.shape).astype(np.float32)
    logits, labels = x.reshape(-1, 37), (np.arange(240) % 38 - 1).astype(np.int32)
    expected = [softmax(x), *divergence_slopes(x, mu), *cross_entropy(logits, labels)]
    there = [device.array(one) for one in (x, mu, logits, labels)]
    found = [softmax(there[0]), *divergence_slopes(*there[:2]), *cross_entropy(*there[2:])]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == np.float32
        there, here = (np.where(np.abs(values) < np.finfo(np.float32).tiny, 0, values) for values in (one.get(), other))
        np.testing.assert_array_equal(there, here)


def test_rows_of_a_softmax_that_hold_no_numbers_or_blocked_ones():
    rows = np.zeros((6, 5), np.float32)
    rows[0, 2], rows[1, :3], rows[2, 1], rows[3, 1] = np.nan, BLOCKED, np.inf, -np.inf
    rows[4] = BLOCKED
    with np.errstate(invalid="ignore"):
        found = softmax(rows)
        losses, _ = cross_entropy(rows, np.array([0, 4, 0, 0, 0, 1], np.int32))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[2]).any()
    assert found[1].tolist() == [0, 0, 0, 0.5, 0.5]
    assert found[3].tolist() == [0.25, 0, 0.25, 0.25, 0.25]
    np.testing.assert_allclose(found[4:], 0.2, rtol=1e-6)
    assert np.isnan(losses).tolist() == [True, False, True, False, False, False]
    # What is equal cancels to the bit.
    x = np.random.default_rng(0).normal(size=(4, 33)).astype(np.float32)
    for slopes in divergence_slopes(x, x.copy()):
        assert not slopes.any()


def test_many_rows_are_shared_among_threads():
    """Above and below the size from which on other threads help: the same bits."""
    x = np.random.default_rng(0).normal(size=(2000, 129)).astype(np.float32)
    labels = (np.arange(2000) % 130 - 1).astype(np.int32)
    pieces = [slice(0, 640), slice(640, 1300), slice(1300, None)]
    np.testing.assert_array_equal(softmax(x), np.concatenate([softmax(x[piece]) for piece in pieces]))
    mu = x[:, ::-1].copy()
    for of in (lambda p: divergence_slopes(x[p], mu[p]), lambda p: cross_entropy(x[p], labels[p])):
        for whole, part in zip(of(slice(None)), zip(*map(of, pieces), strict=True), strict=True):
            np.testing.assert_array_equal(whole, np.concatenate(part))
