"""What networks of Hopfield type and their gradients must be by mathematics (numbers of the oracle list in brackets)."""

import numpy as np
import pytest
from learnt import deviation, directions

import analogpc as apc
from analogpc.analysis import ep_against_bptt
from analogpc.blocks.pool import AvgPool, MaxPool, SoftPool
from analogpc.dynamics.recurrent import Recurrent, primitive
from analogpc.dynamics.relaxation import output_energy, output_error
from analogpc.dynamics.state_functions import STATE_FUNCTIONS
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.references import BackpropThroughTime, RecurrentBackprop


def convolutional(first=None, second=None):
    """Two convolutions, each with a pooling, of whose windows the second overlap."""
    return {
        "input_shape": (6, 6, 2),
        "blocks": (
            apc.Chain(blocks=(apc.Conv2d(channels=3), first or MaxPool(size=2))),
            apc.Chain(blocks=(apc.Conv2d(channels=4, kernel=2, padding=0), second or MaxPool(size=2, stride=1))),
            apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=3))),
        ),
    }


CONVOLUTIONAL = convolutional()
SOFT = convolutional(SoftPool(size=2), SoftPool(size=2, stride=1, temperature=0.3))
DENSE = {"widths": (6, 9, 8, 4), "init": "xavier-normal"}
KINDS = {
    "linear": ({**DENSE, "activation": "tanh"}, "squared-error"),
    "linear, cross-entropy": ({**DENSE, "activation": "soft_half_sigmoid"}, "cross-entropy"),
    "activated": ({**DENSE, "activation": "tanh", "readout": "activated"}, "squared-error"),
    "softmax": ({**DENSE, "activation": "steep_sigmoid", "readout": "softmax"}, "cross-entropy"),
    "convolutional": ({**CONVOLUTIONAL, "activation": "steep_sigmoid"}, "squared-error"),
    "average pooling": (
        {**convolutional(AvgPool(size=2), AvgPool(size=2, stride=1)), "activation": "steep_sigmoid"},
        "squared-error",
    ),
    "soft pooling": ({**SOFT, "activation": "tanh", "readout": "activated"}, "squared-error"),
    "convolutional, softmax": ({**CONVOLUTIONAL, "activation": "tanh", "readout": "softmax"}, "cross-entropy"),
}


def hopfield(kind="linear", seed=1, scale=0.6, **fields):
    """Build a network in float64 that converges, with weights times ``scale``, and its loss."""
    own, output = KINDS[kind]
    network = Network(Hopfield(**{"order": "synchronous", "steps": 400, "dtype": "float64", **own, **fields}), seed=seed)
    for matrix in network.matrices().values():
        matrix.increment((scale - 1) * matrix.weights())
    return network, output


def batch(network, seed=0, n=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *network.input_shape)), np.eye(network.output_shape[0])[
        rng.integers(network.output_shape[0], size=n)
    ]


def matches_differences(learnt, network, value, rel=1e-5):
    """Whether ``learnt`` is minus the derivative of ``value()`` at some entries of every matrix."""
    rng = np.random.default_rng(0)
    for matrix, direction in zip(network.matrices().values(), learnt, strict=True):
        for _ in range(2):
            index = tuple(rng.integers(n) for n in matrix.shape)
            change = np.zeros(matrix.shape)
            change[index] = 1e-5
            matrix.increment(change)
            above = value()
            matrix.increment(-2 * change)
            below = value()
            matrix.increment(change)
            assert direction[index] == pytest.approx(-(above - below) / 2e-5, rel=rel, abs=rel * np.abs(direction).max())


@pytest.mark.parametrize("name", STATE_FUNCTIONS)
def test_slopes_of_the_state_functions(name):
    function, h = STATE_FUNCTIONS[name], 1e-6
    x = np.linspace(-3.03, 3.06, 50)
    np.testing.assert_allclose(function.slope(x), (function.value(x + h) - function.value(x - h)) / (2 * h), atol=1e-8)
    assert function.value(x.astype("float32")).dtype == function.slope(x.astype("float32")).dtype == np.float32
    if function.holomorphic:
        along = (function.value(x + 1j * h) - function.value(x - 1j * h)) / (2j * h)
        np.testing.assert_allclose(along, function.slope(x), atol=1e-8)


