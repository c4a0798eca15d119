"""What networks of Hopfield type with feedback weights of their own must be by mathematics, and by the definition of their rule."""

import numpy as np
import pytest
from learnt import by_name, deviation

import analogpc as apc
from analogpc.dynamics.recurrent import Recurrent
from analogpc.dynamics.relaxation import output_energy, output_error
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules.hopfield.holomorphic import HolomorphicEP
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP, feedback_angle
from analogpc.rules.hopfield.references import BackpropThroughTime, RecurrentBackprop

CONVOLUTIONAL = {
    "input_shape": (6, 6, 2),
    "blocks": (
        apc.Chain(blocks=(apc.Conv2d(channels=3), apc.MaxPool(size=2))),
        apc.Chain(blocks=(apc.Conv2d(channels=4, kernel=2, padding=0), apc.MaxPool(size=2, stride=1))),
        apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=3))),
    ),
}
DENSE = {"widths": (6, 9, 8, 4), "init": "xavier-normal"}
KINDS = {
    "linear": ({**DENSE, "activation": "tanh"}, "squared-error"),
    "activated": ({**DENSE, "activation": "tanh", "readout": "activated"}, "squared-error"),
    "softmax": ({**DENSE, "activation": "steep_sigmoid", "readout": "softmax"}, "cross-entropy"),
    "convolutional": ({**CONVOLUTIONAL, "activation": "steep_sigmoid"}, "squared-error"),
    "convolutional, softmax": ({**CONVOLUTIONAL, "activation": "tanh", "readout": "softmax"}, "cross-entropy"),
}


def hopfield(kind="linear", tied=False, scale=0.6, **fields):
    """A network in float64 that settles, with feedback of its own, which ``tied`` sets to that of the forward weights."""
    own, output = KINDS[kind]
    common = {"order": "synchronous", "steps": 300, "dtype": "float64", "feedback": "separate"}
    network = Network(Hopfield(**{**common, **own, **fields}), seed=1)
    for matrix in network.matrices().values():
        matrix.increment((scale - 1) * matrix.weights())
    for number, block in returned(network).items() if tied else ():
        for name, matrix in block.matrices.items():
            matrix.increment(network.layers[number - 1].matrices[name].weights() - matrix.weights())
    return network, output


def returned(network):
    return {int(name.removeprefix("feedback")): block for name, block in network.extras.items()}


def batch(network, n=4):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, *network.input_shape)), np.eye(network.output_shape[0])[
        rng.integers(network.output_shape[0], size=n)
    ]


def ends(rule, network, x, target):
    """The states of the free phase and of the nudged ones, by the sign of beta."""
    order = network.architecture.order
    found = {0: rule.begin(network, x, target)}
    for sign in (1, -1):
        found[sign], force = rule.nudged(found[0], target, sign * rule.beta)
        found[sign].relax(rule.steps, order, force)
    return found


def summed(products):
    learnt = {}
    for matrix, pre, post in products:
        learnt[id(matrix)] = learnt.get(id(matrix), 0) + post.T @ pre
    return learnt


def test_every_layer_that_leads_to_a_state_has_feedback_but_the_first():
    for kind, names in (("linear", ["feedback2", "feedback3"]), ("softmax", ["feedback2"])):
        network, _ = hopfield(kind)
        assert list(network.extras) == names
        for number, block in returned(network).items():
            layer = network.layers[number - 1]
            assert block.input_shape == layer.input_shape
            assert block.output_shape == layer.output_shape
            assert list(block.matrices) == ["weight"]
            assert not np.allclose(block.matrices["weight"].weights(), layer.matrices["weight"].weights())
    assert hopfield(feedback="transposed")[0].extras == {}


