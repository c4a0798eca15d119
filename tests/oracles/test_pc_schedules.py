"""What schedules, nudging, output energies and stopping rules of predictive coding must be by mathematics (oracle numbers in brackets)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learnt import directions

import analogpc as apc
from analogpc.dynamics.relaxation import Relaxation
from analogpc.kernels.random.streams import Key
from analogpc.rules import Nudging, StepContext

CONVENTIONS = ("f(Wx)", "Wf(x)")


def network_of(*widths, activation="tanh", convention="f(Wx)", seed=0, **fields):
    return apc.mlp(widths, activation=activation, convention=convention, dtype="float64", seed=seed, **fields)


def batch(network, seed=0, n=4, probabilities=False):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(n, *network.output_shape))
    if probabilities:
        target = np.exp(target) / np.exp(target).sum(1, keepdims=True)
    return rng.normal(size=(n, *network.input_shape)), target


def paid(network, states, precisions, output):
    """The energy summed over samples, straight from its definition."""
    total = 0.0
    for i, (layer, p) in enumerate(zip(network.layers, precisions, strict=True)):
        u = layer.forward(states[i])[0]
        if i == len(network.layers) - 1 and output == "cross-entropy":
            q = np.exp(u) / np.exp(u).sum(1, keepdims=True)
            total -= p * np.sum(states[i + 1] * np.log(q))
        else:
            total += 0.5 * p * np.sum((states[i + 1] - u) ** 2)
    return total


def slope(function, array, index, h=1e-5):
    kept = array[index]
    array[index] = kept + h
    above = function()
    array[index] = kept - h
    below = function()
    array[index] = kept
    return (above - below) / (2 * h)


@pytest.mark.parametrize("output", ["squared-error", "cross-entropy"])
@pytest.mark.parametrize("convention", CONVENTIONS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=4, deadline=None)
def test_both_output_energies_have_the_gradients_that_are_used(output, convention, seed):
    """[1] Finite differences with random states, precisions and (also negative) strengths of nudging, for states and weights."""
    rng = np.random.default_rng(seed)
    network = network_of(4, 5, 6, 3, convention=convention, seed=seed)
    x, target = batch(network, seed, probabilities=True)
    relaxation = Relaxation(network.layers, x, target, output)
    for i in (1, 2):
        relaxation.place(i, rng.normal(size=relaxation.states[i].shape))
    precisions = [*rng.uniform(0.2, 2, 2), rng.uniform(-1, 1)]
    relaxation.differentiate(precisions)
    states = [state.copy() for state in relaxation.states]
    assert relaxation.energy(precisions) * len(x) == pytest.approx(paid(network, states, precisions, output), rel=1e-10)
    for j in (1, 2):
        index = tuple(rng.integers(n) for n in states[j].shape)
        expected = slope(lambda: paid(network, states, precisions, output), states[j], index)
        assert relaxation.gradients[j][index] == pytest.approx(expected, rel=1e-6, abs=1e-8)
    for layer, tape, error in zip(network.layers, relaxation.tapes, relaxation.errors, strict=True):
        for matrix, pre, post in layer.products(tape, error):
            index = tuple(rng.integers(n) for n in matrix.shape)
            change = np.zeros(matrix.shape)
            values = []
            for step in (1e-5, -1e-5):
                change[index] = step
                matrix.increment(change)
                values.append(paid(network, states, precisions, output))
                matrix.increment(-change)
            assert (post.T @ pre)[index] == pytest.approx(-(values[0] - values[1]) / 2e-5, rel=1e-6, abs=1e-8)


@given(layers=st.integers(1, 8), more=st.integers(0, 6), k=st.floats(0.05, 4))
@settings(deadline=None)
def test_decaying_precision_in_paper_form_sums_to_one_over_t_inclusive(layers, more, k):
    """Eq. 5 of Qi et al., 1/S = exp(-k (l - L + t)) / sum_j exp(-k j): its sum over t = L - l, ..., T is 1; before that it is 1."""
    steps = layers + more
    rule = apc.PredictiveCoding(steps=steps, precision="decay-paper", decay=k)
    table = np.array([rule.precisions(layers, t) for t in range(steps + 1)])
    for number in range(1, layers + 1):
        reached = layers - number
        np.testing.assert_array_equal(table[:reached, number - 1], 1.0)
        assert table[reached:, number - 1].sum() == pytest.approx(1, rel=1e-12)
        np.testing.assert_allclose(table[reached + 1 :, number - 1] / table[reached:-1, number - 1], np.exp(-k), rtol=1e-12)


def test_decaying_precision_in_code_form_is_a_spike_with_a_faint_tail():
    """The reference code: exp(-i) / 100 times (not over) the sum of exp(-i), the first overwritten by 1; 0 before."""
    layers, steps = 4, 10
    rule = apc.PredictiveCoding(steps=steps, precision="decay-code")
    table = np.array([rule.precisions(layers, t) for t in range(steps)])
    for i in range(layers):
        n = steps - (layers - 1 - i)
        sequence = np.exp(-np.arange(n)) / 100 * np.sum(np.exp(-np.arange(n)))
        sequence[0] = 1
        np.testing.assert_allclose(table[:, i], [*np.zeros(steps - n), *sequence], rtol=1e-12)
    assert [round(float(p), 4) for p in table[:3, -1]] == [1.0, 0.0058, 0.0021]


@pytest.mark.parametrize("precision", ["decay-paper", "decay-code"])
def test_forward_updates_under_decaying_precision_keep_the_direction_of_backprop_at_the_first_arrival(precision):
    """D+F with T = 2, L = 2: the hidden error is step_size times P_2 at t = 0 times that of backprop, plus what step 1 adds to it."""
    network = network_of(4, 5, 3)
    x, target = batch(network)
    s = 0.3
    rule = apc.PredictiveCoding(steps=2, step_size=s, precision=precision, update="forward")
    learnt = directions(rule, network, x, target)
    layer, (x1, tape) = network.layers[1], network.layers[0].forward(x)
    u, top = layer.forward(x1)
    first = s * rule.precisions(2, 0)[1] * layer.vjp(top, target - u)
    u, top = layer.forward(x1 + first)
    p = rule.precisions(2, 1)
    e1 = first - s * (p[0] * first - layer.vjp(top, p[1] * (target - u)))
    (_, pre, post), _ = network.layers[0].products(tape, e1)
    np.testing.assert_allclose(learnt[0], post.T @ pre, rtol=1e-12)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_error_that_has_just_arrived_is_attenuated_backprop(convention):
    """[7] After T = L - l steps of size s layer l learns s^(L - l) times the gradient of backprop, and every layer below nothing."""
    network = network_of(6, 5, 7, 4, 3, convention=convention)
    x, target = batch(network)
    reference = directions(apc.Backprop(), network, x, target)
    for steps in range(4):
        learnt = directions(apc.PredictiveCoding(steps=steps, step_size=0.05), network, x, target)
        number = 3 - steps
        for ours, theirs in zip(learnt[2 * number : 2 * number + 2], reference[2 * number : 2 * number + 2], strict=True):
            np.testing.assert_allclose(ours, 0.05**steps * theirs, rtol=1e-7, atol=1e-14 * 0.05**steps)
        assert not any(direction.any() for direction in learnt[: 2 * number])


def linear_system(network, x, target):
    """H and b of a linear network of three layers without biases: hidden states z solve H z = b at equilibrium."""
    w1, w2, w3 = (matrix.weights() for matrix in network.matrices().values())
    n1, n2 = len(w1), len(w2)
    h = np.block([[np.eye(n1) + w2.T @ w2, -w2.T], [-w2, np.eye(n2) + w3.T @ w3]])
    return h, np.hstack([x @ w1.T, target @ w3])


def linear_network():
    return network_of(6, 5, 7, 4, activation="identity", bias=False, init="xavier-normal")


@pytest.mark.parametrize("fields", [{}, {"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}])
def test_linear_activities_are_the_closed_form(fields):
    """[5] z* = H^-1 b, H block tridiagonal with I + W^T W and -W^T."""
    network = linear_network()
    x, target = batch(network)
    h, b = linear_system(network, x, target)
    relaxation = Relaxation(network.layers, x, target)
    for _ in range(1500):
        relaxation.step([1.0] * 3, 0.1, **fields)
    np.testing.assert_allclose(np.hstack(relaxation.states[1:3]), np.linalg.solve(h, b.T).T, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("side", [0.99, 1.01])
def test_descent_on_states_is_stable_up_to_two_over_the_largest_eigenvalue(side):
    """[6] From both sides; below the bound the energy never rises."""
    network = linear_network()
    x, target = batch(network)
    h, b = linear_system(network, x, target)
    step = side * 2 / np.linalg.eigvalsh(h)[-1]
    fixed = np.linalg.solve(h, b.T).T
    relaxation = Relaxation(network.layers, x, target)
    distances, energies = [], []
    for _ in range(1500):
        relaxation.differentiate([1.0] * 3)
        energies.append(relaxation.energy([1.0] * 3))
        relaxation.descend(step)
        distances.append(np.abs(np.hstack(relaxation.states[1:3]) - fixed).max())
    if side < 1:
        assert distances[-1] < 1e-9 * distances[0]
        assert np.max(np.diff(energies)) < 1e-13 * energies[0]
    else:
        assert distances[-1] > 1e9 * distances[0]
        assert energies[-1] > 1e9 * energies[0]


def test_a_step_size_that_decays_when_the_energy_rises_tames_an_unstable_one():
    """Started at 1.5 times the stability bound, the relaxation ends at the closed-form equilibrium."""
    network = linear_network()
    x, target = batch(network)
    h, b = linear_system(network, x, target)
    step = 3 / np.linalg.eigvalsh(h)[-1]
    for decay in (1.0, 0.9):
        relaxation = Relaxation(network.layers, x, target)
        apc.PredictiveCoding(steps=900, step_size=step, step_decay=decay).relax(relaxation)
        distance = np.abs(np.hstack(relaxation.states[1:3]) - np.linalg.solve(h, b.T).T).max()
        assert distance < 1e-9 if decay < 1 else distance > 1e9


def test_relaxation_stops_by_the_gradient_and_not_by_the_state():
    network = network_of(5, 6, 4, 3)
    x, target = batch(network)
    tolerance = 1e-4
    rule = apc.PredictiveCoding(steps=10**6, step_size=0.2, tolerance=tolerance)
    stopped = Relaxation(network.layers, x, target)
    rule.relax(stopped)
    by_hand = Relaxation(network.layers, x, target)
    residuals = []
    while not residuals or residuals[-1] > tolerance:
        by_hand.differentiate([1.0] * 3)
        residuals.append(max(np.abs(by_hand.gradients[j]).max() for j in (1, 2) if by_hand.gradients[j] is not None))
        if residuals[-1] > tolerance:
            by_hand.descend(0.2)
    assert len(residuals) > 20
    assert stopped.residual() == residuals[-1] <= tolerance < residuals[-2]
    for ours, theirs in zip(stopped.states, by_hand.states, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert min(np.linalg.norm(state) for state in stopped.states) > 1


@pytest.mark.parametrize("strength", [0.3, -0.3])
def test_the_forms_of_nudging_start_alike_and_then_differ_as_stated(strength):
    """Clamped target: beta (y - u) - (u_t - u). Precision: beta (y - u_t). Both divided by beta."""
    network = network_of(5, 6, 3)
    x, target = batch(network)
    u = network.predict(x)
    sign = "positive" if strength > 0 else "negative"
    for form in ("clamped-target", "precision"):
        rule = apc.PredictiveCoding(steps=3, step_size=0.2, nudging=Nudging(beta=0.3, sign=sign, form=form))
        relaxation = rule.begin(network, x, target)
        weight = [1.0, rule.output_precision()]
        relaxation.differentiate(weight)
        np.testing.assert_allclose(relaxation.errors[-1], strength * (target - u), rtol=1e-12)
        rule.relax(relaxation)
        relaxation.differentiate(weight)
        moved = network.layers[1].forward(relaxation.states[1])[0]
        expected = strength * (target - u) - (moved - u) if form == "clamped-target" else strength * (target - moved)
        np.testing.assert_allclose(relaxation.errors[-1], expected, rtol=1e-11)
        learnt = directions(rule, network, x, target)
        np.testing.assert_allclose(learnt[2], expected.T @ relaxation.states[1] / strength, rtol=1e-10)
        e1 = relaxation.states[1] - relaxation.predictions[0]
        (_, pre, post), _ = network.layers[0].products(relaxation.tapes[0], e1)
        np.testing.assert_allclose(learnt[0], post.T @ pre / strength, rtol=1e-10)


def test_the_mean_of_both_signs_has_no_first_order_bias_in_a_linear_network():
    """States are linear in beta, products quadratic: (d(beta) + d(-beta)) / 2 is one and the same for every beta; d(beta) is not."""
    network = linear_network()
    x, target = batch(network)

    def learnt(beta, sign):
        rule = apc.PredictiveCoding(steps=20, step_size=0.1, nudging=Nudging(beta=beta, sign=sign))
        return directions(rule, network, x, target)

    def mean(beta):
        return [(a + b) / 2 for a, b in zip(learnt(beta, "positive"), learnt(beta, "negative"), strict=True)]

    for number, (one, other, biased) in enumerate(zip(mean(0.1), mean(0.7), learnt(0.7, "positive"), strict=True)):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
        # The input of the first layer is held, so that nothing is quadratic there.
        assert (np.abs(biased - one).max() > 1e-3 * np.abs(one).max()) == (number > 0)


def test_the_strength_grows_and_flips_as_in_the_reference_code():
    """beta_factor (beta0 + ir * epoch); 1 as soon as the absolute value reaches 1, also for a negative factor."""
    for sign, factor in (("positive", 1), ("negative", -1)):
        nudging = Nudging(beta=0.5, growth=0.2, sign=sign)
        strengths = [nudging.at(StepContext(Key(0), epoch, 7 * epoch)).strength for epoch in range(5)]
        np.testing.assert_allclose(strengths, [0.5 * factor, 0.7 * factor, 0.9 * factor, 1.0, 1.0], rtol=1e-15)


def test_random_signs_are_keyed_and_fair():
    """400 draws: outside 200 +- 60 with a probability below 3e-9; the key fixes them."""
    rule = apc.PredictiveCoding(nudging=Nudging(beta=0.5, sign="random"))

    def signs(seed):
        return [rule.at(StepContext(Key(seed), 0, step)).nudging.strength for step in range(400)]

    drawn = signs(1)
    assert set(drawn) == {0.5, -0.5}
    assert abs(drawn.count(0.5) - 200) <= 60
    assert signs(1) == drawn != signs(2)


def test_cross_entropy_holds_a_nudged_output_between_the_probabilities():
    """softmax(u) + beta (y - softmax(u)): the first error is beta (y - softmax(u)), and both have a sum of 1."""
    network = network_of(5, 6, 3)
    x, target = batch(network, probabilities=True)
    u = network.predict(x)
    q = np.exp(u) / np.exp(u).sum(1, keepdims=True)
    rule = apc.PredictiveCoding(output="cross-entropy", nudging=Nudging(beta=0.25))
    relaxation = rule.begin(network, x, target)
    np.testing.assert_allclose(relaxation.states[-1].sum(1), 1, rtol=1e-14)
    np.testing.assert_allclose(relaxation.unweighted(1), 0.25 * (target - q), rtol=1e-12)
