"""The change of a block's output when its input moves: the difference of two outputs, to the relative precision of the step."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analogpc as apc
from analogpc.blocks import (
    Activation,
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
    activation,
)
from analogpc.kernels.gpu.arrays import copied, on_gpu, to_host
from analogpc.networks.base import Layers
from analogpc.networks.network import Network

IMAGE = (6, 6, 4)
FUNCTIONS = ("identity", "relu", "leaky_relu", "tanh", "hard_tanh", "sigmoid", "hard_sigmoid", "gelu", "gelu_tanh", "silu")
BLOCKS = {
    **{name: (Activation(function=name), (3, 4)) for name in FUNCTIONS},
    "dense": (Dense(features=5, gain=0.7), (7,)),
    "conv": (Conv2d(channels=5, stride=2), IMAGE),
    "max": (MaxPool(), IMAGE),
    "overlapping max": (MaxPool(size=3, stride=1), IMAGE),
    "mean": (AvgPool(), IMAGE),
    "soft": (SoftPool(temperature=0.5), IMAGE),
    "global mean": (GlobalMean(), IMAGE),
    "flatten": (Flatten(), IMAGE),
    "sum": (Sum(shape=(4,)), (12,)),
    "batch norm": (BatchNorm(), IMAGE),
    "batch norm of PCX": (BatchNorm(convention="pcx"), IMAGE),
    "layer norm": (LayerNorm(), (3, 4)),
    "chain": (Chain(blocks=(Conv2d(channels=5), Activation(function="gelu"), MaxPool(), BatchNorm())), IMAGE),
    "residual": (Residual(body=Chain(blocks=(Conv2d(channels=4), Activation(function="tanh")))), IMAGE),
    "parallel": (Parallel(branches=(Conv2d(channels=4), Flatten())), IMAGE),
}


def layer_of(name, dtype):
    block, shape = BLOCKS[name]
    return Network(Layers(input_shape=shape, blocks=(block,), dtype=dtype)).layers[0], shape


def moved(layer, x, d):
    _, tape = layer.forward(x)
    return layer.shift(tape, d)


@pytest.mark.parametrize("name", BLOCKS)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([1e-2, 0.3, 2.0]))
@settings(max_examples=8, deadline=None)
def test_a_shift_is_the_difference_of_two_outputs(name, seed, size):
    layer, shape = layer_of(name, "float64")
    rng = np.random.default_rng(seed)
    x, d = rng.normal(size=(5, *shape)), size * rng.normal(size=(5, *shape))
    (before, _), (after, there) = layer.forward(x), layer.forward(x + d)
    gain, tape = moved(layer, x, d)
    np.testing.assert_allclose(gain, after - before, rtol=1e-9, atol=1e-12)
    g = rng.normal(size=after.shape)
    np.testing.assert_allclose(layer.vjp(tape, g), layer.vjp(there, g), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_shift_keeps_the_precision_of_tiny_steps(name):
    """Steps of 1e-7 in float32, where the difference of two outputs would have no digit left: as in float64."""
    (single, shape), (double, _) = layer_of(name, "float32"), layer_of(name, "float64")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(8, *shape)).astype(np.float32)
    d = (1e-7 * rng.normal(size=x.shape)).astype(np.float32)
    found, exact = moved(single, x, d)[0], moved(double, x.astype(np.float64), d.astype(np.float64))[0]
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() < 2e-6 * np.abs(exact).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BLOCKS)
def test_shifts_on_the_gpu(name, dtype, device, exact):
    layer, shape = layer_of(name, np.dtype(dtype).name)
    there = layer.copy("gpu")
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5, *shape)).astype(dtype)
    for size in (1e-6, 1.0):
        d = (size * rng.normal(size=x.shape)).astype(dtype)
        ours, tape = moved(layer, x, d)
        theirs, other = moved(there, copied(x, "gpu"), copied(d, "gpu"))
        assert on_gpu(theirs)
        tolerance = 3e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(to_host(theirs), ours, rtol=0, atol=tolerance * np.abs(ours).max())
        g = rng.normal(size=ours.shape).astype(dtype)
        back = layer.vjp(tape, g)
        np.testing.assert_allclose(to_host(there.vjp(other, copied(g, "gpu"))), back, rtol=0, atol=tolerance * np.abs(back).max())


def test_what_cannot_be_shifted_says_so():
    """Noise and converters end the precision: such layers are read again. Ideal crossbars are not."""
    assert apc.mlp([4, 3]).layers[0].exact
    assert apc.mlp([4, 3], substrate=apc.Analog.ideal()).layers[0].exact
    for fields in ({"read_noise": 0.01}, {"adc": apc.ADC(bits=9)}, {"device": "rram-milo"}):
        assert not apc.mlp([4, 3], substrate=apc.Analog.ideal(**fields)).layers[0].exact
    moving = BatchNorm(convention="pcx", freezing=False)
    layer = Network(Layers(input_shape=(4,), blocks=(Chain(blocks=(Dense(features=3), moving)),))).layers[0]
    assert not layer.exact
    assert not layer.steady


def test_an_activation_of_ones_own_is_shifted_by_its_slope():
    apc.register_activation("softplus-of-tests", lambda x: np.logaddexp(x, 0), lambda x: 1 / (1 + np.exp(-x)))
    BLOCKS["own"] = (Activation(function="softplus-of-tests"), (3, 4))
    try:
        layer, _ = layer_of("own", "float32")
        x, d = np.full((1, 3, 4), 1.5, np.float32), np.full((1, 3, 4), 1e-7, np.float32)
        assert moved(layer, x, d)[0][0, 0, 0] == pytest.approx(1e-7 / (1 + math.exp(-1.5)), rel=1e-5)
    finally:
        del BLOCKS["own"], activation.FUNCTIONS["softplus-of-tests"]
