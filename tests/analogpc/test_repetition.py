"""Training steps repeated from recordings on the CPU: bit-identical to the work as it is written, with the same counts."""

from __future__ import annotations

import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.costs.schedule import Recorder
from analogpc.devices.presets import preset
from analogpc.dynamics import repetition
from analogpc.kernels.activations import rectify
from analogpc.kernels.memory import empty
from analogpc.rules import named_rule
from tests.analogpc.test_crossbar_graphs import assert_same

SUBSTRATES = {
    "digital": apc.Digital(),
    "constant steps": apc.Analog(device="idealized", rows=32, columns=32),
    "soft bounds": apc.Analog(device="reram-sb", rows=32, columns=32, scheme={"kind": "mixed-precision"}),
    "exact writes": apc.Analog(device="reram-sb", scheme={"kind": "ideal"}),
    "weight noise": apc.Analog(device=preset("idealized").but(read_noise={"kind": "relative", "relative": 0.02})),
}


@pytest.fixture(scope="module")
def few():
    return apc.load_data("digits").take(200, 60)


def trained(substrate, rule, data, activation="leaky_relu", **options):
    network = apc.mlp([64, 24, 12, 10], seed=1, substrate=substrate, activation=activation)
    given = {"epochs": 2, "batch_size": 32, "progress": False, **options}
    return apc.fit(network, named_rule(rule), data, optimiser=apc.SGD(learning_rate=0.1, schedule=apc.WarmupCosine()), **given)


def as_written(monkeypatch):
    monkeypatch.setattr(repetition, "_PATIENCE", 10**9)


RULES = ("s+f", "pc-nn", "pc-ce", "bp", "ep")
CASES = [(name, "pc") for name in SUBSTRATES] + [(name, rule) for rule in RULES for name in ("digital", "constant steps")]


@pytest.mark.parametrize(("name", "rule"), CASES)
def test_a_repeated_relaxation_gives_the_same_bits(few, monkeypatch, name, rule):
    repeated = trained(SUBSTRATES[name], rule, few)
    assert repeated._training_step.recordings >= 1
    as_written(monkeypatch)
    written = trained(SUBSTRATES[name], rule, few)
    assert written._training_step.recordings == 0
    assert_same(repeated.network.snapshot(), written.network.snapshot())
    assert repeated.ledger.recorder.whole() == written.ledger.recorder.whole()
    for column in ("train_accuracy", "test_accuracy", "energy"):
        assert list(repeated.history[column]) == list(written.history[column])


@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
def test_functions_of_numpy_are_not_repeated(few, activation):
    run = trained(apc.Digital(), "pc", few, activation=activation, epochs=1, batch_size=16)
    kinds = run._training_step._repeater._kinds.values()
    # The last batch is smaller, and seen once.
    assert run._training_step.recordings == (activation == "gelu")
    assert any(kind.refusal for kind in kinds) == (activation == "sigmoid")


def changed_in_place(x, target):
    y = rectify(x, 0.5)
    y *= target
    return [y]


def filled_by_numpy(x, target):
    y = empty(x.shape, x.dtype, x)
    y[...] = np.tanh(rectify(x, 0.5)) * target
    return [y]


@pytest.mark.parametrize("work", [changed_in_place, filled_by_numpy])
def test_work_that_differs_from_its_repetition_is_not_repeated(rng, work):
    """What NumPy writes into known arrays is no call that could be recorded; the batch after the recording reveals it."""
    repeater = repetition.Repeater([], Recorder({}))
    for _ in range(10):
        x, target = rng.normal(size=(2, 6, 5)).astype(np.float32)
        [found] = repeater.run("work", work, x, target)
        np.testing.assert_array_equal(found, work(x, target)[0])
    assert repeater.recordings == 0
    assert [kind.refusal for kind in repeater._kinds.values()] == ["a repetition differs from the work"]


def test_a_restored_network_is_repeated_from_its_own_weights(few, monkeypatch):
    """Saved states, evaluations and restored ones in between change the arrays that the recorded calls read."""

    def both():
        run = trained(SUBSTRATES["exact writes"], "pc", few, epochs=2)
        kept = run.network.snapshot()
        run.train(few, epochs=3)
        run.network.restore(kept)
        run.train(few, epochs=4)
        return run.network.snapshot()

    repeated = both()
    as_written(monkeypatch)
    assert_same(repeated, both())
