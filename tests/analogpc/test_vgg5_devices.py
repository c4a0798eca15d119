"""Training in place on devices (tools/gpu/vgg5_devices.py): the rate is chosen on held-out images, and the time limit is kept."""

from __future__ import annotations

import argparse
import time

import pytest
from queue_pages import epochs, vgg5_devices


@pytest.fixture
def data():
    return epochs.data_for(epochs.CASES["vgg5"], 320, None)[0].take(320, 32)


def test_the_best_rate_on_held_out_images_is_trained_with(data, monkeypatch, capsys):
    monkeypatch.setattr(vgg5_devices, "RATES", (0.05, 0.2))
    chosen = argparse.Namespace(width=0.02, backend="cpu", epochs=1)
    found = vgg5_devices.of_substrate("idealized", data, chosen, time.perf_counter() + 600)
    assert found["finished"]
    assert found["rate"] == max((0.05, 0.2), key=lambda rate: found["search"][f"{rate:g}"])
    assert "validation_accuracy" not in found["history"]
    assert len(found["history"]["test_accuracy"]) == 1
    assert found["pulses_per_weight"] > 0
    assert "test accuracy by epoch" in capsys.readouterr().out


def test_without_time_nothing_is_claimed(data):
    chosen = argparse.Namespace(width=0.02, backend="cpu", epochs=1)
    assert vgg5_devices.of_substrate("digital", data, chosen, time.perf_counter()) == {"search": {}, "finished": False}
