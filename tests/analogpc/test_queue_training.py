"""Training jobs of the GPU queue (tools/gpu): they end in time, and resume bit-identically."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from queue_pages import (
    ROOT,
    STUDY,
    TRAIN,
    called,
    page_in,
    queue_machine,
    queue_page,
    queue_training,
    run_next,
    section,
    states,
    ticking,
)

from analogpc.data import load_data
from analogpc.kernels.gpu.arrays import to_host
from analogpc.training.fit import begin
from analogpc.training.run import Run
from analogpc.training.study import Study


@pytest.fixture
def page(tmp_path):
    return page_in(tmp_path)


class PretendedRun:
    """A run of the given numbers of epochs and batches with a simulated clock."""

    def __init__(self, epochs, batches, costs):
        self.study = SimpleNamespace(epochs=epochs, batch_size=10, holdout=0.0)
        self.position = SimpleNamespace(epoch=0, batch=0)
        self.history = {"test_accuracy": []}
        self.batches, self.costs, self.now, self.saves, self.compiled = batches, costs, 0.0, [], False

    @property
    def finished(self):
        return self.position.epoch == self.study.epochs

    def train(self, data, *, batches, progress):
        assert not progress
        self.now += self.costs["compile"] * (not self.compiled) + batches * self.costs["batch"]
        self.compiled = True
        for _ in range(batches):
            self.position.batch += 1
            if self.position.batch == self.batches:
                self.position = SimpleNamespace(epoch=self.position.epoch + 1, batch=0)
                self.history["test_accuracy"].append(0.5)
                self.now += self.costs["close"]

    def save(self, path):
        self.now += self.costs["save"]
        self.saves.append((self.now, self.position.epoch, self.position.batch))


@pytest.mark.parametrize("seconds", [12, 30, 61.5, 100, 200, 400, 1000])
@pytest.mark.parametrize(
    "costs",
    [
        {"compile": 5.0, "batch": 0.1, "close": 1.0, "save": 0.5},
        {"compile": 0.0, "batch": 2.0, "close": 20.0, "save": 3.0},
        {"compile": 1.0, "batch": 0.001, "close": 0.01, "save": 0.2},
    ],
    ids=["usual", "slow", "fast"],
)
def test_training_ends_in_time_and_saved(seconds, costs):
    run = PretendedRun(epochs=20, batches=13, costs=costs)
    data = SimpleNamespace(train_labels=range(130), test_labels=range(100))
    budget = queue_machine.Budget(seconds, lambda: run.now)
    finished = queue_training.advance(run, data, budget, Path("unused.h5"))
    whole = 20 * (13 * costs["batch"] + costs["close"]) + costs["compile"]
    assert run.now <= seconds
    assert finished == run.finished
    # The last checkpoint is of where the run stands.
    assert run.saves[-1] == (run.now, run.position.epoch, run.position.batch)
    if not finished:
        # What is left would not have been enough for what comes next, its end of an epoch taken for as long as ten batches at first.
        next_part = max(10 * costs["batch"], costs["close"]) + costs["batch"]
        caution = queue_training.CAUTION
        assert seconds - run.now < caution * (next_part + 2 * costs["save"] + costs["compile"]) + queue_training.RESERVE
    assert finished or whole + 3 * costs["save"] > 0.6 * seconds - queue_training.RESERVE
    # While it goes on, no checkpoint is much older than a minute.
    times = [moment for moment, *_ in run.saves]
    longest = queue_training.SAVE_SECONDS + queue_training.SLICE_SECONDS + costs["close"] + 2 * costs["batch"] + costs["save"]
    assert max((b - a for a, b in itertools.pairwise(times)), default=0) <= longest + costs["compile"]


def uninterrupted(seed):
    data = load_data("digits").take(200, 50)
    return begin(Study.from_dict({**STUDY, "seed": seed}), data).train(data, progress=False)


def same(one, other):
    """Compare two runs bit by bit, except for their timings."""
    for (name, a), b in zip(one.network.matrices().items(), other.network.matrices().values(), strict=True):
        np.testing.assert_array_equal(to_host(a.weights()), to_host(b.weights()), err_msg=name)
    histories = [{name: values for name, values in run.history.items() if name != "seconds"} for run in (one, other)]
    assert histories[0] == histories[1]


def trained_in_turns(path, seconds, turns=60, out=None):
    """Return the states after each call with a budget of the given clock ticks, until the job is done."""
    found = []
    for _ in range(turns):
        folder = path.parent.parent / "checkpoints"
        chosen = run_next.parsed(["--queue", str(path), "--checkpoints", str(folder), *(["--out", str(out)] if out else [])])
        run_next.take_turns(seconds / 60, chosen, ticking())
        found.append(states(path)["a"])
        if found[-1] == "done":
            return found
    raise AssertionError(f"not done after {turns} turns")


def test_an_interrupted_training_goes_on_to_the_same_bits(page, tmp_path, capsys):
    path = page(section("a", TRAIN))
    found = trained_in_turns(path, 17, out=tmp_path / "out")
    assert len(found) >= 4
    assert set(found[:-1]) == {"begun"}
    record = json.loads((path.parent / "results" / "a.json").read_text())
    stops = re.findall(r"(\d) of 3 epochs and (\d) batches", capsys.readouterr().err)
    assert any(batch != "0" for _, batch in stops), "it was never stopped within an epoch"
    for seed in (0, 1):
        whole, parts = uninterrupted(seed), Run.load(tmp_path / "checkpoints" / f"a-{seed}.h5")
        same(whole, parts)
        reported = record["runs"][str(seed)]
        assert reported["finished"]
        assert reported["epochs"] == 3
        for name, values in whole.history.items():
            if name != "seconds":
                assert reported["history"][name] == values, name
        assert (tmp_path / "out" / "checkpoints" / f"a-{seed}.h5").exists()
    average = np.mean([record["runs"][seed]["history"]["test_accuracy"][-1] for seed in "01"])
    assert f"2 of 2 seeds, test accuracy of the last epoch {average:.2%} on average" in path.read_text(encoding="utf-8")
    assert str(ROOT) not in json.dumps(record)


def test_training_on_a_gpu_goes_on_to_the_same_bits(device, page, tmp_path):
    """On the same GPU, with products in the same order."""
    path = page(section("a", TRAIN.replace('"cpu"', '"gpu"').replace("[0, 1]", "[0]").replace("epochs = 3", "epochs = 2")))
    found = trained_in_turns(path, 14)
    assert found[0] == "begun"
    data = load_data("digits").take(200, 50)
    whole = begin(Study.from_dict({**STUDY, "epochs": 2}), data, backend="gpu").train(data, progress=False)
    same(whole, Run.load(tmp_path / "checkpoints" / "a-0.h5", backend="gpu"))
    record = json.loads((path.parent / "results" / "a.json").read_text())
    assert record["machine"]["backend"] == "gpu"


def test_a_begun_training_without_its_checkpoint_says_that_it_begins_anew(page, tmp_path, capsys):
    path = page(section("a", TRAIN))
    (tmp_path / "out").mkdir()
    chosen = ["--queue", str(path), "--checkpoints", str(tmp_path / "checkpoints")]
    run_next.take_turns(0.5, run_next.parsed(chosen), ticking())
    assert states(path) == {"a": "begun"}
    (tmp_path / "checkpoints" / "a-0.h5").unlink()
    capsys.readouterr()
    run_next.take_turns(0.5, run_next.parsed(chosen), ticking())
    assert "a, seed 0: restarts, because there is no checkpoint a-0.h5 here" in capsys.readouterr().err


def test_settings_that_changed_are_refused_and_open_begins_anew(page, tmp_path, capsys):
    path = page(section("a", TRAIN))
    chosen = run_next.parsed(["--queue", str(path), "--checkpoints", str(tmp_path / "checkpoints")])
    run_next.take_turns(0.5, chosen, ticking())
    before = (tmp_path / "checkpoints" / "a-0.h5").read_bytes()
    path.write_text(path.read_text(encoding="utf-8").replace("epochs = 3", "epochs = 1"), encoding="utf-8")
    assert called(path) == 1
    assert "the settings of 'a' have changed since it was started" in capsys.readouterr().err
    assert (tmp_path / "checkpoints" / "a-0.h5").read_bytes() == before
    # Also where the record was not carried along, a checkpoint of other settings is not gone on with.
    (path.parent / "results" / "a.json").unlink()
    assert called(path) == 1
    assert "the checkpoint a-0.h5 is of another study" in capsys.readouterr().err
    queue_page.write_state(path, "a", "open", "")
    assert called(path) == 0
    assert Run.load(tmp_path / "checkpoints" / "a-0.h5").position.epoch == 1
    assert states(path) == {"a": "done"}


def test_a_diverged_seed_is_told_and_the_others_go_on(page, tmp_path):
    pc = '{ kind = "predictive-coding", steps = 30, step_size = 900.0 }'
    path = page(section("a", TRAIN.replace('"s+f"', pc)))
    assert called(path, minutes=5) == 0
    record = json.loads((path.parent / "results" / "a.json").read_text())
    assert all(run["diverged"].startswith("training diverged in epoch 1, batch 1") for run in record["runs"].values())
    assert str(tmp_path) not in json.dumps(record)
    assert "2 of 2 seeds, 2 diverged" in path.read_text(encoding="utf-8")
