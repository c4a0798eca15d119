"""Sweeps of language models: the same procedure as for all studies, with the perplexity as the metric."""

from __future__ import annotations

import json

import numpy as np
import pytest

import analogpc as apc
from analogpc.commands.app import main
from analogpc.studies.axes import AxesError
from analogpc.studies.plan import read_plan
from analogpc.training.language import LanguageRun
from analogpc.training.language_fit import fit_text
from analogpc.training.language_study import LanguageStudy
from analogpc.training.perplexity import perplexity

pytest.importorskip("optuna")
pytest.importorskip("tokenizers")

NETWORK = {"kind": "transformer", "vocabulary": 60, "positions": 8, "features": 8, "hidden": 8, "blocks": 1}
FIELDS = {"held_out": 20, "batches": 4, "batch_size": 8, "evaluate_every": 2, "network": NETWORK}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(0)
    words = ["the", "old", "red", "dog", "cat", "sees", "hears", "a", "bird"]
    lines = [" ".join(rng.choice(words, rng.integers(3, 8))).capitalize() + "." for _ in range(120)]
    path = tmp_path_factory.mktemp("text") / "grammar.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.filterwarnings("ignore::analogpc.training.energy_growth.EnergyWarning")
def test_a_sweep_of_language_models_equals_the_runs_of_the_same_studies(text, tmp_path):
    fields = {**FIELDS, "text": text.name, "axes": {"rule": ["bp", "ipc"], "substrate": ["digital", "idealized"], "seed": 2}}
    case = [{"where": {"substrate": "idealized"}, "set": {"batches": 1, "batch_size": 2, "technology": "isaac-32nm"}}]
    found = apc.sweep({**fields, "exceptions": case}, out=tmp_path, workers=0, data_dir=text.parent, progress=False)
    assert [row["status"] for row in found.rows] == ["finished"] * 8
    assert found.plan.metric == "test_perplexity"
    assert not found.plan.maximise
    assert found.best.mean == min(one.mean for one in found.settings)
    assert all(row["joules"] > 0 for row in found.rows if row["substrate"] == "idealized")
    assert all(row["pulses"] > 0 for row in found.rows if row["substrate"] == "idealized")
    row = next(row for row in found.rows if (row["rule"], row["substrate"], row["seed"]) == ("ipc", "digital", 1))
    study = found.study(row["trial"])
    assert isinstance(study, LanguageStudy)
    assert study.rule.output == "cross-entropy"
    network = {name: value for name, value in NETWORK.items() if name != "kind"}
    data = apc.data.text_files.load_text(text, vocabulary=60, positions=8, held_out=20)
    network = apc.transformer(**network, seed=1)
    run = fit_text(network, "ipc", data, batches=4, batch_size=8, evaluate_every=2, seed=1)
    assert row["validation_perplexity"] == run.best[1]
    assert row["test_perplexity"] == perplexity(run.best_network, data, "test").value
    # Once more: everything is remembered.
    again = apc.sweep({**fields, "exceptions": case}, out=tmp_path, workers=0, data_dir=text.parent, progress=False)
    assert again.rows == found.rows


def test_the_commands_compare_report_and_keep_language_models(text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "words.toml"
    settings = "\n".join(f"{name} = {value}" for name, value in FIELDS.items() if name != "network")
    network = "\n".join(f"{name} = {json.dumps(value)}" for name, value in NETWORK.items())
    study.write_text(f'text = "{text}"\n{settings}\n[network]\n{network}\n[sweep]\nkeep = "best"\n', encoding="utf-8")

    def called(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        told = capsys.readouterr()
        return ended.value.code, json.loads(told.out) if told.out else told.err

    code, told = called("compare", str(study), "--rule", "bp,ipc", "--seeds", "2", "--workers", "0")
    assert not code
    assert told["metric"] == "test_perplexity"
    assert [one["rule"] for one in told["settings"]] == ["bp", "ipc"]
    best = min(told["settings"], key=lambda one: one["mean"])
    assert told["best"]["rule"] == best["rule"]
    folder = tmp_path / "words-compare"
    kept = sorted((folder / "runs").iterdir())
    assert len(kept) == 2
    assert LanguageRun.load(kept[0]).finished
    code, told = called("report", str(folder))
    assert not code
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "test perplexity" in page
    assert any(name.endswith("curves.png") for name in told["pictures"])
    for change, sentence in (
        ("--set=network.heads=3", "heads = 3 must divide features = 8"),
        ("--set=epochs=2", "no field or table 'epochs'"),
        ("--vary=dataset=digits", "'dataset', which is not a field of a study"),
    ):
        code, told = called(
            "sweep", str(study), "--vary", "rule=bp,ipc", change, "--out", str(tmp_path / "bad"), "--workers", "0"
        )
        assert code
        assert sentence in told
        assert "Traceback" not in told


def test_a_search_of_language_models_uses_validation_data_and_prunes_by_it(text, tmp_path):
    searched = {"optimiser.learning_rate": {"choices": [1e-9, 0.03]}}
    fields = {**FIELDS, "text": str(text), "rule": "bp", "axes": searched, "search": {"sampler": "grid", "batch": 1}}
    found = apc.sweep({**fields, "prune": {"below": 58.0}}, out=tmp_path, workers=0, progress=False)
    assert found.plan.metric == "validation_perplexity"
    assert [row["status"] for row in found.rows] == ["pruned", "finished"]
    assert "after 1 evaluations does not meet the limit" in found.rows[0]["sentence"]
    plain = {name: value for name, value in fields.items() if name != "search"}
    with pytest.raises(AxesError, match='tested once, at the end: set metric = "validation_perplexity"'):
        read_plan({**plain, "axes": {"seed": 2}, "prune": {"below": 58.0}})


def test_a_text_that_is_missing_is_told_in_the_table(tmp_path):
    found = apc.sweep({**FIELDS, "text": "nowhere.txt", "axes": {"rule": ["bp"]}}, out=tmp_path, workers=0, progress=False)
    assert found.rows[0]["status"] == "lost"
    assert "nowhere.txt" in found.rows[0]["sentence"]
    assert found.best is None
