"""Comparisons of the settings of a sweep: means, paired differences and their intervals."""

import json
import math

import numpy as np
import pytest

from analogpc.commands.app import main
from analogpc.studies.comparison import best_setting, difference, settings
from analogpc.studies.trials import Result, Trial, last_values


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
