"""Searches within a sweep: grids, the Parzen estimator, pruning, and the end of hopeless trials."""

import math

import numpy as np
import pytest
from small_sweeps import SMALL, same_rows

import analogpc as apc
from analogpc.studies.plan import read_plan
from analogpc.studies.search import conversations
from analogpc.studies.trials import Limits, Result

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
