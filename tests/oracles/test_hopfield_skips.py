"""What Hopfield networks with couplings past states must be by mathematics."""

import numpy as np
import pytest
from learnt import by_name, deviation

import analogpc as apc
from analogpc.analysis import ep_against_bptt
from analogpc.dynamics.relaxation import output_energy
from analogpc.networks import Hopfield
from analogpc.networks.hopfield import Skip
from analogpc.networks.hopfield_resnet import hopfield_resnet
from analogpc.networks.network import Network
from analogpc.rules.hopfield.holomorphic import HolomorphicEP
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.references import RecurrentBackprop

POOLED = {
    "input_shape": (4, 4, 2),
    "blocks": (
        apc.Conv2d(channels=3),
        apc.Chain(blocks=(apc.Conv2d(channels=3), apc.MaxPool(size=2))),
        apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=5))),
        apc.Dense(features=3),
    ),
    "skips": (
        Skip(below=0, above=2, block=apc.Chain(blocks=(apc.Conv2d(channels=3, kernel=1, padding=0), apc.MaxPool(size=2)))),
        Skip(below=1, above=3, block=apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=5, bias=False)))),
    ),
    "activation": "steep_sigmoid",
}
SMALL = {"input_shape": (6, 6, 2), "channels": (3, 4), "classes": 3, "activation": "tanh"}


def network(kind, **fields):
    """Build a network in float64 that settles, with weights times 0.6."""
    fields = {"order": "synchronous", "steps": 100, "dtype": "float64", **fields}
    made = hopfield_resnet(**SMALL, **fields) if kind == "resnet" else Hopfield(**POOLED, **fields)
    built = Network(made, seed=1)
    for matrix in built.matrices().values():
        matrix.increment(-0.4 * matrix.weights())
    return built


def batch(built):
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, *built.input_shape)), np.eye(3)[rng.integers(3, size=4)]


@pytest.mark.parametrize("kind", ["resnet", "pooled"])
@pytest.mark.parametrize("order", ["synchronous", "asynchronous"])
def test_the_update_is_the_gradient_of_the_loss_of_all_weights(kind, order):
    """Against finite differences of the relaxed loss for the weights of skips, and recurrent backpropagation for all weights."""
    built = network(kind, order=order)
    x, target = batch(built)
    found, _ = by_name(HopfieldEP(beta=0.01, steps=60), built, x, target)
    assert found.keys() == built.matrices().keys()
    assert deviation(found, by_name(RecurrentBackprop(steps=60), built, x, target)[0]) < 1e-3
    for name, matrix in built.matrices().items():
        if not name.startswith("skip"):
            continue
        change, losses = np.zeros(matrix.shape), []
        change[-1, -1] = 1e-4
        for factor in (1, -2):
            matrix.increment(factor * change)
            losses.append(4 * output_energy("squared-error", target, built.predict(x)))
        matrix.increment(change)
        assert found[name][-1, -1] == pytest.approx(-(losses[0] - losses[1]) / 2e-4, rel=2e-3, abs=1e-5)


def test_every_step_of_equilibrium_propagation_is_one_of_backpropagation_through_time():
    built = network("resnet")
    compared = ep_against_bptt(built, *batch(built), beta=0.001, steps=8)
    assert {"skip0to2.weight", "skip2to4.weight"} <= compared.relative_rmse.keys()
    assert max(compared.relative_rmse.values()) < 1e-3


def test_skips_of_zero_weights_change_nothing_and_others_do():
    with_skips, without = network("resnet"), network("resnet", residual=False)
    x, _ = batch(without)
    assert not np.allclose(with_skips.predict(x), without.predict(x), atol=1e-3)
    for name, matrix in with_skips.matrices().items():
        if name.startswith("skip"):
            matrix.increment(-matrix.weights())
        else:
            matrix.increment(without.matrices()[name].weights() - matrix.weights())
    np.testing.assert_array_equal(with_skips.predict(x), without.predict(x))


def test_the_published_network_has_9_states_and_13_weight_tensors():
    made = hopfield_resnet(width=1 / 64)
    built = Network(made)
    assert [layer.output_shape[:2] for layer in built.layers] == [(s, s) for s in (32, 16, 16, 8, 8, 4, 4, 2)] + [(10,)]
    assert sum(name.endswith("weight") for name in built.matrices()) == 13
    assert Hopfield.from_toml(made.to_toml()) == made


def test_skips_learn_on_the_backend(device):
    """A step of training on exact matrices gives the same weights on the backend as on the CPU."""
    data = apc.load_data("digits").take(32, 10)
    made = hopfield_resnet(input_shape=(8, 8, 1), channels=(2,), steps=4)
    how = {"epochs": 1, "batch_size": 32, "optimiser": apc.SGD(learning_rate=0.1), "progress": False}
    runs = [apc.fit(Network(made, seed=2), HopfieldEP(steps=3), data, backend=backend, **how) for backend in ("cpu", "gpu")]
    start = Network(made, seed=2).matrices()
    for name, matrix in runs[0].network.matrices().items():
        np.testing.assert_allclose(runs[1].network.to("cpu").matrices()[name].weights(), matrix.weights(), rtol=1e-4, atol=1e-6)
        assert name.endswith("bias") or not np.array_equal(matrix.weights(), start[name].weights()), name


def test_impossible_skips_are_refused():
    conv = apc.Conv2d(channels=3, kernel=1, padding=0, bias=False)
    with pytest.raises(ValueError, match="above = 2 must be at least 2 more than below = 1"):
        Skip(below=1, above=2, block=conv)
    with pytest.raises(ValueError, match="a skip ends at state 9, but the last state is 4"):
        Hopfield(**{**POOLED, "skips": (Skip(below=1, above=9, block=conv),)})
    with pytest.raises(ValueError, match="a block of kind 'activation'"):
        Hopfield(**{**POOLED, "skips": (Skip(below=0, above=2, block=apc.Activation(function="relu")),)})
    with pytest.raises(ValueError, match="skips need feedback = 'transposed'"):
        Hopfield(**POOLED, feedback="separate")
    wrong = Network(Hopfield(**{**POOLED, "skips": (Skip(below=0, above=2, block=conv),)}))
    with pytest.raises(ValueError, match=r"gives values of shape \(4, 4, 3\), but that state has the shape \(2, 2, 3\)"):
        wrong.predict(np.zeros((1, 4, 4, 2), np.float32))
    built = Network(hopfield_resnet(**SMALL))
    with pytest.raises(ValueError, match="holomorphic-ep"):
        HolomorphicEP().begin(built, *batch(built))
