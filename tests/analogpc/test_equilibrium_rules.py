"""Rules of equilibrium propagation from the user's view: refusals, and learning on both substrates."""

import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules import named_rule
from analogpc.rules.base import StepContext
from analogpc.rules.equilibrium import EquilibriumPropagation
from analogpc.rules.hopfield.holomorphic import HolomorphicEP
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.references import BackpropThroughTime, RecurrentBackprop


@pytest.fixture(scope="module")
def digits():
    return apc.load_data("digits")


def quiet(network, rule, data, **options):
    return apc.fit(network, rule, data, **{"epochs": 2, "batch_size": 32, "progress": False, **options})


def test_predictive_networks_learn_digits_on_both_substrates(digits):
    digital = quiet(apc.mlp([64, 64, 10]), named_rule("ep"), digits, epochs=8, optimiser=apc.AdamW(learning_rate=1e-3))
    assert digital.history["test_accuracy"][-1] > 0.94
    network = apc.mlp([64, 64, 10], substrate=apc.Analog(device="idealized"))
    crossbar = quiet(network, named_rule("ep"), digits, epochs=3, optimiser=apc.SGD(learning_rate=0.2))
    assert crossbar.history["test_accuracy"][-1] > 0.9


@pytest.mark.parametrize(
    ("nudging", "optimiser"),
    [
        ("positive", apc.SGD(learning_rate=0.1)),
        ("positive", apc.AdamW(learning_rate=1e-3)),
        ("centered", apc.AdamW(learning_rate=1e-3)),
    ],
)
def test_a_crossbar_without_nonidealities_trains_to_the_digital_bits(digits, nudging, optimiser):
    """[14] The same operations in the same order."""
    few = digits.take(200, 100)
    network = apc.mlp([64, 32, 16, 10], activation="relu", seed=1)
    rule = EquilibriumPropagation(nudging=nudging, output="cross-entropy")
    runs = [quiet(n, rule, few, optimiser=optimiser) for n in (network, network.on(apc.Analog.ideal()))]
    for a, b in zip(*(run.network.matrices().values() for run in runs), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())


def test_two_phases_learnt_in_place_differ_by_rounding_alone(digits):
    """[14] Ideal devices take the difference of both phases at once, arrays in memory one after the other."""
    few = digits.take(200, 100)
    network = apc.mlp([64, 32, 10], dtype="float64", seed=1)
    runs = [quiet(n, EquilibriumPropagation(), few, optimiser=apc.SGD()) for n in (network, network.on(apc.Analog.ideal()))]
    for a, b in zip(*(run.network.matrices().values() for run in runs), strict=True):
        np.testing.assert_allclose(a.weights(), b.weights(), rtol=1e-9, atol=1e-12)


def test_a_run_names_the_variant_it_used(digits, tmp_path):
    few = digits.take(64, 50)
    rule = EquilibriumPropagation(nudging="negative", drive="clamp", output="cross-entropy", projection="plain", iterations=3)
    quiet(apc.mlp([64, 8, 10]), rule, few, epochs=1).save(tmp_path / "run.h5")
    assert apc.Run.load(tmp_path / "run.h5").study.rule == rule


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"beta": 0}, "beta = 0 is not allowed"),
        ({"beta": 1.0}, "needs beta below 1, not 1"),
        ({"iterations": 0}, "iterations = 0 is not allowed"),
        ({"nudging": "both"}, "nudging = 'both' is not allowed"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        EquilibriumPropagation(**fields)


def test_a_target_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="the target must have the shape of the output"):
        EquilibriumPropagation().train_step(
            apc.mlp([4, 3]), np.zeros((2, 4), "float32"), np.zeros((2, 4), "float32"), lambda *_: None
        )


def hopfield(**fields):
    return Network(Hopfield(**{"widths": (64, 64, 10), "steps": 12, **fields}))


