"""Memory of a training step of equilibrium propagation with intermediate signals, beside backpropagation through time.

    python experiments/intermediate_signals/memory.py [--width 0.125] [--batch 8] [--out OUT]

The published networks with the published numbers of free and nudged steps, at a fraction of the width, on random images. Backpropagation
through time covers all free steps. The memory is the peak of all arrays allocated during the step (tracemalloc), without weights and
optimiser. Writes OUT.md.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from tables import dated, markdown

from analogpc import BackpropThroughTime, Network
from analogpc._version import __version__
from analogpc.networks.crnn import hopfield_cnn
from analogpc.rules import Rule
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.intermediate import LocalError
from analogpc.rules.hopfield.signals import SignalsEP

NETWORKS = {"crnn-vgg7": (250, 50, (3, 5)), "crnn-vgg11": (400, 40, (2, 4, 6, 8)), "crnn-vgg13": (140, 50, (2, 4, 6, 8))}
"""Free steps, nudged steps and states with local errors (the paper counts convolutions from 0)."""
PUBLISHED = (
    "equilibrium propagation 869 to 1285 MB, local errors 895 to 1351 MB, backpropagation through time 13,726 to 25,954 MB"
)


def peak(network: Network, rule: Rule, batch: int) -> int:
    """Return the peak of a training step in bytes."""
    rng = np.random.default_rng(0)
    x = rng.random((batch, *network.input_shape), np.float32)
    target = np.eye(network.output_shape[0], dtype=np.float32)[rng.integers(0, network.output_shape[0], batch)]

    def learn(products, gain):
        for matrix, pre, post in products:
            matrix.learn([(pre, post)], 1e-9)

    rule.but(steps=1).train_step(network, x, target, learn)  # Compiles kernels, which would count otherwise.
    tracemalloc.start()
    rule.train_step(network, x, target, learn)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def main() -> None:
    """Measure every network and rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1 / 8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=0, help="free steps of every network; published by default")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "memory")
    chosen = parser.parse_args()
    rows = []
    for name in chosen.networks:
        free, nudged, heads = NETWORKS[name]
        free, nudged = (chosen.steps or free, min(chosen.steps or nudged, nudged))
        network = Network(hopfield_cnn(name, width=chosen.width, classes=100, steps=free, heads=heads))
        common = {"beta": 0.5, "steps": nudged, "output": "cross-entropy"}
        cases: dict[str, Rule] = {
            "plain": HopfieldEP(**common),
            "local errors": SignalsEP(signals=LocalError(), **common),
            "BPTT": BackpropThroughTime(steps=free, output="cross-entropy"),
        }
        found = {case: peak(network, rule, chosen.batch) for case, rule in cases.items()}
        weights = 4 * sum(int(np.prod(matrix.shape)) for matrix in network.matrices().values())
        shares = [f"{found[case] / found['plain']:.2f}" for case in ("local errors", "BPTT")]
        rows.append([name, f"{free}; {nudged}", *(f"{one / 2**20:.1f}" for one in (weights, *found.values())), *shares])
        print(*rows[-1], flush=True)
    lines = [
        "# Memory of a training step",
        "",
        f"Published networks at {chosen.width:g} of the width, {chosen.batch} images of 32 x 32 pixels, float32: peak of "
        f"all arrays of "
        f"one training step in MiB, apart from weights. Published, at full width on a GPU, batches of 128, everything "
        f"included: {PUBLISHED}.",
        "",
        *markdown(
            ["network", "steps", "weights", "plain EP", "local errors", "BPTT", "local errors / plain", "BPTT / plain"], rows
        ),
        "",
        dated(__version__, [0], "python experiments/intermediate_signals/memory.py"),
    ]
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
