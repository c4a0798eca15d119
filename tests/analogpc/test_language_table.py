"""The language-model scripts: rows in order, on both backends, none computed twice; the job of the published size at toy size."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "experiments" / "language"


def script(name):
    """A script as a module, under its own name: dataclasses look that up, and scripts import each other by it."""
    specification = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows():
    yield script("rows")
    del sys.modules["rows"]


@pytest.fixture(scope="module")
def table(rows):
    yield script("table")
    del sys.modules["table"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("tokenizers")
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(rng.choice(letters, rng.integers(2, 8))) for _ in range(300)]
    lines = [" ".join(rng.choice(words, rng.integers(4, 12))).capitalize() + "." for _ in range(400)]
    place = tmp_path_factory.mktemp("text")
    (place / "war-and-peace.txt").write_text("\n".join(lines), encoding="utf-8")
    return place


def test_the_rows_are_told_apart_and_begin_with_the_conditional_ones(table, rows):
    every = rows.rows()
    assert len({row.key for row in every}) == len(every)
    assert [row.key for row in every[:3]] == [f"{name}, conditional, seed 0" for name in ("BP", "iPC", "PC, no LayerNorm")]
    assert {row.task for row in every} == {"masked", "conditional"}
    found = {row.key: {"finished": True, "validation_perplexity": 50.0} for row in rows.search()}
    for row in every:
        assert table.study_of(row, 1.0, False, found).batches == row.batches


def test_the_rate_of_a_pulsed_row_has_the_best_validation(rows):
    row = next(row for row in rows.crossbars() if row.rate is None and row.name.startswith("iPC"))
    found = {one.key: {"finished": True, "validation_perplexity": 100 - one.rate} for one in rows.search()}
    assert rows.selected_rate(row, found) == max(rows.RATES["iPC"])
    last = next(one for one in rows.search() if one.name.startswith("iPC") and one.rate == max(rows.RATES["iPC"]))
    found[last.key] |= {"diverged": "an energy is not finite", "validation_perplexity": 1.0}
    assert rows.selected_rate(row, found) == sorted(rows.RATES["iPC"])[-2]
    del found[last.key]
    with pytest.raises(ValueError, match="missing: compute it first"):
        rows.selected_rate(row, found)


def test_rows_are_computed_once(table, folder, tmp_path, emulated):
    out = tmp_path / "table.json"
    fields = ["--data-dir", str(folder), "--toy", "--batches", "0.003", "--out", str(out), "--only", "BP, conditional, seed 0"]
    table.main([*fields, "--backend", "gpu"])
    first = json.loads(out.read_text(encoding="utf-8"))
    row = first["rows"]["BP, conditional, seed 0"]
    assert row["finished"]
    assert row["batches"] == 10
    assert 1 < row["test_perplexity"] < 600
    assert first["machine"]["gpu"] == "emulated"
    assert row["joules_per_batch"] > 0
    assert row["hardware_seconds_per_batch"] > 0
    table.main([*fields, "--backend", "gpu"])
    assert json.loads(out.read_text(encoding="utf-8"))["rows"] == first["rows"]
    table.main([*fields[:-3], str(tmp_path / "cpu.json"), *fields[-2:], "--backend", "cpu"])
    other = json.loads((tmp_path / "cpu.json").read_text(encoding="utf-8"))["rows"]["BP, conditional, seed 0"]
    assert other["test_perplexity"] == pytest.approx(row["test_perplexity"], rel=1e-3)


def test_the_job_of_the_published_size_runs_as_a_toy_and_goes_on(folder, tmp_path, emulated):
    paper, out = script("paper"), tmp_path / "paper.json"
    rows = paper.studies(SCRIPTS / "paper.toml", {})
    assert [(study.network.task, study.rule.kind, study.network.layer_norm) for study in rows.values()] == [
        ("masked", "incremental-pc", False),
        ("masked", "backprop", True),
        ("masked", "predictive-coding", False),
        ("conditional", "incremental-pc", True),
        ("conditional", "backprop", True),
        ("conditional", "predictive-coding", False),
    ]
    # Sixteen epochs of 200,000 sentences.
    assert {study.batches * study.batch_size for study in rows.values()} == {16 * 200_000}
    small = {"vocabulary": 300, "positions": 12, "features": 8, "hidden": 8, "blocks": 1}
    settings = [f"network.{name}={value}" for name, value in small.items()]
    settings += ["take=0", "held_out=30", "batches=4", "evaluate_every=2", "evaluate_on=20", "batch_size=4"]
    fields = [str(SCRIPTS / "paper.toml"), "--text", str(folder / "war-and-peace.txt"), "--seeds", "1", "--out", str(out)]
    fields += ["--only", "iPC", "--checkpoints", str(tmp_path / "kept"), "--set", *settings]
    paper.main(fields)
    first = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert list(first) == ["masked, iPC, seed 1", "conditional, iPC, seed 1"]
    assert all(row["finished"] and row["batches"] == 4 and 1 < row["test_perplexity"] < 600 for row in first.values())
    # From the checkpoints alone, nothing is learnt anew.
    out.unlink()
    paper.main(fields)
    again = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert {key: row["test_perplexity"] for key, row in again.items()} == {
        key: row["test_perplexity"] for key, row in first.items()
    }


def test_variants_of_masked_models_are_taught_once(table, folder, tmp_path, capsys):
    variants, out = script("masked_ipc"), tmp_path / "masked.json"
    fields = ["--data-dir", str(folder), "--toy", "--batches", "8", "--out", str(out), "--only", "masked, iPC, inputs"]
    variants.main(fields)
    (record,) = json.loads(out.read_text(encoding="utf-8")).values()
    assert record["batch"] == list(range(1, 9))
    assert all(1 < value < 1000 for value in record["validation_perplexity"] + record["train_perplexity"])
    assert "inputs of the feed-forward pass: " in capsys.readouterr().out
    variants.main(fields)
    assert capsys.readouterr().out == ""
