"""Benchmarks: what they count and compare. How fast anything is, no test says."""

import json
import sys
import time

import numpy as np
import pytest

import analogpc as apc
from analogpc.bench import WORKLOADS, Workload, record, run_bench, table, take_turns
from analogpc.bench.floors import products_of
from analogpc.bench.workloads import Calls, teaching
from analogpc.cli import main
from analogpc.devices.matrix import DigitalMatrix
from analogpc.rules import Backprop


@pytest.fixture
def tiny(monkeypatch):
    made = Workload(
        "Two sleeps",
        "one sleep",
        "≤ 2",
        lambda: Calls(lambda: time.sleep(0.02), {"twice": lambda: time.sleep(0.04)}, {"twice": 2}),
    )
    monkeypatch.setitem(WORKLOADS, "tiny", made)


def ends(arguments):
    """The exit status of a command."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code or 0


def test_calls_take_turns_and_all_are_counted():
    order = []
    times = take_turns(
        {"a": lambda: order.append("a") or time.sleep(0.03), "b": lambda: order.append("b") or time.sleep(0.03)}, 0.0, turns=3
    )
    assert order == ["a", "b"] * 4  # once beforehand
    assert all(len(t.seconds) == 3 and t.median >= 0.03 for t in times.values())
    assert times["a"].quartiles[0] <= times["a"].median <= times["a"].quartiles[1]


def test_ratios_are_those_of_the_turns(tiny):
    (result,) = run_bench(["tiny"], threads=[1], seconds=0.0)
    middle, low, high = result.ratio("twice")
    assert low <= middle <= high
    # A sleep never ends early, and on a busy machine late: the ratio of 40 to 20 ms cannot exceed that of 40 ms plus the delay.
    plain = result.plain()
    assert plain["times"]["twice"]["median_s"] >= 0.04
    assert plain["times"]["floor"]["median_s"] >= 0.02
    np.testing.assert_allclose(plain["times"]["twice"]["ns_per_item"], 0.5e9 * plain["times"]["twice"]["median_s"])
    np.testing.assert_allclose(middle, np.median(result.times["twice"].seconds / result.times["floor"].seconds))
    told = record([result], "analogpc bench tiny")
    assert json.loads(json.dumps(told))["environment"]["numpy"] == np.__version__
    assert table([result]).row_count == 2


@pytest.mark.parametrize("make", [lambda: apc.mlp([12, 7, 5, 3]), lambda: apc.vgg(5, width=1 / 64, input_shape=(16, 16, 1))])
def test_the_floor_has_the_products_of_the_work(make, monkeypatch):
    """Multiplications of the plain calls are those that the matrices themselves did, as their reads and updates come by."""
    network, done, batch = make(), [], 4
    for name in ("forward", "backward"):
        former = getattr(DigitalMatrix, name)

        def noted(matrix, x, former=former):
            if matrix.shape[1] > 1:  # not a bias
                done.append(len(x) * matrix.shape[0] * matrix.shape[1])
            return former(matrix, x)

        monkeypatch.setattr(DigitalMatrix, name, noted)
    rule = apc.PredictiveCoding(steps=6)
    step, floor = teaching(network, rule, batch)
    assert done, "the floor is found by teaching a copy once"
    done.clear()
    step()
    reads = sum(done)
    updates = sum(
        matrix.meter.updates * matrix.shape[0] * matrix.shape[1]
        for name, matrix in network.matrices().items()
        if name.endswith("weight")
    )
    planned = sum(
        times * left.shape[0] * left.shape[1] * right.shape[1] for times, left, right, _ in floor.__closure__[0].cell_contents
    )
    assert planned == reads + updates


def test_a_floor_leaves_the_network_alone():
    network = apc.mlp([12, 7, 3])
    before = [matrix.weights() for matrix in network.matrices().values()]
    rng = np.random.default_rng(0)
    x, target = rng.random((4, 12), np.float32), np.eye(4, 3, dtype=np.float32)
    products_of(network, lambda twin, apply: Backprop().teach(twin, x, target, apply))()
    for old, matrix in zip(before, network.matrices().values(), strict=True):
        np.testing.assert_array_equal(old, matrix.weights())


def test_the_command_measures_and_writes(tiny, tmp_path, capsys):
    out = tmp_path / "bench.json"
    assert ends(["bench", "tiny", "--threads", "1", "--seconds", "0", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "tiny" in shown
    assert "≤ 2" in shown
    assert [r["name"] for r in json.loads(out.read_text())["results"]] == ["tiny"]
    assert ends(["bench", "--list"]) == 0
    assert "pytorch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bench", "tinny"], "there is no workload 'tinny'; the workloads are read"),
        (["bench", "tiny", "--threads", "0"], "threads = 0 is not allowed"),
        (["bench", "tiny", "--threads", "1", "--peer", "nobody=python"], "there is no peer 'nobody'; the peers are"),
        (["bench", "tiny", "--threads", "1", "--peer", "pytorch"], "--peer pytorch: give the peer and its Python"),
        (["bench", "tiny", "--threads", "1", "--peer", "pytorch=/nowhere/python"], "cannot be started with /nowhere/python"),
        (["bench", "tiny", "--threads", "1", "--peer", f"pytorch={sys.executable}"], "the peer 'pytorch' failed"),
    ],
)
def test_bad_input_gets_one_sentence(tiny, arguments, sentence, capsys):
    assert ends(arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("measuring")]
    assert len(lines) == 1
    assert sentence in lines[0]
