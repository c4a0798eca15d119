"""Options of Hopfield-type networks: warm starts, separate feedback, initial values and functions of the states."""

import numpy as np
import pytest

import analogpc as apc
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP, feedback_angle


@pytest.fixture(scope="module")
def digits():
    return apc.load_data("digits")


def quiet(network, rule, data, **options):
    return apc.fit(network, rule, data, **{"epochs": 2, "batch_size": 32, "progress": False, **options})


def hopfield(**fields):
    return Network(Hopfield(**{"widths": (64, 64, 10), "steps": 12, **fields}))


def batches(count=2, n=6):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.normal(size=(n, 64)).astype("float32"), np.eye(10, dtype="float32")[rng.integers(10, size=n)]


def test_warm_starts_begin_where_the_batch_before_ended():
    """Of one step each, straight from the definition; a smaller batch takes the first samples, a larger one starts from zero."""
    rule = HopfieldEP(warm_start=True)
    network = hopfield(steps=1, activation="tanh")
    architecture = network.architecture
    (x, target), (other, _) = batches()
    first = rule.begin(network, x, target)
    for carried, state in zip(network.carried, first.states[1:], strict=True):
        np.testing.assert_array_equal(carried, state)
    carried = network.carried
    for n in (6, 4):
        network.carried = carried
        expected = architecture.free(network.layers, other[:n], start=[state[:n] for state in carried]).states
        cold = architecture.free(network.layers, other[:n]).states
        found = rule.begin(network, other[:n], target[:n]).states
        for one, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, wanted)
        assert not np.array_equal(found[-1], cold[-1])
    found = rule.begin(network, other, target).states
    for one, wanted in zip(found, architecture.free(network.layers, other).states, strict=True):
        np.testing.assert_array_equal(one, wanted)


def test_warm_starts_are_nearer_to_the_equilibrium_and_leave_predictions_alone():
    (x, target), (other, _) = batches()
    other = x + 0.1 * other
    left = {}
    for warm in (False, True):
        network = hopfield(steps=6, activation="tanh", order="synchronous")
        rule = HopfieldEP(warm_start=warm)
        rule.begin(network, x, target)
        before = network.predict(other)
        free = rule.begin(network, other, target)
        settled = list(free.states)
        free.step("synchronous")
        left[warm] = free.change(settled)
        np.testing.assert_array_equal(network.predict(other), before)
    assert left[True] < 0.5 * left[False]
    assert hopfield().carried == []
    rule.but(warm_start=False).begin(network := hopfield(), x, target)
    assert network.carried == []


def test_carried_states_are_saved_copied_and_resumed_to_the_same_bits(digits, tmp_path):
    """Stopped within an epoch whose last batch is smaller, with too few steps to forget where the states came from."""
    few = digits.take(80, 50)
    network = hopfield(activation="tanh", steps=2)
    rule = HopfieldEP(steps=3, warm_start=True)
    whole = quiet(network, rule, few, epochs=2, optimiser=apc.SGD())
    assert network.carried == []
    quiet(network, rule, few, epochs=2, optimiser=apc.SGD(), batches=4).save(tmp_path / "part.h5")
    part = apc.Run.load(tmp_path / "part.h5")
    assert len(part.network.carried[0]) == 32
    copy = part.network.copy()
    for one, other in zip(copy.carried, part.network.carried, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one is not other
    forgetful = apc.Run.load(tmp_path / "part.h5")
    forgetful.network.carried = []
    for run in (part, forgetful):
        run.train(few, progress=False)
    weights = [[matrix.weights() for matrix in run.network.matrices().values()] for run in (whole, part, forgetful)]
    for a, b in zip(*weights[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, c) for a, c in zip(weights[0], weights[2], strict=True))


@pytest.mark.parametrize("feedback_update", ["own", "averaged"])
def test_networks_with_feedback_of_their_own_learn_digits(digits, feedback_update):
    """And forward and backward weights, independent at first, turn towards each other."""
    network = hopfield(widths=(64, 32, 32, 10), feedback="separate", activation="half_hard_sigmoid")
    before = feedback_angle(network)
    rule = HopfieldEP(feedback_update=feedback_update)
    run = quiet(network, rule, digits, epochs=8, optimiser=apc.AdamW(learning_rate=5e-3))
    after = feedback_angle(run.network)
    assert run.history["test_accuracy"][-1] > 0.9
    assert run.history["train_accuracy"][-1] > run.history["train_accuracy"][0] + 0.1
    assert all(after[number] < before[number] - 15 for number in (2, 3)), (before, after)


@pytest.mark.parametrize("fields", [{}, {"readout": "softmax"}, {"blocks": 2}])
@pytest.mark.parametrize("feedback_update", ["own", "averaged"])
def test_feedback_on_ideal_crossbars_trains_to_the_digital_bits(digits, fields, feedback_update):
    """[14]"""
    few = digits.take(64, 50)
    if "blocks" in fields:
        convolution = apc.Chain(blocks=(apc.Conv2d(channels=4), apc.MaxPool(size=2)))
        last = apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=10)))
        fields = {"input_shape": (8, 8, 1), "blocks": (convolution, convolution, last), "order": "synchronous"}
    else:
        fields = {"widths": (64, 24, 16, 10), **fields}
    network = Network(Hopfield(steps=6, feedback="separate", **fields))
    rule = HopfieldEP(output="cross-entropy", steps=4, feedback_update=feedback_update)
    runs = [
        quiet(n, rule, few, epochs=1, optimiser=apc.AdamW(learning_rate=1e-3)) for n in (network, network.on(apc.Analog.ideal()))
    ]
    for a, b, c in zip(*(n.matrices().values() for n in (runs[0].network, runs[1].network, network)), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())
        assert not np.array_equal(a.weights(), c.weights())


def test_states_may_start_uniformly_and_have_functions_of_their_own():
    x, _ = next(batches())
    network = hopfield(start="uniform", activations=("relu", "tanh"), steps=1)
    started = network.architecture.states(network.layers, x).states
    for state in started[1:]:
        assert 0 <= state.min() < 0.3 < 0.7 < state.max() < 1
        assert state.dtype == np.float32
        np.testing.assert_array_equal(state, np.broadcast_to(state[:1], state.shape))
    np.testing.assert_allclose(network.predict(x)[4:5], network.predict(x[4:5]), rtol=1e-5)
    states = network.architecture.free(network.layers, x)
    hidden = np.maximum(network.layers[0].forward(x)[0] + network.layers[1].vjp(started[1], started[2]), 0)
    np.testing.assert_allclose(states.states[1], hidden, rtol=1e-5, atol=1e-6)
    assert (states.states[1] == 0).any()
    assert states.states[1].max() > 1
    settled = [hopfield(start=start, steps=60, activation="tanh").predict(x) for start in ("zeros", "uniform")]
    np.testing.assert_allclose(*settled, atol=1e-5)