def test_hopfield_networks_learn_digits_on_both_substrates(digits):
    for readout, output in (("linear", "squared-error"), ("softmax", "cross-entropy")):
        rule = named_rule("ep-hopfield").but(output=output)
        digital = quiet(hopfield(readout=readout), rule, digits, epochs=6, optimiser=apc.SGD(learning_rate=0.1))
        assert digital.history["test_accuracy"][-1] > 0.92
        assert digital.history["train_accuracy"][-1] > 0.92
    network = hopfield(widths=(64, 32, 10), readout="softmax").on(apc.Analog(device="idealized"))
    crossbar = quiet(network, rule, digits, epochs=3, optimiser=apc.SGD(learning_rate=0.1))
    assert crossbar.history["test_accuracy"][-1] > 0.88


HOPFIELD_RULES = {
    "continual": (HopfieldEP(update="continual", nudging="negative"), 0.03),
    "coupled": (HopfieldEP(drive="clamp", beta=1.0, nudging="positive"), 0.1),
    "holomorphic": (HolomorphicEP(points=3, steps=8), 0.1),
    "through time": (BackpropThroughTime(), 0.1),
    "recurrent": (RecurrentBackprop(), 0.1),
}


@pytest.mark.parametrize("name", HOPFIELD_RULES)
def test_every_variant_learns(digits, name):
    rule, rate = HOPFIELD_RULES[name]
    network = hopfield(widths=(64, 32, 10), activation="soft_half_sigmoid", order="synchronous", steps=20)
    run = quiet(network, rule, digits, epochs=4, optimiser=apc.SGD(learning_rate=rate))
    assert run.history["test_accuracy"][-1] > 0.85


CONVOLUTIONAL = {
    "input_shape": (8, 8, 1),
    "blocks": (
        apc.Chain(blocks=(apc.Conv2d(channels=8), apc.MaxPool(size=2))),
        apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=10))),
    ),
}


def test_a_convolutional_hopfield_network_learns(digits):
    network = Network(Hopfield(**CONVOLUTIONAL, readout="softmax", activation="half_hard_sigmoid", order="synchronous", steps=15))
    run = quiet(
        network, HopfieldEP(output="cross-entropy"), digits.take(600, 300), epochs=4, optimiser=apc.AdamW(learning_rate=5e-3)
    )
    assert run.history["test_accuracy"][-1] > 0.85


@pytest.mark.parametrize("fields", [{}, {"readout": "softmax"}, {**CONVOLUTIONAL, "order": "synchronous"}])
def test_hopfield_networks_train_to_the_digital_bits_on_ideal_crossbars(digits, fields):
    """[14] Some hundred relaxations with both reads; AdamW, whose increments are formed the same way on both."""
    few = digits.take(100, 50)
    if "blocks" not in fields:
        fields = {"widths": (64, 24, 16, 10), **fields}
    network = Network(Hopfield(steps=8, **fields))
    rule = HopfieldEP(output="cross-entropy")
    runs = [
        quiet(n, rule, few, epochs=1, optimiser=apc.AdamW(learning_rate=1e-3)) for n in (network, network.on(apc.Analog.ideal()))
    ]
    for a, b in zip(*(run.network.matrices().values() for run in runs), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())


def test_hopfield_networks_are_saved_and_resumed_to_the_same_bits(digits, tmp_path):
    few = digits.take(96, 50)
    network = hopfield(readout="softmax", activation="tanh", tolerance=1e-3)
    rule = HopfieldEP(output="cross-entropy", update="continual", steps=3)
    whole = quiet(network, rule, few, epochs=2, optimiser=apc.SGD())
    quiet(network, rule, few, epochs=2, optimiser=apc.SGD(), batches=4).save(tmp_path / "part.h5")
    part = apc.Run.load(tmp_path / "part.h5")
    assert part.study == whole.study
    part.train(few, progress=False)
    for a, b in zip(*(run.network.matrices().values() for run in (whole, part)), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())
    assert part.history["test_accuracy"] == whole.history["test_accuracy"]


