"""Initial weights: distributions, fans, and a distinct random stream for every number."""

import math

import numpy as np
import pytest
from scipy import stats

from analogpc.blocks import Chain, Conv2d, Dense
from analogpc.blocks.initialisation import initial_weights
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.kernels.random.streams import Key


def drawn(spec, shape, seed=0):
    """Roles and weights in the order in which the block asks for its matrices."""
    asked = []

    def make(role, shape, draw):
        asked.append((role, draw()))
        assert asked[-1][1].shape == shape
        return DigitalMatrix(draw())

    spec.build(shape, make, Key(seed), np.dtype(np.float64))
    return asked


LAWS = {
    "kaiming-uniform": lambda fan_in, fan_out: stats.uniform(-1 / math.sqrt(fan_in), 2 / math.sqrt(fan_in)),
    "kaiming-uniform-fan-out": lambda fan_in, fan_out: stats.uniform(-1 / math.sqrt(fan_out), 2 / math.sqrt(fan_out)),
    "kaiming-normal": lambda fan_in, fan_out: stats.norm(0, math.sqrt(2 / fan_in)),
    "kaiming-normal-fan-out": lambda fan_in, fan_out: stats.norm(0, math.sqrt(2 / fan_out)),
    "normal": lambda fan_in, fan_out: stats.norm(0, 1),
    "xavier-uniform": lambda fan_in, fan_out: stats.uniform(
        -math.sqrt(6 / (fan_in + fan_out)), 2 * math.sqrt(6 / (fan_in + fan_out))
    ),
    "xavier-normal": lambda fan_in, fan_out: stats.norm(0, math.sqrt(2 / (fan_in + fan_out))),
}


@pytest.mark.parametrize("init", LAWS)
@pytest.mark.parametrize(
    ("spec", "shape", "fans"), [(Dense(features=200), (120,), (120, 200)), (Conv2d(channels=40), (8, 8, 30), (270, 360))]
)
def test_weights_follow_their_law(init, spec, shape, fans):
    """Kolmogorov-Smirnov at a false-alarm rate of 1e-5, on 10,800 numbers or more."""
    (role, weights), (bias_role, bias) = drawn(spec.but(init=init), shape)
    law = LAWS[init](*fans)
    assert (role, bias_role) == ("weight", "bias")
    assert weights.shape == (spec.features if isinstance(spec, Dense) else spec.channels, fans[0])
    assert bias.shape == (len(weights), 1)
    assert stats.kstest(weights.reshape(-1), law.cdf).pvalue > 1e-5
    if init.startswith("kaiming-uniform"):
        assert np.abs(bias).max() <= 1 / math.sqrt(fans[0])
        assert stats.kstest(bias.reshape(-1), LAWS["kaiming-uniform"](*fans).cdf).pvalue > 1e-5
    else:
        assert (bias == 0).all()


def test_every_matrix_has_numbers_of_its_own_and_a_seed_repeats_them():
    chain = Chain(blocks=tuple(Dense(features=6) for _ in range(3)))
    first, again, other = drawn(chain, (6,)), drawn(chain, (6,)), drawn(chain, (6,), seed=1)
    values = np.concatenate([weights.reshape(-1) for _, weights in first + other])
    assert len(np.unique(values)) == values.size == 2 * 3 * 42
    for (_, one), (_, two) in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)


def test_without_a_bias_only_the_weight_is_made():
    assert [role for role, _ in drawn(Conv2d(channels=2, bias=False), (4, 4, 1))] == ["weight"]
    assert [role for role, _ in drawn(Dense(features=2, bias=False), (4,))] == ["weight"]


def test_a_bias_does_not_change_the_weights():
    with_bias, without = drawn(Dense(features=2), (4,)), drawn(Dense(features=2, bias=False), (4,))
    np.testing.assert_array_equal(with_bias[0][1], without[0][1])


def test_numbers_are_drawn_in_float64():
    weight, bias = initial_weights("kaiming-uniform", (3, 5), 3, Key(0))
    assert weight.dtype == bias.dtype == np.float64
    assert (weight != weight.astype(np.float32)).any()


@pytest.mark.parametrize("init", LAWS)
@pytest.mark.parametrize("spec", [Dense(features=5), Conv2d(channels=5)])
def test_gains_multiply_the_very_numbers_that_are_drawn(init, spec):
    shape = (4,) if isinstance(spec, Dense) else (4, 4, 2)
    (_, weights), (_, bias) = drawn(spec.but(init=init), shape)
    (_, scaled), (_, same) = drawn(spec.but(init=init, init_gain=0.4), shape)
    np.testing.assert_array_equal(scaled, 0.4 * weights)
    np.testing.assert_array_equal(same, bias)
    assert np.abs(weights).max() > 0


def test_weights_and_biases_of_the_networks_of_scellier():
    """Weights within +-g / sqrt(fan_in), biases within +-0.5 / sqrt(fan_in); Kolmogorov-Smirnov at a false-alarm rate of 1e-5."""
    fan_in = 120
    (_, weights), (_, bias) = drawn(Dense(features=4000, init_gain=0.7, bias_gain=0.5), (fan_in,))
    for values, bound in ((weights[:30], 0.7), (bias, 0.5)):
        law = stats.uniform(-bound / math.sqrt(fan_in), 2 * bound / math.sqrt(fan_in))
        assert stats.kstest(values.reshape(-1), law.cdf).pvalue > 1e-5


@pytest.mark.parametrize("fields", [{"init": "normal"}, {"bias": False}])
def test_a_bias_gain_without_anything_to_multiply_is_refused(fields):
    with pytest.raises(ValueError, match=r"^Dense: bias_gain = 0.5 has no effect: "):
        Dense(features=2, bias_gain=0.5, **fields)


@pytest.mark.parametrize("field", ["gain", "init_gain", "bias_gain"])
def test_negative_gains_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} = -1"):
        Conv2d(channels=2, **{field: -1})
