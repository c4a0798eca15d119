"""Language models on every backend: every rule learns the same as on the CPU, kernel by kernel and replayed as a graph."""

from __future__ import annotations

import numpy as np
import pytest
from token_networks import small_text, tokens, transformer

from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.gpu.graphs import working_stream
from analogpc.networks import Transformer
from analogpc.networks.network import Network
from analogpc.rules import ZIL, Backprop, IncrementalPC, PredictiveCoding
from analogpc.training.language_fit import fit_text
from analogpc.training.optimisers import SGD, AdamW, Learner
from analogpc.training.step import TrainingStep

OUTPUT = {"output": "cross-entropy"}
RULES = {
    "bp": Backprop(**OUTPUT),
    "pc": PredictiveCoding(steps=3, step_size=0.05, **OUTPUT),
    "pc with a falling step size": PredictiveCoding(steps=4, step_size=0.5, step_decay=0.9, **OUTPUT),
    "pc with momentum": PredictiveCoding(steps=3, step_size=0.05, momentum=0.3, **OUTPUT),
    "ipc": IncrementalPC(steps=4, step_size=0.1, **OUTPUT),
    "zil": ZIL(**OUTPUT),
}


def taught(network, rule, optimiser):
    step = TrainingStep(network, Learner(optimiser, network.matrices()))
    outputs, energies = [], []
    with working_stream(network.backend):
        for number in range(4):
            ids, target = tokens(seed=number)
            result, _ = step.learn(rule, network.inputs(ids), network.brought(target), 0.02)
            outputs.append(np.array(to_host(result.outputs)))
            energies.append(np.array(to_host(result.energies)))
    assert step.graphs == (network.backend == "gpu")
    return network.snapshot(), outputs, energies


@pytest.mark.parametrize("optimiser", [SGD(), AdamW(weight_decay=0.01)], ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", RULES)
def test_rules_learn_the_same(device, exact, name, optimiser):
    # Tied decoders, which Z-IL does not teach, with half of the rules.
    tied = name in ("bp", "ipc") and optimiser.kind == "adamw"
    network = transformer(nodes="levels" if name == "zil" else "nonlinear", heads=2, dtype="float32", tied_decoder=tied)
    expected = taught(network.copy(), RULES[name], optimiser)
    found = taught(network.to("gpu"), RULES[name], optimiser)
    # Exponential functions and sums of other libraries; AdamW makes full steps of small differences on a true GPU.
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if exact else {"rtol": 1e-2, "atol": 3e-2}
    for one, other in zip(found[1] + found[2], expected[1] + expected[2], strict=True):
        np.testing.assert_allclose(one, other, **tolerance)
    for name, values in expected[0].items():
        np.testing.assert_allclose(found[0][name]["weights"], values["weights"], err_msg=name, **tolerance)
        assert found[0][name]["meter"] == values["meter"]


def test_crossbars_of_language_models_learn_there(device, exact):
    substrate = Analog(device="idealized", scheme={"kind": "mixed-precision"})
    network = transformer(dtype="float32").on(substrate)
    expected = taught(network.copy(), RULES["ipc"], AdamW())
    found = taught(network.to("gpu"), RULES["ipc"], AdamW())
    for one, other in zip(found[1], expected[1], strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0.1, atol=0.5)
    meter = found[0]["layer1.0.weight"]["meter"]
    assert meter["look_ups"] == meter["forward_reads"] == expected[0]["layer1.0.weight"]["meter"]["look_ups"] > 0
    assert meter["backward_reads"] == 0


def test_logits_are_those_of_the_processor(device, exact):
    network = transformer(heads=2)
    ids, _ = tokens()
    there = network.to("gpu").predict(device.array(ids))
    np.testing.assert_allclose(to_host(there), network.predict(ids), rtol=0, atol=1e-12)


@pytest.mark.parametrize("task", ["masked", "conditional"])
@pytest.mark.parametrize("substrate", ["digital", "pulses"])
def test_whole_runs_are_those_of_the_processor(device, exact, no_shortcuts, task, substrate):
    data = small_text()
    where = Digital() if substrate == "digital" else Analog(device="reram-sb")
    network = Network(Transformer(vocabulary=data.vocabulary, task=task, positions=8, features=8, hidden=8), where, seed=1)
    runs = [
        fit_text(network, RULES["ipc"], data, batches=5, batch_size=4, evaluate_every=2, learning_rate=0.05, backend=backend)
        for backend in ("cpu", "gpu")
    ]
    expected, found = (run.history for run in runs)
    # A pulse more or less where a product rounds otherwise changes what comes after.
    tolerance = {"rtol": 1e-4} if exact and substrate == "digital" else {"rtol": 0.2}
    for name in ("train_perplexity", "validation_perplexity", "validation_bits_per_character"):
        np.testing.assert_allclose(found[name], expected[name], **tolerance)
    assert found["batch"] == [2, 4, 5]
    assert found["updates"] == expected["updates"]
    assert (found["pulses"][0] > 0) == (substrate == "pulses")