@pytest.mark.parametrize("order", ["synchronous", "asynchronous"])
def test_relaxation_follows_the_definition(order):
    """s <- tanh(W s_below + b + B_above^T s_above), straight from matrices; the linear output has no tanh."""
    network, _ = hopfield(order=order, steps=4)
    x, _ = batch(network)
    (w1, b1), (w2, b2), (w3, b3) = ([m.weights() for m in layer.matrices.values()] for layer in network.layers)
    back2, back3 = (block.matrices["weight"].weights() for block in network.extras.values())
    s1, s2, s3 = np.zeros((4, 9)), np.zeros((4, 8)), np.zeros((4, 4))
    for _ in range(4):
        new1, new3 = np.tanh(x @ w1.T + b1.T + s2 @ back2), s2 @ w3.T + b3.T
        if order == "asynchronous":
            s1, s3 = new1, new3
        s2 = np.tanh(s1 @ w2.T + b2.T + s3 @ back3)
        s1, s3 = new1, new3
    np.testing.assert_allclose(network.predict(x), s3, rtol=1e-12)


def test_pooled_feedback_goes_through_its_own_maxima():
    """What state n gets from above is the derivative of <s^{n+1}, feedback(s^n)>, by finite differences."""
    network, _ = hopfield("convolutional")
    rng = np.random.default_rng(3)
    x, _ = batch(network)
    states = network.architecture.states(network.layers, x, network.extras)
    for number in (1, 2, 3):
        states.place(number, rng.normal(size=states.states[number].shape))
    for number, block in ((1, network.extras["feedback2"]), (2, network.extras["feedback3"])):
        found = states.pre_activation(number) - states.read(number - 1)[0]
        for _ in range(6):
            change = np.zeros(found.shape)
            index = tuple(rng.integers(n) for n in found.shape)
            change[index] = 1e-5
            values = [np.sum(states.states[number + 1] * block.forward(states.states[number] + s * change)[0]) for s in (1, -1)]
            assert found[index] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_tied_feedback_is_the_transpose(kind):
    network, _ = hopfield(kind, tied=True)
    transposed, _ = hopfield(kind, feedback="transposed")
    x, _ = batch(network)
    np.testing.assert_allclose(network.predict(x), transposed.predict(x), rtol=1e-12)
    assert np.abs(hopfield(kind)[0].predict(x) - transposed.predict(x)).max() > 1e-4


@pytest.mark.parametrize("kind", ["linear", "softmax", "convolutional"])
@pytest.mark.parametrize("nudging", ["positive", "negative", "centered"])
def test_own_updates_are_presynaptic_states_times_postsynaptic_differences(kind, nudging):
    """VF_CNN: dW = pre(s*) x (post(s_2) - post(s_1)) / (beta_2 - beta_1), and the same for B with the roles of the states changed."""
    network, output = hopfield(kind, steps=40)
    x, target = batch(network)
    rule = HopfieldEP(beta=0.3, nudging=nudging, steps=7, output=output)
    learnt = by_name(rule, network, x, target)[0]
    found = ends(rule, network, x, target)
    low, high = {"positive": (0, 1), "negative": (-1, 0), "centered": (-1, 1)}[nudging]
    gain = 1 / ((high - low) * 0.3)
    free = found[0].states
    for number in range(1, len(free)):
        layer = network.layers[number - 1]
        _, tape = layer.forward(free[number - 1])
        expected = summed(layer.products(tape, found[high].states[number] - found[low].states[number]))
        for name, matrix in layer.matrices.items():
            np.testing.assert_allclose(learnt[f"layer{number}.{name}"], gain * expected[id(matrix)], rtol=1e-9, atol=1e-12)
        if number == 1:
            continue
        block = returned(network)[number]
        sides = []
        for sign in (high, low):
            _, tape = block.forward(found[sign].states[number - 1])
            sides.append(summed(block.products(tape, free[number])))
        for name, matrix in block.matrices.items():
            expected = gain * (sides[0][id(matrix)] - sides[1][id(matrix)])
            np.testing.assert_allclose(learnt[f"feedback{number}.{name}"], expected, rtol=1e-9, atol=1e-12)
    if kind == "linear":
        expected = gain * free[2].T @ (found[high].states[1] - found[low].states[1])
        np.testing.assert_allclose(learnt["feedback2.weight"], expected, rtol=1e-9, atol=1e-12)
    if kind == "softmax":
        errors = [output_error(output, target, found[s].output()).T @ found[s].states[-1] for s in (high, low) if s]
        np.testing.assert_allclose(learnt["layer3.weight"], np.mean(errors, axis=0), rtol=1e-9)