@pytest.mark.parametrize("kind", ["linear", "convolutional", "average pooling", "soft pooling"])
def test_both_reads_together_are_the_derivative_of_the_primitive_function(kind):
    network, _ = hopfield(kind)
    rng = np.random.default_rng(3)
    x, _ = batch(network)
    states = network.architecture.states(network.layers, x)
    for number in range(1, len(states.states)):
        states.place(number, rng.normal(size=states.states[number].shape))
    for number in range(1, len(states.states)):
        found = states.pre_activation(number)
        for _ in range(4):
            index = tuple(rng.integers(n) for n in found.shape)
            values = []
            for step in (1e-5, -1e-5):
                moved = [state.copy() for state in states.states]
                moved[number][index] += step
                values.append(primitive(network.layers, moved))
            assert found[index] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6, abs=1e-8)
    learnt = {}
    for index, layer in enumerate(network.layers):
        for matrix, pre, post in layer.products(states.read(index)[1], states.states[index + 1]):
            learnt[id(matrix)] = learnt.get(id(matrix), 0) - post.T @ pre
    matches_differences(
        [learnt[id(matrix)] for matrix in network.matrices().values()], network, lambda: primitive(network.layers, states.states)
    )


@pytest.mark.parametrize("order", ["synchronous", "asynchronous"])
def test_relaxation_follows_the_definition(order):
    """s <- clip(W s_below + W'^T s_above + beta (y - s)), straight from matrices; the linear output has no clip."""
    network, _ = hopfield(activation="hard_sigmoid", order=order, bias=False, steps=5)
    x, target = batch(network)
    w1, w2, w3 = (matrix.weights() for matrix in network.matrices().values())
    s1, s2, s3 = np.zeros((4, 9)), np.zeros((4, 8)), np.zeros((4, 4))
    for beta in (0, 0, 0, 0, 0, 0.3, 0.3):
        new1 = np.clip(x @ w1.T + s2 @ w2, 0, 1)
        new3 = s2 @ w3.T + beta * (target - s3)
        if order == "asynchronous":
            s1, s3 = new1, new3
        s2 = np.clip(s1 @ w2.T + s3 @ w3, 0, 1)
        s1, s3 = new1, new3
    rule = HopfieldEP()
    states = rule.begin(network, x, target)
    states.relax(2, order, rule.force(target, 0.3))
    for ours, plain in zip(states.states[1:], (s1, s2, s3), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-14)


def test_both_orders_settle_in_the_same_state():
    outputs = []
    for order, steps in (("synchronous", 300), ("asynchronous", 100)):
        network, _ = hopfield("convolutional", order=order, steps=steps)
        outputs.append(network.predict(batch(network)[0]))
    np.testing.assert_allclose(*outputs, rtol=1e-12)


