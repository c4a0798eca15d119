"""Normalisations and residuals as blocks: closed forms, and when running statistics move."""

import numpy as np
import pytest

import analogpc as apc
from analogpc.blocks import Activation, BatchNorm, Chain, Dense, LayerNorm, Residual
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.kernels.random.streams import Key
from analogpc.networks import Layers
from analogpc.networks.network import Network

TANH = Activation(function="tanh")


def build(spec, shape, dtype=np.float64):
    return spec.build(shape, lambda role, shape, draw: DigitalMatrix(draw()), Key(0), np.dtype(dtype))


def shaken(block, rng):
    """The same block with other scales and biases."""
    for matrix in block.matrices.values():
        matrix.increment(rng.normal(size=matrix.shape))
    return block


# Closed forms


@pytest.mark.parametrize("shape", [(6,), (3, 2, 4)])
def test_batch_norm_is_its_formula_over_batch_and_positions(shape, rng):
    block = shaken(build(BatchNorm(eps=0.01), shape), rng)
    x = rng.normal(3, 2, size=(5, *shape))
    axes = tuple(range(len(shape)))
    scale, bias = (block.matrices[name].weights()[:, 0] for name in ("scale", "bias"))
    expected = scale * (x - x.mean(axes)) / np.sqrt(x.var(axes) + 0.01) + bias
    np.testing.assert_allclose(block.forward(x)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(6,), (3, 4), (3, 2, 4)])
