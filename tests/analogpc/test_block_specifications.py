"""Block specifications: TOML and back, and refusals in one sentence."""

import numpy as np
import pytest

from analogpc.blocks import Activation, Chain, Conv2d, Dense, Flatten, MaxPool, ShapeError
from analogpc.devices.matrix import DigitalMatrix
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.streams import Key


def build(spec, shape):
    return spec.build(shape, lambda role, weights: DigitalMatrix(weights), Key(0), np.dtype(np.float64))


def test_toml_round_trip():
    inner = Chain(
        blocks=(Conv2d(channels=2, kernel=5, stride=2, padding=2, bias=False, init="xavier-normal"), MaxPool(size=3, stride=2))
    )
    chain = Chain(blocks=(inner, Activation(function="silu"), Flatten(), Dense(features=7, bias=False, init="kaiming-normal")))
    assert Chain.from_toml(chain.to_toml()) == chain
    assert chain.to_dict()["blocks"][0]["blocks"][1] == {"kind": "max-pool", "size": 3, "stride": 2}


def test_bad_shapes_and_fields_are_refused_in_one_sentence():
    with pytest.raises(
        ShapeError, match=r"^block 1 of the chain: Dense takes samples of shape \(n_in,\), not \(4, 4, 2\); Flatten"
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
