"""Pages about runs of language models."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest

from analogpc.commands.app import main
from analogpc.data.text_files import load_text
from analogpc.devices.substrate import Analog, Digital
from analogpc.networks.zoo import mlp, transformer
from analogpc.report.report import ReportError, write_report
from analogpc.training.fit import fit
from analogpc.training.language import LanguageRun
from analogpc.training.language_fit import begin_text, fit_text

pytest.importorskip("tokenizers")
SMALL = {"positions": 8, "features": 8, "hidden": 8, "blocks": 1}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(0)
    words = ["the", "old", "red", "dog", "cat", "sees", "hears", "a", "bird"]
    lines = [" ".join(rng.choice(words, rng.integers(3, 6))).capitalize() + "." for _ in range(120)]
    path = tmp_path_factory.mktemp("text") / "grammar.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def run_of(text, task, substrate=None, **fields):
    data = load_text(text, vocabulary=60, positions=8)
    network = transformer(60, task=task, **SMALL)
    network = network if substrate is None else network.on(substrate)
    run = fit_text(network, "ipc", data, batches=4, batch_size=8, evaluate_every=2, learning_rate=0.05, **fields)
    # As the command does, and as if the text had moved into the folder given to the report.
    run.study = run.study.but(text=f"elsewhere/{text.name}")
    return run


def test_a_page_shows_perplexity_energies_samples_and_bill(text, tmp_path, capsys):
    run = run_of(text, "masked")
    run.save(tmp_path / "run.h5")
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "run.h5"), "--out", str(tmp_path / "page"), "--data-dir", str(text.parent), "--json"])
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert [name.rsplit("/", 1)[-1] for name in told["pictures"]] == ["energies.png", "learning-curves.png"]
    page = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    for part in (
        "Perplexity and loss",
        "Energies of the value nodes",
        "Samples of text",
        f"{run.best[1]:.1f} after",
        "Bill(isaac-32nm",
    ):
        assert part in page
    assert page.count("→") == 5
    assert "&lt;mask&gt;" in page


def test_a_run_on_crossbars_shows_its_devices(text, tmp_path):
    run_of(text, "masked", Analog(device="idealized", scheme={"kind": "mixed-precision"})).save(tmp_path / "run.h5")
    page = write_report([tmp_path / "run.h5"], tmp_path / "page").read_text(encoding="utf-8")
    for part in (
        "Conductances before and after training",
        "Tile maps",
        "Pulses",
        "No filled-in sentences",
        "elsewhere/grammar.txt",
    ):
        assert part in page


def test_pages_compare_language_models_but_not_with_other_runs(text, tmp_path):
    run = run_of(text, "conditional")
    run.save(tmp_path / "one.h5")
    run_of(text, "conditional", seed=1).save(tmp_path / "two.h5")
    page = write_report([tmp_path / "one.h5", tmp_path / "two.h5"], tmp_path / "page").read_text(encoding="utf-8")
    assert html.escape(run.speaking.generate("", tokens=40, seed=2)) in page
    assert "seed 0" in page
    assert "seed 1" in page
    rng = np.random.default_rng(0)
    other = fit(mlp([4, 3], substrate=Digital()), "bp", (rng.normal(size=(12, 4)), np.arange(12) % 3), epochs=1, progress=False)
    other.save(tmp_path / "other.h5")
    with pytest.raises(ReportError, match="not both"):
        write_report([tmp_path / "one.h5", tmp_path / "other.h5"], tmp_path / "page")
    data = load_text(text, vocabulary=60, positions=8)
    begin_text(LanguageRun.load(tmp_path / "one.h5").study, data).save(tmp_path / "new.h5")
    with pytest.raises(ReportError, match="no finished evaluation"):
        write_report([tmp_path / "new.h5"], tmp_path / "page")
