"""Benchmarks: what they count and compare. Speed is not tested."""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from bench_calls import SLEEPS, ends
from threadpoolctl import threadpool_info

import analogpc as apc
from analogpc.bench import WORKLOADS, record, run_bench, table, take_turns, timing
from analogpc.bench.floors import products_of
from analogpc.bench.growth import Growth, growth_of
from analogpc.bench.preparation import rule_step
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.dynamics import repetition
from analogpc.kernels.products import matmul
from analogpc.kernels.threads import distribute
from analogpc.networks.network import Network
from analogpc.rules import Backprop


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(WORKLOADS, "tiny", SLEEPS)


def test_calls_take_turns_and_all_are_counted():
    order = []
    times = take_turns(
        {"a": lambda: order.append("a") or time.sleep(0.03), "b": lambda: order.append("b") or time.sleep(0.03)}, 0.0, turns=3
    )
    # Once beforehand, and once before every turn.
    assert order == ["a", "b", *["a", "a", "b", "b"] * 3]
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
    reported = record([result], "analogpc bench tiny")
    assert json.loads(json.dumps(reported))["environment"]["numpy"] == np.__version__
    assert all(word in str(threadpool_info()) for word in reported["machine"]["blas"].split())
    assert table([result]).row_count == 2


def hopfield(*widths, steps=20):
    return Network(apc.Hopfield(widths=widths, readout="activated", steps=steps, order="synchronous"))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: apc.mlp([12, 7, 5, 3]), apc.PredictiveCoding(steps=6)),
        (lambda: apc.vgg(5, width=1 / 64, input_shape=(16, 16, 1)), apc.PredictiveCoding(steps=6)),
        (lambda: hopfield(12, 7, 5, 3, steps=6), apc.HopfieldEP(steps=3, nudging="centered")),
        (lambda: hopfield(12, 7, 3, steps=6), apc.HopfieldEP(steps=3, nudging="positive")),
    ],
)
def test_the_floor_has_the_products_of_the_work(make, rule, monkeypatch):
    """Multiplications of the plain calls are those that the matrices themselves did, as their reads and updates come by."""
    network, done, batch = make(), [], 4
    # Repeated batches make no calls of Python that could be counted.
    monkeypatch.setattr(repetition, "_PATIENCE", 10**9)
    for name in ("forward", "backward"):
        former = getattr(DigitalMatrix, name)

        def noted(matrix, x, former=former):
            if matrix.shape[1] > 1:  # not a bias
                done.append(len(x) * matrix.shape[0] * matrix.shape[1])
            return former(matrix, x)

        monkeypatch.setattr(DigitalMatrix, name, noted)
    step, floor = rule_step(network, rule, batch)
    assert done, "the floor is found by teaching a copy once"
    done.clear()

    def updates():
        matrices = [matrix for name, matrix in network.matrices().items() if name.endswith("weight")]
        return sum(matrix.meter.updates * matrix.shape[0] * matrix.shape[1] for matrix in matrices)

    before = updates()
    step()
    planned = sum(
        times * left.shape[0] * left.shape[1] * right.shape[1] for times, left, right, _ in floor.__closure__[0].cell_contents
    )
    assert planned == sum(done) + updates() - before


def test_a_floor_leaves_the_network_alone():
    network = apc.mlp([12, 7, 3])
    before = [matrix.weights() for matrix in network.matrices().values()]
    rng = np.random.default_rng(0)
    x, target = rng.random((4, 12), np.float32), np.eye(4, 3, dtype=np.float32)
    products_of(network, lambda twin, apply: Backprop().train_step(twin, x, target, apply))()
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
        (["bench", "tiny", "--threads", "2", "--growth"], "--growth is measured with one thread: add --threads 1 to 2"),
        (["bench", "tiny", "--threads", "1", "--peer", "nobody=python"], "there is no peer 'nobody'; the peers are"),
        (["bench", "tiny", "--threads", "1", "--peer", "pytorch"], "--peer pytorch: write NAME=PYTHON"),
        (["bench", "tiny", "--threads", "1", "--peer", "pytorch=/nowhere/python"], "cannot be started with /nowhere/python"),
        (["bench", "tiny", "--threads", "1", "--peer", f"pytorch={sys.executable}"], "the peer 'pytorch' failed"),
    ],
)
def test_bad_input_gets_one_sentence(tiny, arguments, sentence, capsys):
    assert ends(arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("measuring")]
    assert len(lines) == 1
    assert sentence in lines[0]


@pytest.fixture
def measured(tiny, tmp_path):
    """File of an earlier measurement."""
    out = tmp_path / "old.json"
    assert ends(["bench", "tiny", "--threads", "1", "--seconds", "0", "--out", str(out)]) == 0
    return out


