"""Training steps repeated from recordings on the CPU: bit-identical to the work as it is written, with the same counts."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import analogpc as apc
from analogpc.devices.costs.schedule import Recorder
from analogpc.devices.presets import preset
from analogpc.dynamics import repetition
from analogpc.kernels.activations import rectify
from analogpc.kernels.memory import empty
from analogpc.kernels.products import difference, matmul
from analogpc.rules import ErrorBasedPC, FixedPrediction, IncrementalPC, Nudging, as_rule
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


def trained(substrate, rule, data, activation="leaky_relu", rate=0.1, **options):
    network = apc.mlp([64, 24, 12, 10], seed=1, substrate=substrate, activation=activation)
    given = {"epochs": 2, "batch_size": 32, "progress": False, **options}
    return apc.fit(network, as_rule(rule), data, optimiser=apc.SGD(learning_rate=rate, schedule=apc.WarmupCosine()), **given)


def as_written(monkeypatch):
    monkeypatch.setattr(repetition, "_PATIENCE", 10**9)


RULES = ("s+f", "pc-nn", "pc-ce", "bp", "ep", "epc", "fixed")
CASES = [(name, rule) for rule in ("pc", "ipc") for name in SUBSTRATES]
CASES += [(name, rule) for rule in RULES for name in ("digital", "constant steps")]


@pytest.mark.parametrize(("name", "rule"), CASES)
def test_a_repeated_relaxation_gives_the_same_bits(few, monkeypatch, name, rule):
    assert_repeated(monkeypatch, SUBSTRATES[name], rule, few)


def assert_repeated(monkeypatch, substrate, rule, data, **options):
    """Training is repeated from a recording, with the states, counts, orders of operations and histories of the work as written."""
    repeated = trained(substrate, rule, data, **options)
    assert repeated._training_step.recordings >= 1
    with monkeypatch.context() as patched:
        as_written(patched)
        written = trained(substrate, rule, data, **options)
    assert written._training_step.recordings == 0
    assert_same(repeated.network.snapshot(), written.network.snapshot())
    assert repeated.ledger.recorder.whole() == written.ledger.recorder.whole()
    for column in ("train_accuracy", "test_accuracy", "energy"):
        assert list(repeated.history[column]) == list(written.history[column])


NUDGINGS = st.sampled_from([Nudging(), Nudging(beta=0.4, form="precision"), Nudging(beta=0.7, sign="negative")])
CLAMPED = {"output": st.sampled_from(["squared-error", "cross-entropy"]), "nudging": NUDGINGS}
RELAXED = {"steps": st.integers(1, 5), "momentum": st.sampled_from([0.0, 0.4]), "nesterov": st.booleans(), **CLAMPED}


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    substrate=st.sampled_from(sorted(SUBSTRATES)),
    rule=st.one_of(
        st.builds(IncrementalPC, stoppable=st.booleans(), **RELAXED),
        st.builds(ErrorBasedPC, **RELAXED),
        st.builds(FixedPrediction, steps=st.integers(1, 4), step_size=st.sampled_from([0.5, 1.0]), **CLAMPED),
    ),
    threads=st.integers(1, min(2, numba.config.NUMBA_NUM_THREADS)),
)
def test_all_options_give_the_same_bits(few, monkeypatch, substrate, rule, threads):
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        # Some of these rules diverge at higher rates.
        assert_repeated(monkeypatch, SUBSTRATES[substrate], rule, few, rate=0.002)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("activation", ["silu", "gelu", "tanh", "sigmoid"])
def test_functions_of_numpy_are_not_repeated(few, activation):
    run = trained(apc.Digital(), "pc", few, activation=activation, epochs=1, batch_size=16)
    kinds = run._training_step._repeater._kinds.values()
    # The last batch is smaller, and seen once.
    assert run._training_step.recordings == (activation != "silu")
    assert any(kind.refusal for kind in kinds) == (activation == "silu")


def changed_in_place(x, target):
    y = rectify(x, 0.5)
    y *= target
    return [y]


def filled_by_numpy(x, target):
    y = empty(x.shape, x.dtype, x)
    y[...] = np.tanh(rectify(x, 0.5)) * target
    return [y]


def made_by_numpy(x, target):
    return [rectify(x, 0.5) * target]


@pytest.mark.parametrize("work", [changed_in_place, filled_by_numpy, made_by_numpy])
def test_work_that_differs_from_its_repetition_is_not_repeated(rng, work):
    """What NumPy writes into known arrays is no call that could be recorded; the batch after the recording reveals it."""
    repeater = repetition.Repeater([], Recorder({}))
    for _ in range(10):
        x, target = rng.normal(size=(2, 6, 5)).astype(np.float32)
        [found] = repeater.run("work", work, x, target)
        np.testing.assert_array_equal(found, work(x, target)[0])
    assert repeater.recordings == 0
    assert [kind.refusal for kind in repeater._kinds.values()] == ["a repetition differs from the work"]


class Weight:
    """A weight in main memory, of which reads are products."""

    baked = None

    def __init__(self):
        self.array = np.full((5, 5), 0.25, np.float32)

    def read_arrays(self):
        return [self.array]

    def accumulators(self):
        return []

    counters = counting = accumulators


def in_parts(weight, numpy_in=0):
    """Return a batch of three parts, each of which uses arrays of the one before, with a weight update after each."""

    def batch(part, x, target, apply):
        kept = []
        y = part(lambda: matmul(x, weight.array))
        for turn in range(3):

            def work(y=y, turn=turn):
                z = rectify(matmul(y, weight.array), 0.1)
                return (np.tanh(z) if turn == numpy_in - 1 else z), difference(z, target)

            y, error = part(work)
            apply([(y, error)], -0.01)
            kept.append(error)
        return [y, *kept]

    return batch


def updates(weight):
    def apply(products, gain):
        for pre, post in products:
            weight.array = weight.array + np.float32(gain) * (pre.T @ post)

    return apply


@pytest.mark.parametrize("numpy_in", [0, 1, 2, 3])
def test_parts_between_weight_updates_are_repeated_all_or_none(rng, numpy_in):
    weight, twin = Weight(), Weight()
    repeater = repetition.Repeater([weight], Recorder({}))
    for _ in range(10):
        x, target = rng.normal(size=(2, 6, 5)).astype(np.float32)
        found = repeater.run_parts("batch", in_parts(weight, numpy_in), x, target, updates(weight))
        expected = in_parts(twin, numpy_in)(lambda work: work(), x, target, updates(twin))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(weight.array, twin.array)
    assert repeater.recordings == (numpy_in == 0)


def test_a_weight_update_must_not_change_the_form_of_a_matrix(rng):
    weight = Weight()
    repeater, update = repetition.Repeater([weight], Recorder({})), updates(weight)

    def turned(products, gain):
        update(products, gain)
        weight.array = np.asfortranarray(weight.array)

    x, target = rng.normal(size=(2, 6, 5)).astype(np.float32)
    for _ in range(repetition.UNRECORDED):
        repeater.run_parts("batch", in_parts(weight), x, target, update)
    with pytest.raises(RuntimeError, match="changed the form"):
        repeater.run_parts("batch", in_parts(weight), x, target, turned)


def test_later_parts_use_the_memory_that_earlier_ones_no_longer_need(few):
    def planned(steps):
        run = trained(SUBSTRATES["digital"], IncrementalPC(steps=steps, momentum=0.2), few)
        [recorded] = [kind.recorded for kind in run._training_step._repeater._kinds.values() if kind.checked]
        return sum(array.nbytes for array in recorded._parts[-1].recording.calls.kept)

    assert planned(24) == planned(12)


@pytest.mark.parametrize("rule", ["pc", "ipc"])
def test_a_restored_network_is_repeated_from_its_own_weights(few, monkeypatch, rule):
    """Saved states, evaluations and restored ones in between change the arrays that the recorded calls read."""

    def both():
        run = trained(SUBSTRATES["exact writes"], rule, few, epochs=2)
        kept = run.network.snapshot()
        run.train(few, epochs=3)
        run.network.restore(kept)
        run.train(few, epochs=4)
        return run.network.snapshot()

    repeated = both()
    as_written(monkeypatch)
    assert_same(repeated, both())
