"""Saved runs under other conditions, in Python and by the command."""

import json

import h5py
import numpy as np
import pytest

import analogpc as apc
from analogpc.analysis.conditions import evaluate_conditions, seconds_of
from analogpc.commands.app import main


@pytest.fixture(scope="module")
def aged(tmp_path_factory):
    """A digital network, programmed onto phase-change devices, which drift."""
    run = apc.fit(apc.mlp([64, 16, 10]), "bp", "digits", epochs=3, batch_size=32, learning_rate=0.01, progress=False)
    path = tmp_path_factory.mktemp("aged") / "run.h5"
    run.save(path)
    return path


def test_durations():
    assert seconds_of("30d") == 30 * 86400
    assert seconds_of(" 1.5 h") == 5400
    assert seconds_of("0") == 0
    assert seconds_of("2min") == 120
    for text in ("", "d", "3 fortnights", "-1d", "1e999s", "nan"):
        with pytest.raises(ValueError, match="is not a duration"):
            seconds_of(text)
    for text in ("1e300d", "1e12y"):
        with pytest.raises(ValueError, match="longer than the age of the universe"):
            seconds_of(text)


def test_as_saved_it_is_the_evaluation_of_the_run(aged):
    run = apc.Run.load(aged)
    (found,) = evaluate_conditions(run)
    data = apc.load_data("digits")
    assert found.values["accuracy"] == [run.evaluate(data)["accuracy"]]
    assert found.confusion.accuracy == pytest.approx(found.mean("accuracy"))
    x = data.test_images.astype(float)
    (raw,) = evaluate_conditions(run, (x, data.test_labels))
    assert raw.confusion.counts.sum() == len(x)


def test_drift_costs_accuracy_and_compensation_gives_some_of_it_back(aged):
    run = apc.Run.load(aged)
    before = run.network.snapshot()
    found = evaluate_conditions(
        run, after=[0, 3e7], compensation=(False, True), substrate=apc.Analog(device="pcm-inference"), samples=3, seed=1
    )
    reported = {(one.after_seconds > 0, one.compensated): one for one in found}
    assert reported[False, False].mean("accuracy") > 0.8
    assert reported[True, True].mean("accuracy") > reported[True, False].mean("accuracy")
    assert reported[True, True].mean("loss") < reported[True, False].mean("loss")
    assert len(set(reported[False, False].values["loss"])) == 3
    assert all(np.array_equal(before[name]["weights"], kept["weights"]) for name, kept in run.network.snapshot().items())


def test_time_passes_once_however_it_is_cut(aged):
    """Two stops on the way to a year are no other year than one without."""
    run = apc.Run.load(aged)
    how = {"substrate": apc.Analog.ideal(device="pcm-inference"), "compensation": (False,)}
    many = evaluate_conditions(run, after=[10.0, 1e4, 3e7], **how)
    one = evaluate_conditions(run, after=[3e7], **how)
    assert many[-1].mean("loss") == pytest.approx(one[0].mean("loss"), rel=0.05)
    assert many[-1].after_seconds == 3e7


def test_the_command(aged, capsys, tmp_path):
    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["eval", str(aged), *map(str, arguments)])
        reported = capsys.readouterr()
        return end.value.code or 0, reported.out, reported.err

    status, out, _ = call("--device", "pcm-inference", "--after", "1d", "--after", "30d", "--noise-samples", 2, "--json")
    assert status == 0
    found = json.loads(out)["evaluations"]
    assert [(one["after_seconds"], one["drift_compensation"]) for one in found] == [
        (86400, False),
        (2592000, False),
        (86400, True),
        (2592000, True),
    ]
    assert all(len(one["values"]["accuracy"]) == 2 and np.sum(one["confusion"]) == 2 * 360 for one in found)
    status, out, _ = call("--confusion")
    assert status == 0
    assert "as saved" in out
    assert "true class" in out
    file = tmp_path / "own.h5"
    data = apc.load_data("digits")
    with h5py.File(file, "w") as made:
        made["x"], made["y"] = data.test_images[:50].astype(float), data.test_labels[:50]
    status, out, _ = call("--data", file, "--json")
    assert np.sum(json.loads(out)["evaluations"][0]["confusion"]) == 50
    for arguments, sentence in (
        (("--after", "1d"), "a digital network does not age"),
        (("--after", "soon"), "is not a duration"),
        (("--device", "unobtainium"), "unobtainium"),
        (("--data", tmp_path / "none.h5"), "file not found"),
        (("--data", "emnist"), "emnist"),
    ):
        status, _, err = call(*arguments)
        assert status == 1
        assert sentence in err
        assert "\n" not in err.strip()
