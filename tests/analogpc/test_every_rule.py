"""Every rule learns the same on the GPU as on the CPU, kernel by kernel and replayed as a graph."""

from __future__ import annotations

import numpy as np
import pytest
from matrix_pairs import same_counts

import analogpc as apc
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.gpu.graphs import working_stream
from analogpc.kernels.random.streams import Key
from analogpc.rules import BackpropThroughTime, HolomorphicEP, HopfieldEP, Nudging, RecurrentBackprop, named_rules
from analogpc.rules.base import StepContext
from analogpc.rules.hopfield.intermediate import Distillation, LocalError
from analogpc.rules.hopfield.signals import SignalsEP
from analogpc.rules.hopfield.teacher import Teacher
from analogpc.training.optimisers import SGD, AdamW, Learner
from analogpc.training.step import TrainingStep

BATCHES, SAMPLES = 4, 6


def small(rule: apc.Rule) -> apc.Network:
    """Return a network that the rule supports."""
    if rule.recurrent:
        return apc.Network(apc.Hopfield(widths=(20, 12, 4)), seed=3)
    return apc.mlp([20, 12, 12, 4], activation="tanh", seed=3)


def batches_of(network: apc.Network) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(5)
    return [
        (
            rng.random((SAMPLES, *network.input_shape)).astype(network.dtype),
            np.eye(network.output_shape[0], dtype=network.dtype)[rng.integers(0, network.output_shape[0], SAMPLES)],
        )
        for _ in range(BATCHES)
    ]


def taught(network: apc.Network, rule: apc.Rule, optimiser: SGD | AdamW, repeated: bool = True) -> tuple[dict, list, list]:
    """The network's weights, and outputs and energies of all batches, in main memory."""
    step = TrainingStep(network, Learner(optimiser, network.matrices()))
    outputs, energies = [], []
    with working_stream(network.backend):
        for number, (x, target) in enumerate(batches_of(network)):
            result, _ = step.learn(rule, network.inputs(x), network.brought(target), 0.05 / (1 + number))
            outputs.append(np.array(to_host(result.outputs)))
            energies.append(np.array(to_host(result.energies)))
    assert step.graphs == (network.backend == "gpu" and repeated)
    return network.snapshot(), outputs, energies


def compared(found: tuple, expected: tuple, exact: bool) -> None:
    """Compare bit by bit if products are computed on the CPU; on a GPU they round in a different order."""
    (state, outputs, energies), (wanted, other_outputs, other_energies) = found, expected
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 2e-3, "atol": 2e-4}
    for one, other in zip(outputs, other_outputs, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)
    for one, other in zip(energies, other_energies, strict=True):
        # Energies are summed up in float64 there, and in the type of the states here.
        np.testing.assert_allclose(one, other, rtol=2e-3 if not exact else 1e-5, atol=1e-9)
    for name, values in wanted.items():
        same_counts(state[name].get("meter", {}), values.get("meter", {}), rel=1e-4)
        for kind in ("weights", "values"):
            if kind in values:
                np.testing.assert_allclose(state[name][kind], values[kind], **tolerance)


@pytest.mark.parametrize("optimiser", [SGD(), AdamW()], ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", sorted(named_rules()))
def test_rules_learn_the_same(exact, name, optimiser) -> None:
    rule = named_rules()[name].at(StepContext(Key(7)))
    network = small(rule)
    expected = taught(network.copy(), rule, optimiser)
    found = taught(network.to("gpu"), rule, optimiser)
    compared(found, expected, exact)


def image_networks() -> dict[str, apc.Network]:
    """Small networks with everything that images need: convolutions, pools, norms and residual blocks."""
    shape = {"input_shape": (8, 8, 3)}
    blocks = (
        apc.Chain(
            blocks=(apc.Conv2d(channels=5), apc.BatchNorm(freezing=True), apc.Activation(function="gelu"), apc.MaxPool(size=2))
        ),
        apc.Chain(blocks=(apc.Conv2d(channels=6, stride=2), apc.LayerNorm(), apc.Activation(function="leaky_relu"))),
        apc.Chain(blocks=(apc.AvgPool(size=2), apc.Flatten(), apc.Dense(features=4))),
    )
    return {
        "normalised": apc.Network(apc.Layers(blocks=blocks, **shape), seed=2),
        "vgg": apc.vgg(5, width=1 / 64, seed=2),
        "deep vgg": apc.vgg(15, width=1 / 64, seed=2),
        "resnet": apc.resnet(10, width=1 / 32, seed=2),
    }


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *((name, rule) for name in ("normalised", "vgg", "resnet") for rule in ("bp", "pc", "s+f", "ipc")),
        # More than eight layers; incremental PC diverges in them at this rate.
        *(("deep vgg", rule) for rule in ("bp", "pc", "s+f")),
    ],
)
def test_networks_of_images_learn_the_same(exact, name, rule) -> None:
    network = image_networks()[name]
    expected = taught(network.copy(), named_rules()[rule], SGD())
    compared(taught(network.to("gpu"), named_rules()[rule], SGD()), expected, exact)


