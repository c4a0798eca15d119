"""What equilibrium propagation with intermediate signals must be by mathematics (Lin et al., arXiv 2508.15989, eqs. 7 to 16)."""

import math

import numpy as np
import pytest
from learnt import by_name

import analogpc as apc
from analogpc.dynamics.relaxation import output_energy, softmax
from analogpc.kernels.random.streams import Key
from analogpc.networks import MLP, Hopfield, Layers
from analogpc.networks.network import Network
from analogpc.rules import StepContext
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.intermediate import Distillation, LocalError, WeightedDistillation
from analogpc.rules.hopfield.signals import Cosine, Exponential, Linear, SignalsEP, Steady
from analogpc.rules.hopfield.teacher import Teacher

DENSE = {"widths": (6, 9, 8, 7, 4), "activation": "tanh", "init": "xavier-normal"}
CONVOLUTIONAL = {
    "input_shape": (6, 6, 2),
    "blocks": (
        apc.Chain(blocks=(apc.Conv2d(channels=3), apc.MaxPool(size=2))),
        apc.Conv2d(channels=4, kernel=2, padding=0),
        apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=4))),
    ),
    "activation": "steep_sigmoid",
    "readout": "softmax",
}
NETWORKS = {"dense": (DENSE, "squared-error"), "convolutional": (CONVOLUTIONAL, "cross-entropy")}
KINDS = [
    (network, signal)
    for network in NETWORKS
    for signal in ("label-error", "local-error", "distillation", "weighted-distillation")
]


def teacher_of(network):
    """A network with another seed and as many channels as the student, in float32."""
    if network == "dense":
        return Teacher.of(Network(MLP(widths=(6, 9, 8, 4), init="xavier-normal"), seed=11))
    act = apc.Activation(function="relu")
    blocks = (
        apc.Chain(blocks=(apc.Conv2d(channels=3), act)),
        apc.Chain(blocks=(apc.Conv2d(channels=4), act, apc.MaxPool(size=2))),
        apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=4))),
    )
    return Teacher.of(Network(Layers(input_shape=(6, 6, 2), blocks=blocks), seed=11))


def problem(kind="dense", signal="local-error", scale=0.6, **fields):
    """A student in float64 that settles, signals at its first two states, a batch, and the loss at the output."""
    own, output = NETWORKS[kind]
    features = {
        "local-error": (),
        "label-error": (),
        "weighted-distillation": (9, 8) if kind == "dense" else (3, 4),
        "distillation": (),
    }[signal]
    heads = {} if signal == "distillation" else {"heads": (1, 2), "head_features": features}
    network = Network(Hopfield(**{"order": "synchronous", "steps": 120, "dtype": "float64", **own, **heads, **fields}), seed=1)
    for matrix in network.matrices().values():
        matrix.increment((scale - 1) * matrix.weights())
    if signal in ("local-error", "label-error"):
        signals = LocalError(temperature=2.0, target="label" if signal == "label-error" else "output")
    else:
        made = Distillation if signal == "distillation" else WeightedDistillation
        signals = made(states=(1, 2), teacher=teacher_of(kind), teacher_states=(1, 2), temperature=0.5)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, *network.input_shape))
    target = np.eye(4)[rng.integers(4, size=3)]
    return network, signals, x, target, output


def free_loss(network, signals, x, target, output, gamma):
    """The function theta -> L + gamma sum_n L^n at the free state of theta, with the wanted probabilities of now."""
    held = signals.of(network, network.architecture.free(network.layers, x), target)

    def value():
        free = network.architecture.free(network.layers, x)
        return output_energy(output, target, free.output()) * len(x) + gamma * sum(signal.loss(free) for signal in held)

    return value


def differences(network, value, names, per_matrix=3):
    """-d value / d theta at some entries of matrices: {name: [(index, number), ...]}, central with a step of 1e-5."""
    rng = np.random.default_rng(0)
    found = {}
    for name in names:
        matrix = network.matrices()[name]
        for _ in range(per_matrix):
            index = tuple(rng.integers(n) for n in matrix.shape)
            change = np.zeros(matrix.shape)
            change[index] = 1e-5
            matrix.increment(change)
            above = value()
            matrix.increment(-2 * change)
            below = value()
            matrix.increment(change)
            found.setdefault(name, []).append((index, -(above - below) / 2e-5))
    return found


