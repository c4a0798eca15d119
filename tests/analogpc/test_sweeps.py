"""Sweeps: the same table for all workers and after any interruption; failures are reported and do not stop the sweep."""

import errno
import json
import shutil
import time

import pytest
from fresh_processes import command, run, start
from small_sweeps import SMALL, same_rows

import analogpc as apc
from analogpc.commands.app import main
from analogpc.studies import sweep, table, trial_store
from analogpc.studies.trials import compute, job_of
from analogpc.studies.workers import Here, LocalWorkers, OnDask, WorkersError
from analogpc.training.fit import begin


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small sweep, computed in this process."""
    return apc.sweep(SMALL, out=tmp_path_factory.mktemp("sweep") / "out", workers=0, progress=False)


def test_a_trial_is_the_run_of_its_study(whole):
    for number, row in enumerate(whole.rows):
        study = whole.study(number)
        data = apc.load_data("digits")
        run = begin(study, data).train(data, progress=False)
        assert row["test_accuracy"] == run.history["test_accuracy"][-1]
        assert row["epochs"] == 2
        assert row["forward_reads"] == sum(run.history["forward_reads"])
        assert row["status"] == "finished"


def test_the_table_lies_in_files(whole):
    import pandas as pd

    for read in (pd.read_csv(whole.folder / "table.csv"), pd.read_parquet(whole.folder / "table.parquet")):
        assert list(read["trial"]) == [0, 1, 2, 3]
        assert list(read["seed"]) == [0, 1, 0, 1]
        assert list(read["test_accuracy"]) == list(whole.table["test_accuracy"])
        assert set(read.columns) >= {"rule", "substrate", "analogpc", "numpy", "seconds", "pulses", "key"}
    record = json.loads((whole.folder / "sweep.json").read_text())
    assert len(record["rows"]) == 4
    assert len(record["histories"]["2"]["test_accuracy"]) == 2
    assert apc.Study.from_toml(record["studies"]["3"]) == whole.study(3)


def test_finished_trials_are_not_computed_again(whole, monkeypatch):
    monkeypatch.setattr(Here, "submit", lambda *_: pytest.fail("a finished trial was computed again"))
    again = apc.sweep(SMALL, out=whole.folder, workers=0, progress=False)
    assert again.rows == whole.rows


def test_a_wider_study_computes_only_what_is_new(whole, monkeypatch, tmp_path):
    submitted = []
    submit = Here.submit
    monkeypatch.setattr(Here, "submit", lambda self, number, job: (submitted.append(number), submit(self, number, job)))
    wider = {**SMALL, "axes": {"optimiser.learning_rate": [3e-3, 1e-2, 1e-3], "seed": 2}}
    folder = shutil.copytree(whole.folder, tmp_path / "wider")
    wide = apc.sweep(wider, out=folder, workers=0, progress=False)
    assert submitted == [0, 1]
    by_rate = {(row["optimiser.learning_rate"], row["seed"]): row["test_accuracy"] for row in wide.rows}
    assert all(by_rate[row["optimiser.learning_rate"], row["seed"]] == row["test_accuracy"] for row in whole.rows)


def test_failures_are_told_and_stop_nothing(tmp_path, capsys):
    study = {
        **SMALL,
        "axes": {
            "case": {
                "good": {"rule": "bp"},
                "diverges": {"optimiser": {"kind": "sgd", "learning_rate": 1e38}},
                "does not fit": {"optimiser": {"kind": "adamw"}, "substrate": "reram-sb"},
            }
        },
    }
    found = apc.sweep(study, out=tmp_path / "out", workers=0)
    reported = {row["case"]: row for row in found.rows}
    assert reported["good"]["status"] == "finished"
    for case, words in (("diverges", "diverged in epoch 1"), ("does not fit", "digitally")):
        assert reported[case]["status"] == "failed"
        assert words in reported[case]["sentence"]
        assert "\n" not in reported[case]["sentence"]
    errors = capsys.readouterr().err
    assert errors.count("failed:") == 2
    assert found.best.cells["case"] == "good"


def test_values_that_do_not_go_together_are_rows_and_one_that_goes_with_nothing_is_no_sweep(tmp_path):
    blocks = [{"kind": "dense", "features": 10}]
    axes = {"rule": ["bp", "ep-hopfield"], "network": ["64-10", {"kind": "hopfield", "input_shape": [64], "blocks": blocks}]}
    found = apc.sweep({**SMALL, "axes": axes}, out=tmp_path / "out", workers=0, progress=False)
    assert [row["status"] for row in found.rows] == ["finished", "failed", "failed", "finished"]
    assert "trains predictive networks, not networks of the architecture" in found.rows[1]["sentence"]
    with pytest.raises(ValueError, match="axes: rule = nope is not allowed in any setting"):
        apc.sweep({**SMALL, "axes": {"rule": ["bp", "nope"]}}, out=tmp_path / "none", workers=0, progress=False)
    assert not (tmp_path / "none").exists()


def test_kept_runs_are_the_runs_of_their_trials(tmp_path):
    found = apc.sweep({**SMALL, "sweep": {"keep": "best"}}, out=tmp_path / "out", workers=0, progress=False)
    files = sorted(file.name for file in (found.folder / "runs").iterdir())
    assert files == [f"{number:04d}.h5" for number in found.best.numbers]
    for number in found.best.numbers:
        run = apc.Run.load(found.folder / "runs" / f"{number:04d}.h5")
        assert run.study == found.study(number)
        assert run.history["test_accuracy"][-1] == found.rows[number]["test_accuracy"]


def test_a_killed_trial_goes_on_from_its_checkpoint(tmp_path, whole):
    study, file = whole.study(1), tmp_path / "half.h5"
    data = apc.load_data("digits")
    begin(study, data).train(data, batches=8, progress=False).save(file)
    result, _ = compute(job_of(study, checkpoint=str(file)))
    assert result.history["test_accuracy"] == whole.outcome.results[1].history["test_accuracy"]
    assert not file.exists()


class Refusing:
    """A storage that answers with an error from some call on."""

    def __init__(self, study, allowed):
        self.study, self.allowed = study, allowed

    def add_trial(self, trial):
        self.allowed -= 1
        if self.allowed < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.study.add_trial(trial)


def test_a_full_disk_loses_nothing_that_is_finished(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(trial_store, "_PAUSE_SECONDS", 0.0)
    opened = trial_store.Memory._open

    def fails_later(self):
        opened(self)
        self._study = Refusing(self._study, 2)

    with monkeypatch.context() as patched:
        patched.setattr(trial_store.Memory, "_open", fails_later)
        with pytest.raises(OSError, match=r"cannot be written: .*No space left on device; finished trials are kept"):
            apc.sweep(SMALL, out=tmp_path / "out", workers=0, progress=False)
    assert len(list((tmp_path / "out" / "unsaved").iterdir())) == 1
    computed = []
    submit = Here.submit
    monkeypatch.setattr(Here, "submit", lambda self, number, job: (computed.append(number), submit(self, number, job)))
    found = apc.sweep(SMALL, out=tmp_path / "out", workers=0, progress=False)
    assert computed == [3]
    assert same_rows(found.rows, whole.rows)


def test_tables_that_cannot_be_written_are_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(table, "replace_file", full)
    with pytest.raises(
        sweep.SweepError, match=r"the tables in .* cannot be written: No space left on device; finished trials are kept"
    ):
        apc.sweep(SMALL, out=tmp_path / "out", workers=0, progress=False)


def test_a_folder_of_something_else_is_spared(tmp_path):
    (tmp_path / "precious.txt").write_text("precious")
    with pytest.raises(ValueError, match="is not the folder of a sweep"):
        apc.sweep(SMALL, out=tmp_path, workers=0, progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["precious.txt"]


def test_bad_places_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("analogpc.studies.workers.ANSWER_SECONDS", 1)
    with pytest.raises(OSError, match=r"cannot be used as the memory of a sweep"):
        apc.sweep(SMALL, out=tmp_path / "a", workers=0, storage=f"sqlite:///{tmp_path}/no/such/folder.db", progress=False)
    with pytest.raises(OSError, match="is not the address of a database"):
        apc.sweep(SMALL, out=tmp_path / "b", workers=0, storage="nowhere", progress=False)
    with pytest.raises(WorkersError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"):
        apc.sweep(SMALL, out=tmp_path / "c", scheduler="tcp://127.0.0.1:9", progress=False)


def test_a_missing_extra_says_what_to_type(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("analogpc.studies.extras.find_spec", lambda name: None if name == "optuna" else True)
    file = tmp_path / "study.toml"
    file.write_text("[axes]\nseed = 2\n")
    with pytest.raises(SystemExit) as end:
        main(["sweep", str(file), "--out", str(tmp_path / "out")])
    assert end.value.code == 1
    assert capsys.readouterr().err.strip() == 'analogpc: a sweep needs optuna: pip install "analogpc[sweep]"'


def test_workers_give_the_same_table_and_survive_a_kill(tmp_path, whole):
    """Two processes of their own; one is killed at its work, and its trial goes to the other or to its successor."""
    folder = tmp_path / "workers"
    folder.mkdir()
    with LocalWorkers(2, folder) as workers:
        jobs = {number: whole_job(trial) for number, trial in whole.outcome.trials.items()}
        for number, job in jobs.items():
            workers.submit(number, job)
        time.sleep(0.5)
        workers._processes[0].kill()
        results = {}
        until = time.monotonic() + 240
        while len(results) < len(jobs):
            assert time.monotonic() < until
            done = workers.next(1.0)
            if done is not None:
                results[done[0]] = done[1]
        processes = list(workers._processes)
    rows = [table.table_row(whole.outcome.trials[number], results[number]) for number in sorted(results)]
    assert same_rows(rows, [{k: row[k] for k in row} for row in whole.rows])
    assert all(process.poll() is not None for process in processes)


def whole_job(trial):
    """The job of a trial, as the driver makes it."""
    return job_of(trial.study, limits=trial.limits)


def test_a_cluster_at_an_address_gives_the_same_table(tmp_path, whole):
    with LocalWorkers(1, tmp_path) as cluster:
        found = apc.sweep(SMALL, out=tmp_path / "out", scheduler=cluster._address, progress=False)
        assert same_rows(found.rows, whole.rows)
        with OnDask(cluster._address) as other, pytest.MonkeyPatch.context() as patched:
            patched.setattr("analogpc._version.__version__", "0.0")
            with pytest.raises(WorkersError, match="the versions must match"):
                other.check()


def test_a_kill_at_any_moment_leaves_what_is_finished(tmp_path, whole):
    """A sweep that is killed and started again by the same command gives the same table."""
    file = tmp_path / "study.toml"
    file.write_text(
        'rule = "bp"\nepochs = 2\nbatch_size = 256\nnetwork = { kind = "mlp", widths = [64, 10] }\n'
        '[axes]\n"optimiser.learning_rate" = [1e-3, 1e-2]\nseed = 2\n'
    )
    words = ["sweep", str(file), "--out", str(tmp_path / "out"), "--workers", "0", "--json"]
    database = tmp_path / "out" / "sweep.db"
    process = start(command, *words, folder=tmp_path)
    until = time.monotonic() + 60
    while not database.exists() and process.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.4)
    process.kill()
    process.join()
    status, out, told = run(command, *words, folder=tmp_path)
    assert status == 0, told
    assert json.loads(out)["trials"] == 4
    import pandas as pd

    ours, theirs = pd.read_csv(tmp_path / "out" / "table.csv"), pd.read_csv(whole.folder / "table.csv")
    for name in ("trial", "seed", "test_accuracy", "status", "key"):
        assert list(ours[name]) == list(theirs[name])
