"""Every block on every backend: outputs, transposes, products and stored values agree with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from analogpc.blocks import (
    Activation,
    Attention,
    AvgPool,
    BatchNorm,
    Chain,
    Conv2d,
    Dense,
    Flatten,
    GlobalMean,
    LayerNorm,
    MaxPool,
    Parallel,
    Residual,
    SoftPool,
    Sum,
)
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.random.streams import Key

RELU = Activation(function="relu")
CASES = {
    "conv, few channels": (Conv2d(channels=3), (4, 5, 2)),
    "conv, channels in units of 16 bytes": (Conv2d(channels=8, stride=2), (5, 6, 4)),
    "max pool": (MaxPool(), (5, 4, 3)),
    "max pool, overlapping": (MaxPool(size=3, stride=2), (7, 5, 2)),
    "average pool": (AvgPool(size=3, stride=2), (7, 5, 2)),
    "soft pool": (SoftPool(size=3, stride=2, temperature=0.3), (7, 5, 2)),
    "batch norm": (BatchNorm(), (5,)),
    "batch norm of images, not frozen": (BatchNorm(eps=0.1, freezing=False), (3, 2, 4)),
    "layer norm": (LayerNorm(), (5,)),
    "layer norm of images": (LayerNorm(eps=0.1), (3, 2, 4)),
    "global mean": (GlobalMean(), (3, 4, 2)),
    "flatten": (Flatten(), (2, 3, 4)),
    "sum": (Sum(shape=(2, 3)), (18,)),
    "fork": (Parallel(branches=(Conv2d(channels=2), Chain(blocks=(RELU, Conv2d(channels=2, kernel=1))), Flatten())), (3, 4, 2)),
    "side by side": (
        Parallel(branches=(Conv2d(channels=2), Flatten()), shapes=((3, 2, 1), (2, 2, 3)), precisions=(1, 0.5)),
        (18,),
    ),
    "residual": (
        Residual(
            body=Chain(blocks=(Conv2d(channels=3), BatchNorm(freezing=False), RELU, Conv2d(channels=4, bias=False))),
            shortcut=Conv2d(channels=4, kernel=1, padding=0),
        ),
        (3, 4, 2),
    ),
    "residual of dense blocks": (Residual(body=Chain(blocks=(Dense(features=4), LayerNorm(), RELU, Dense(features=5)))), (5,)),
    "dense over positions": (Dense(features=3), (4, 5)),
    "attention": (Attention(causal=True), (4, 6)),
    "attention of two heads": (Attention(heads=2), (4, 6)),
    "chain": (
        Chain(blocks=(Conv2d(channels=4), BatchNorm(), RELU, MaxPool(), Flatten(), Dense(features=4), LayerNorm())),
        (5, 6, 2),
    ),
}


def build(case: str, kind: type):
    """With scales, biases and running statistics that are not those of the start."""
    spec, shape = CASES[case]
    block = spec.build(shape, lambda role, shape, draw: DigitalMatrix(draw()), Key(3), np.dtype(kind))
    rng = np.random.default_rng(4)
    for matrix in block.matrices.values():
        matrix.increment(0.1 * rng.normal(size=matrix.shape).astype(kind))
    for kept in block.buffers.values():
        kept[...] = 0.5 + rng.random(kept.shape)
    return block


def all_of_it(block, x, g) -> dict:
    """Everything that a block computes, by name, arrays where they are."""
    found = {"before": block.infer(x)}
    y, tape = block.forward(x)
    names = {id(matrix): name for name, matrix in block.matrices.items()}
    found |= {"forward": y, "vjp": block.vjp(tape, g)}
    for number, (matrix, pre, post) in enumerate(block.products(tape, g)):
        found |= {f"{number}, {names[id(matrix)]}, pre": pre, f"{number}, {names[id(matrix)]}, post": post}
    return found | {"infer": block.infer(x)} | block.buffers


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_blocks_are_those_of_the_processor(device, exact, rng, case, kind) -> None:
    block = build(case, kind)
    there = block.copy("gpu")
    assert all(map(on_gpu, there.buffers.values()))
    x, g = (rng.normal(size=(6, *shape)).astype(kind) for shape in (block.input_shape, block.output_shape))
    expected = all_of_it(block, x, g)
    found = all_of_it(there, device.array(x), device.array(g))
    assert found.keys() == expected.keys()
    # A true GPU adds up products, means and exponential series in orders of its own, and so does no exponential function here.
    exact = exact and "soft" not in case and "attention" not in case
    for name, values in expected.items():
        assert on_gpu(found[name]), name
        back = found[name].get()
        assert (back.dtype, back.shape) == (values.dtype, values.shape), name
        tolerance = 0 if exact else 200 * np.finfo(kind).eps
        np.testing.assert_allclose(back, values, rtol=0, atol=tolerance * max(1, np.abs(values).max()), err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_an_empty_batch_passes(device, case) -> None:
    block = build(case, np.float32)
    there = block.copy("gpu")
    x, g = (np.zeros((0, *shape), np.float32) for shape in (block.input_shape, block.output_shape))
    expected = all_of_it(block, x, g)
    for name, values in all_of_it(there, device.array(x), device.array(g)).items():
        assert (values.dtype, values.shape) == (expected[name].dtype, expected[name].shape), name


def test_what_is_kept_on_the_gpu_comes_back(device, rng) -> None:
    block = build("batch norm", np.float32)
    there = block.copy("gpu")
    x = device.array(rng.normal(size=(6, 5)).astype(np.float32))
    y, tape = there.forward(x)
    list(there.products(tape, y))
    home = there.copy("cpu")
    for name, kept in there.buffers.items():
        assert isinstance(home.buffers[name], np.ndarray)
        assert np.array_equal(home.buffers[name], kept.get())
        assert not np.array_equal(home.buffers[name], block.buffers[name])
    np.testing.assert_allclose(home.infer(x.get()), there.infer(x).get(), rtol=1e-6)


def test_precisions_move_along(device) -> None:
    block = build("side by side", np.float32)
    there = block.copy("gpu")
    assert on_gpu(there.precision)
    assert np.array_equal(there.precision.get(), block.precision)