HOPFIELD = {"widths": (20, 12, 10, 4), "steps": 8, "activation": "tanh"}
UNNAMED = {
    "holomorphic": (HolomorphicEP(points=3, steps=4), HOPFIELD),
    "continual": (HopfieldEP(steps=3, update="continual", nudging="centered"), HOPFIELD),
    "clamped": (HopfieldEP(steps=3, drive="clamp", beta=1.0), HOPFIELD),
    "warm": (HopfieldEP(steps=3, warm_start=True), HOPFIELD),
    "settled": (HopfieldEP(steps=3), HOPFIELD | {"tolerance": 1e-3}),
    "softmax": (HopfieldEP(steps=3, output="cross-entropy"), HOPFIELD | {"readout": "softmax"}),
    "own feedback": (HopfieldEP(steps=3), HOPFIELD | {"feedback": "separate"}),
    "averaged feedback": (HopfieldEP(steps=3, feedback_update="averaged"), HOPFIELD | {"feedback": "separate"}),
    "local errors": (SignalsEP(steps=3, signals=LocalError(states=(1,))), HOPFIELD | {"heads": (1,)}),
    "through time": (BackpropThroughTime(steps=4), HOPFIELD | {"order": "synchronous"}),
    "recurrent backprop": (RecurrentBackprop(steps=4), HOPFIELD),
    "nudged cross-entropy": (
        apc.PredictiveCoding(steps=4, output="cross-entropy", nudging=Nudging(beta=0.5, sign="negative")),
        None,
    ),
    "nesterov": (apc.PredictiveCoding(steps=4, momentum=0.3, nesterov=True), None),
    "until settled": (apc.PredictiveCoding(steps=9, step_size=0.3, tolerance=0.05, step_decay=0.9), None),
}
NOT_REPEATED = {"warm", "settled", "until settled"}


@pytest.mark.parametrize("name", UNNAMED)
def test_rules_without_a_short_name_learn_the_same(exact, name) -> None:
    rule, fields = UNNAMED[name]
    network = small(rule) if fields is None else apc.Network(apc.Hopfield(**fields), seed=3)
    found, expected = (taught(there, rule, SGD(), name not in NOT_REPEATED) for there in (network.to("gpu"), network.copy()))
    compared(found, expected, exact)
    assert any(not np.array_equal(values["weights"], network.snapshot()[name]["weights"]) for name, values in expected[0].items())


def test_a_teacher_goes_where_its_pupil_is(exact) -> None:
    teacher = Teacher.of(apc.mlp([20, 12, 4], activation="tanh", seed=8))
    rule = SignalsEP(steps=3, signals=Distillation(states=(1,), teacher=teacher, teacher_states=(1,)))
    network = apc.Network(apc.Hopfield(**HOPFIELD), seed=3)
    compared(taught(network.to("gpu"), rule, SGD(), False), taught(network.copy(), rule, SGD()), exact)
    assert Teacher.of(apc.mlp([20, 12, 4], activation="tanh", seed=8).to("gpu")).fingerprint == teacher.fingerprint


def test_causes_and_missing_data_are_found_there(exact, rng) -> None:
    network = apc.mlp([5, 9, 12], activation="tanh", seed=4)
    data, known = rng.random((7, 12)).astype(np.float32), rng.random((7, 12)) < 0.6
    rule = apc.GenerativePC(steps=15, learn="every-step")
    there = network.to("gpu")
    histories = [rule.train(one, data, SGD(learning_rate=0.05), epochs=2, batch_size=4) for one in (network, there)]
    np.testing.assert_allclose(*histories, rtol=1e-5 if exact else 2e-3)
    found, expected = (rule.infer(one, data, known) for one in (there, network))
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 2e-3, "atol": 2e-3}
    np.testing.assert_allclose(to_host(found.data), expected.data, **tolerance)
    np.testing.assert_allclose(to_host(found.causes), expected.causes, **tolerance)
    assert found.residual == pytest.approx(expected.residual, rel=1e-6 if exact else 1e-2)
