"""Scripts that measure other projects: what they measure, their floors, and how they are run."""

import ast
import json
import py_compile
import shutil
import subprocess
import sys
import time

import pytest
from bench_calls import SLEEPS, ends

import analogpc as apc
from analogpc.bench import WORKLOADS, record, run_bench, runner
from analogpc.bench.peers import _turns
from analogpc.bench.preparation import rule_step


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(WORKLOADS, "tiny", SLEEPS)


def run_script(script, *arguments):
    """Run the script of a peer in a Python with the standard library only."""
    command = [sys.executable, "-S", str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={})


def declared_workloads(script):
    """The names in the dict that a script calls WORKLOADS, which can be read where its libraries are not installed."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "WORKLOADS":
            return [key.value for key in node.value.keys]
    raise AssertionError(f"{script.name} declares no WORKLOADS")


def test_the_peers_are_those_that_were_promised():
    assert runner.peer_names() == ["aihwkit", "badcrossbar", "crosssim", "jpc", "laborieux_ep", "pcx", "pytorch"]


@pytest.mark.parametrize("peer", runner.peer_names())
def test_scripts_of_peers_measure_our_workloads_and_say_what_is_missing(peer, tmp_path):
    script = runner.PEERS / f"{peer}.py"
    py_compile.compile(str(script), cfile=str(tmp_path / "compiled"), doraise=True)
    names = declared_workloads(script)
    assert names
    assert set(names) <= set(WORKLOADS)
    done = run_script(script, "1", "0")
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("the module '")
    assert "cannot be imported by this Python: No module named" in line
    (line,) = run_script(script, "one").stderr.splitlines()
    assert line == f"run it as: PYTHON {peer}.py THREADS SECONDS [WORKLOAD ...]"


def planned(floor):
    """The calls of a floor as (times, rows, inner, columns)."""
    return [(times, *left.shape, right.shape[1]) for times, left, right, _ in floor.__closure__[0].cell_contents]


def of_plan(plan):
    """The calls that the floor of a peer makes of a plan, in the same form."""
    return [
        call
        for (rows, n_in, n_out), forward, backward, updates in plan
        for call in ((forward, rows, n_in, n_out), (backward, rows, n_out, n_in), (updates, n_in, rows, n_out))
    ]


def test_floors_of_peers_are_the_products_of_our_workloads():
    widths, steps = _turns.PC_MLP
    _, floor = rule_step(apc.mlp(widths), apc.PredictiveCoding(steps=steps), _turns.BATCH)
    assert of_plan(_turns.relaxation_products(_turns.dense_shapes(widths), steps)) == planned(floor)
    widths, free, nudged = _turns.EP_HOPFIELD
    floor = WORKLOADS["ep-hopfield"].make("cpu").floor
    assert of_plan(_turns.equilibrium_products(_turns.dense_shapes(widths), free, nudged)) == planned(floor)
    # A single image of VGG5 has the rows of a batch divided by its size.
    channels, steps = _turns.PC_VGG5
    network = apc.vgg(5)
    assert [layer.output_shape[-1] for layer in network.layers[:4]] == list(channels[1:])
    _, floor = rule_step(network, apc.PredictiveCoding(steps=steps), 1)
    shapes = [(rows // _turns.BATCH, n_in, n_out) for rows, n_in, n_out in _turns.vgg5_shapes()]
    assert of_plan(_turns.relaxation_products(shapes, steps)) == planned(floor)


def test_peers_are_timed_in_turns():
    order = []
    found = _turns.turns(lambda: order.append("a") or time.sleep(0.02), lambda: order.append("b") or time.sleep(0.04), 0.0)
    assert order[:2] == ["a", "b"]
    assert order.count("b") == 11  # once beforehand, and five turns of 20 ms after one call each
    assert found["ms"] >= 40
    assert found["ratio"] > 0


# A peer has the name of a library that lies farther down the path: this one of the standard library, which computes a tint.
TINTED = """
import time
import _turns

colorsys = _turns.library("colorsys")
print("a library may print something", colorsys.rgb_to_hsv(0.5, 0.5, 0.5)[2])
WORKLOADS = {"tiny": lambda: (lambda: time.sleep(0.02), lambda: time.sleep(0.04)), "read": None}
if __name__ == "__main__":
    _turns.measure(WORKLOADS)
"""


def test_a_peer_is_measured_by_its_own_python(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "colorsys.py").write_text(TINTED)
    shutil.copy(runner.PEERS / "_turns.py", tmp_path)
    monkeypatch.setattr(runner, "PEERS", tmp_path)
    assert runner.peer_names() == ["colorsys"]
    (result,) = run_bench(["tiny"], threads=[1], seconds=0.0, peers={"colorsys": sys.executable})
    found = result.plain()["peers"]["colorsys"]
    assert found["ms"] >= 40
    assert found["ratio"] > 0
    assert json.loads(json.dumps(record([result], "")))["results"][0]["peers"]["colorsys"] == found
    assert ends(["bench", "tiny", "--threads", "1", "--seconds", "0", "--peer", f"colorsys={sys.executable}"]) == 0
    assert "peer: colorsys" in capsys.readouterr().out
