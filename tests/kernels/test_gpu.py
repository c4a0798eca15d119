"""CUDA kernels against CPU kernels: bit-identical, because neither uses fused multiply-adds."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from analogpc.kernels.activations import clip, clip_product, gelu, gelu_product, rectify, rectify_product
from analogpc.kernels.descent import momentum_step, plain_step
from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.gpu import blas, cuda_kernel
from analogpc.kernels.products import beside, inner, largest, matmul, row
from analogpc.kernels.random.streams import Key, bits, normals, uniforms

KINDS = [np.float32, np.float64]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1025])
def test_bits_and_normals_are_those_of_the_processor(device, size) -> None:
    there, key, step = device.empty(0), Key(2**63 + 11), 2**40 + 3
    assert np.array_equal(bits(key, step, size, like=there).get(), bits(key, step, size))
    assert np.array_equal(uniforms(key, step, size, like=there).get(), uniforms(key, step, size))
    for kind in KINDS:
        assert np.array_equal(normals(key, step, size, kind, like=there).get(), normals(key, step, size, kind))


def test_a_million_normals_are_those_of_the_processor(device) -> None:
    assert np.array_equal(normals(Key(1), 7, (1000, 1003), like=device.empty(0)).get(), normals(Key(1), 7, (1000, 1003)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum(device, rng, kind, nesterov) -> None:
    x, g, v = rng.normal(size=(3, 7, 301)).astype(kind)
    there = [device.array(values) for values in (x, g, v)]
    moved = momentum_step(*there, 0.1, 0.9, nesterov)
    assert np.array_equal(moved.get(), momentum_step(x, g, v, 0.1, 0.9, nesterov))
    assert np.array_equal(there[2].get(), v)
    assert np.array_equal(plain_step(*there[:2], 0.1).get(), plain_step(x, g, 0.1))


@pytest.mark.parametrize("kind", KINDS)
def test_activations(device, rng, kind) -> None:
    special = [0.0, -0.0, 1.0, -1.0, 5.6, -5.6, 6.0, -6.0, np.inf, -np.inf, np.nan, 1e-30]
    x = np.concatenate([np.array(special), np.linspace(-8, 8, 2001)]).astype(kind)
    g = rng.normal(size=x.shape).astype(kind)
    one, other = device.array(x), device.array(g)
    pairs = [(rectify(one, s), rectify(x, s)) for s in (0.0, 0.01)]
    pairs += [(rectify_product(one, other, s), rectify_product(x, g, s)) for s in (0.0, 0.01)]
    pairs += [(clip(one, -1.0, 1.0), clip(x, -1.0, 1.0)), (clip_product(one, other, 0.0, 1.0), clip_product(x, g, 0.0, 1.0))]
    if kind is np.float32:
        pairs += [(gelu(one), gelu(x)), (gelu_product(one, other), gelu_product(x, g))]
    for found, expected in pairs:
        assert np.array_equal(found.get(), expected, equal_nan=True)


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


def test_copies_go_to_and_fro(device) -> None:
    values = np.arange(6.0).reshape(2, 3).T
    there = gpu.copied(values, "gpu")
    assert gpu.on_gpu(there)
    assert not gpu.on_gpu(values)
    assert not any(map(gpu.on_gpu, (1, 0.5, True, np.float32(1))))
    assert (gpu.backend_of(there), gpu.backend_of(values)) == ("gpu", "cpu")
    assert np.array_equal(gpu.to_host(there), values)
    assert gpu.to_host(values) is values
    back = gpu.copied(there, "cpu")
    assert back.flags.c_contiguous
    assert np.array_equal(back, values)


def test_kernels_refuse_other_types() -> None:
    with pytest.raises(TypeError, match="float32 and float64, not int32"):
        cuda_kernel.definitions(np.dtype(np.int32))


def test_a_missing_gpu_is_one_sentence() -> None:
    if "cupy" in sys.modules or importlib.util.find_spec("cupy"):
        pytest.skip("CuPy is installed here")
    with pytest.raises(gpu.GpuError, match=r"^the backend 'gpu' needs CuPy: install analogpc\[gpu\]"):
        gpu.cupy()


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
