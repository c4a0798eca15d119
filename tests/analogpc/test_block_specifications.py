"""Block specifications: TOML and back, and refusals in one sentence."""

import numpy as np
import pytest

from analogpc.blocks import (
    Activation,
    AvgPool,
    BatchNorm,
    Chain,
    Conv2d,
    Dense,
    Flatten,
    LayerNorm,
    MaxPool,
    Residual,
    ShapeError,
    SoftPool,
)
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key


def build(spec, shape):
    return spec.build(shape, lambda role, shape, draw: DigitalMatrix(draw()), Key(0), np.dtype(np.float64))


def test_toml_round_trip():
    inner = Chain(
        blocks=(Conv2d(channels=2, kernel=5, stride=2, padding=2, bias=False, init="xavier-normal"), MaxPool(size=3, stride=2))
    )
    chain = Chain(blocks=(inner, Activation(function="silu"), Flatten(), Dense(features=7, bias=False, init="kaiming-normal")))
    assert Chain.from_toml(chain.to_toml()) == chain
    assert chain.to_dict()["blocks"][0]["blocks"][1] == {"kind": "max-pool", "size": 3, "stride": 2}


def test_normalisations_pools_and_residuals_survive_toml():
    body = Chain(blocks=(Conv2d(channels=2), BatchNorm(eps=1e-3, momentum=0.2, freezing=False), LayerNorm(eps=0.1)))
    chain = Chain(
        blocks=(
            Residual(body=body, shortcut=AvgPool(size=1)),
            Residual(body=SoftPool(size=1, temperature=0.5)),
            AvgPool(stride=1),
        )
    )
    assert Chain.from_toml(chain.to_toml()) == chain
    assert chain.to_dict()["blocks"][1]["shortcut"] == {"kind": "activation", "function": "identity"}


def test_bad_shapes_and_fields_are_refused_in_one_sentence():
    with pytest.raises(
        ShapeError, match=r"^block 1 of the chain: Dense takes samples of shape \(n_in,\), not \(4, 4, 2\): add Flatten"
    ):
        build(Chain(blocks=(Conv2d(channels=2), Dense(features=2))), (4, 4, 1))
    with pytest.raises(ShapeError, match=r"^Conv2d takes samples of shape \(height, width, channels\), not \(9,\)$"):
        build(Conv2d(channels=2), (9,))
    with pytest.raises(
        ShapeError, match=r"^Conv2d with a kernel of 5 and a padding of 1 needs images of at least 3 pixels a side"
    ):
        build(Conv2d(channels=2, kernel=5), (2, 9, 1))
    with pytest.raises(
        ShapeError, match=r"^MaxPool of size 2 needs images of at least 2 pixels a side, not samples of \(4, 1, 3\)$"
    ):
        build(MaxPool(), (4, 1, 3))
    with pytest.raises(ShapeError, match=r"^MaxPool takes samples"):
        build(MaxPool(), (4, 4))
    with pytest.raises(SpecificationError, match=r"features = 0 is not allowed"):
        Dense(features=0)
    with pytest.raises(SpecificationError, match=r"blocks"):
        Chain(blocks=())


def test_bad_normalisations_pools_and_residuals_are_refused_in_one_sentence():
    with pytest.raises(
        ShapeError, match=r"^SoftPool of size 3 needs images of at least 3 pixels a side, not samples of \(4, 2, 1\)$"
    ):
        build(SoftPool(size=3), (4, 2, 1))
    with pytest.raises(ShapeError, match=r"^AvgPool takes samples of shape \(height, width, channels\), not \(4,\)$"):
        build(AvgPool(), (4,))
    with pytest.raises(
        ShapeError, match=r"^BatchNorm takes samples with at least one axis, the last being the channels, not \(\)$"
    ):
        build(BatchNorm(), ())
    with pytest.raises(
        ShapeError, match=r"^LayerNorm takes samples with at least two values along the last axis, .* not \(4, 1\)$"
    ):
        build(LayerNorm(), (4, 1))
    with pytest.raises(
        ShapeError, match=r"^BatchNorm learns from batches with at least two values .* not from one of shape \(1, 4\)$"
    ):
        build(BatchNorm(), (4,)).forward(np.zeros((1, 4)))
    with pytest.raises(
        ShapeError,
        match=r"^Residual adds .* samples of shape \(4, 4, 1\) give the body output \(4, 4, 2\) and the shortcut output \(4, 4, 1\)$",
    ):
        build(Residual(body=Conv2d(channels=2)), (4, 4, 1))
    with pytest.raises(ShapeError, match=r"^shortcut of the residual: Dense takes samples of shape \(n_in,\), not \(4, 4, 1\)"):
        build(Residual(body=Conv2d(channels=2), shortcut=Dense(features=2)), (4, 4, 1))
    for make, sentence in (
        (lambda: BatchNorm(momentum=0), "momentum = 0 is not allowed"),
        (lambda: BatchNorm(momentum=1.5), r"momentum = 1\.5 is not allowed"),
        (lambda: LayerNorm(eps=0), "eps = 0 is not allowed"),
        (lambda: SoftPool(temperature=0), "temperature = 0 is not allowed"),
        (lambda: Residual(shortcut=Dense(features=2)), "needs the field 'body'"),
    ):
        with pytest.raises(SpecificationError, match=sentence):
            make()