def test_layer_norm_is_its_formula_at_every_position(shape, rng):
    block = shaken(build(LayerNorm(eps=0.01), shape), rng)
    x = rng.normal(3, 2, size=(5, *shape))
    scale, bias = (block.matrices[name].weights()[:, 0] for name in ("scale", "bias"))
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + 0.01)
    expected = scale * (x - x.mean(axis=-1, keepdims=True)) / spread + bias
    np.testing.assert_allclose(block.forward(x)[0], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(block.infer(x), block.forward(x)[0])


@pytest.mark.parametrize("spec", [BatchNorm(), LayerNorm()])
def test_a_common_offset_costs_no_digits_of_float32(spec, rng):
    """Moments are accumulated in float64; float32 sums of squares would leave nothing of a spread of 1 around 1000."""
    x = (1000 + rng.normal(size=(300, 40))).astype(np.float32)
    wide, _ = build(spec, (40,)).forward(x.astype(np.float64))
    y, _ = build(spec, (40,), np.float32).forward(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, wide, atol=1e-3)


def test_scales_and_biases_are_digital_and_their_products_are_sums(rng):
    roles = []

    def make(role, shape, draw):
        roles.append((role, shape))
        return DigitalMatrix(draw())

    block = BatchNorm().build((2, 3, 4), make, Key(0), np.dtype(np.float64))
    assert roles == [("scale", (4, 1)), ("bias", (4, 1))]
    x, g = rng.normal(size=(5, 2, 3, 4)), rng.normal(size=(5, 2, 3, 4))
    y, tape = block.forward(x)
    (scale, ones, by_value), (bias, same_ones, rows) = block.products(tape, g)
    assert (scale, bias) == (block.matrices["scale"], block.matrices["bias"])
    assert ones.shape == same_ones.shape == (30, 1)
    np.testing.assert_allclose((by_value.T @ ones)[:, 0], (g * y).sum((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose((rows.T @ same_ones)[:, 0], g.sum((0, 1, 2)), rtol=1e-12)
    crossbar = Network(Layers(input_shape=(4,), blocks=(Chain(blocks=(BatchNorm(), Dense(features=2))),)), apc.Analog.ideal())
    assert [isinstance(m, DigitalMatrix) for m in crossbar.matrices().values()] == [True, True, False, True]


def test_a_residual_adds_its_branches(rng):
    body, shortcut = Dense(features=4), Dense(features=4, bias=False)
    block = build(Residual(body=Chain(blocks=(body, TANH)), shortcut=shortcut), (4,))
    x = rng.normal(size=(3, 4))
    a, b, w = (block.matrices[name].weights() for name in ("body.0.weight", "body.0.bias", "shortcut.weight"))
    np.testing.assert_allclose(block.forward(x)[0], x @ w.T + np.tanh(x @ a.T + b[:, 0]), rtol=1e-12)
    np.testing.assert_array_equal(block.infer(x), block.forward(x)[0])
    identity = build(Residual(body=TANH), (4,))
    np.testing.assert_array_equal(identity.forward(x)[0], x + np.tanh(x))
    assert identity.matrices == {}


def test_a_residual_keeps_and_infers_with_the_buffers_of_both_branches(rng):
    block = build(Residual(body=Chain(blocks=(TANH, BatchNorm(momentum=1))), shortcut=BatchNorm(momentum=1)), (4,))
    names = ["body.1.running_mean", "body.1.running_variance", "shortcut.running_mean", "shortcut.running_variance"]
    assert list(block.buffers) == names
    x = rng.normal(size=(9, 4))
    y, tape = block.forward(x)
    list(block.products(tape, np.zeros_like(y)))
    np.testing.assert_allclose(block.buffers["shortcut.running_mean"], x.mean(0), atol=1e-14)
    bodily, shortly = np.tanh(x), x
    expected = sum((v - v.mean(0)) / np.sqrt(v.var(0, ddof=1) + 1e-5) for v in (bodily, shortly))
    np.testing.assert_allclose(block.infer(x), expected, rtol=1e-12, atol=1e-12)
    twin = block.copy()
    twin.buffers["shortcut.running_mean"][:] = 7
    assert not (block.buffers["shortcut.running_mean"] == 7).any()
    assert (twin.infer(x) != block.infer(x)).any()


# Running statistics


def test_running_statistics_follow_the_recursion(rng):
    """With the biased variance in the batch and the unbiased one in what is kept."""
    block, (mean, variance) = build(BatchNorm(momentum=0.3), (2, 2, 3)), (np.zeros(3), np.ones(3))
    for n in (4, 2, 5):
        x = rng.normal(2, 3, size=(n, 2, 2, 3))
        y, tape = block.forward(x)
        list(block.products(tape, y))
        mean = 0.7 * mean + 0.3 * x.mean((0, 1, 2))
        variance = 0.7 * variance + 0.3 * x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(block.buffers["running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(block.buffers["running_variance"], variance, rtol=1e-12)
    np.testing.assert_allclose(block.infer(x), (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-12)


def test_with_freezing_only_products_that_are_taken_move_them(rng):
    block = build(BatchNorm(), (3,))
    start = {name: array.copy() for name, array in block.buffers.items()}
    x = rng.normal(size=(6, 3))
    y, tape = block.forward(x)
    block.forward(5 + x)
    block.vjp(tape, y)
    block.infer(x)
    products = block.products(tape, y)
    for name, array in block.buffers.items():
        np.testing.assert_array_equal(array, start[name])
    next(products)
    np.testing.assert_allclose(block.buffers["running_mean"], 0.1 * x.mean(0), rtol=1e-12)
    list(products)
    np.testing.assert_allclose(block.buffers["running_mean"], 0.1 * x.mean(0), rtol=1e-12)


def test_without_freezing_every_forward_moves_them_and_nothing_else(rng):
    block = build(BatchNorm(freezing=False, momentum=1), (3,))
    x = rng.normal(size=(6, 3))
    y, tape = block.forward(x)
    np.testing.assert_allclose(block.buffers["running_mean"], x.mean(0), rtol=1e-12)
    block.forward(5 + x)
    moved = block.buffers["running_mean"].copy()
    np.testing.assert_allclose(moved, 5 + x.mean(0), rtol=1e-12)
    list(block.products(tape, y))
    block.infer(x)
    np.testing.assert_array_equal(block.buffers["running_mean"], moved)


def test_kernel_threads_change_nothing(with_threads):
    block = build(Chain(blocks=(BatchNorm(), LayerNorm())), (5, 5, 24), np.float32)
    rng = np.random.default_rng(0)
    x, g = (rng.normal(size=(64, 5, 5, 24)).astype(np.float32) for _ in range(2))

    def both_ways():
        y, tape = block.forward(x)
        return y, block.vjp(tape, g)

    for one, two in zip(*with_threads(both_ways), strict=True):
        np.testing.assert_array_equal(one, two)
