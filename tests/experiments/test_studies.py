"""Studies among the experiments: each runs in its short mode, and its page and figure are made from the table."""

import runpy
import sys
import tomllib
from pathlib import Path

import pytest

from analogpc import load_data
from analogpc.studies.api import run_plan
from analogpc.studies.plan import read_plan
from analogpc.studies.search import conversations
from analogpc.studies.sweep import Means
from analogpc.training.fit import begin
from analogpc.training.study_fields import assemble

ROOT = Path(__file__).parents[2]
PAPERS = ("deeper_pc", "ep_on_pc", "hopfield_resnet", "intermediate_signals", "ipc")
STUDIES = sorted(file for folder in ("", *PAPERS) for file in (ROOT / "experiments" / folder).glob("*.toml"))
IMPOSSIBLE = "devices of a one-sided pair are only pulsed upwards"
REFUSED = {"atlas": 2, "update_schemes": 4}
"""Settings of a study that the simulator refuses for physical reasons, in each rule and seed."""
THINNED = {
    "atlas": {"device": ("digital", "idealized", "pcm"), "case": ("bp",), "scheme": ("digital", "pulses in place")},
    "atlas_cnn": {"device": ("digital", "reram-array-om"), "case": ("bp",)},
    "atlas_fashion": {"device": ("digital", "idealized"), "case": ("bp",)},
    "convergence": {"case": ("PC, 0.5", "iPC, 0.5")},
    "every_rule": {"case": ("bp", "s+f", "ep-hopfield")},
    "schedules": {"case": ("linear",)},
    "signals": {"case": ("plain", "distillation")},
    "schemes": {"case": ("BP", "centered", "random sign, cross-entropy")},
    "tolerance": {"point": ("nothing", "states: 50", "states: 8", "bits of the ADC: 4")},
    "two_phases": {"case": ("s+f", "Hopfield, β = 0.4"), "point": ("nothing", "offset 0.2")},
    "update_schemes": {"device": ("idealized", "digital")},
    "vgg5": {"case": ("PC-CN", "S+F, BN")},
}
"""Values of axes that are computed here: the others, too, by `analogpc sweep --short`, and rules and devices in tests of their own."""


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    """The teacher of the studies of intermediate signals, trained for one epoch on few images."""
    folder = tmp_path_factory.mktemp("teacher")
    study = assemble(ROOT / "experiments/intermediate_signals/teachers/digits.toml", {"epochs": 1})
    data = load_data("digits").take(32, 20)
    begin(study.but(train_images=0), data).train(data, progress=False, checkpoint=folder / "teacher.h5")
    return folder


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_study_is_computed_in_its_short_mode_and_told(file, tmp_path, monkeypatch, request):
    if file.parent.name == "intermediate_signals":
        monkeypatch.chdir(request.getfixturevalue("teacher"))
    given = tomllib.loads(file.read_text(encoding="utf-8"))["axes"]
    axes = {name: {value: given[name][value] for value in kept} for name, kept in THINNED.get(file.stem, {}).items()}
    plan = read_plan(file, {"axes": axes}, short=True)
    found = run_plan(plan, tmp_path / "sweep", Means(workers=0), progress=False)
    failed = [row for row in found.rows if row["status"] != "finished" and IMPOSSIBLE not in row["sentence"]]
    assert not failed, {row["sentence"] for row in failed}
    out = tmp_path / "page"
    monkeypatch.setattr(sys, "argv", [file.stem, str(found.folder), "--out", str(out)])
    monkeypatch.syspath_prepend(str(file.parent))
    runpy.run_path(str(file.with_suffix(".py")), run_name="__main__")
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert f"analogpc sweep {file.relative_to(ROOT).as_posix()}" in text
    for row in found.rows:
        if row["status"] == "finished":
            assert f"{row['test_accuracy']:.2%}" in text
    assert out.with_suffix(".csv").exists()


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_trial_of_a_study_is_allowed_or_refused_as_expected(file):
    """The studies at full length, without computing them; of a searched field one value, and of an atlas one or two rules."""
    axes = {one.name: {"choices": list(one.choices[:1])} for one in read_plan(file).ranges}
    if file.stem.startswith("atlas"):
        given = tomllib.loads(file.read_text(encoding="utf-8"))["axes"]
        axes["case"] = {name: given["case"][name] for name in ("bp", "ep-hopfield") if name in given["case"]}
    plan = read_plan(file, {"axes": axes})
    trials = [trial for talk in conversations(plan) for trial in next(talk)]
    proposals, tried = (plan.search.trials, plan.search.seeds) if plan.ranges else (1, len(plan.seeds))
    assert len(trials) == len(plan.settings) * proposals * tried
    refused = [trial for trial in trials if trial.study is None]
    rules = len({trial.cells.get("rule") for trial in trials})
    assert len(refused) == REFUSED.get(file.stem, 0) * rules * tried, {trial.refusal for trial in refused}


SCRIPTS = {
    "intermediate_signals/gradient": ("--seeds", "0", "--layers", "4", "--epochs", "1", "--images", "16", "--steps", "2"),
    "intermediate_signals/memory": ("--networks", "crnn-vgg7", "--steps", "3", "--width", "0.02", "--batch", "1"),
    "ipc/energies": ("--seeds", "0", "--steps", "16", "--data", "digits", "digits", "--images", "4", "4"),
}
"""Scripts of papers without a study file, with arguments for few seconds."""


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_of_a_paper_writes_its_page(name, tmp_path, monkeypatch):
    out = tmp_path / "page"
    monkeypatch.setattr(sys, "argv", [name, *SCRIPTS[name], "--out", str(out)])
    runpy.run_path(str(ROOT / "experiments" / f"{name}.py"), run_name="__main__")
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert f"python experiments/{name}.py" in text
    assert "| " in text
