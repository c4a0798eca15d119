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
        monkeypatch.setattr(module, "BIASES", (0.01,))
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


IMAGES = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]


def learnt(rule, x=IMAGES, target=TARGETS):
    """Sums of the products that a rule learns from one batch, per sample, by layer."""
    network, found = Network(Hopfield(widths=(6, 5, 3), activation="steep_sigmoid"), apc.Digital(), seed=0), {}

    def apply(products, gain):
        for matrix, pre, post in products:
            key = matrix.weights().shape
            found[key] = found.get(key, 0) + gain * post.T @ pre / len(x)

    rule.train_step(network, x, target, apply)
    return found


def test_a_bias_adds_its_offset_over_the_nudge_and_exchange_turns_it(monkeypatch):
    contrast = loaded("imperfect_ep", monkeypatch)
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
    contrast = loaded("imperfect_ep", monkeypatch)
    for made in (contrast.Imperfect, contrast.NoisyHolomorphicEP):
        first, again, later, exact = (
            learnt(made(noise=noise, batch=batch)) for noise, batch in [(0.1, 0), (0.1, 0), (0.1, 1), (0, 0)]
        )
        shape = (5, 6)
        np.testing.assert_array_equal(first[shape], again[shape])
        assert np.abs(first[shape] - later[shape]).max() > 1e-3
        assert np.abs(first[shape] - exact[shape]).max() > 1e-3


def test_overclamping_learns_the_gradient_of_coupled_learning_and_a_bias_that_vanishes_with_the_error(monkeypatch):
    module = loaded("imperfect_ep", monkeypatch)
    coupled = learnt(module.Imperfect(beta=1e-3, nudging="positive", drive="clamp"))
    for distance in (1e-3, 3e-3):
        for shape, found in learnt(module.Overclamped(beta=distance)).items():
            np.testing.assert_allclose(found, coupled[shape], atol=0.02 * np.abs(coupled[shape]).max())
    bias, x = 0.02, np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    network = Network(Hopfield(widths=(6, 5, 3), activation="steep_sigmoid"), apc.Digital(), seed=0)
    free = network.architecture.free(network.layers, x, network.extras, []).output()
    for error in (0.5, 0.01):
        target, drawn = free + np.float32([error, 0, 0]), {}
        for size in (0.0, bias):
            drawn[size] = learnt(module.Overclamped(beta=2.0, bias=size, draw=3), x, target)
        offset = np.concatenate([(drawn[bias][shape] - drawn[0.0][shape]).ravel() for shape in [(5, 6), (3, 5)]])
        # As above: 45 normal values with a standard deviation of bias * error / distance.
        assert abs(offset.std() / (bias * error / 2) - 1) < 4 / np.sqrt(90)


def test_verdicts_of_an_assessment_and_of_the_atlas_are_compared_by_their_intervals(monkeypatch):
    agreement = loaded("agreement", monkeypatch)
    atlas = agreement.atlas(EXPERIMENTS / "results" / "atlas.csv")
    found = json.loads((EXPERIMENTS / "results" / "assess-reram-sb" / "assessment.json").read_text(encoding="utf-8"))
    mine = agreement.assessment(found)
    for one in found["learning"]:
        cell = mine[one["rule"], one["scheme"]]
        assert (cell.relative.mean, cell.verdict) == (pytest.approx(one["relative"]["mean"]), one["verdict"])
        assert cell.verdicts >= {one["verdict"], *one["allowed"]}
        assert ("reram-sb", one["rule"], one["scheme"]) in atlas
    wide = agreement.Cell(agreement.Interval(0.9, 0.7, 1.1), 0.9)
    assert wide.verdicts == {"does not learn", "learns in part", "learns"}
    text = "\n".join(agreement.page([found], atlas))
    assert text.count("\n| ") == len(mine) + 3