def test_prediction_is_the_free_relaxation():
    network = hopfield(readout="softmax")
    x = np.random.default_rng(0).normal(size=(3, 64)).astype("float32")
    probabilities = network.predict(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    target = np.eye(10, dtype="float32")[:3]
    result = HopfieldEP(output="cross-entropy").train_step(network, x, target, lambda *_: None)
    np.testing.assert_array_equal(result.outputs, probabilities)
    assert (
        np.argmax(network.architecture.free(network.layers, x).output(), axis=1).tolist() == probabilities.argmax(axis=1).tolist()
    )


def test_random_signs_are_drawn_batch_by_batch():
    """Of 400 moments between 150 and 250 are positive (false alarm once in two million); they depend on key and step alone."""
    for rule in (EquilibriumPropagation(nudging="random"), HopfieldEP(nudging="random")):
        drawn = [rule.at(StepContext(Key(7), step=step)).nudging for step in range(400)]
        assert 150 < drawn.count("positive") < 250
        assert drawn.count("positive") + drawn.count("negative") == 400
        assert drawn == [rule.at(StepContext(Key(7), epoch=2, step=step)).nudging for step in range(400)]
        assert drawn != [rule.at(StepContext(Key(8), step=step)).nudging for step in range(400)]
        with pytest.raises(ValueError, match="draws its sign in each training step"):
            rule.signs()
    settled = EquilibriumPropagation()
    assert settled.at(StepContext(Key(7))) is settled


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Hopfield(input_shape=(4,), blocks=(apc.Activation(function="tanh"),)),
            "layer 1 holds a block of kind 'activation'",
        ),
        (lambda: Hopfield(widths=(4, 3), readout="softmax"), "needs at least two layers"),
        (lambda: Hopfield(widths=(4,)), "widths"),
        (lambda: Hopfield(widths=(4, 3), activation="gelu"), "activation = 'gelu' is not allowed"),
        (
            lambda: Hopfield(widths=(4, 3), activations=("tanh", "tanh")),
            "must be empty or have one function for each of the 1 states",
        ),
        (lambda: HopfieldEP(steps=0), "steps = 0 is not allowed"),
        (lambda: HopfieldEP(beta=1.5), "needs beta below 1, not 1.5"),
        (lambda: HolomorphicEP(points=1), "points = 1 is not allowed"),
    ],
)
def test_contradictory_hopfield_specifications_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("network", "rule", "sentence"),
    [
        (apc.mlp([64, 10]), HopfieldEP(), "trains networks of the architecture 'hopfield', not 'mlp'"),
        (
            hopfield(readout="softmax"),
            HopfieldEP(),
            "output = 'squared-error' cannot be used with readout = 'softmax'",
        ),
        (hopfield(readout="softmax"), HopfieldEP(output="cross-entropy", drive="clamp"), "needs an output state to clamp"),
        (hopfield(), BackpropThroughTime(), "needs a network with order = 'synchronous'"),
    ],
)
def test_rules_and_networks_that_do_not_go_together_are_refused(network, rule, sentence):
    with pytest.raises(ValueError, match=sentence):
        rule.train_step(network, np.zeros((1, 64), "float32"), np.zeros((1, 10), "float32"), lambda *_: None)


def test_specifications_survive_toml():
    for rule in (EquilibriumPropagation(nudging="random", iterations=3), *(rule for rule, _ in HOPFIELD_RULES.values())):
        assert type(rule).from_toml(rule.to_toml()) == rule
    for network in (
        hopfield(),
        hopfield(feedback="separate", start="uniform", activations=("relu", "tanh")),
        Network(Hopfield(**CONVOLUTIONAL)),
    ):
        assert Hopfield.from_toml(network.architecture.to_toml()) == network.architecture


def test_rules_and_networks_that_do_not_fit_are_refused_before_anything_is_trained():
    for rule, network, sentence in (
        ("pc", {"kind": "hopfield", "widths": [64, 10]}, "trains predictive networks"),
        ("zil", {"kind": "hopfield", "widths": [64, 10]}, "trains predictive networks"),
        ("ep-hopfield", {"kind": "mlp", "widths": [64, 10]}, "trains networks of the architecture 'hopfield'"),
    ):
        with pytest.raises(SpecificationError, match=sentence):
            apc.Study(rule=rule, network=network)
    assert apc.Study(rule="ep-hopfield").network.kind == "hopfield"
    assert apc.Study(rule="ep").network.kind == "mlp"