def test_a_tolerance_ends_the_relaxation():
    network, _ = hopfield("activated")
    x, _ = batch(network)
    exact = network.predict(x)
    states = Recurrent(network.layers, "tanh", "activated", x)
    steps = states.relax(400, "synchronous", tolerance=1e-6)
    assert 5 < steps < 200
    assert 0 < np.abs(states.output() - exact).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_backprop_through_time_is_the_gradient_even_far_from_equilibrium(kind):
    """Through all of seven steps from zero, against finite differences of the loss."""
    network, output = hopfield(kind, scale=1.0, steps=7)
    x, target = batch(network)
    learnt = directions(BackpropThroughTime(steps=7, output=output), network, x, target)
    free = network.architecture.free
    matches_differences(
        learnt, network, lambda: output_energy(output, target, free(network.layers, x).output()) * len(x), rel=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_backprop_is_backprop_through_time_at_equilibrium(kind):
    network, output = hopfield(kind)
    x, target = batch(network)
    for steps in (3, 150):
        one = directions(BackpropThroughTime(steps=steps, output=output), network, x, target)
        other = directions(RecurrentBackprop(steps=steps, output=output), network, x, target)
        assert deviation(one, other) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_one_sided_nudging_is_off_by_beta_and_centered_by_its_square(kind):
    """[8] Log-log slopes 1 and 2 against recurrent backprop; nudged phases start from the free state."""
    network, output = hopfield(kind)
    x, target = batch(network, n=2)
    reference = directions(RecurrentBackprop(steps=200, output=output), network, x, target)
    betas = 0.008 / 2.0 ** np.arange(3)
    for nudging, order in (("positive", 1), ("negative", 1), ("centered", 2)):
        rules = [HopfieldEP(beta=beta, nudging=nudging, steps=200, output=output) for beta in betas]
        errors = [deviation(directions(rule, network, x, target), reference) for rule in rules]
        assert np.polyfit(np.log(betas), np.log(errors), 1)[0] == pytest.approx(order, abs=0.08), nudging


@pytest.mark.parametrize("kind", ["linear", "activated", "convolutional", "soft pooling"])
def test_every_step_of_ep_is_one_of_backprop_through_time(kind):
    """[9] The distance is below 1e-2 at beta = .01, step by step, backwards in time; it falls with beta, centered with its square."""
    network, output = hopfield(kind)
    x, target = batch(network)
    distances = {}
    for nudging in ("positive", "centered"):
        for beta in (0.01, 0.005):
            found = ep_against_bptt(network, x, target, beta, 15, nudging=nudging, output=output)
            assert list(found.ep) == list(network.matrices())
            distances[nudging, beta] = np.mean(list(found.relative_rmse.values()))
            assert max(found.sign_errors().values()) < 0.01
            # Still at work after five steps; every other one moves nothing, since the layers are joined in a row.
            assert all(np.linalg.norm(steps[5:7]) > 0 for steps in found.bptt.values())
    assert distances["centered", 0.01] < 1e-2
    assert distances["positive", 0.01] < 3e-2
    assert distances["positive", 0.01] / distances["positive", 0.005] == pytest.approx(2, rel=0.1)
    assert distances["centered", 0.01] / distances["centered", 0.005] == pytest.approx(4, rel=0.2)


def settled_energy(network, states):
    """E = sum_i integral of f^-1 - Phi for tanh states and a linear output, summed over the batch."""
    hidden = np.concatenate([state.reshape(len(state), -1) for state in states.states[1:-1]], axis=1)
    inverse = np.sum(hidden * np.arctanh(hidden) + 0.5 * np.log1p(-(hidden**2)))
    return inverse + 0.5 * np.sum(states.states[-1] ** 2) - primitive(network.layers, states.states)


@pytest.mark.parametrize("nudging", ["positive", "negative", "centered"])
@pytest.mark.parametrize("drive", ["nudge", "clamp"])
def test_at_any_beta_the_contrast_is_the_gradient_of_an_energy_difference(nudging, drive):
    """The envelope theorem, exact for large beta: what is learnt is -d/dW (F_b - F_a) / (b - a), F_b being the settled energy.

    For coupled learning [11] F is the energy with the output held at (1 - b) o + b y, with o held as it was.
    After 100 steps all states are settled to 2e-15.
    """
    network, output = hopfield("linear", scale=0.5, order="asynchronous", steps=100)
    x, target = batch(network)
    beta = 0.4
    rule = HopfieldEP(beta=beta, nudging=nudging, drive=drive, steps=100)
    low, high = {"positive": (0, beta), "negative": (-beta, 0), "centered": (-beta, beta)}[nudging]
    first = rule.begin(network, x, target).output()

    def settled(b):
        free = network.architecture.free(network.layers, x)
        if drive == "clamp":
            states = free.copy()
            states.hold_output((1 - b) * first + b * target)
            states.relax(100, "asynchronous")
            return settled_energy(network, states)
        states, force = rule.nudged(free, target, b)
        states.relax(100, "asynchronous", force)
        return settled_energy(network, states) + b * output_energy(output, target, states.output()) * len(x)

    matches_differences(directions(rule, network, x, target), network, lambda: (settled(high) - settled(low)) / (high - low))


def test_contrastive_learning_is_coupled_learning_with_the_target_itself():
    """[11] CpL holds (1 - b) o + b y; at b = 1 that is y, bit for bit up to the rounding of o + (y - o)."""
    network, _ = hopfield("linear")
    x, target = batch(network)
    for beta in (0.3, 1.0):
        rule = HopfieldEP(beta=beta, nudging="positive", drive="clamp")
        free = rule.begin(network, x, target)
        states, force = rule.nudged(free, target, beta)
        states.relax(5, "synchronous", force)
        np.testing.assert_allclose(states.output(), (1 - beta) * free.output() + beta * target, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", ["linear", "softmax", "convolutional"])
@pytest.mark.parametrize("nudging", ["positive", "negative", "centered"])
def test_continual_updates_sum_up_to_those_of_the_phases(kind, nudging):
    """[11] C-EP equals EP where the weights do not move, and tends to it with the learning rate."""
    network, output = hopfield(kind)
    x, target = batch(network)
    rule = HopfieldEP(beta=0.2, nudging=nudging, steps=12, output=output)
    reference = directions(rule, network, x, target)
    assert deviation(directions(rule.but(update="continual"), network, x, target), reference) < 1e-9
    drifts = []
    for rate in (1e-3, 1e-4):
        copy = network.copy()

        def learn(products, gain, rate=rate):
            for matrix, pre, post in list(products):
                matrix.learn([(pre, post)], rate * gain)

        rule.but(update="continual").train_step(copy, x, target, learn)
        pairs = zip(copy.matrices().values(), network.matrices().values(), strict=True)
        drifts.append(deviation([(after.weights() - before.weights()) / rate for after, before in pairs], reference))
    assert drifts[1] < 0.2 * drifts[0] < 0.2


def test_the_softmax_read_out_learns_from_its_own_error():
    """dW_out = 1/2 [(y - yhat_b) s_b^T + (y - yhat_-b) s_-b^T]."""
    network, output = hopfield("softmax")
    x, target = batch(network)
    rule = HopfieldEP(beta=0.5, output=output, steps=10)
    free = rule.begin(network, x, target)
    expected = 0
    for beta in (0.5, -0.5):
        states, force = rule.nudged(free, target, beta)
        states.relax(10, "synchronous", force)
        expected = expected + 0.5 * output_error(output, target, states.output()).T @ states.states[-1]
    np.testing.assert_allclose(directions(rule, network, x, target)[-2], expected, rtol=1e-12)


@pytest.mark.parametrize("readout", ["activated", "softmax"])
def test_reads_are_counted_as_the_schedule_says(readout):
    """[12] T1 free and 2 T2 nudged steps: one forward and one transposed read each, and one more forward read of the last state.

    The free state is read once for both phases; the first layer sees the same input always, and its transpose is never needed.
    """
    network = Network(Hopfield(widths=(5, 6, 7, 4), readout=readout, order="synchronous", steps=6))
    x, target = (a[:1].astype("float32") for a in batch(network))
    rule = HopfieldEP(steps=3, output="cross-entropy")
    rule.train_step(network, x, target, lambda products, gain: list(products))
    meters = [matrix.meter for name, matrix in network.matrices().items() if name.endswith("weight")]
    recurrent = 6 + 2 * 3
    last = (recurrent + 1, recurrent) if readout == "activated" else (1 + 2 * 3, 2 * 3)
    assert [m.forward_reads for m in meters] == [1, recurrent + 1, last[0]]
    assert [m.backward_reads for m in meters] == [0, recurrent, last[1]]


@pytest.mark.parametrize("nudging", ["positive", "negative", "centered"])
def test_products_come_in_two_phases(nudging):
    """Layer by layer, with the nudged states on the side where they are counted, for schemes that tell phases apart."""
    network, _ = hopfield("linear")
    x, target = batch(network)
    calls = []
    rule = HopfieldEP(nudging=nudging, steps=4)
    rule.train_step(network, x, target, lambda products, gain: calls.append((list(products.plus), list(products.minus))))
    free = rule.begin(network, x, target)
    ends = {0: free}
    for beta in (0.5, -0.5):
        ends[beta], force = rule.nudged(free, target, beta)
        ends[beta].relax(4, "synchronous", force)
    plus, minus = {"positive": (0.5, 0), "negative": (0, -0.5), "centered": (0.5, -0.5)}[nudging]
    for layer, call in zip(network.layers, calls, strict=True):
        number = network.layers.index(layer) + 1
        for products, beta in zip(call, (plus, minus), strict=True):
            assert [id(matrix) for matrix, _, _ in products] == [id(matrix) for matrix in layer.matrices.values()]
            np.testing.assert_array_equal(products[0][1], ends[beta].states[number - 1])
            np.testing.assert_array_equal(products[0][2], ends[beta].states[number])
