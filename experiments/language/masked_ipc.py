"""Find out why masked models do not learn by incremental PC: a small model with one change at a time.

    python experiments/language/masked_ipc.py --data-dir DIR --out masked_ipc.json [--batches 800] [--only NAME] [--toy]

DIR is as for ``table.py``. One block, 32 features, War and Peace, 64 sentences per batch; other settings as in ``table.py``. After every
eighth of the batches the feed-forward perplexity of 300 validation sentences is measured; test data are not used. Variants that are
already in the file are skipped.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from table import text

from analogpc.blocks import Product
from analogpc.data.text import TextData
from analogpc.dynamics.node_relaxation import SweepRelaxation
from analogpc.files.atomic import replace_file
from analogpc.kernels.random.streams import Key, permutation
from analogpc.networks.network import Network
from analogpc.networks.transformer import Task, Transformer
from analogpc.training.optimisers import AdamW, Learner
from analogpc.training.perplexity import perplexity

BATCH_SIZE, EVALUATIONS, EVALUATE_ON = 64, 8, 300


@dataclass(frozen=True)
class Variant:
    """A variant of incremental PC with T = 4 sweeps and steps of 0.1.

    Attributes
    ----------
    name : str
    task : Task
    nodes : bool
        Whether nodes hold states; if not, the rule is backpropagation.
    sweeps : int
        Sweeps per batch; for backpropagation, updates per batch.
    step_size : float
        Step size of the states.
    first : int
        First sweep in which weights learn; ``sweeps`` gives PC, whose weights learn once.
    feed_forward : bool
        Weights learn from the errors of the moved states and the inputs of the feed-forward pass, so that they cannot learn to
        decode the targets from the states.
    share : float
        Fraction of the targets of a conditional batch that are kept.
    network : dict
        Additional fields of the network.
    """

    name: str
    task: Task = "masked"
    nodes: bool = True
    sweeps: int = 4
    step_size: float = 0.1
    first: int = 1
    feed_forward: bool = False
    share: float = 1.0
    rate: float = 0.003
    network: tuple[tuple[str, Any], ...] = ()


SLOW = 0.00075
"""A quarter of the usual learning rate, for four updates per batch."""

VARIANTS = (
    Variant("masked, BP", nodes=False, sweeps=1),
    Variant("masked, iPC"),
    Variant("masked, iPC, inputs of the feed-forward pass", feed_forward=True),
    Variant("masked, BP, four updates from each batch", nodes=False),
    Variant("masked, BP, four updates, a fourth of the rate", nodes=False, rate=SLOW),
    Variant("masked, iPC, a fourth of the rate", rate=SLOW),
    Variant("masked, iPC, feed-forward inputs, a fourth of the rate", feed_forward=True, rate=SLOW),
    Variant("masked, PC, T = 4", first=4),
    Variant("masked, PC, T = 8, steps of 0.03125", sweeps=8, step_size=0.03125, first=8),
    Variant("masked, iPC, T = 8, steps of 0.03125, an eighth of the rate", sweeps=8, step_size=0.03125, rate=SLOW / 2),
    Variant("masked, PC, T = 8, steps of 0.03125, feed-forward inputs", sweeps=8, step_size=0.03125, first=8, feed_forward=True),
    Variant("conditional, BP, 15 % of the targets", "conditional", nodes=False, sweeps=1, share=0.15),
    Variant("conditional, iPC, 15 % of the targets", "conditional", share=0.15),
    Variant("conditional, iPC", "conditional"),
    Variant("masked, iPC, steps of 0.01", step_size=0.01),
    Variant("masked, iPC, squared errors on scores", network=(("score_energy", "squared-error"),)),
    Variant("masked, iPC, T = 8, states of the residual stream", sweeps=8, network=(("nodes", "residual"),)),
    Variant("masked, iPC, no LayerNorm", network=(("layer_norm", False),)),
)

Apply = Callable[[Iterable[Product], float], None]


def teach(variant: Variant, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> float:
    """Train on one batch; return the loss per target at the output in the last sweep."""
    given: dict[int, np.ndarray] = {}
    if variant.feed_forward:
        plain = SweepRelaxation(network, x, target, cut=False)
        plain.differentiate()
        plain.learn(lambda products, gain: given.update({id(matrix): pre for matrix, pre, _ in products}))
    relaxation = SweepRelaxation(network, x, target, cut=variant.nodes)
    for sweep in range(1, variant.sweeps + 1):
        relaxation.differentiate()
        paid = float(relaxation.energies()[-1])
        if variant.nodes:
            relaxation.descend(variant.step_size)
        if sweep >= variant.first:
            relaxation.learn(lambda products, gain: apply(((m, given.get(id(m), pre), post) for m, pre, post in products), gain))
    return paid


def compute(variant: Variant, data: TextData, batches: int) -> dict[str, Any]:
    """Train, and return the validation perplexities measured during training."""
    fields: dict[str, Any] = {"features": 32, "hidden": 64, "blocks": 1, **dict(variant.network)}
    network = Network(Transformer(vocabulary=data.vocabulary, positions=data.positions, task=variant.task, **fields), seed=0)
    learner = Learner(AdamW(learning_rate=variant.rate, weight_decay=0.01), network.matrices())
    rng, order = np.random.default_rng(0), permutation(Key(0).fold("shuffle"), 0, len(data.train))
    record: dict[str, list[float]] = {"batch": [], "train_perplexity": [], "validation_perplexity": []}
    paid, began = [], time.process_time()
    for batch in range(batches):
        indices = np.take(order, np.arange(batch * BATCH_SIZE, (batch + 1) * BATCH_SIZE), mode="wrap")
        ids, target = data.batch("train", indices, variant.task, Key(0).fold("masks"), batch)
        target[rng.random(len(target)) >= variant.share, 1] = -1
        count = int((target[:, 1] >= 0).sum())

        def apply(products: Iterable[Product], gain: float, count: int = count) -> None:
            learner.learn(products, variant.rate, count, gain)

        paid.append(teach(variant, network, network.inputs(ids), target, apply))
        if (batch + 1) % max(1, batches // EVALUATIONS) == 0:
            record["batch"].append(batch + 1)
            record["train_perplexity"].append(math.exp(min(700.0, float(np.mean(paid)))))
            record["validation_perplexity"].append(perplexity(network, data, "validation", instances=EVALUATE_ON).value)
            paid = []
    return {**record, "processor_seconds": time.process_time() - began}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("masked_ipc.json"))
    parser.add_argument("--batches", type=int, default=800)
    parser.add_argument("--only", default="")
    parser.add_argument("--toy", action="store_true", help="use a very small text, to test the script")
    chosen = parser.parse_args(arguments)
    data = text(chosen.data_dir, chosen.toy)
    found: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    for variant in VARIANTS:
        if chosen.only not in variant.name or variant.name in found:
            continue
        found[variant.name] = compute(variant, data, chosen.batches)
        replace_file(chosen.out, (json.dumps(found, indent=1) + "\n").encode())
        values = " ".join(f"{value:.0f}" for value in found[variant.name]["validation_perplexity"])
        print(f"{variant.name}: {values}; training {found[variant.name]['train_perplexity'][-1]:.0f}", flush=True)


if __name__ == "__main__":
    main()