def test_an_earlier_measurement_is_measured_again_and_compared(measured, capsys):
    held = json.loads(measured.read_text())
    for row in held["results"][0]["times"].values():
        row["median_s"] *= 1000
    held["machine"]["load_average_before"] = 7.25
    measured.write_text(json.dumps(held))
    capsys.readouterr()
    assert ends(["bench", "--compare", str(measured), "--seconds", "0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["threads"], one["variant"]) for one in told["compared"]] == [
        ("tiny", 1, "floor"),
        ("tiny", 1, "twice"),
    ]
    for one in told["compared"]:
        assert one["gain"] == pytest.approx(one["old_s"] / one["new_s"])
        # A sleep never ends early.
        assert 20 <= one["old_s"] <= 1000 * one["new_s"] * one["gain"] / 1000 * 1.001
        assert one["new_s"] >= 0.02
    assert ends(["bench", "tiny", "--compare", str(measured), "--seconds", "0", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "old / new" in shown
    assert "load average 7.25" in shown


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "No such file"),
        (b"\xff\x00", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "is not a benchmark record"),
        (b'{"results": [{"name": "tiny"}]}', "is not a benchmark record"),
        (b'{"results": [{"name": "tiny", "threads": 1, "times": {"floor": {"median_s": -1}}}]}', "is not a benchmark record"),
        (
            b'{"results": [], "date": "2024-01-01", "machine": {"processor": "A", "processors": 2}}',
            "no workload of that file exists",
        ),
    ],
)
def test_a_bad_file_to_compare_with_gets_one_sentence(tmp_path, capsys, content, sentence):
    path = tmp_path / "old.json"
    if content is not None:
        path.write_bytes(content)
    assert ends(["bench", "--compare", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_records_without_a_common_workload_are_not_compared(measured, capsys):
    held = json.loads(measured.read_text())
    held["results"][0]["threads"] = 2
    measured.write_text(json.dumps(held))
    assert ends(["bench", "tiny", "--compare", str(measured), "--seconds", "0", "--threads", "1"]) == 1
    assert "in common" in capsys.readouterr().err


def test_calls_are_timed_beside_busy_processes(monkeypatch, tiny, capsys):
    monkeypatch.setattr(timing, "_BLOCK_SECONDS", 0.0)
    counted = []
    monkeypatch.setattr(timing.subprocess, "Popen", lambda *_: counted.append(1) or SimpleNamespace(kill=list, wait=list))
    assert ends(["bench", "tiny", "--threads", "1", "--seconds", "0", "--busy", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"][0]["times"]
    assert len(counted) == 2 * 3 * 2  # for floor and work, three blocks each
    assert all(0.2 < row["beside_busy_processes"] < 5 for row in rows.values())
    assert ends(["bench", "tiny", "--threads", "1", "--seconds", "0", "--busy", "1"]) == 0
    assert "loaded / idle" in capsys.readouterr().out


def test_gains_follow_from_the_serial_share_and_the_parts():
    """Amdahl's law: a tenth alone, a half for any number of threads, and two fifths for at most two."""
    growth = Growth(10.0, {64: 5.0, 2: 4.0})
    assert growth.serial == pytest.approx(0.1)
    assert [growth.gain(count) for count in (1, 2, 4)] == pytest.approx([1, 10 / (1 + 4.5), 10 / (1 + 1.25 + 2)])
    assert Growth(1.0, {}).gain(16) == 1


def test_shared_work_is_told_from_serial_work():
    """Work alone, work in parts within parts, which counts once, and a product of four strips."""

    def work(first=0, stop=0):
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    def call():
        work()
        distribute(lambda first, stop: distribute(work, 8), 4)
        matmul(np.ones((128, 512), np.float32), np.ones((512, 512), np.float32))

    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        growth = growth_of({"call": call}, 0.0)["call"]
    finally:
        numba.set_num_threads(before)
    assert growth.seconds > 0.04
    assert sorted(growth.shared) == [4]
    assert 0.02 <= growth.shared[4] <= growth.seconds - 0.02
    assert growth.serial >= 0.02 / growth.seconds


def test_the_growth_is_shown_and_written(tiny, capsys):
    assert ends(["bench", "tiny", "--threads", "1", "--seconds", "0", "--growth", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["results"][0]["times"]["twice"]
    assert (row["serial_share"], row["shared_s"]) == (1.0, {})
    assert ends(["bench", "tiny", "--threads", "1", "--seconds", "0", "--growth"]) == 0
    assert "16 threads" in capsys.readouterr().out


def test_a_busy_process_is_busy_and_ends():
    with timing.busy_processes(1):
        children = [int(line) for path in Path("/proc/self/task").glob("*/children") for line in path.read_text().split()]
        assert children or not Path("/proc/self/task").exists()
    assert all(not Path(f"/proc/{child}").exists() for child in children)


def test_it_measures_on_a_gpu(device):
    found = run_bench(["read", "normals", "pc-mlp"], backend="gpu", seconds=0)
    assert [result.name for result in found] == ["read", "normals", "pc-mlp"]
    for result in found:
        assert all((times.seconds > 0).all() for times in result.times.values())
    assert set(found[2].times) == {"floor", "digital", "crossbars, exact writing", "crossbars, stochastic pulses"}
    assert record(found, "bench", "gpu")["environment"]["backend"] == "gpu"


def test_what_a_gpu_does_not_measure_is_refused(emulated):
    with pytest.raises(ValueError, match="the workload 'wires-128' has no backend 'gpu', only cpu"):
        run_bench(["wires-128"], backend="gpu")
    with pytest.raises(ValueError, match="growth with threads is measured on the processor"):
        run_bench(["read"], backend="gpu", growth=True)
    with pytest.raises(ValueError, match="peers are measured on the processor"):
        run_bench(["read"], backend="gpu", peers={"pytorch": "python"})
