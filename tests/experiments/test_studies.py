"""Studies among the experiments: each runs in its short mode, and its page and figure are made from the table."""

import runpy
import sys
import tomllib
from pathlib import Path

import pytest

from analogpc.studies.api import run_plan
from analogpc.studies.plan import read_plan
from analogpc.studies.search import conversations
from analogpc.studies.sweep import Means

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "experiments").glob("*.toml"))
REFUSED = {"update_schemes": 4}
"""Settings of a study that the simulator refuses for physical reasons, in each rule and seed."""
THINNED = {
    "every_rule": ("case", ("bp", "s+f", "ep-hopfield")),
    "tolerance": ("point", ("nothing", "states: 50", "states: 8", "bits of the ADC: 4")),
    "update_schemes": ("device", ("idealized", "digital")),
}
"""Values of an axis that are computed here: the others, too, by `analogpc sweep --short`, and rules and devices in tests of their own."""


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_study_is_computed_in_its_short_mode_and_told(file, tmp_path, monkeypatch):
    axes = {}
    if file.stem in THINNED:
        name, kept = THINNED[file.stem]
        given = tomllib.loads(file.read_text(encoding="utf-8"))["axes"][name]
        axes = {name: {value: given[value] for value in kept}}
    plan = read_plan(file, {"axes": axes}, short=True)
    found = run_plan(plan, tmp_path / "sweep", Means(workers=0), progress=False)
    failed = [row for row in found.rows if row["status"] != "finished"]
    assert not failed, {row["sentence"] for row in failed}
    out = tmp_path / "page"
    monkeypatch.setattr(sys, "argv", [file.stem, str(found.folder), "--out", str(out)])
    monkeypatch.syspath_prepend(str(file.parent))
    runpy.run_path(str(file.with_suffix(".py")), run_name="__main__")
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert f"analogpc sweep experiments/{file.name}" in text
    for row in found.rows:
        if row["status"] == "finished":
            assert f"{row['test_accuracy']:.2%}" in text
    assert out.with_suffix(".csv").exists()


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_trial_of_a_study_is_allowed_or_refused_as_expected(file):
    """The studies at full length, without computing them."""
    plan = read_plan(file)
    trials = [trial for talk in conversations(plan) for trial in next(talk)]
    assert len(trials) == plan.trials
    refused = [trial for trial in trials if trial.study is None]
    rules = len({trial.cells.get("rule") for trial in trials})
    assert len(refused) == REFUSED.get(file.stem, 0) * rules * len(plan.seeds), {trial.refusal for trial in refused}
