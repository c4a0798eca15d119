"""Scripts among the experiments: short modes, and the imperfections that they add to a rule."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import analogpc as apc
from analogpc.networks import Hopfield
from analogpc.networks.network import Network

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def loaded(name, monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return sys.modules.get(name) or __import__(name)


@pytest.mark.parametrize("name", ["contrast", "inference"])
def test_a_script_writes_its_page_in_the_short_mode(name, tmp_path, monkeypatch):
    module = loaded(name, monkeypatch)
    if name == "inference":
        monkeypatch.setattr(module, "DEVICES", ("pcm-inference", "reram-wan-cubic"))
        monkeypatch.setattr(module, "RULES", ("bp",))
    else:
        monkeypatch.setattr(module, "BIASES", (0.0, 0.01))
        monkeypatch.setattr(module, "NOISES", (0.02,))
    monkeypatch.setattr(sys, "argv", [name, "--short", "--out", str(tmp_path / name)])
    module.main()
    rows, text = json.loads((tmp_path / f"{name}.json").read_text()), (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert f"python experiments/{name}.py --short" in text
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
    if name == "contrast":
        assert {row["rule"] for row in rows} >= {"coupled learning, β = 1", "holomorphic, N = 4, β = 0.4"}
        assert all(f"{value:.2%}" in text for row in rows for value in row["accuracies"])
    else:
        # Devices that drift are read at five times, twice; the others at once.
        assert len(rows) == 2 * 2 * (5 * 2 + 1)
        assert all(f"{row['digital']:.2%}" in text for row in rows)


def learnt(rule):
    """Sums of the products that a rule learns from one batch, per sample, by layer."""
    network = Network(Hopfield(widths=(6, 5, 3), activation="steep_sigmoid"), apc.Digital(), seed=0)
    x, found = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32), {}
    target = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]

    def apply(products, gain):
        for matrix, pre, post in products:
            key = matrix.weights().shape
            found[key] = found.get(key, 0) + gain * post.T @ pre / len(x)

    rule.train_step(network, x, target, apply)
    return found


def test_a_bias_adds_its_offset_over_the_nudge_and_exchange_turns_it(monkeypatch):
    contrast = loaded("contrast", monkeypatch)
    exact, wide = learnt(contrast.Imperfect(beta=0.1)), learnt(contrast.Imperfect(beta=0.1, bias=0.02, draw=3))
    strong = learnt(contrast.Imperfect(beta=0.4, bias=0.02, draw=3))
    offsets = {shape: wide[shape] - exact[shape] for shape in [(5, 6), (3, 5)]}
    drawn = np.concatenate([one.ravel() for one in offsets.values()])
    # 45 normal values: their standard deviation is within 4 of its own (1 / sqrt(90)) of bias / (2 beta), false alarms 6e-5.
    assert abs(drawn.std() / 0.1 - 1) < 4 / np.sqrt(90)
    other = learnt(contrast.Imperfect(beta=0.4))
    turned = learnt(contrast.Imperfect(beta=0.1, bias=0.02, draw=3, exchange=True, batch=1))
    for shape, offset in offsets.items():
        np.testing.assert_allclose(strong[shape] - other[shape], offset / 4, atol=1e-5)
        np.testing.assert_allclose(turned[shape] - exact[shape], -offset, atol=1e-5)


def test_noise_of_the_states_is_drawn_anew_in_every_batch_and_only_there(monkeypatch):
    contrast = loaded("contrast", monkeypatch)
    for made in (contrast.Imperfect, contrast.NoisyHolomorphicEP):
        first, again, later, exact = (
            learnt(made(noise=noise, batch=batch)) for noise, batch in [(0.1, 0), (0.1, 0), (0.1, 1), (0, 0)]
        )
        shape = (5, 6)
        np.testing.assert_array_equal(first[shape], again[shape])
        assert np.abs(first[shape] - later[shape]).max() > 1e-3
        assert np.abs(first[shape] - exact[shape]).max() > 1e-3
