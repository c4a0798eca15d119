"""Learning rules on networks with normalisation: exact gradients, frozen statistics, and bit-identical resuming."""

import numpy as np
import pytest
from learnt import by_name

import analogpc as apc
from analogpc.blocks import Activation, BatchNorm, Chain, Conv2d, Dense, Flatten, LayerNorm, Residual
from analogpc.dynamics.equilibration import Equilibration
from analogpc.dynamics.projections import Projection
from analogpc.dynamics.relaxation import Relaxation, energy
from analogpc.networks import Layers
from analogpc.networks.network import Network

TANH, RELU = Activation(function="tanh"), Activation(function="relu")


def network(activation=TANH, seed=1, **norm):
    """Dense layers, hidden ones with batch normalisation, with scales and biases that are not those of the start."""
    hidden = [Chain(blocks=(Dense(features=n, bias=False), BatchNorm(**norm), activation)) for n in (7, 6)]
    net = Network(Layers(input_shape=(5,), blocks=(*hidden, Dense(features=3)), dtype="float64"), seed=seed)
    rng = np.random.default_rng(seed)
    for name, matrix in net.matrices().items():
        if name.endswith(("scale", "bias")):
            matrix.increment(0.3 * rng.normal(size=matrix.shape))
    return net


def batch(net, n=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *net.input_shape)), np.eye(net.output_shape[0])[rng.integers(net.output_shape[0], size=n)]


def kept(net):
    return {name: array.copy() for name, array in net.buffers().items()}


def assert_differences(learnt, net, value):
    """``learnt`` is minus the derivative of ``value()`` at every entry of every matrix."""
    for name, matrix in net.matrices().items():
        for index in np.ndindex(matrix.shape):
            change = np.zeros(matrix.shape)
            values = []
            for step in (1e-5, -2e-5, 1e-5):
                change[index] = step
                matrix.increment(change)
                values.append(value())
            assert learnt[name][index] == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-5, abs=1e-7), (name, index)


def test_answers_do_not_depend_on_the_batch():
    """`forward` couples the samples of a batch; `infer`, and so `Network.predict`, does not."""
    net = network()
    x, target = batch(net)
    by_name(apc.PredictiveCoding(steps=2), net, x, target)[0]
    together = net.predict(x)
    np.testing.assert_allclose(together, np.concatenate([net.predict(one[None]) for one in x]), rtol=1e-12)
    state = x
    for layer in net.layers:
        state, _ = layer.forward(state)
    assert np.abs(state - together).max() > 0.1


def moments(net, states):
    """The statistics that the normalisation of every hidden layer sees when the layers read ``states``."""
    reads = [state @ net.matrices()[f"layer{i}.0.weight"].weights().T for i, state in enumerate(states, start=1)]
    return [(read.mean(0), read.var(0, ddof=1)) for read in reads]


@pytest.mark.parametrize("update", ["standard", "forward"])
def test_a_taught_batch_moves_the_statistics_once_and_its_relaxation_not_at_all(update):
    """The freezing of Qi et al.: standard updates see the relaxed states, forward updates those of the feed-forward pass."""
    net = network()
    x, target = batch(net)
    start, seen = kept(net), []
    rule = apc.PredictiveCoding(steps=5, step_size=0.2, update=update)

    def watch(energies, errors):
        for name, array in net.buffers().items():
            np.testing.assert_array_equal(array, start[name])
        seen.append(energies.sum())

    relaxation = rule.begin(net, x, target)
    first = relaxation.states[1].copy()
    rule.relax(relaxation)
    relaxed = relaxation.states[1]
    assert np.abs(relaxed - first).max() > 0.01

    rule.train_step(net, x, target, lambda products, gain: list(products), watch)
    assert len(seen) == 6
    assert seen[-1] < seen[0]
    expected = moments(net, [x, relaxed if update == "standard" else first])
    for number, (mean, variance) in enumerate(expected, start=1):
        now = net.buffers()
        np.testing.assert_allclose(now[f"layer{number}.1.running_mean"], 0.1 * mean, rtol=1e-10)
        np.testing.assert_allclose(now[f"layer{number}.1.running_variance"], 0.9 + 0.1 * variance, rtol=1e-10)
    # Only the variance can tell them apart: what comes back through a batch normalisation has a mean of zero.
    _, other = moments(net, [x, first if update == "standard" else relaxed])[1]
    assert np.abs(net.buffers()["layer2.1.running_variance"] - (0.9 + 0.1 * other)).max() > 1e-4