def deviation(learnt, reference):
    """The largest error over all entries, each relative to the largest entry of its matrix."""
    return max(
        abs(learnt[name][index] - exact) / np.abs(learnt[name]).max() for name, own in reference.items() for index, exact in own
    )


def layers_of(network):
    return [name for name in network.matrices() if not name.startswith("head")]


@pytest.mark.parametrize(("kind", "signal"), KINDS)
def test_the_update_is_the_gradient_of_the_free_loss_with_its_intermediate_losses(kind, signal):
    """[8] (11), (12): off by O(beta) one-sided and O(beta^2) centered, against finite differences of the relaxed loss."""
    network, signals, x, target, output = problem(kind, signal)
    gamma = 0.7
    reference = differences(network, free_loss(network, signals, x, target, output, gamma), layers_of(network))
    betas = 0.04 / 2.0 ** np.arange(3)
    for nudging, order in (("positive", 1), ("negative", 1), ("centered", 2)):
        rules = [
            SignalsEP(signals=signals, gamma=Steady(start=gamma), beta=b, nudging=nudging, steps=100, output=output)
            for b in betas
        ]
        errors = [deviation(by_name(rule, network, x, target)[0], reference) for rule in rules]
        assert errors[-1] < (2e-2 if order == 1 else 3e-4)
        assert np.polyfit(np.log(betas), np.log(errors), 1)[0] == pytest.approx(order, abs=0.1), nudging
    # The intermediate losses have a share in it that could not be overlooked.
    plain = by_name(HopfieldEP(beta=0.01, steps=100, output=output), network, x, target)[0]
    assert deviation(plain, reference) > 0.1


@pytest.mark.parametrize(("kind", "signal"), [(k, s) for k, s in KINDS if s != "distillation"])
@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_heads_learn_the_gradient_of_their_own_loss(kind, signal, gamma):
    """(15): -1/tau dL^n/dw, whatever gamma is; off by O(beta^2) centered."""
    network, signals, x, target, output = problem(kind, signal)
    heads = [name for name in network.matrices() if name.startswith("head")]
    assert len(heads) == 2
    value = free_loss(network, signals, x, target, output, 1 / signals.temperature)
    reference = differences(network, value, heads)
    errors = []
    for beta in (0.04, 0.02):
        rule = SignalsEP(signals=signals, gamma=Steady(start=gamma), beta=beta, steps=100, output=output)
        errors.append(deviation(by_name(rule, network, x, target)[0], reference))
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_a_pull_is_equation_14_and_heads_learn_by_equation_15():
    network, signals, x, target, output = problem("dense", "weighted-distillation")
    beta, gamma, tau = 0.3, 0.8, signals.temperature
    rule = SignalsEP(signals=signals, gamma=Steady(start=gamma), beta=beta, steps=25, output=output)
    free = rule.begin(network, x, target)
    teacher = signals.teacher.network()
    above = [x.astype("float32")]
    for layer in teacher.layers:
        above.append(layer.infer(above[-1]))
    head = network.extras["head2"].matrices["1.weight"].weights()
    wanted = softmax(above[2].astype(float) / tau)
    learnt = 0
    for signed in (beta, -beta):
        phase = rule.phase(network, free, target, signed)
        phase.states.relax(25, "synchronous", phase.force)
        s = phase.states.states[2]
        error = wanted - softmax(s @ head.T / tau)
        np.testing.assert_allclose(
            phase.states.pulls[2](phase.states), signed * gamma * tau * error @ head, rtol=1e-10, atol=1e-14
        )
        learnt = learnt + 0.5 * error.T @ s
    np.testing.assert_allclose(by_name(rule, network, x, target)[0]["head2.1.weight"], learnt, rtol=1e-10)
    assert free.pulls == {}


def test_distillation_of_maps_compares_the_means_of_their_channels():
    network, signals, x, target, _ = problem("convolutional", "distillation")
    free = network.architecture.free(network.layers, x)
    signal = signals.of(network, free, target)[0]
    state = signals.teacher.network().layers[0].infer(x.astype("float32")).astype(float)
    assert state.shape[1:3] != free.states[1].shape[1:3]
    np.testing.assert_allclose(signal.wanted, softmax(state.mean(axis=(1, 2)) / 0.5), rtol=1e-6)
    pull = signal.force(1.0)(free)
    expected = 0.5 * (signal.wanted - softmax(free.states[1].mean(axis=(1, 2)) / 0.5)) / 9
    for row in range(3):
        for column in range(3):
            np.testing.assert_allclose(pull[:, row, column], expected, rtol=1e-12)


