"""Seconds per epoch (tools/gpu/epochs.py): what is multiplied and compared. Speed is not tested."""

from __future__ import annotations

import json
import math

from queue_pages import epochs


def test_epochs_are_timed_and_multiplied_up(tmp_path, capsys):
    out = tmp_path / "epochs.json"
    arguments = ["--backend", "cpu", "--networks", "vgg5", "--width", "0.02", "--images", "700", "--slice", "1", "--slices", "2"]
    nowhere = str(tmp_path / "nowhere" / "python")
    assert epochs.main([*arguments, "--pcx", nowhere, "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert [(row["network"], row["rule"], row["steps"], row["data"]) for row in record["results"]] == [
        ("vgg5", "pc", 5, "random"),
        ("vgg5", "s+f", 5, "random"),
    ]
    for row in record["results"]:
        assert row["batches_per_epoch"] == math.ceil(700 / 128)
        assert row["seconds_per_epoch"] == row["batches_per_epoch"] * row["seconds_per_batch"] > 0
        assert "of_published" not in row  # neither the width nor the images are those of the published figures
    assert "it cannot be started" in record["results"][0]["pcx"]["failed"]
    assert "PCX failed" in capsys.readouterr().out
    assert epochs.main([*arguments[:-1], "9"]) == 1
    assert "--slice 1 and --slices 9 do not fit" in capsys.readouterr().err


def test_the_networks_and_figures_are_the_published_ones():
    assert {name: tuple(case.published.values()) for name, case in epochs.CASES.items()} == {
        "vgg5": (2.59, 2.37),
        "vgg7": (3.75, 3.58),
        "vgg10": (10.38, 10.88),
        "vgg15": (79.61, 77.58),
    }
    for case in epochs.CASES.values():
        network = epochs.network_of(case, 1.0)
        assert len(network.layers()) == case.depth
        if case.dataset in epochs.SOURCES:
            source = epochs.SOURCES[case.dataset]
            assert (len(source.classes), source.n_train, source.augmentation.crop_padding) == (
                case.classes,
                case.images,
                case.crop_padding,
            )