@pytest.mark.parametrize("steps", [0, 2, 8])
@pytest.mark.parametrize("watched", [False, True])
def test_without_freezing_every_evaluation_moves_them(steps, watched):
    """Once at the start, once in each of T steps and once to learn: T + 2 times, for a clamped input too, watched or not."""
    net = network(freezing=False, momentum=0.1)
    x, target = batch(net)
    mean, variance = moments(net, [x])[0]
    watch = (lambda energies, errors: None) if watched else None
    apc.PredictiveCoding(steps=steps, step_size=0.2).train_step(net, x, target, lambda products, gain: list(products), watch)
    kept = 0.9 ** (steps + 2)
    np.testing.assert_allclose(net.buffers()["layer1.1.running_mean"], (1 - kept) * mean, rtol=1e-10)
    np.testing.assert_allclose(net.buffers()["layer1.1.running_variance"], kept + (1 - kept) * variance, rtol=1e-10)


def test_without_freezing_layers_that_take_no_part_are_not_evaluated():
    """Spiking precision in three layers: the first is evaluated at first, in the last of three steps, and to learn."""
    net = network(freezing=False, momentum=0.1)
    x, target = batch(net)
    mean, _ = moments(net, [x])[0]
    rule = apc.PredictiveCoding(steps=3, step_size=0.2, precision="spiking", update="forward")
    rule.train_step(net, x, target, lambda products, gain: list(products))
    np.testing.assert_allclose(net.buffers()["layer1.1.running_mean"], (1 - 0.9**3) * mean, rtol=1e-10)


def test_without_freezing_the_relaxation_moves_them_at_every_read():
    frozen, plain, again = network(), network(freezing=False), network(freezing=False)
    x, target = batch(plain)
    rule, seen = apc.PredictiveCoding(steps=5, step_size=0.2), []
    relaxation = rule.begin(again, x, target)

    def note():
        weights = again.matrices()["layer2.0.weight"].weights()
        seen.append(relaxation.states[1] @ weights.T)

    note()
    for _ in range(5):
        note()
        relaxation.step([1.0] * 3, rule.step_size)
    note()
    taught = by_name(rule, plain, x, target)[0]
    for name, learnt in by_name(rule, frozen, x, target)[0].items():
        np.testing.assert_array_equal(learnt, taught[name])
    mean, variance = np.zeros(6), np.ones(6)
    for values in seen:
        mean, variance = 0.9 * mean + 0.1 * values.mean(0), 0.9 * variance + 0.1 * values.var(0, ddof=1)
    np.testing.assert_allclose(plain.buffers()["layer2.1.running_mean"], mean, rtol=1e-10)
    np.testing.assert_allclose(plain.buffers()["layer2.1.running_variance"], variance, rtol=1e-10)


def test_predictive_coding_descends_an_energy_in_which_samples_see_each_other():
    net = network()
    x, target = batch(net, n=4)
    rng = np.random.default_rng(3)
    relaxation = Relaxation(net.layers, x, target)
    for number in (1, 2):
        relaxation.place(number, rng.normal(size=relaxation.states[number].shape))
    relaxation.differentiate([1.0] * 3)
    states = [state.copy() for state in relaxation.states]

    def total():
        return sum(len(x) * energy(b - layer.forward(a)[0]) for layer, a, b in zip(net.layers, states, states[1:], strict=False))

    for number in (1, 2):
        for index in np.ndindex(states[number].shape):
            here, values = states[number][index], []
            for step in (1e-5, -1e-5):
                states[number][index] = here + step
                values.append(total())
            states[number][index] = here
            expected = (values[0] - values[1]) / 2e-5
            assert relaxation.gradients[number][index] == pytest.approx(expected, rel=1e-5, abs=1e-7)
    learnt = {}
    for index, layer in enumerate(net.layers):
        for matrix, pre, post in layer.products(relaxation.tapes[index], relaxation.errors[index]):
            learnt[id(matrix)] = learnt.get(id(matrix), 0) + post.T @ pre
    assert_differences({name: learnt[id(m)] for name, m in net.matrices().items()}, net, total)


def test_backprop_is_exact_through_normalised_residuals():
    inner = Chain(blocks=(Conv2d(channels=3, bias=False), BatchNorm(), TANH, Conv2d(channels=2), LayerNorm()))
    blocks = (
        Chain(blocks=(Residual(body=inner, shortcut=Conv2d(channels=2, kernel=1, padding=0)), BatchNorm())),
        Residual(body=Chain(blocks=(BatchNorm(), TANH, Conv2d(channels=2, bias=False)))),
        Chain(blocks=(Flatten(), Dense(features=3))),
    )
    net = Network(Layers(input_shape=(3, 2, 1), blocks=blocks, dtype="float64"), seed=2)
    x, target = batch(net, n=3)

    def loss():
        state = x
        for layer in net.layers:
            state, _ = layer.forward(state)
        return 0.5 * ((target - state) ** 2).sum()

    assert_differences(by_name(apc.Backprop(), net, x, target)[0], net, loss)


