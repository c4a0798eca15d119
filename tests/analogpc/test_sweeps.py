"""Sweeps: the same table for all workers and after any interruption; failures are reported and do not stop the sweep."""

import errno
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import analogpc as apc
from analogpc.commands.app import main
from analogpc.studies import memory, sweep, table
from analogpc.studies.comparison import best_setting, difference, settings
from analogpc.studies.plan import read_plan
from analogpc.studies.search import conversations
from analogpc.studies.trials import Limits, Result, Trial, compute, job_of, last_values
from analogpc.studies.workers import Here, LocalWorkers, OnDask, WorkersError
from analogpc.training.fit import begin

SMALL = {
    "rule": "bp",
    "epochs": 2,
    "batch_size": 256,
    "network": {"kind": "mlp", "widths": [64, 10]},
    "axes": {"optimiser.learning_rate": [1e-3, 1e-2], "seed": 2},
}
TIMES = ("total_seconds", "seconds")


def same_rows(ones, others):
    """Whether two tables agree in everything but the time it took."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in ones] == [
        {k: v for k, v in row.items() if k not in TIMES} for row in others
    ]


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


SEARCH = {
    "rule": "bp",
    "epochs": 1,
    "batch_size": 512,
    "holdout": 0.3,
    "network": {"kind": "mlp", "widths": [64, 10]},
    "axes": {
        "batch_size": [256, 512],
        "optimiser.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
        "optimiser.kind": {"choices": ["adamw", "sgd"]},
        "seed": 2,
    },
    "search": {"trials": 6, "batch": 3},
}


def test_a_grid_takes_every_choice_once_and_its_best_gets_all_seeds(tmp_path):
    choices = {"optimiser.learning_rate": {"choices": [1e-6, 1e-2, 1e-3]}, "batch_size": {"choices": [256, 512]}, "seed": 3}
    study = SMALL | {"holdout": 0.2, "epochs": 1, "search": {"sampler": "grid", "batch": 4}, "axes": choices}
    found = apc.sweep(study, out=tmp_path / "out", workers=0, progress=False)
    tried = [(row["optimiser.learning_rate"], row["batch_size"]) for row in found.rows if row["seed"] == 0]
    assert sorted(tried) == sorted({(rate, batch) for rate in (1e-6, 1e-2, 1e-3) for batch in (256, 512)})
    assert len(found.rows) == found.plan.trials == 6 + 2
    best = max((row for row in found.rows if row["seed"] == 0), key=lambda row: row["validation_accuracy"])
    assert {row["seed"] for row in found.rows if row["setting"] == best["setting"]} == {0, 1, 2}


@pytest.mark.parametrize(
    ("axes", "search", "sentence"),
    [
        ({"epochs": {"low": 1, "high": 3}}, {}, "has none: give it choices"),
        ({"epochs": {"choices": [1, 2]}}, {"trials": 5}, "computes all 2 combinations"),
    ],
)
def test_a_grid_that_cannot_be_is_one_sentence(axes, search, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_plan({"holdout": 0.2, "axes": axes, "search": {"sampler": "grid"} | search})


def test_a_search_gets_better_and_its_best_gets_all_seeds(tmp_path):
    found = apc.sweep(SEARCH, out=tmp_path / "out", workers=0, progress=False)
    assert len(found.rows) == found.plan.trials == 2 * (6 + 1)
    for batch in (256, 512):
        mine = [row for row in found.rows if row["batch_size"] == batch]
        first = [row for row in mine if row["seed"] == 0]
        second = [row for row in mine if row["seed"] == 1]
        best = max(first, key=lambda row: row["validation_accuracy"])
        assert len(first) == 6
        assert [row["optimiser.learning_rate"] for row in second] == [best["optimiser.learning_rate"]]
        assert all(1e-5 <= row["optimiser.learning_rate"] <= 1e-1 for row in mine)
    again = apc.sweep(SEARCH, out=tmp_path / "again", workers=0, progress=False)
    assert same_rows(found.rows, again.rows)


RATE = {"optimiser.learning_rate": SEARCH["axes"]["optimiser.learning_rate"]}


def scripted(plan, answers):
    """Talk with the first setting of a plan as a driver would; the answer to a trial is a function of its study."""
    talk = conversations(plan)[0]
    rows, trials = [], next(talk)
    while True:
        results = [answers(trial) for trial in trials]
        rows += list(zip(trials, results, strict=True))
        try:
            trials = talk.send(results)
        except StopIteration:
            return rows


def answer(trial, metric="validation_accuracy"):
    """A parabola with its top at a rate of 1e-2, on a logarithmic axis."""
    value = 1 - 0.1 * (math.log10(trial.cells["optimiser.learning_rate"]) + 2) ** 2
    return Result("finished", metrics={metric: value}, history={metric: [value / 2, value]})


def test_the_parzen_estimator_finds_the_top_of_a_parabola():
    plan = read_plan({**SEARCH, "axes": RATE, "search": {"trials": 40}})
    rates = [trial.cells["optimiser.learning_rate"] for trial, _ in scripted(plan, answer)]
    assert len(rates) == 40
    late = np.abs(np.log10(rates[24:]) + 2)
    early = np.abs(np.log10(rates[:8]) + 2)
    assert np.median(late) < 0.5 * np.median(early)


def test_pruning_looks_at_earlier_batches_alone():
    plan = read_plan(
        {**SEARCH, "axes": RATE, "prune": {"quantile": 0.5, "after": 1, "below": 0.1}, "search": {"trials": 8, "batch": 4}}
    )
    reported = scripted(plan, answer)
    assert all(trial.limits.worst == (0.1,) for trial, _ in reported[:4])
    first = [result.history["validation_accuracy"] for _, result in reported[:4]]
    medians = tuple(max(0.1, float(m)) for m in np.quantile(np.array(first), 0.5, axis=0))
    assert all(trial.limits.worst == pytest.approx(medians) for trial, _ in reported[4:])


def test_limits():
    limits = Limits("a", True, 2, (0.5, 0.6))
    assert limits.met({"a": [0.1]})
    assert not limits.met({"a": [0.9, 0.59]})
    assert limits.met({"a": [0.9, 0.6]})
    assert not limits.met({"a": [0.9, 0.9, 0.5]})
    assert Limits("a", False, 1, (0.5,)).met({"a": [0.4]})
    assert Limits().met({})


def test_hopeless_trials_end_early(tmp_path):
    study = {**SMALL, "epochs": 6, "axes": {"optimiser.learning_rate": [1e-9, 1e-2]}, "prune": {"below": 0.3, "after": 2}}
    found = apc.sweep(study, out=tmp_path / "out", workers=0, progress=False)
    assert [row["status"] for row in found.rows] == ["pruned", "finished"]
    assert [row["epochs"] for row in found.rows] == [2, 6]
    assert "does not meet the limit" in found.rows[0]["sentence"]


def test_an_unknown_metric_is_refused_when_the_first_trial_ends(tmp_path):
    with pytest.raises(ValueError, match="there is no metric 'f1'; the trials of this study have epochs"):
        apc.sweep({**SMALL, "sweep": {"metric": "f1"}}, out=tmp_path / "out", workers=0, progress=False)


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
    monkeypatch.setattr(memory, "_PAUSE_SECONDS", 0.0)
    opened = memory.Memory._open

    def fails_later(self):
        opened(self)
        self._study = Refusing(self._study, 2)

    with monkeypatch.context() as patched:
        patched.setattr(memory.Memory, "_open", fails_later)
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
    """The command itself, killed, then let go: the same table."""
    file = tmp_path / "study.toml"
    file.write_text(
        'rule = "bp"\nepochs = 2\nbatch_size = 256\nnetwork = { kind = "mlp", widths = [64, 10] }\n'
        '[axes]\n"optimiser.learning_rate" = [1e-3, 1e-2]\nseed = 2\n'
    )
    command = [sys.executable, "-m", "analogpc", "sweep", str(file), "--out", str(tmp_path / "out"), "--workers", "0", "--json"]
    root = Path(__file__).parents[2]
    database = tmp_path / "out" / "sweep.db"
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not database.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["trials"] == 4
    import pandas as pd

    ours, theirs = pd.read_csv(tmp_path / "out" / "table.csv"), pd.read_csv(whole.folder / "table.csv")
    for name in ("trial", "seed", "test_accuracy", "status", "key"):
        assert list(ours[name]) == list(theirs[name])


def test_compare_shows_means_and_paired_differences(tmp_path, capsys):
    file = tmp_path / "study.toml"
    file.write_text('epochs = 1\nbatch_size = 256\nnetwork = { kind = "mlp", widths = [64, 10] }\n')
    folder = tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        main(
            [
                "compare",
                str(file),
                "--rule",
                "bp,s+f",
                "--device",
                "digital,ideal",
                "--out",
                str(folder),
                "--workers",
                "0",
                "--json",
            ]
        )
    assert not end.value.code
    reported = json.loads(capsys.readouterr().out)
    assert [(one["rule"], one["device"]) for one in reported["settings"]] == [
        (rule, device) for rule in ("bp", "s+f") for device in ("digital", "ideal")
    ]
    assert all(len(one["values"]) == 3 for one in reported["settings"])
    assert (folder / "compare.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        main(["compare", str(file), "--out", str(folder)])
    assert "compare needs an axis" in capsys.readouterr().err


def rows_of(values):
    """Rows of a table of two settings, three seeds each."""
    return [
        {"trial": n, "setting": n // 3, "rule": "ab"[n // 3], "seed": n % 3, "status": "finished", "m": value, "sentence": ""}
        for n, value in enumerate(values)
    ]


def test_paired_differences_are_students():
    one, other = settings(rows_of([1.0, 2.0, 3.0, 1.5, 2.0, 4.0]), "m", ["rule", "seed"])
    reported = difference(other, one)
    gaps = np.array([0.5, 0.0, 1.0])
    half = 4.302652729911275 * gaps.std(ddof=1) / math.sqrt(3)  # Student's t with 2 degrees of freedom at 97.5 %
    assert reported.mean == pytest.approx(0.5)
    assert (reported.low, reported.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert reported.pairs == 3
    assert best_setting([one, other], True) is other
    assert best_setting([one, other], False) is one


def test_intervals_cover_as_often_as_they_say():
    """Of 2,000 95 % intervals of differences whose mean is 0, between 93.5 and 96.5 % hold it (false alarm below 1e-3)."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(2000):
        first, gap = rng.normal(size=3), rng.normal(size=3)
        one, other = settings(rows_of([*first, *(first + gap)]), "m", ["rule", "seed"])
        reported = difference(other, one)
        held += reported.low <= 0 <= reported.high
    assert 0.935 <= held / 2000 <= 0.965


def test_results_survive_their_text():
    result = Result("failed", "ä → b", {"a": 0.1 + 0.2}, {"a": [1e-300]}, {"v": 3}, 1.5)
    assert Result.from_json(result.to_json()) == result
    assert last_values({"epoch": [1, 2], "pulses": [3, 4], "energy": [[1.0]], "seconds": [0.5, 0.25]}) == {
        "epochs": 2,
        "pulses": 7,
        "seconds": 0.75,
    }
    assert Trial(0, 0, {}, None, "no").key == Trial(5, 1, {}, None, "no").key
