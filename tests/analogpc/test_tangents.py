"""Derivatives along directions, and second derivatives, against finite differences."""

import numpy as np
import pytest

from analogpc.blocks import Activation, AvgPool, BatchNorm, Chain, Conv2d, Dense, Flatten, MaxPool, SoftPool
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.dynamics.tangents import mixed
from analogpc.kernels.random.streams import Key

SOFT = SoftPool(size=2, stride=1, temperature=0.6)
CASES = {
    "dense": Chain(blocks=(Flatten(), Dense(features=3))),
    "pooled by the maximum": Chain(blocks=(Conv2d(channels=3), MaxPool(size=3, stride=1))),
    "averaged": Chain(blocks=(Conv2d(channels=3), AvgPool(size=2, stride=1), Flatten(), Dense(features=2))),
    "softly pooled": Chain(blocks=(Conv2d(channels=3), SOFT)),
    "softly pooled at first": Chain(blocks=(SOFT, Conv2d(channels=2), SoftPool(size=3, stride=2), Flatten(), Dense(features=2))),
    "without matrices": Chain(blocks=(SOFT, AvgPool(size=1), SoftPool(size=3))),
}


def built(case):
    return CASES[case].build((5, 4, 2), lambda role, shape, draw: DigitalMatrix(draw()), Key(1), np.dtype(np.float64))


@pytest.mark.parametrize("case", CASES)
def test_a_tangent_is_a_difference_and_the_transpose_of_the_vjp(case, rng):
    block = built(case)
    x, dx = rng.normal(size=(2, 3, 5, 4, 2))
    _, tape = block.forward(x)
    along, _ = block.tangent(tape, dx)
    step = 1e-6 * dx
    np.testing.assert_allclose(along, (block.forward(x + step)[0] - block.forward(x - step)[0]) / 2e-6, rtol=1e-6, atol=1e-8)
    g = rng.normal(size=along.shape)
    assert np.vdot(along, g) == pytest.approx(np.vdot(dx, block.vjp(tape, g)), rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_mixed_derivatives_are_differences_of_what_they_say(case, rng):
    """Of <h, f(x)> + <g, f'(x) dx>: the second term bends with x where pooling is soft."""
    block = built(case)
    x, dx, shift = rng.normal(size=(3, 3, 5, 4, 2))
    y, tape = block.forward(x)
    g, h = rng.normal(size=(2, *y.shape))

    def value(x):
        y, tape = block.forward(x)
        return np.vdot(h, y) + np.vdot(g, block.tangent(tape, dx)[0])

    found = mixed(block, tape, dx, g, h)
    np.testing.assert_array_equal(found.along, block.tangent(tape, dx)[0])
    assert np.vdot(found.back, shift) == pytest.approx((value(x + 1e-6 * shift) - value(x - 1e-6 * shift)) / 2e-6, rel=1e-6)
    learnt = {}
    for matrix, pre, post in found.products():
        learnt[id(matrix)] = learnt.get(id(matrix), 0) + post.T @ pre
    assert learnt.keys() == {id(matrix) for matrix in block.matrices.values()}
    for matrix in block.matrices.values():
        change = rng.normal(size=matrix.shape)
        values = []
        for step in (1e-6, -2e-6, 1e-6):
            matrix.increment(step * change)
            values.append(value(x))
        assert np.vdot(learnt[id(matrix)], change) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("spec", [Activation(function="tanh"), BatchNorm()])
def test_other_blocks_are_refused(spec):
    block = spec.build((5, 4, 2), lambda role, shape, draw: DigitalMatrix(draw()), Key(1), np.dtype(np.float64))
    x = np.arange(80.0).reshape(2, 5, 4, 2)
    with pytest.raises(TypeError, match=r"^(Activation|BatchNorm) has no directional derivative here$"):
        block.tangent(block.forward(x)[1], x)
