"""Interruptions of training: a batch is learnt completely or not at all, and no signal is lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import analogpc as apc
from analogpc.commands import app
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.networks.network import Network
from analogpc.training import evaluation
from analogpc.training.interrupts import Interrupts, insistent

HOW = {"epochs": 2, "batch_size": 32, "seed": 3, "progress": False}


@pytest.fixture(scope="module")
def data():
    return apc.load_data("digits").take(128, 50)


def held(run):
    """Return the contents of a run as bytes, without its timings."""
    trees = [run.network.snapshot(), run.learner.memory]
    found = []

    def walk(tree):
        for name in sorted(tree):
            walk(tree[name]) if isinstance(tree[name], dict) else found.append((name, np.asarray(tree[name]).tobytes()))

    for tree in trees:
        walk(tree)
    position, history = vars(run.position) | {"seconds": 0}, {**run.history, "seconds": 0}
    return found, str(position), str(history)


SUBSTRATES = {
    "digital": apc.Digital(),
    "pulses": apc.Analog(device="reram-sb"),
    "fast cells": apc.Analog(device="idealized", scheme={"kind": "agad"}),
}


@pytest.mark.parametrize(
    ("substrate", "raised"), [("digital", KeyboardInterrupt), ("pulses", MemoryError), ("fast cells", SystemExit)]
)
def test_whatever_breaks_off_a_batch_it_is_as_if_it_had_not_begun(substrate, raised, data, monkeypatch):
    """Every third write of weights and every fifth read raises an exception; the run is resumed each time, and ends with the same bits."""
    network = apc.mlp([64, 12, 10], substrate=SUBSTRATES[substrate])
    rule = apc.IncrementalPC(steps=2) if substrate == "digital" else apc.PredictiveCoding(steps=2)
    whole = apc.fit(network, rule, data, **HOW)
    run = apc.fit(network, rule, data, batches=1, **HOW)
    calls = {"learn": 0, "forward": 0}

    def breaking(kind, name, every):
        original = getattr(kind, name)

        def call(self, *arguments):
            result = original(self, *arguments)
            calls[name] += 1
            if armed and calls[name] % every == 0:
                raise raised
            return result

        monkeypatch.setattr(kind, name, call)

    for kind in (DigitalMatrix, CrossbarMatrix):
        breaking(kind, "learn", 3)
        breaking(kind, "forward", 5)
    broken = 0
    while not run.finished:
        armed = True
        with pytest.raises(raised):
            run.train(data, progress=False)
        armed = False
        run.train(data, batches=1, progress=False)
        broken += 1
    assert broken > 3
    assert held(run) == held(whole)


def test_a_run_that_cannot_be_brought_back_says_so(data, monkeypatch, tmp_path):
    run = apc.fit(apc.mlp([64, 10]), apc.PredictiveCoding(steps=2), data, batches=1, **HOW)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DigitalMatrix, "learn", fail)
    monkeypatch.setattr(DigitalMatrix, "increment", fail)
    monkeypatch.setattr(Network, "restore", fail)
    with pytest.raises(KeyboardInterrupt):
        run.train(data, progress=False)
    monkeypatch.undo()
    for use in (lambda: run.save(tmp_path / "run.h5"), lambda: run.train(data, progress=False)):
        with pytest.raises(ValueError, match=r"interrupted inside epoch 1, batch 2 \(step 2\)"):
            use()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(autouse=True)
def ctrl_c_raises():
    """A shell starts processes in the background with SIGINT ignored; Python then installs no handler of its own."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("where", ["learn", "predict", "save"])
def test_ctrl_c_waits_for_the_batch_and_the_run_is_saved(where, data, monkeypatch, tmp_path):
    """A signal in the middle of a batch, of an evaluation, and of the writing of a file."""
    whole = apc.fit(apc.mlp([64, 10]), apc.Backprop(), data, **HOW)
    kind = {"learn": DigitalMatrix, "predict": Network, "save": apc.Run}[where]
    name = "increment" if where == "learn" else where
    original, calls = getattr(kind, name), []
    run = apc.fit(apc.mlp([64, 10]), apc.Backprop(), data, batches=1, **HOW)

    def call(self, *arguments):
        calls.append(1)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        return original(self, *arguments)

    monkeypatch.setattr(kind, name, call)
    monkeypatch.setattr(evaluation, "_BATCH", 20)
    path = tmp_path / "run.h5"
    with pytest.raises(KeyboardInterrupt):
        run.train(data, progress=False, checkpoint=path, checkpoint_batches=2)
    monkeypatch.undo()
    assert run.position.epoch == 0
    again = apc.Run.load(path)
    assert again.position.batch == run.position.batch == {"learn": 2, "predict": 4, "save": 2}[where]
    assert held(again.train(data, progress=False)) == held(run.train(data, progress=False)) == held(whole)


def test_signals_are_held_back_and_then_do_what_they_would_have_done():
    reached = []

    def until_checked():
        with Interrupts() as interrupts:
            interrupts.check()
            signal.raise_signal(signal.SIGINT)
            reached.append("after Ctrl-C")
            interrupts.check()
            reached.append("never")

    def twice():
        with Interrupts():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append("never")

    def at_the_very_end():
        with Interrupts():
            signal.raise_signal(signal.SIGINT)

    for interrupted in (until_checked, twice, at_the_very_end):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    assert reached == ["after Ctrl-C"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_others_stay():
    seen = []
    former = signal.signal(signal.SIGTERM, lambda *_: seen.append("theirs"))
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGTERM)
            interrupts.check()
    finally:
        signal.signal(signal.SIGTERM, former)
    assert seen == ["theirs"]


def test_a_ctrl_c_that_python_drops_is_not_lost():
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    reached = []

    def with_batches():
        with insistent():
            dropped(Dying)
            reached.append("on it goes")
            with Interrupts() as interrupts:
                interrupts.check()
                reached.append("never")

    def without():
        with insistent():
            dropped(Dying)
            reached.append("to the end")

    for interrupted in (with_batches, without):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    with insistent():
        pass
    assert reached == ["on it goes", "to the end"]


def dropped(kind):
    """Delete an object whose finaliser raises KeyboardInterrupt; Python reports that it is ignored."""
    former, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        kind()
    finally:
        sys.unraisablehook = former


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_processes_are_interrupted_at_random_moments(request, tmp_path):
    """INT, TERM and KILL in turn; ``--interrupts N`` sends more of them."""
    count = request.config.getoption("--interrupts")
    script = Path(__file__).parents[2] / "experiments" / "benchmarks" / "interrupts.py"
    command = [sys.executable, str(script), "--interrupts", str(count), "--out", str(tmp_path / "rows.json")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert len(rows) == count
    for row in rows:
        assert row["stopped"], f"not within a batch, or not at all: {row}"
        assert row["same"], row
        assert row["left"] == [], row


@pytest.mark.parametrize(("command", "sentence"), [("assess", "interrupted; the same command resumes"), ("bench", "interrupted")])
def test_an_interrupted_command_says_whether_it_can_resume(command, sentence, monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "_run", interrupted)
    with pytest.raises(SystemExit) as end:
        app.main([command, "reram-sb"])
    assert (end.value.code, capsys.readouterr().err) == (130, f"analogpc: {sentence}\n")