def test_projections_find_the_activation_behind_the_normalisation(rng):
    net = network(RELU)
    x, _ = batch(net)
    specification, layer = net.architecture.layers()[0], net.layers[0]
    prediction, tape = layer.forward(x)
    feedback = rng.normal(size=prediction.shape)
    pre = layer.blocks[1].forward(layer.blocks[0].forward(x)[0])[0]
    moved = Projection(specification, modified=True).move(layer, prediction, tape, feedback)
    np.testing.assert_array_equal(moved, np.maximum(pre + feedback, 0))
    plain = Projection(specification, modified=False).move(layer, prediction, tape, feedback)
    np.testing.assert_array_equal(plain, np.maximum(prediction + feedback, 0))
    assert (moved != plain).any()


@pytest.mark.parametrize("activation", [TANH, RELU])
def test_equilibrium_propagation_tends_to_backprop(activation):
    """The batch settles as one system; centered nudging is off by the square of beta."""
    net = network(activation)
    x, target = batch(net)
    exact = by_name(apc.Backprop(), net, x, target)[0]
    off = []
    for beta in (2e-3, 1e-3):
        learnt = by_name(apc.EquilibriumPropagation(beta=beta, iterations=3), net, x, target)[0]
        off.append(max(np.abs(learnt[name] - exact[name]).max() / np.abs(exact[name]).max() for name in exact))
    assert off[1] < 1e-4
    assert off[0] / off[1] == pytest.approx(4, rel=0.1)


def test_each_phase_that_learns_moves_the_statistics():
    net = network(momentum=0.5)
    x, target = batch(net)
    by_name(apc.EquilibriumPropagation(beta=1e-9, nudging="centered"), net, x, target)[0]
    mean, variance = moments(net, [x])[0]
    np.testing.assert_allclose(net.buffers()["layer1.1.running_mean"], 0.75 * mean, rtol=1e-10)
    np.testing.assert_allclose(net.buffers()["layer1.1.running_variance"], 0.25 + 0.75 * variance, rtol=1e-10)
    free = Equilibration(net.layers, [Projection(layer, True) for layer in net.architecture.layers()], x)
    assert all((error == 0).all() for error in free.errors())


@pytest.mark.parametrize("update", ["standard", "forward"])
def test_a_resumed_run_goes_on_to_the_same_bits(update, tmp_path):
    few = apc.load_data("digits").take(120, 60)
    hidden = [
        Chain(blocks=(Dense(features=16), BatchNorm(), RELU)),
        Residual(body=Chain(blocks=(Dense(features=16), LayerNorm()))),
    ]
    net = Network(Layers(input_shape=(64,), blocks=(*hidden, Dense(features=10))))
    options = {"epochs": 2, "batch_size": 26, "progress": False, "optimiser": apc.AdamW(learning_rate=1e-2)}
    rule = apc.PredictiveCoding(steps=3, step_size=0.3, update=update)
    whole = apc.fit(net, rule, few, **options)
    path = tmp_path / "run.h5"
    apc.fit(net, rule, few, batches=7, **options).save(path)
    middle = apc.Run.load(path)
    assert np.abs(middle.network.buffers()["layer1.1.running_mean"]).max() > 0
    resumed = middle.train(few, progress=False)
    assert list(whole.network.buffers()) == ["layer1.1.running_mean", "layer1.1.running_variance"]
    for name, array in whole.network.buffers().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(resumed.network.buffers()[name], array)
    for name, matrix in whole.network.matrices().items():
        np.testing.assert_array_equal(resumed.network.matrices()[name].weights(), matrix.weights())
    assert resumed.history["test_accuracy"] == whole.history["test_accuracy"]
    # Twice what guessing gives; the exact number depends on the BLAS, whose kernels round differently.
    assert whole.history["test_accuracy"][-1] > 0.2
    resumed.save(path)
    x = few.inputs("test", np.arange(60))
    np.testing.assert_array_equal(apc.load(path).predict(x), whole.network.predict(x))
    for array in net.buffers().values():
        assert np.array_equal(array, np.full(16, array[0]))


def test_statistics_move_to_another_substrate():
    net = network().copy(trained=True)
    x, target = batch(net)
    by_name(apc.Backprop(), net, x, target)[0]
    twin = net.on(apc.Analog.ideal())
    np.testing.assert_allclose(twin.predict(x), net.predict(x), rtol=1e-12, atol=1e-12)
    before = kept(net)
    by_name(apc.Backprop(), twin, x, target)[0]
    for name, array in net.buffers().items():
        np.testing.assert_array_equal(array, before[name])
        assert (twin.buffers()[name] != array).any()
