"""Products, sums and rows on every backend, and the precisions of the GPU."""

from __future__ import annotations

import numpy as np
import pytest

from analogpc.kernels.gpu import blas
from analogpc.kernels.products import beside, inner, largest, matmul, row


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 7, 3), (5, 1, 3), (5, 7, 1), (1, 1, 1), (0, 7, 3), (5, 0, 3)])
def test_products_take_every_layout(device, rng, kind, shape) -> None:
    m, k, n = shape
    a, b = (rng.normal(size=size).astype(kind) for size in ((m, k), (k, n)))

    def layouts(x: np.ndarray) -> list:
        wide = np.zeros((x.shape[0], x.shape[1] + 2), kind)
        wide[:, 1:-1] = x
        tall = np.zeros((2 * x.shape[0], 3 * x.shape[1]), kind)
        tall[::2, ::3] = x
        turned = device.array(np.ascontiguousarray(x.T)).T
        return [device.array(x), turned, device.array(wide)[:, 1:-1], device.array(tall)[::2, ::3]]

    with blas.use_precision("float32"):
        for one in layouts(a):
            for other in layouts(b):
                assert np.allclose(matmul(one, other).get(), a @ b, rtol=1e-5, atol=1e-5)


def test_products_of_what_does_not_fit_are_refused(emulated) -> None:
    a = emulated.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"no product of \(2, 3\) float32 and \(2, 3\) float32"):
        matmul(a, a)
    with pytest.raises(ValueError, match="float64"):
        matmul(a, emulated.zeros((3, 2), np.float64))


def test_precisions(device, rng) -> None:
    a, b = rng.normal(size=(2, 64, 64)).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    # Operands are rounded to half a unit of the last of so many bits, and 64 products of unit variance are added up.
    for precision, digits in (("float32", 2**-22), ("tf32", 2**-10), ("bfloat16", 2**-7)):
        with blas.use_precision(precision):
            found = matmul(device.array(a), device.array(b)).get()
        assert np.abs(found - exact).max() < 64 * digits
    assert blas.precision_in_use() == "tf32"
    with (
        pytest.raises(ValueError, match="precision = 'half' is not allowed: one of tf32, float32, bfloat16"),
        blas.use_precision("half"),
    ):
        pass


def test_sums_and_rows(device, rng) -> None:
    a, b = rng.normal(size=(2, 7, 5)).astype(np.float32)
    one, other = device.array(a), device.array(b)
    exact = (a.astype(np.float64) * b).sum()
    # Products are rounded to float32 before they are summed up in float64.
    assert abs(float(inner(one, other)) - exact) < 35 * 2**-24 * np.abs(a * b).max()
    assert abs(inner(a, b) - exact) < 35 * 35 * 2**-24 * np.abs(a * b).max()
    assert largest(one) == largest(a) == np.abs(a).max()
    assert largest(one[:0]) == 0
    numbers = [1, 0.25, True, inner(one, one), *(np.float32(k) for k in range(9))]
    found = row(numbers, one)
    assert found.dtype == np.float64
    assert found.get().tolist()[:3] == [1, 0.25, 1]
    assert found.get().tolist()[4:] == list(range(9))
    assert row([1, 2.5], a).tolist() == [1, 2.5]
    parts = [a, b[:, :2], a[:, 1:]]
    assert np.array_equal(beside(parts), np.concatenate(parts, axis=1))
    assert np.array_equal(beside([device.array(part) for part in parts]).get(), np.concatenate(parts, axis=1))
