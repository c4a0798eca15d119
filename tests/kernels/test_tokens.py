"""What language models need of kernels: rows by number, cross-entropy of labels, many products at once; on both backends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.lookups import one_hot, rows_of, sum_rows
from analogpc.kernels.products import batched, outer
from analogpc.kernels.softmax import log_softmax, softmax, softmax_product
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
