"""Optimisers against plain recursions and the schedule's own definition."""

import math

import numpy as np
import pytest

from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.matrix import DigitalMatrix, TwoPhases, UnsupportedUpdateError
from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.random.streams import Key
from analogpc.training.optimisers import SGD, AdamW, Learner
from analogpc.training.schedules import Constant, WarmupCosine


def learn(optimiser, w, batches, rates, gain=1.0):
    """The weights after batches of (pre, post), each given in two parts as a convolution would."""
    matrix = make_matrix(Digital(), w, Key(0))
    learner = Learner(optimiser, {"m": matrix})
    for (pre, post), rate in zip(batches, rates, strict=True):
        learner.learn([(matrix, pre[:2], post[:2]), (matrix, pre[2:], post[2:])], rate, len(pre), gain)
    return matrix.weights()


@pytest.fixture
def problem(rng):
    batches = [(rng.normal(size=(5, 4)), rng.normal(size=(5, 3))) for _ in range(6)]
    return rng.normal(size=(3, 4)), batches, [0.1, 0.1, 0.05, 0.2, 0.1, 0.01]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_sgd_follows_the_plain_recursion(problem, momentum, decay):
    w, batches, rates = problem
    expected, velocity = w.copy(), np.zeros_like(w)
    for (pre, post), rate in zip(batches, rates, strict=True):
        velocity = momentum * velocity + 2.0 * post.T @ pre / 5 - decay * expected
        expected = expected + rate * velocity
    ours = learn(SGD(momentum=momentum, weight_decay=decay), w, batches, rates, gain=2.0)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_adamw_follows_the_published_algorithm(problem):
    """Loshchilov and Hutter, Algorithm 2, with the decay multiplied by the rate; element by element in Python floats."""
    w, batches, rates = problem
    b1, b2, eps, decay = 0.8, 0.95, 1e-6, 0.03
    ours = learn(AdamW(beta1=b1, beta2=b2, eps=eps, weight_decay=decay), w, batches, rates)
    for i in range(3):
        for j in range(4):
            theta, m, v = float(w[i, j]), 0.0, 0.0
            for t, ((pre, post), rate) in enumerate(zip(batches, rates, strict=True), start=1):
                g = -sum(float(post[n, i] * pre[n, j]) for n in range(5)) / 5
                m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
                theta -= rate * (m / (1 - b1**t) / (math.sqrt(v / (1 - b2**t)) + eps) + decay * theta)
            assert ours[i, j] == pytest.approx(theta, rel=1e-10)


def test_a_constant_gain_does_not_change_adam(problem):
    """Adam ignores the scale of the gradient, up to eps: why layer gains matter to pulses and not to it."""
    w, batches, rates = problem
    np.testing.assert_allclose(learn(AdamW(), w, batches, rates, gain=1e3), learn(AdamW(), w, batches, rates), rtol=1e-5)


def test_the_schedule_meets_its_landmarks():
    """Starts at 1, reaches the peak after the warm-up, its middle half-way down the cosine, and its end."""
    schedule = WarmupCosine(peak=1.1, warmup=0.1, end=0.1)
    assert schedule.factor(0, 1000) == 1.0
    assert schedule.factor(50, 1000) == pytest.approx(1.05)
    assert schedule.factor(100, 1000) == pytest.approx(1.1)
    assert schedule.factor(550, 1000) == pytest.approx(0.6)
    assert schedule.factor(1000, 1000) == pytest.approx(0.1)
    assert schedule.factor(5000, 1000) == pytest.approx(0.1)
    assert WarmupCosine(warmup=0).factor(0, 10) == pytest.approx(1.1)
    assert WarmupCosine(warmup=1).factor(9, 10) == pytest.approx(1.09)
    assert Constant().factor(7, 10) == 1.0


def test_the_warm_up_need_not_be_a_whole_number_of_steps():
    """10 % of 117 steps: a rise over 11.7 steps, then a cosine over 105.3, as in optax; no step has the very peak."""
    schedule = WarmupCosine()
    assert schedule.factor(11, 117) == pytest.approx(1 + 0.1 * 11 / 11.7, rel=1e-14)
    assert schedule.factor(12, 117) == pytest.approx(0.1 + 0.5 * (1 + math.cos(math.pi * 0.3 / 105.3)), rel=1e-14)


def test_digital_changes_are_refused_where_only_pulses_work():
    matrix = make_matrix(Analog(device="reram-sb"), np.ones((2, 2)), Key(0))
    for optimiser in (AdamW(), SGD(momentum=0.9), SGD(weight_decay=0.1)):
        with pytest.raises(
            UnsupportedUpdateError, match=r"computes its changes digitally, and the update scheme of layer1\.weight"
        ):
            Learner(optimiser, {"layer1.weight": matrix})
    Learner(SGD(), {"layer1.weight": matrix})


def test_two_phases_reach_every_matrix_as_two_phases(rng):
    """Products of two matrices in two phases: the scheme of each sees its own phases, and both forms of descent see the difference."""
    seen = []

    class Listening(DigitalMatrix):
        def learn(self, products, rate):
            seen.append(type(products))
            super().learn(products, rate)

    one, two = Listening(np.zeros((2, 3))), Listening(np.zeros((2, 4)))
    plus = [(one, rng.normal(size=(5, 3)), rng.normal(size=(5, 2))), (two, rng.normal(size=(5, 4)), rng.normal(size=(5, 2)))]
    minus = [(m, pre + 0.1, post) for m, pre, post in plus]
    learner = Learner(SGD(learning_rate=1.0), {"one": one, "two": two})
    learner.learn(TwoPhases(plus, minus), 1.0, 5, 1.0)
    assert seen == [TwoPhases, TwoPhases]
    for (matrix, pre, post), (_, other, again) in zip(plus, minus, strict=True):
        np.testing.assert_allclose(matrix.weights(), (post.T @ pre - again.T @ other) / 5, rtol=1e-12)