@pytest.mark.parametrize("kind", ["linear", "softmax", "convolutional"])
def test_averaged_updates_are_the_mean_of_both_contrasts(kind):
    """VF_CNN with same_update: half the sum of the contrasts for both matrices; each bias learns its own."""
    network, output = hopfield(kind, steps=40)
    x, target = batch(network)
    rule = HopfieldEP(beta=0.3, steps=7, output=output, feedback_update="averaged")
    learnt = by_name(rule, network, x, target)[0]
    found = ends(rule, network, x, target)
    for number, block in returned(network).items():
        layer = network.layers[number - 1]
        contrasts = {}
        for own in (layer, block):
            for sign in (1, -1):
                _, tape = own.forward(found[sign].states[number - 1])
                for name, products in summed(own.products(tape, found[sign].states[number])).items():
                    contrasts[name] = contrasts.get(name, 0) + sign * products / 0.6
        for name, matrix in layer.matrices.items():
            if name.endswith("bias"):
                expected = contrasts[id(matrix)]
            else:
                expected = 0.5 * (contrasts[id(matrix)] + contrasts[id(block.matrices[name])])
                np.testing.assert_allclose(learnt[f"feedback{number}.{name}"], expected, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(learnt[f"layer{number}.{name}"], expected, rtol=1e-9, atol=1e-12)


def folded(learnt):
    """What the one matrix of a transposed pair would learn: the sum over its two roles."""
    return {
        name: value + learnt.get(name.replace("layer", "feedback"), 0)
        for name, value in learnt.items()
        if name.startswith("layer")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_with_tied_feedback_both_roles_together_learn_what_the_symmetric_rule_learns(kind):
    """Off by O(beta), and centered by O(beta^2): pre x dpost + dpre x post is the contrast but for dpre x dpost."""
    network, output = hopfield(kind, tied=True)
    symmetric, _ = hopfield(kind, feedback="transposed")
    x, target = batch(network, n=2)
    betas = 0.008 / 2.0 ** np.arange(3)
    for nudging, order in (("positive", 1), ("negative", 1), ("centered", 2)):
        errors = []
        for beta in betas:
            rule = HopfieldEP(beta=beta, nudging=nudging, steps=150, output=output)
            learnt = folded(by_name(rule, network, x, target)[0])
            errors.append(deviation(learnt, by_name(rule, symmetric, x, target)[0]))
        assert errors[0] < 0.05
        assert np.polyfit(np.log(betas), np.log(errors), 1)[0] == pytest.approx(order, abs=0.1), nudging


@pytest.mark.parametrize("kind", KINDS)
def test_with_tied_feedback_each_role_learns_its_gradient(kind):
    """The Jacobian is symmetric there, and vector-field EP exact: each matrix against recurrent backprop, by slopes."""
    network, output = hopfield(kind, tied=True)
    x, target = batch(network, n=2)
    reference = by_name(RecurrentBackprop(steps=150, output=output), network, x, target)[0]
    betas = 0.008 / 2.0 ** np.arange(3)
    for nudging, order in (("positive", 1), ("centered", 2)):
        rules = [HopfieldEP(beta=beta, nudging=nudging, steps=150, output=output) for beta in betas]
        errors = [deviation(by_name(rule, network, x, target)[0], reference) for rule in rules]
        assert errors[0] < 0.05
        assert np.polyfit(np.log(betas), np.log(errors), 1)[0] == pytest.approx(order, abs=0.1), nudging


def test_with_untied_feedback_it_is_not_the_gradient():
    """The reason why the angle matters: however small beta is, the direction stays off."""
    network, output = hopfield()
    x, target = batch(network)
    reference = by_name(RecurrentBackprop(steps=150, output=output), network, x, target)[0]
    errors = [
        deviation(by_name(HopfieldEP(beta=beta, steps=150, output=output), network, x, target)[0], reference)
        for beta in (1e-2, 1e-3)
    ]
    assert min(errors) > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_backprop_through_time_is_the_gradient_of_both_roles(kind):
    """Through all of seven steps from zero, against finite differences of the loss."""
    network, output = hopfield(kind, scale=1.0, steps=7)
    x, target = batch(network)
    learnt = by_name(BackpropThroughTime(steps=7, output=output), network, x, target)[0]
    rng = np.random.default_rng(0)

    def loss():
        free = network.architecture.free(network.layers, x, network.extras)
        return output_energy(output, target, free.output()) * len(x)

    for name, matrix in network.matrices().items():
        for _ in range(2):
            index = tuple(rng.integers(n) for n in matrix.shape)
            change = np.zeros(matrix.shape)
            change[index] = 1e-5
            matrix.increment(change)
            above = loss()
            matrix.increment(-2 * change)
            below = loss()
            matrix.increment(change)
            expected = -(above - below) / 2e-5
            assert learnt[name][index] == pytest.approx(expected, rel=1e-4, abs=1e-4 * np.abs(learnt[name]).max()), name


@pytest.mark.parametrize("kind", ["linear", "softmax", "convolutional"])
def test_recurrent_backprop_is_backprop_through_time_at_equilibrium(kind):
    network, output = hopfield(kind)
    x, target = batch(network)
    for steps in (3, 120):
        one = by_name(BackpropThroughTime(steps=steps, output=output), network, x, target)[0]
        other = by_name(RecurrentBackprop(steps=steps, output=output), network, x, target)[0]
        assert deviation(one, other) < 1e-9


@pytest.mark.parametrize("nudging", ["positive", "centered"])
def test_continual_updates_tend_to_those_of_the_phases(nudging):
    """Off by O(beta), since the presynaptic states of the way are not the free ones; averaged ones sum up without a remainder."""
    network, output = hopfield()
    x, target = batch(network)
    errors = []
    for beta in (0.02, 0.01):
        rule = HopfieldEP(beta=beta, nudging=nudging, steps=12, output=output)
        reference = by_name(rule, network, x, target)[0]
        errors.append(deviation(by_name(rule.but(update="continual"), network, x, target)[0], reference))
    assert errors[0] < 0.1
    assert errors[1] == pytest.approx(errors[0] / (4 if nudging == "centered" else 2), rel=0.15)
    rule = rule.but(feedback_update="averaged")
    reference = by_name(rule, network, x, target)[0]
    assert deviation(by_name(rule.but(update="continual"), network, x, target)[0], reference) < 1e-9


def test_angles():
    network, _ = hopfield("convolutional")
    independent = feedback_angle(network)
    # Cosines of independent weights have standard deviations of 1 / sqrt(48) and 1 / sqrt(48): 6 sigma are 60 degrees.
    assert independent.keys() == {2, 3}
    assert all(30 < angle < 150 for angle in independent.values())
    tied, _ = hopfield("convolutional", tied=True)
    assert all(angle == pytest.approx(0, abs=1e-5) for angle in feedback_angle(tied).values())
    for block in tied.extras.values():
        for matrix in block.matrices.values():
            matrix.increment(-3 * matrix.weights())
    assert all(angle == pytest.approx(180, abs=1e-5) for angle in feedback_angle(tied).values())
    with pytest.raises(ValueError, match="the feedback of every layer of this network is its transpose"):
        feedback_angle(hopfield(feedback="transposed")[0])


def test_what_does_not_go_together_is_refused():
    transposed, _ = hopfield(feedback="transposed")
    with pytest.raises(ValueError, match="'averaged' needs a network with feedback = 'separate'"):
        HopfieldEP(feedback_update="averaged").train_step(transposed, *batch(transposed), lambda *_: None)
    network, _ = hopfield()
    with pytest.raises(ValueError, match="needs a primitive function"):
        HolomorphicEP().train_step(network, *batch(network), lambda *_: None)


def test_copies_of_states_share_nothing():
    network, _ = hopfield("convolutional", steps=3)
    x, _ = batch(network)
    states = network.architecture.free(network.layers, x, network.extras)
    before = [state.copy() for state in states.states]
    twin = states.copy()
    twin.relax(3, "synchronous")
    for now, then in zip(states.states, before, strict=True):
        np.testing.assert_array_equal(now, then)
    states.relax(3, "synchronous")
    for one, other in zip(states.states, twin.states, strict=True):
        np.testing.assert_array_equal(one, other)
    assert isinstance(twin, Recurrent)
    assert twin.separate == (1, 2)
