"""The table of language models as a script: rows in their order, on either backend, none computed twice."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "language" / "table.py"


@pytest.fixture(scope="module")
def table():
    specification = importlib.util.spec_from_file_location("language_table", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    # Dataclasses look their module up.
    sys.modules["language_table"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["language_table"]


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


def test_the_rows_are_told_apart_and_begin_with_the_conditional_ones(table):
    rows = table.rows()
    assert len({row.key for row in rows}) == len(rows)
    assert [row.key for row in rows[:3]] == [f"{name}, conditional, seed 0" for name in ("BP", "iPC", "PC, no LayerNorm")]
    assert {row.task for row in rows} == {"masked", "conditional"}
    for row in rows:
        assert table.study_of(row, 1.0, False).batches == row.batches


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
    table.main([*fields, "--backend", "gpu"])
    assert json.loads(out.read_text(encoding="utf-8"))["rows"] == first["rows"]
    table.main([*fields[:-3], str(tmp_path / "cpu.json"), *fields[-2:], "--backend", "cpu"])
    other = json.loads((tmp_path / "cpu.json").read_text(encoding="utf-8"))["rows"]["BP, conditional, seed 0"]
    assert other["test_perplexity"] == pytest.approx(row["test_perplexity"], rel=1e-3)
