"""What holomorphic equilibrium propagation must be by mathematics (numbers of the oracle list in brackets)."""

import numpy as np
import pytest
from learnt import deviation, directions

import analogpc as apc
from analogpc.blocks.pool import AvgPool, SoftPool
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules.hopfield.holomorphic import HolomorphicEP
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.references import RecurrentBackprop

CONVOLUTIONAL = (
    apc.Conv2d(channels=2, kernel=3, stride=2),
    apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=6))),
    apc.Dense(features=3),
)
SOFT = (
    apc.Chain(blocks=(apc.Conv2d(channels=2, init="xavier-normal"), SoftPool(size=2))),
    apc.Chain(
        blocks=(
            apc.Conv2d(channels=3, init="xavier-normal"),
            SoftPool(size=2, stride=1, temperature=0.5),
            apc.Flatten(),
            apc.Dense(features=5, init="kaiming-normal"),
        )
    ),
    apc.Dense(features=3, init="kaiming-normal"),
)
DENSE = {"widths": (6, 9, 8, 4), "init": "xavier-normal"}
KINDS = {
    "linear": ({**DENSE, "activation": "soft_half_sigmoid"}, "squared-error"),
    "linear, cross-entropy": ({**DENSE, "activation": "steep_sigmoid"}, "cross-entropy"),
    "activated": ({**DENSE, "activation": "tanh", "readout": "activated"}, "squared-error"),
    "softmax": ({**DENSE, "activation": "soft_half_sigmoid", "readout": "softmax"}, "cross-entropy"),
    "soft pooling": ({"input_shape": (5, 5, 2), "blocks": SOFT, "activation": "soft_half_sigmoid"}, "squared-error"),
    "soft pooling, softmax": (
        {"input_shape": (5, 5, 2), "blocks": SOFT, "activation": "tanh", "readout": "softmax"},
        "cross-entropy",
    ),
    "average pooling": (
        {
            "input_shape": (5, 5, 2),
            "blocks": (
                apc.Chain(blocks=(apc.Conv2d(channels=2, init="xavier-normal"), AvgPool(size=3, stride=2))),
                SOFT[1],
                SOFT[2],
            ),
            "activation": "steep_sigmoid",
        },
        "squared-error",
    ),
    "convolutional": ({"input_shape": (5, 5, 2), "blocks": CONVOLUTIONAL, "activation": "tanh"}, "squared-error"),
}


def hopfield(kind, **fields):
    """A network in float64 whose states settle, and its loss."""
    own, output = KINDS[kind]
    network = Network(Hopfield(**{"steps": 150, "dtype": "float64", **own, **fields}), seed=1)
    for matrix in network.matrices().values():
        matrix.increment(-0.5 * matrix.weights())
    return network, output


def batch(network, n=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, *network.input_shape)), np.eye(network.output_shape[0])[
        rng.integers(network.output_shape[0], size=n)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["synchronous", "asynchronous"])
def test_two_points_are_centered_equilibrium_propagation(kind, order):
    """[11]"""
    network, output = hopfield(kind, order=order)
    x, target = batch(network)
    one = directions(HolomorphicEP(points=2, beta=0.2, steps=9, output=output), network, x, target)
    other = directions(HopfieldEP(nudging="centered", beta=0.2, steps=9, output=output), network, x, target)
    assert deviation(one, other) < 1e-11


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_falls_with_the_power_of_the_points(kind):
    """[8] O(beta^N) against recurrent backprop, as log-log slopes; odd N with their unpaired conjugates included."""
    network, output = hopfield(kind)
    x, target = batch(network)
    reference = directions(RecurrentBackprop(steps=150, output=output), network, x, target)
    for points, betas in ((2, (0.02, 0.01)), (3, (0.04, 0.02)), (4, (0.06, 0.03)), (5, (0.06, 0.03))):
        errors = [
            deviation(
                directions(HolomorphicEP(points=points, beta=beta, steps=120, output=output), network, x, target), reference
            )
            for beta in betas
        ]
        assert errors[1] > 1e-13  # Not yet rounding.
        # The leading order may vanish by symmetry, never the other way round.
        assert np.log2(errors[0] / errors[1]) > points - 0.35, (points, errors)


@pytest.mark.parametrize("kind", ["linear", "soft pooling"])
def test_more_points_allow_larger_nudges(kind):
    network, output = hopfield(kind)
    x, target = batch(network)
    reference = directions(RecurrentBackprop(steps=150, output=output), network, x, target)
    errors = [
        deviation(directions(HolomorphicEP(points=points, beta=0.15, steps=150, output=output), network, x, target), reference)
        for points in (2, 4, 8)
    ]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


@pytest.mark.parametrize("kind", ["softmax", "soft pooling"])
def test_states_of_real_nudges_stay_real(kind):
    network, output = hopfield(kind)
    x, target = batch(network)
    rule = HolomorphicEP(points=4, output=output)
    free, architecture = rule.begin(network, x, target)
    for k, real in ((0, True), (1, False), (2, True)):
        states = rule.relax(free, architecture, target, k)
        assert all((not state.imag.any()) == real for state in states.states[1:])


@pytest.mark.parametrize(
    ("fields", "substrate", "sentence"),
    [
        ({}, apc.Analog.ideal(), "complex states, which crossbars cannot read"),
        ({"activation": "hard_sigmoid"}, apc.Digital(), "needs a holomorphic activation, 'steep_sigmoid', .*not 'hard_sigmoid'"),
    ],
)
def test_only_digital_holomorphic_networks_are_taught(fields, substrate, sentence):
    network, output = hopfield("linear", **fields)
    network = network.on(substrate)
    with pytest.raises(ValueError, match=sentence):
        HolomorphicEP(output=output).train_step(network, *batch(network), lambda *_: None)


def test_pooling_by_the_maximum_is_refused():
    blocks = (apc.Chain(blocks=(apc.Conv2d(channels=2), apc.MaxPool())), apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=3))))
    network = Network(Hopfield(input_shape=(4, 4, 1), blocks=blocks, activation="tanh", dtype="float64"))
    with pytest.raises(ValueError, match="layers without max-pooling"):
        HolomorphicEP().train_step(network, *batch(network), lambda *_: None)
