"""What the relatives of predictive coding must be by mathematics: Z-IL, fixed predictions, iPC, ePC (oracle numbers in brackets)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learnt import deviation
from scipy.stats import binom

import analogpc as apc
from analogpc.dynamics.relaxation import Relaxation
from analogpc.networks.network import Network
from analogpc.rules import ZIL, ErrorBasedPC, FixedPrediction, IncrementalPC, Nudging
from analogpc.rules.error_based import ErrorRelaxation
from analogpc.training.optimisers import SGD, AdamW, Learner

CONVENTIONS = ("f(Wx)", "Wf(x)")
OUTPUTS = ("squared-error", "cross-entropy")


def network_of(*widths, activation="tanh", convention="f(Wx)", seed=0, dtype="float64", **fields):
    return apc.mlp(widths, activation=activation, convention=convention, dtype=dtype, seed=seed, **fields)


def convolutional():
    blocks = (
        apc.Chain(blocks=(apc.Conv2d(channels=3), apc.Activation(function="tanh"), apc.MaxPool(size=2))),
        apc.Chain(blocks=(apc.Conv2d(channels=4, kernel=2, stride=2, padding=0), apc.Activation(function="silu"))),
        apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=5), apc.Activation(function="gelu"), apc.Dense(features=3))),
    )
    return Network(apc.Layers(input_shape=(6, 6, 2), blocks=blocks, dtype="float64"))


def batch(network, seed=0, n=4):
    """Inputs, and targets that are probabilities, so that they serve both output energies."""
    rng = np.random.default_rng(seed)
    target = np.exp(rng.normal(size=(n, *network.output_shape)))
    target /= target.sum(1, keepdims=True)
    return rng.normal(size=(n, *network.input_shape)).astype(network.dtype), target.astype(network.dtype)


def directions(rule, network, x, target, rate=0.0):
    """What a rule makes every matrix learn, (n_out, n_in) each; with a rate the matrices learn it, there and then."""
    learnt = {}

    def apply(products, gain):
        products = list(products)
        for matrix, pre, post in products:
            learnt[id(matrix)] = learnt.get(id(matrix), 0) + gain * post.T @ pre
        for matrix, pre, post in products if rate else ():
            matrix.learn([(pre, post)], rate * gain)

    result = rule.train_step(network, x, target, apply)
    return [learnt.get(id(matrix), np.zeros(matrix.shape)) for matrix in network.matrices().values()], result


@given(
    depth=st.integers(1, 6),
    activation=st.sampled_from(["tanh", "identity", "gelu"]),
    convention=st.sampled_from(CONVENTIONS),
    output=st.sampled_from(OUTPUTS),
    sweep=st.sampled_from(["front", "all"]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=30, deadline=None)
def test_z_il_is_backprop(depth, activation, convention, output, sweep, seed):
    """[2] To 1e-12, at any depth, although every layer learns before the next lower one has found its error."""
    widths = [*[5, 7, 6, 8, 4, 6][:depth], 3]
    network = network_of(*widths, activation=activation, convention=convention, seed=seed)
    x, target = batch(network, seed)
    expected, reference = directions(apc.Backprop(output=output), network.copy(), x, target, rate=0.1)
    learnt, result = directions(ZIL(output=output, sweep=sweep), network.copy(), x, target, rate=0.1)
    assert deviation(learnt, expected) < 1e-12
    np.testing.assert_allclose(result.energies, reference.energies, rtol=1e-10)
    np.testing.assert_array_equal(result.outputs, reference.outputs)


@pytest.mark.parametrize("sweep", ["front", "all"])
def test_z_il_is_backprop_through_convolutions_and_pooling(sweep):
    """[2]"""
    network = convolutional()
    x, target = batch(network)
    expected, _ = directions(apc.Backprop(), network.copy(), x, target, rate=0.1)
    learnt, _ = directions(ZIL(sweep=sweep), network.copy(), x, target, rate=0.1)
    assert deviation(learnt, expected) < 1e-12


@pytest.mark.parametrize("sweep", ["front", "all"])
@pytest.mark.parametrize("step_size", [0.9, 1.1])
def test_z_il_with_another_step_size_is_not_backprop(sweep, step_size):
    """[2] From the second layer from above downwards."""
    network = network_of(5, 7, 6, 3)
    x, target = batch(network)
    expected, _ = directions(apc.Backprop(), network, x, target)
    learnt, _ = directions(ZIL(sweep=sweep, step_size=step_size), network, x, target)
    assert deviation(learnt[4:], expected[4:]) < 1e-12
    assert deviation(learnt[2:4], expected[2:4]) == pytest.approx(0.1, rel=1e-9)
    assert deviation(learnt[:2], expected[:2]) > 0.15


@pytest.mark.parametrize("form", ["clamped-target", "precision"])
def test_nudged_z_il_is_still_backprop(form):
    """Its errors are beta times those of backprop, and what is learnt is divided by beta."""
    network = network_of(5, 7, 6, 3)
    x, target = batch(network)
    expected, _ = directions(apc.Backprop(), network, x, target)
    for output in OUTPUTS:
        expected, _ = directions(apc.Backprop(output=output), network, x, target)
        for rule in (ZIL, FixedPrediction):
            learnt, _ = directions(rule(output=output, nudging=Nudging(beta=0.2, sign="negative", form=form)), network, x, target)
            assert deviation(learnt, expected) < 1e-12


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    "make", [lambda: network_of(5, 7, 6, 4, 3), lambda: network_of(5, 6, 3, convention="Wf(x)"), convolutional]
)
def test_fixed_predictions_reach_backprop_in_as_many_steps_as_layers(make, output):
    """[3] step_size = 1 and n = L: exactly; n = L - 1 leaves the first layer without an error."""
    network = make()
    x, target = batch(network)
    depth = len(network.layers)
    expected, reference = directions(apc.Backprop(output=output), network, x, target)
    learnt, result = directions(FixedPrediction(output=output), network, x, target)
    assert deviation(learnt, expected) < 1e-14
    np.testing.assert_allclose(result.energies, reference.energies, rtol=1e-13)
    short, _ = directions(FixedPrediction(output=output, steps=depth - 1), network, x, target)
    first = len(network.layers[0].matrices)
    assert not any(direction.any() for direction in short[:first])
    assert deviation(short[first:], expected[first:]) < 1e-14


@pytest.mark.parametrize("steps", [1, 2, 5, 40])
def test_fixed_predictions_with_smaller_steps_approach_backprop_binomially(steps):
    """[3] e_l = delta_l P(B >= L - l), B binomial of n - 1 trials with a chance of step_size: each may pass the error a layer down."""
    network = network_of(5, 7, 6, 4, 3)
    x, target = batch(network)
    expected, _ = directions(apc.Backprop(), network, x, target)
    learnt, _ = directions(FixedPrediction(steps=steps, step_size=0.3), network, x, target)
    for index, (ours, theirs) in enumerate(zip(learnt, expected, strict=True)):
        above = 3 - index // 2
        np.testing.assert_allclose(ours, binom.sf(above - 1, steps - 1, 0.3) * theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_both_equilibrators_find_the_same_equilibrium_and_learn_the_same(convention, output):
    """ePC and long state-based PC: states and directions of all weights to 1e-8."""
    network = network_of(6, 8, 7, 5, 3, convention=convention, seed=3)
    x, target = batch(network)
    pc = apc.PredictiveCoding(steps=20000, step_size=0.3, momentum=0.6, tolerance=1e-12, output=output)
    epc = ErrorBasedPC(steps=2000, step_size=0.3, tolerance=1e-13, output=output)
    relaxation = pc.begin(network, x, target)
    pc.relax(relaxation)
    assert relaxation.residual() < 1e-11
    by_state, one = directions(pc, network, x, target)
    by_error, other = directions(epc, network, x, target)
    assert deviation(by_error, by_state) < 1e-8
    np.testing.assert_allclose(other.energies, one.energies, rtol=1e-8)
    # And it is neither backprop nor the start.
    assert deviation(by_error, directions(apc.Backprop(output=output), network, x, target)[0]) > 1e-2


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_error_based_gradients_are_those_of_the_energy(convention):
    """[1] Finite differences with respect to hidden errors, at random errors."""
    network = network_of(4, 5, 6, 3, convention=convention)
    x, target = batch(network)
    rng = np.random.default_rng(1)
    errors = ErrorRelaxation(network.layers, x)
    errors.gradients = [rng.normal(size=e.shape) for e in errors.errors]
    errors.descend(-0.5)

    def energy(given):
        state = x
        for layer, error in zip(network.layers, [*given, 0], strict=True):
            state = layer.forward(state)[0] + error
        return 0.5 * sum(np.sum(e**2) for e in given) + 0.5 * np.sum((target - state) ** 2)

    errors.differentiate(target - errors.predictions[-1])
    for j in range(2):
        for _ in range(4):
            index = tuple(rng.integers(n) for n in errors.errors[j].shape)
            values = []
            for step in (1e-5, -1e-5):
                given = [e.copy() for e in errors.errors]
                given[j][index] += step
                values.append(energy(given))
            assert errors.gradients[j][index] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6, abs=1e-9)
    for state, prediction, error in zip(errors.states(), errors.predictions[:-1], errors.errors, strict=True):
        np.testing.assert_array_equal(state, prediction + error)


def test_one_error_based_step_is_backprop_scaled():
    """Hidden layers learn s times the gradient of backprop, up to O(s) from the inputs that have moved: slope 1."""
    network = network_of(5, 7, 6, 3)
    x, target = batch(network)
    expected, _ = directions(apc.Backprop(), network, x, target)
    deviations = []
    for s in (1e-3, 1e-4):
        learnt, _ = directions(ErrorBasedPC(steps=1, step_size=s), network, x, target)
        np.testing.assert_allclose(learnt[0], s * expected[0], rtol=1e-10)
        deviations.append(deviation([d / s for d in learnt[2:4]], expected[2:4]))
    assert deviations[0] / deviations[1] == pytest.approx(10, rel=0.05)
    assert deviations[1] < 1e-3


def test_equal_rules_learn_equally():
    """[11] T = 0 of PC and ePC, T = 1 of iPC and n = 1 of fixed predictions: the delta rule, bit by bit."""
    network = network_of(4, 5, 6, 3)
    x, target = batch(network)
    expected, _ = directions(apc.PredictiveCoding(steps=0), network, x, target)
    assert not any(direction.any() for direction in expected[:-2])
    np.testing.assert_allclose(expected[-1], (target - network.predict(x)).sum(0, keepdims=True).T, rtol=1e-13)
    for rule in (IncrementalPC(steps=1), FixedPrediction(steps=1), ErrorBasedPC(steps=0)):
        learnt, _ = directions(rule, network, x, target)
        for ours, theirs in zip(learnt, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_incremental_pc_is_joint_descent(convention, output):
    """[11] Every step of T is one step of states and weights down the gradient of the energy at one and the same point."""
    network = network_of(4, 5, 6, 3, convention=convention)
    x, target = batch(network)
    s, rate, twin = 0.4, 0.05, network.copy()
    learner = Learner(SGD(learning_rate=rate), network.matrices())
    rule = IncrementalPC(steps=7, step_size=s, output=output)
    rule.train_step(network, x, target, lambda products, gain: learner.learn(products, rate, len(x), gain))
    states = [x]
    for layer in twin.layers:
        states.append(layer.forward(states[-1])[0])
    states[-1] = target
    for _ in range(7):
        reads = [layer.forward(state) for layer, state in zip(twin.layers, states[:-1], strict=True)]
        errors = [after - mu for after, (mu, _) in zip(states[1:], reads, strict=True)]
        if output == "cross-entropy":
            q = np.exp(reads[-1][0])
            errors[-1] = target - q / q.sum(1, keepdims=True)
        gradients = [errors[j - 1] - twin.layers[j].vjp(reads[j][1], errors[j]) for j in (1, 2)]
        for layer, (_, tape), error in zip(twin.layers, reads, errors, strict=True):
            for matrix, pre, post in list(layer.products(tape, error)):
                matrix.increment(rate / len(x) * post.T @ pre)
        for j, gradient in zip((1, 2), gradients, strict=True):
            states[j] = states[j] - s * gradient
    for ours, plain in zip(network.matrices().values(), twin.matrices().values(), strict=True):
        np.testing.assert_allclose(ours.weights(), plain.weights(), rtol=1e-11, atol=1e-13)


def test_layers_that_no_error_has_reached_are_left_alone():
    """The stoppable optimiser: in T steps layer l is changed T - (L - l) times, otherwise T times, at first by weight decay alone."""
    x, target = batch(network_of(4, 5, 6, 3))
    for stoppable, steps in ((True, 2), (False, 2), (False, 1)):
        network = network_of(4, 5, 6, 3)
        before = next(iter(network.matrices().values())).weights()
        learner = Learner(AdamW(learning_rate=1e-3, weight_decay=0.1), network.matrices())
        rule = IncrementalPC(steps=steps, stoppable=stoppable)
        rule.train_step(network, x, target, lambda products, gain, learner=learner: learner.learn(products, 1e-3, 4, gain))
        counts = [memory["count"] for memory in learner.memory.values()]
        assert counts == ([0, 0, 1, 1, 2, 2] if stoppable else [steps] * 6)
        first = next(iter(network.matrices().values())).weights()
        if stoppable or steps == 1:
            np.testing.assert_allclose(first, before * (1 - (0 if stoppable else 1e-4)), rtol=1e-13)


def test_stopping_changes_nothing_for_plain_descent():
    """Learning from an error of zero by plain SGD is no change, but for the rounding of layers that are read again."""
    x, target = batch(network_of(4, 5, 6, 3))
    weights = []
    for stoppable in (True, False):
        network = network_of(4, 5, 6, 3)
        directions(IncrementalPC(steps=6, stoppable=stoppable), network, x, target, rate=0.02)
        weights.append([matrix.weights() for matrix in network.matrices().values()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)


def counts(network):
    """Forward and transposed reads of the weight matrices, in the order of the layers."""
    meters = [matrix.meter for name, matrix in network.matrices().items() if name.endswith("weight")]
    return np.array([m.forward_reads for m in meters]), np.array([m.backward_reads for m in meters])


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("steps", [0, 1, 4, 9])
def test_reads_of_predictive_coding(depth, steps):
    """[12] Layer l is read once at first and once after every step that moved its input, and sends its error back once a step reached.

    Together that is L + 2 sum over l >= 2 of max(0, T - (L - l)): the (2L - 1) T of the papers without the T reads of a held input,
    without reads that the error has not reached, and with the feed-forward pass. The busiest matrix has 2T of them after it.
    """
    network = network_of(*[4] * depth, 3)
    x, target = batch(network, n=1)
    directions(apc.PredictiveCoding(steps=steps), network, x, target)
    forward, backward = counts(network)
    reached = np.array([0 if layer == 1 else max(0, steps - (depth - layer)) for layer in range(1, depth + 1)])
    np.testing.assert_array_equal(forward, 1 + reached)
    np.testing.assert_array_equal(backward, reached)
    if depth > 1:
        assert forward[-1] + backward[-1] == 2 * steps + 1


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_one_inference_step_is_2l_minus_1_products(depth):
    """[12] With every state and the input moved: L forward and L - 1 transposed reads, two at a time for each matrix (SMM)."""
    network = network_of(*[4] * depth, 3)
    x, target = batch(network, n=1)
    relaxation = Relaxation(network.layers, x, target)
    start = np.sum(counts(network))
    for step in range(1, 4):
        for index in range(depth):
            relaxation.place(index, relaxation.states[index])
        relaxation.step([1.0] * depth, 0.1)
        forward, backward = counts(network)
        assert forward.sum() + backward.sum() - start == step * (2 * depth - 1)
        assert (forward + backward).max() - 1 == 2 * step


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_reads_per_weight_update(depth):
    """[12] Table 4 of Salvatori et al.: backprop 2L - 1; iPC 2L - 1, two at a time; Z-IL 2 (L - 1) at a time in its L - 1 steps."""
    made = {}
    for name, rule in {
        "bp": apc.Backprop(),
        "zil": ZIL(),
        "zil all": ZIL(sweep="all"),
        "fixed": FixedPrediction(),
        "ipc": IncrementalPC(steps=depth + 4),
        "ipc longer": IncrementalPC(steps=depth + 7),
    }.items():
        network = network_of(*[4] * depth, 3)
        x, target = batch(network, n=1)
        directions(rule, network, x, target, rate=1e-3)
        made[name] = counts(network)
    total = {name: forward.sum() + backward.sum() for name, (forward, backward) in made.items()}
    assert total["bp"] == total["zil"] == 2 * depth - 1
    # Once the error has reached every layer, each weight update of iPC costs one read and, but for the first layer, one back.
    assert total["ipc longer"] - total["ipc"] == 3 * (2 * depth - 1)
    per_matrix = np.sum(made["ipc longer"], axis=0) - np.sum(made["ipc"], axis=0)
    assert per_matrix.max() == 3 * 2
    # Z-IL as it is written, without the reads that the error has not reached; the feed-forward pass comes before.
    forward, backward = made["zil all"]
    assert forward[-1] + backward[-1] - 1 <= 2 * (depth - 1)
    assert total["zil all"] <= (2 * depth - 1) * (depth - 1) + depth
    np.testing.assert_array_equal(made["fixed"][1], np.arange(depth))


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_reads_of_error_based_pc(depth):
    """Every step is a backward pass and a forward pass through all layers but the first."""
    network = network_of(*[4] * depth, 3)
    x, target = batch(network, n=1)
    directions(ErrorBasedPC(steps=6), network, x, target)
    forward, backward = counts(network)
    np.testing.assert_array_equal(forward, [1] + [7] * (depth - 1))
    np.testing.assert_array_equal(backward, [0] + [6] * (depth - 1))


RULES = {
    "zil": ZIL(),
    "zil, all states": ZIL(sweep="all"),
    "fixed": FixedPrediction(step_size=0.7),
    "ipc": IncrementalPC(steps=4, momentum=0.2, nesterov=True),
    "ipc, not stoppable": IncrementalPC(steps=3, stoppable=False),
    "epc": ErrorBasedPC(steps=4, momentum=0.2),
    "pc, cross-entropy": apc.PredictiveCoding(output="cross-entropy", steps=4, step_size=0.1),
    "pc, negative": apc.PredictiveCoding(nudging=Nudging(beta=0.4, sign="negative"), steps=4, step_size=0.1),
    "pc, stopped": apc.PredictiveCoding(steps=30, step_size=0.3, step_decay=0.9, tolerance=1e-2),
    "d+f, paper": apc.PredictiveCoding(steps=5, step_size=0.5, precision="decay-paper", update="forward"),
    "d+f, code": apc.PredictiveCoding(steps=5, step_size=0.5, precision="decay-code", update="forward"),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_crossbars_without_nonidealities_learn_the_digital_bits(name, convention):
    """[14] The same operations in the same order, in float32, over several batches that learn in place."""
    network = network_of(12, 9, 7, 4, activation="leaky_relu", convention=convention, dtype="float32")
    nets = [network.copy(), network.on(apc.Analog.ideal())]
    for net in nets:
        for seed in range(4):
            x, target = batch(net, seed, n=5)
            directions(RULES[name], net, x, target, rate=0.01)
    for digital, analog in zip(*(net.matrices().values() for net in nets), strict=True):
        np.testing.assert_array_equal(digital.weights(), analog.weights())
        assert digital.meter.forward_reads == analog.meter.forward_reads
        assert digital.meter.backward_reads == analog.meter.backward_reads
    assert not np.array_equal(network.layers[0].matrices["0.weight"].weights(), nets[0].layers[0].matrices["0.weight"].weights())
