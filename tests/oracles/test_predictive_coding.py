"""What predictive coding must be by mathematics (numbers of the oracle list in brackets)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analogpc as apc
from analogpc.dynamics.relaxation import Relaxation
from analogpc.networks.network import Network
from analogpc.rules.base import energy

SMOOTH = ("tanh", "sigmoid", "gelu", "gelu_tanh", "silu", "identity")


def small_networks():
    """Both conventions and every block, in float64."""
    yield "f(Wx)", apc.mlp([5, 6, 4, 3], activation="tanh", dtype="float64")
    yield "Wf(x)", apc.mlp([5, 6, 4, 3], activation="tanh", convention="Wf(x)", dtype="float64")
    for name in SMOOTH:
        yield f"f(Wx) {name}", apc.mlp([4, 5, 3], activation=name, dtype="float64")
    blocks = (
        apc.Chain(blocks=(apc.Conv2d(channels=3), apc.Activation(function="tanh"), apc.MaxPool(size=2))),
        apc.Chain(blocks=(apc.Conv2d(channels=4, kernel=2, stride=2, padding=0), apc.Activation(function="silu"))),
        apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=5), apc.Activation(function="gelu"), apc.Dense(features=3))),
    )
    yield "convolutional", Network(apc.Layers(input_shape=(6, 6, 2), blocks=blocks, dtype="float64"))


NETWORKS = dict(small_networks())


def total_energy(layers, states, precisions):
    """E = sum over samples of 1/2 sum_l P_l ||x_l - mu_l(x_{l-1})||^2, straight from its definition."""
    return sum(
        0.5 * p * np.sum((after - layer.forward(before)[0]) ** 2)
        for layer, before, after, p in zip(layers, states[:-1], states[1:], precisions, strict=True)
    )


def central_difference(function, array, index, h=1e-5):
    kept = array[index]
    array[index] = kept + h
    above = function()
    array[index] = kept - h
    below = function()
    array[index] = kept
    return (above - below) / (2 * h)


@pytest.mark.parametrize("precisions", [(1.0, 1.0, 1.0), (0.25, 3.0, 0.5), (0.0, 2.0, 1.0)])
def test_the_energy_of_a_relaxation_is_that_of_its_definition(precisions):
    """[1] Each layer counts by its precision, per sample, at states that are nowhere near the feed-forward ones."""
    rng, network = np.random.default_rng(3), NETWORKS["f(Wx)"]
    relaxation = Relaxation(network.layers, rng.normal(size=(2, 5)), rng.normal(size=(2, 3)))
    for number in (1, 2):
        relaxation.place(number, rng.normal(size=relaxation.states[number].shape))
    relaxation.differentiate((1.0, 1.0, 1.0))
    expected = total_energy(network.layers, relaxation.states, precisions) / 2
    np.testing.assert_allclose(relaxation.energy(precisions), expected, rtol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=5, deadline=None)
def test_states_and_weights_follow_the_negative_gradient(name, seed):
    """[1] Finite differences of the energy confirm both directions, for random states and precisions."""
    rng = np.random.default_rng(seed)
    network = NETWORKS[name]
    layers = network.layers
    x = rng.normal(size=(2, *network.input_shape))
    relaxation = Relaxation(layers, x, rng.normal(size=(2, *network.output_shape)))
    for index in range(1, len(layers)):
        relaxation.place(index, rng.normal(size=relaxation.states[index].shape))
    precisions = rng.uniform(0.2, 2, len(layers))
    states = [state.copy() for state in relaxation.states]
    relaxation.step(precisions, 1.0)
    for number in range(1, len(layers)):
        gradient = states[number] - relaxation.states[number]
        for _ in range(4):
            index = tuple(rng.integers(n) for n in gradient.shape)
            expected = central_difference(lambda: total_energy(layers, states, precisions), states[number], index)
            assert gradient[index] == pytest.approx(expected, rel=1e-6, abs=1e-8)
    for layer, tape, mu, before, after, p in zip(
        layers, relaxation.tapes, relaxation.predictions, states[:-1], states[1:], precisions, strict=True
    ):
        learnt = {}
        for matrix, pre, post in layer.products(tape, p * (after - mu)):
            learnt[id(matrix)] = learnt.get(id(matrix), 0) + post.T @ pre
        assert len(learnt) == len(layer.matrices)
        for matrix in layer.matrices.values():
            change = np.zeros(matrix.shape)
            index = tuple(rng.integers(n) for n in matrix.shape)

            def at(step, matrix=matrix, change=change, index=index, layer=layer, before=before, after=after, p=p):
                change[index] = step
                matrix.increment(change)
                value = total_energy([layer], [before, after], [p])
                matrix.increment(-change)
                return value

            expected = (at(1e-5) - at(-1e-5)) / 2e-5
            assert learnt[id(matrix)][index] == pytest.approx(-expected, rel=1e-6, abs=1e-8)


def directions(rule, network, x, target):
    """What a rule makes every weight matrix learn, (n_out, n_in) each, in the order of the network; biases left out."""
    learnt = []

    def apply(products, gain):
        sums = {}
        for matrix, pre, post in products:
            if matrix.shape[1] > 1:
                sums[id(matrix)] = sums.get(id(matrix), 0) + gain * post.T @ pre
        learnt.extend(sums.values())

    result = rule.train_step(network, x, target, apply)
    return learnt, result


def batch(network, seed=0, n=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *network.input_shape)), rng.normal(size=(n, *network.output_shape))


def spiking(**fields):
    return apc.PredictiveCoding(precision="spiking", update="forward", steps="layers", **fields)


@pytest.mark.parametrize("step_size", [0.3, 0.8])
@pytest.mark.parametrize("convention", ["f(Wx)", "Wf(x)"])
def test_spiking_precision_with_forward_updates_is_backprop_times_a_factor(step_size, convention):
    """[4] (1 - s) s^(L - l) in hidden layer l, 1 at the output: exactly for base precision 0, and up to O(base precision)."""
    network = apc.mlp([7, 6, 8, 5, 3], activation="tanh", convention=convention, dtype="float64", seed=1)
    x, target = batch(network)
    reference, _ = directions(apc.Backprop(), network, x, target)
    above = np.arange(len(reference) - 1, -1, -1)
    factors = np.where(above > 0, (1 - step_size) * step_size**above, 1.0)
    deviations = {}
    for base in (0.0, 1e-4, 1e-3):
        learnt, _ = directions(spiking(step_size=step_size, base_precision=base), network, x, target)
        errors = [np.abs(d - f * r).max() / np.abs(f * r).max() for d, f, r in zip(learnt, factors, reference, strict=True)]
        deviations[base] = max(errors)
    assert deviations[0.0] < 1e-12
    assert deviations[1e-3] < 0.02
    assert deviations[1e-3] / deviations[1e-4] == pytest.approx(10, rel=0.05)


def test_the_closed_form_gain_restores_backprop():
    network = NETWORKS["convolutional"]
    x, target = batch(network)
    reference, _ = directions(apc.Backprop(), network, x, target)
    learnt, _ = directions(spiking(step_size=0.5, base_precision=0.0, gain="closed-form"), network, x, target)
    for ours, theirs in zip(learnt, reference, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_spiking_precisions_are_those_of_the_reference_code():
    """P of layer i (from 0) at step t: 1 if t = N - 1 - i; the base precision where the wave has passed; 0 before it arrives."""
    rule = apc.PredictiveCoding(precision="spiking", base_precision=0.01)
    for layers in (1, 3, 5):
        for t in range(2 * layers):
            expected = [1.0 if t == layers - 1 - i else (0.01 if t > layers - 1 - i else 0.0) for i in range(layers)]
            assert rule.precisions(layers, t) == expected


def test_backprop_is_the_gradient_of_the_squared_error():
    network = NETWORKS["convolutional"]
    x, target = batch(network)
    learnt, result = directions(apc.Backprop(), network, x, target)
    weights = [m for layer in network.layers for m in layer.matrices.values() if m.shape[1] > 1]
    for matrix, direction in zip(weights, learnt, strict=True):
        index = (1, 2)
        change = np.zeros(matrix.shape)
        values = []
        for step in (1e-5, -1e-5):
            change[index] = step
            matrix.increment(change)
            values.append(0.5 * np.sum((target - network.predict(x)) ** 2))
            matrix.increment(-change)
        assert direction[index] == pytest.approx(-(values[0] - values[1]) / 2e-5, rel=1e-6)
    np.testing.assert_array_equal(result.outputs, network.predict(x))


def test_the_wave_front_moves_one_layer_a_step():
    """[7] After t steps from feed-forward states the error of layer l is exactly zero for t < L - l, and not later."""
    network = apc.mlp([5, 6, 7, 6, 4], activation="tanh", dtype="float64")
    x, target = batch(network)
    relaxation = Relaxation(network.layers, x, target)
    depth = len(network.layers)
    for t in range(depth + 1):
        for number in range(1, depth + 1):
            error = relaxation.states[number] - network.layers[number - 1].forward(relaxation.states[number - 1])[0]
            assert (np.abs(error).max() == 0) == (t < depth - number)
        relaxation.step([1.0] * depth, 0.1)


def test_linear_networks_relax_to_the_closed_form():
    """[5] F* = 1/2 r^T S^-1 r with r = y - W_L..W_1 x and S = I + sum_l P_l P_l^T, P_l = W_L..W_l for l >= 2."""
    network = apc.mlp([6, 5, 7, 4], activation="identity", bias=False, dtype="float64", init="xavier-normal")
    x, target = batch(network, n=3)
    w = [matrix.weights() for matrix in network.matrices().values()]
    relaxation = Relaxation(network.layers, x, target)
    for _ in range(4000):
        relaxation.step([1.0] * 3, 0.1)
    relaxation.predict([1.0] * 3)
    relaxed = sum(energy(s - mu) for s, mu in zip(relaxation.states[1:], relaxation.predictions, strict=True))
    s = np.eye(4) + w[2] @ w[2].T + (w[2] @ w[1]) @ (w[2] @ w[1]).T
    r = target - x @ (w[2] @ w[1] @ w[0]).T
    expected = 0.5 * np.einsum("ni,ij,nj->", r, np.linalg.inv(s), r) / len(x)
    assert relaxed == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_the_plain_recursion(nesterov):
    """Heavy ball and Nesterov against a loop that forms every gradient anew from the definition."""
    network = apc.mlp([4, 5, 6, 3], activation="tanh", dtype="float64")
    x, target = batch(network)
    layers, m, s = network.layers, 0.7, 0.2
    relaxation = Relaxation(layers, x, target)
    states = [state.copy() for state in relaxation.states]
    velocities = [np.zeros_like(state) for state in states]
    for _ in range(6):
        relaxation.step([1.0] * 3, s, m, nesterov)
        reads = [layer.forward(state) for layer, state in zip(layers, states[:-1], strict=True)]
        errors = [after - mu for after, (mu, _) in zip(states[1:], reads, strict=True)]
        gradients = [errors[j - 1] - layers[j].vjp(reads[j][1], errors[j]) for j in (1, 2)]
        for j, g in zip((1, 2), gradients, strict=True):
            velocities[j] = m * velocities[j] + g
            states[j] = states[j] - s * (g + m * velocities[j] if nesterov else velocities[j])
    for ours, plain in zip(relaxation.states, states, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-14)


def test_no_steps_teach_the_output_layer_alone():
    """[11] T = 0 is the delta rule."""
    network = apc.mlp([4, 5, 3], activation="tanh", dtype="float64")
    x, target = batch(network)
    reference, _ = directions(apc.Backprop(), network, x, target)
    learnt, _ = directions(apc.PredictiveCoding(steps=0), network, x, target)
    assert not learnt[0].any()
    np.testing.assert_allclose(learnt[1], reference[1], rtol=1e-13)


def test_reads_are_counted_as_the_schedule_says():
    """Spiking, forward update, T = L = 3: a forward read each at first; then only behind the wave; transposed reads from the wave up."""
    network = apc.mlp([4, 5, 6, 3], activation="tanh")
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(1, 4)).astype("float32"), rng.normal(size=(1, 3)).astype("float32")
    directions(spiking(), network, x, target)
    meters = [matrix.meter for name, matrix in network.matrices().items() if name.endswith("weight")]
    # Step 0: transposed read of layer 3. Step 1: its state moved, so layer 3 is read again; transposed reads of 3 and 2.
    # Step 2: layers 3 and 2 again; transposed reads of 3 and 2 (layer 1 has no state below it).
    assert [m.forward_reads for m in meters] == [1, 2, 3]
    assert [m.backward_reads for m in meters] == [0, 2, 3]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"gain": "closed-form"}, "needs precision = 'spiking'"),
        ({"gain": "closed-form", "precision": "spiking", "update": "forward", "momentum": 0.5}, "momentum = 0"),
        ({"gain": "closed-form", "precision": "spiking", "update": "forward", "step_size": 1.0}, "needs step_size below 1"),
        ({"steps": -1}, "steps = -1 is not allowed"),
        ({"momentum": 1.0}, "momentum = 1.0 is not allowed"),
        ({"precision": "decaying"}, "precision = 'decaying' is not allowed"),
    ],
)
def test_contradictory_rules_are_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        apc.PredictiveCoding(**fields)


def test_a_closed_form_gain_needs_a_step_for_each_layer():
    network = apc.mlp([4, 5, 6, 3])
    rule = apc.PredictiveCoding(steps=2, step_size=0.5, precision="spiking", update="forward", gain="closed-form")
    with pytest.raises(ValueError, match="at least as many steps as layers: 3, not steps = 2"):
        rule.train_step(network, np.zeros((1, 4), "float32"), np.zeros((1, 3), "float32"), lambda *_: None)