def test_local_errors_want_the_output_of_the_free_state():
    """It is held: the wanted probabilities of both nudged phases are the same."""
    network, signals, x, target, output = problem("convolutional", "local-error")
    rule = SignalsEP(signals=signals, beta=0.5, steps=20, output=output)
    free = rule.begin(network, x, target)
    for beta in (0.5, -0.5):
        phase = rule.phase(network, free, target, beta)
        phase.states.relax(20, "synchronous", phase.force)
        for signal in phase.signals:
            np.testing.assert_array_equal(signal.wanted, softmax(free.output() / 2))
        assert np.abs(softmax(phase.states.output() / 2) - phase.signals[0].wanted).max() > 1e-3


@pytest.mark.parametrize("nudging", ["positive", "negative", "centered"])
@pytest.mark.parametrize("update", ["equilibrium", "continual"])
def test_without_strength_it_is_plain_equilibrium_propagation_bit_for_bit(nudging, update):
    network, signals, x, target, output = problem("convolutional", "local-error")
    fields = {"nudging": nudging, "update": update, "beta": 0.3, "steps": 7, "output": output}
    plain = by_name(HopfieldEP(**fields), network, x, target)[0]
    ours, _ = by_name(SignalsEP(signals=signals, gamma=Steady(start=0.0), **fields), network, x, target)
    assert set(plain) == set(layers_of(network))
    assert set(ours) == set(network.matrices())
    for name, direction in plain.items():
        np.testing.assert_array_equal(ours[name], direction)


@pytest.mark.parametrize("nudging", ["positive", "negative", "centered"])
def test_continual_updates_sum_up_to_those_of_the_phases(nudging):
    network, signals, x, target, output = problem()
    rule = SignalsEP(signals=signals, nudging=nudging, beta=0.3, steps=9, output=output)
    once = by_name(rule, network, x, target)[0]
    steps = by_name(rule.but(update="continual"), network, x, target)[0]
    for name, direction in once.items():
        np.testing.assert_allclose(steps[name], direction, rtol=1e-8, atol=1e-10)


def test_schedules():
    """(16): closed forms, their end points, and nothing below the end after it."""
    linear, cosine = (kind(start=0.9, end=0.1, epochs=40) for kind in (Linear, Cosine))
    exponential = Exponential(start=0.9, end=0.1, ratio=0.8)
    for epoch in range(41):
        assert linear.at(epoch) == pytest.approx(0.9 - 0.8 * epoch / 40, rel=1e-12)
        assert cosine.at(epoch) == pytest.approx(0.1 + 0.4 * (1 + math.cos(math.pi * epoch / 40)), rel=1e-12)
        assert exponential.at(epoch) == pytest.approx(max(0.1, 0.9 * 0.8**epoch), rel=1e-12)
    for schedule in (linear, cosine, exponential):
        assert schedule.at(0) == pytest.approx(0.9)
        assert schedule.at(40) == schedule.at(41) == schedule.at(1000) == pytest.approx(0.1)
        values = [schedule.at(epoch) for epoch in range(41)]
        assert values == sorted(values, reverse=True)
    assert cosine.at(20) == pytest.approx(0.5)
    assert Steady(start=0.3).at(7) == 0.3


def test_the_strength_is_that_of_the_epoch():
    network, signals, x, target, output = problem()
    rule = SignalsEP(signals=signals, gamma=Linear(start=0.8, end=0.2, epochs=4), beta=0.2, output=output, nudging="random")
    at = [rule.at(StepContext(Key(0), epoch=epoch, step=5)) for epoch in (0, 2, 4)]
    assert [one.gamma.start for one in at] == pytest.approx([0.8, 0.5, 0.2])
    assert {one.nudging for one in at} < {"positive", "negative"}
    steady = SignalsEP(signals=signals, gamma=Steady(start=0.5), beta=0.2, output=output, nudging=at[1].nudging)
    for name, direction in by_name(steady, network, x, target)[0].items():
        np.testing.assert_array_equal(by_name(at[1], network, x, target)[0][name], direction)
    with pytest.raises(ValueError, match="gamma changes between epochs"):
        rule.but(nudging="centered").train_step(network, x, target, lambda products, gain: None)
