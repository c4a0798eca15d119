"""Resuming: the conditions that must match, the messages if they do not, and the settings that a run records."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import analogpc as apc
from analogpc.data.augmentation import Augmentation
from analogpc.files.storage import StorageError
from analogpc.training.run import DivergenceError, ResumeError

HOW = {"epochs": 2, "batch_size": 32, "progress": False}


@pytest.fixture(scope="module")
def data():
    return apc.load_data("digits").take(128, 50)


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "run.h5"
    apc.fit(apc.mlp([64, 10]), apc.Backprop(), data, batches=1, checkpoint=path, **HOW)
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (5.0,)},
        {"std": (0.01,)},
        {"pixel_max": 255.0},
        {"classes": tuple("abcdefghij")},
        {"augmentation": Augmentation(crop_padding=1)},
    ],
)
def test_other_normalisation_and_augmentation_are_refused(change, data, plain):
    with pytest.raises(ResumeError, match="is not the data set with which the run started"):
        apc.Run.load(plain).train(replace(data, **change), progress=False)
    assert apc.Run.load(plain).train(data, progress=False).finished


def test_the_augmentation_of_a_run_is_asked_for_again(data, tmp_path):
    path = tmp_path / "run.h5"
    active = replace(data, augmentation=Augmentation(crop_padding=1))
    apc.fit(apc.mlp([64, 10]), apc.Backprop(), active, batches=1, checkpoint=path, **HOW)
    for other in (data, replace(data, augmentation=Augmentation(crop_padding=3, flip=True))):
        with pytest.raises(ResumeError, match="is not the data set with which the run started"):
            apc.Run.load(path).train(other, progress=False)
    assert apc.Run.load(path).train(active, progress=False).finished


def test_the_last_good_checkpoint_is_this_runs_own(data, plain):
    """A file that lies where the checkpoint shall be belongs to another run until this one has written it."""
    before = plain.read_bytes()
    with pytest.raises(DivergenceError, match=r"epoch 1, batch \d+ \(step \d+\): .*; there is no checkpoint of this run"):
        apc.fit(apc.mlp([64, 10]), apc.Backprop(), data, optimiser=apc.SGD(learning_rate=1e30), checkpoint=plain, **HOW)
    assert plain.read_bytes() == before
    run = apc.Run.load(plain)
    matrix = run.network.matrices()["layer1.0.weight"]
    matrix.increment(np.full(matrix.shape, 3e38, np.float32))
    weights = run.network.matrices()["layer1.0.weight"].weights()
    with pytest.raises(DivergenceError, match=rf"the last good checkpoint is {re.escape(str(plain))}"):
        run.train(data, progress=False, batches=1)
    np.testing.assert_array_equal(run.network.matrices()["layer1.0.weight"].weights(), weights)


def test_a_checkpoint_that_cannot_be_written_is_told_before_the_first_batch(data, tmp_path, monkeypatch):
    taught = []
    teach = apc.Backprop.train_step
    monkeypatch.setattr(apc.Backprop, "train_step", lambda self, *given: taught.append(1) or teach(self, *given))
    with pytest.raises(StorageError, match="there is no folder"):
        apc.fit(apc.mlp([64, 10]), apc.Backprop(), data, checkpoint=tmp_path / "missing" / "run.h5", **HOW)
    assert taught == []


def test_steps_are_counted_through_all_epochs(data, tmp_path, monkeypatch):
    """The schedule and the rule get the steps 0, 1, … of all, whether or not the run is stopped in between."""
    schedule, moments = apc.WarmupCosine(), []
    asked = []
    factor, at = apc.WarmupCosine.factor, apc.Backprop.at
    monkeypatch.setattr(apc.WarmupCosine, "factor", lambda self, *given: asked.append(given) or factor(self, *given))
    monkeypatch.setattr(apc.Backprop, "at", lambda self, m: moments.append((m.epoch, m.step)) or at(self, m))
    optimiser = apc.SGD(learning_rate=0.1, schedule=schedule)
    apc.fit(apc.mlp([64, 10]), apc.Backprop(), data, batches=3, checkpoint=tmp_path / "a.h5", optimiser=optimiser, **HOW)
    apc.Run.load(tmp_path / "a.h5").train(data, progress=False)
    assert asked == [(step, 8, 4) for step in range(8)]
    assert moments == [(step // 4, step) for step in range(8)]


def test_blas_has_one_thread_in_a_run_and_its_own_number_after_it(data, plain, monkeypatch):
    seen = []

    def threads(*_):
        seen.append({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})

    forward = apc.Network.predict
    monkeypatch.setattr(apc.Network, "predict", lambda self, x: threads() or forward(self, x))
    with threadpool_limits(limits=2, user_api="blas"):
        threads()
        apc.Run.load(plain).train(data, progress=False)
        threads()
    before, *inside, after = seen
    assert inside
    assert all(found == {1} for found in inside)
    assert before == after


@pytest.mark.parametrize("substrate", [apc.Digital(), apc.Analog(device="reram-sb", wire_ohms=1.0, rows=32, columns=8)])
def test_networks_and_runs_go_to_other_processes(substrate, data):
    """Pickled in the middle of an epoch; a network that was never trained keeps the weights that another substrate begins with."""
    network = apc.mlp([64, 12, 10], substrate=substrate, seed=4)
    x = data.inputs("test", np.arange(5))
    back = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(back.predict(x), network.predict(x))
    for a, b in zip(back.on(apc.Digital()).matrices().values(), network.on(apc.Digital()).matrices().values(), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())
    run = apc.fit(network, apc.PredictiveCoding(steps=2), data, batches=3, **HOW)
    moved = pickle.loads(pickle.dumps(run))
    for each in (run, moved):
        each.train(data, progress=False)
    assert moved.history["test_accuracy"] == run.history["test_accuracy"]
    for a, b in zip(moved.network.matrices().values(), run.network.matrices().values(), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())
