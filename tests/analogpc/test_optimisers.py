"""Optimisers against plain recursions and the schedule's own definition."""

import math

import numpy as np
import pytest

from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.matrix import TwoPhases, UnsupportedUpdateError
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


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_matrices_updated_together_get_the_update_of_each_alone(rng, kind):
    """Bit for bit, also for matrices that learn in different steps, one-hot vectors, several products, and after resumption."""
    shapes = {"a": (3, 4), "b": (5, 1), "table": (4, 6), "large": (130, 140), "c": (2, 2)}
    start = {name: rng.normal(size=shape).astype(kind) for name, shape in shapes.items()}
    how = AdamW(weight_decay=0.1, layer_rates={"c": 0.5})

    def begin(names):
        matrices = {name: make_matrix(Digital(), start[name], Key(0)) for name in names}
        return matrices, Learner(how.but(layer_rates={k: v for k, v in how.layer_rates.items() if k in names}), matrices)

    together, joint = begin(shapes)
    alone = {name: begin([name]) for name in shapes}
    for step, names in enumerate((["a", "c"], list(shapes), ["large", "table", "b"], list(shapes))):
        products = []
        for name in names:
            n_out, n_in = shapes[name]
            for _ in range(1 + (name == "a")):
                pre = rng.integers(0, n_in, 7).astype(np.int32) if name == "table" else rng.normal(size=(7, n_in)).astype(kind)
                products.append((name, pre, rng.normal(size=(7, n_out)).astype(kind)))
        joint.learn([(together[name], pre, post) for name, pre, post in products], 0.1, 7, 1.5)
        for name in names:
            matrices, learner = alone[name]
            learner.learn([(matrices[name], pre, post) for other, pre, post in products if other == name], 0.1, 7, 1.5)
        if step == 1:
            kept, joint = joint.memory, Learner(how, together)
            joint.restore({name: {what: values.copy() for what, values in memory.items()} for name, memory in kept.items()})
    for name in shapes:
        np.testing.assert_array_equal(together[name].weights(), alone[name][0][name].weights(), err_msg=name)
        assert together[name].meter.as_dict() == alone[name][0][name].meter.as_dict()
        for what, values in alone[name][1].memory[name].items():
            np.testing.assert_array_equal(joint.memory[name][what], values, err_msg=f"{name} {what}")


def test_a_joint_step_of_adam_is_the_step_of_each_matrix(rng):
    """The pass over all small matrices against the kernel for one, which large matrices use: the same bits."""
    from analogpc.training import joint_adam

    w = rng.normal(size=(6, 5)).astype(np.float32)
    products = [(rng.normal(size=(4, 5)).astype(np.float32), rng.normal(size=(4, 6)).astype(np.float32)) for _ in range(3)]
    found = []
    for most in (joint_adam.MOST_WEIGHTS, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(joint_adam, "MOST_WEIGHTS", most)
            matrix = make_matrix(Digital(), w, Key(0))
            learner = Learner(AdamW(weight_decay=0.03), {"m": matrix})
        assert ("m" in learner._joint) == (most > 0)
        for pre, post in products:
            learner.learn([(matrix, pre, post)], 0.05, 4, 1.0)
        found.append(matrix.weights())
    np.testing.assert_array_equal(*found)
