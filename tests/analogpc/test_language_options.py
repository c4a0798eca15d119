"""Options of the training of language models: lazy rows of the embedding, and the warning about a growing energy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from token_networks import small_text, tokens, transformer

import analogpc as apc
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.random.streams import Key
from analogpc.rules import Backprop, IncrementalPC, PredictiveCoding
from analogpc.training.energy_growth import EnergyWarning, energy_growth
from analogpc.training.language_fit import fit_text
from analogpc.training.optimisers import AdamW, Learner
from analogpc.training.step import TrainingStep


def taught(network, lazy, batches):
    """Train a copy of a network; return the embedding table before and after, and its moments."""
    network = network.copy()
    matrices = network.matrices()
    learner = Learner(AdamW(learning_rate=0.1, weight_decay=0.1, lazy=lazy), matrices)
    step, before = TrainingStep(network, learner), to_host(matrices["layer1.0.weight"].weights())
    for seed in batches:
        x, target = tokens(seed)
        step.learn(Backprop(output="cross-entropy"), network.brought(x), network.brought(target), 0.1)
    memory = {name: to_host(kept) for name, kept in learner.memory["layer1.0.weight"].items()}
    return before, to_host(matrices["layer1.0.weight"].weights()), memory


def test_lazy_rows_change_only_with_their_token(everywhere):
    network = transformer(dtype="float32").to("cpu" if everywhere is np else "gpu")
    ids = np.unique(tokens(0)[0])
    unseen = np.setdiff1d(np.arange(12), ids)
    assert unseen.size
    before, lazy, memory = taught(network, True, (0,))
    _, usual, _ = taught(network, False, (0,))
    np.testing.assert_array_equal(lazy[:, ids], usual[:, ids])
    np.testing.assert_array_equal(lazy[:, unseen], before[:, unseen])
    assert (usual[:, unseen] != before[:, unseen]).all()
    assert not memory["mean"][:, unseen].any()
    assert memory["mean"][:, ids].any()
    # The third batch has other tokens than the first; rows of the first alone keep what they had after it.
    other = np.setdiff1d(ids, np.unique(tokens(5)[0]))
    _, after, _ = taught(network, True, (0, 5))
    np.testing.assert_array_equal(after[:, other], lazy[:, other])


def test_the_energy_grows_if_and_only_if_the_steps_are_too_large():
    network, (x, target) = transformer(nodes="nonlinear"), tokens()
    grown = [
        energy_growth(network, IncrementalPC(steps=8, step_size=size, output="cross-entropy"), x, target, Key(0))
        for size in (0.01, 20.0)
    ]
    assert grown[0] < 1 < grown[1]
    assert energy_growth(network, Backprop(output="cross-entropy"), x, target, Key(0)) is None
    assert sum(matrix.meter.forward_reads for matrix in network.matrices().values()) == 0


@pytest.mark.parametrize("size", [0.01, 20.0])
def test_training_warns_once_if_the_energy_grows(size):
    small = {"positions": 8, "features": 8, "hidden": 8, "blocks": 1}
    network, rule = apc.transformer(40, **small), PredictiveCoding(steps=4, step_size=size, output="cross-entropy")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = fit_text(network, rule, small_text(), batches=2, evaluate_every=1, batch_size=4)
    told = [str(one.message) for one in caught if one.category is EnergyWarning]
    assert len(run.history["energy_growth"]) == 2
    assert len(told) == (size > 1)
    assert all("use a smaller rule.step_size" in one for one in told)
