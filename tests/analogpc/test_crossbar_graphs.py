"""Training steps on crossbars captured as graphs: bit-identical to step-by-step execution, with complete counts."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import analogpc as apc
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.random.streams import Key, MovingStep
from analogpc.rules import named_rule
from analogpc.training.step import TrainingStep

SUBSTRATES = {
    "constant steps": apc.Analog(device="idealized", rows=32, columns=32, adc_bits=9),
    "soft bounds": apc.Analog(device="reram-sb", rows=32, columns=32),
    "exact writes": apc.Analog(device="reram-sb", scheme={"kind": "ideal"}),
    "mixed precision": apc.Analog(device="reram-sb", scheme={"kind": "mixed-precision"}),
    "sign": apc.Analog(device="idealized", scheme={"kind": "sign-pulses"}),
    "directions apart": apc.Analog(device="idealized", scheme={"kind": "stochastic-pulses", "directions": "separate"}),
}
CASES = [(name, "s+f") for name in SUBSTRATES] + [("soft bounds", rule) for rule in ("bp", "ep", "ipc")]


@pytest.fixture
def few():
    return apc.load_data("digits").take(200, 60)


def trained(substrate, rule, data, **options):
    network = apc.mlp([64, 24, 10], seed=1, substrate=substrate)
    given = {"epochs": 2, "batch_size": 32, "progress": False, "backend": "gpu", **options}
    optimiser = apc.SGD(learning_rate=0.1, schedule=apc.WarmupCosine())
    return apc.fit(network, named_rule(rule), data, optimiser=optimiser, **given)


def assert_same(one, other, place="state"):
    """Nested dictionaries of arrays and numbers, equal to the bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for name in one:
            assert_same(one[name], other[name], f"{place}.{name}")
    elif hasattr(one, "ndim"):
        np.testing.assert_array_equal(to_host(one), to_host(other), err_msg=place)
    elif isinstance(one, float):
        # Sums of the meter, which a graph adds up in another order.
        assert one == pytest.approx(other, rel=1e-12), place
    else:
        assert one == other, place


@pytest.mark.parametrize(("name", "rule"), CASES)
def test_a_graph_gives_the_same_bits(device, whole_products, few, monkeypatch, name, rule) -> None:
    replayed = trained(SUBSTRATES[name], rule, few)
    assert replayed._training_step.graphs > 0
    monkeypatch.setattr(TrainingStep, "_repeatable", lambda self, rule: False)
    stepped = trained(SUBSTRATES[name], rule, few)
    assert stepped._training_step.graphs == 0
    assert_same(replayed.network.snapshot(), stepped.network.snapshot())
    for column in ("train_accuracy", "test_accuracy", "energy", "pulses", "conversions_out", "saturated_out"):
        assert replayed.history[column] == stepped.history[column]


def test_a_graph_is_freed_with_its_training_step(device, whole_products, few) -> None:
    """Without a collection of garbage: its memory is that of a batch on the GPU."""
    run = trained(SUBSTRATES["constant steps"], "s+f", few)
    graphs = [weakref.ref(batch.graph) for batch in run._training_step._captured.values()]
    assert graphs
    gc.collect()
    gc.disable()
    try:
        run._training_step = None
        assert all(graph() is None for graph in graphs)
    finally:
        gc.enable()


def test_graphs_and_single_steps_take_turns(device, whole_products, few, tmp_path) -> None:
    whole = trained(SUBSTRATES["soft bounds"], "s+f", few)
    trained(SUBSTRATES["soft bounds"], "s+f", few, batches=5, checkpoint=tmp_path / "run.h5")
    resumed = apc.Run.load(tmp_path / "run.h5", backend="gpu").train(few, progress=False)
    assert_same(resumed.network.snapshot(), whole.network.snapshot())
    assert resumed.history["pulses"] == whole.history["pulses"]


@pytest.mark.parametrize(
    "fields",
    [
        {"device": "pcm"},
        {"device": "reram-sb", "adc": {"bound_management": "iterative"}},
        {"device": "idealized", "scheme": {"kind": "tiki-taka"}},
        {"device": "reram-sb", "wires": {"row_ohms": 1.0}},
    ],
)
def test_what_looks_at_numbers_is_not_captured(fields) -> None:
    network = apc.mlp([64, 24, 10], substrate=apc.Analog(**fields))
    assert not all(matrix.repeatable for matrix in network.matrices().values())


def test_a_moving_step_refuses_to_be_looked_at() -> None:
    step = MovingStep(5, None)
    assert int(step + 2) == 7
    assert isinstance(1 + step - 3, MovingStep)
    for look in (lambda: step % 2, lambda: step > 3, lambda: step == 5, lambda: step // 2, lambda: Key(0).fold(step)):
        with pytest.raises(TypeError, match="a captured graph cannot depend on the number of a step"):
            look()
