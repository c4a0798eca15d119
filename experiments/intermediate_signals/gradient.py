"""Updates of equilibrium propagation with intermediate signals compared with the gradients of two losses.

    python experiments/intermediate_signals/gradient.py [--seeds 0 1 2] [--layers 6] [--epochs 2] [--steps 150] [--out OUT]

The networks and rules are those of signals.toml, before training and after some epochs by the rule itself. The cosine of the update of all
layers with the negative gradient of the augmented loss L + gamma sum L^n, and with that of the loss L at the output alone. Gradients are
those of recurrent backpropagation in float64, with the targets of the signals held fixed. "as trained" are the nudging and the numbers of
steps of the study; "converged" is beta = 0.01 with 150 steps in all phases. Writes OUT.md and OUT.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from tables import dated, markdown, plus_minus

from analogpc import AdamW, Backprop, Hopfield, Network, RecurrentBackprop, Study, fit, load_data
from analogpc._version import __version__
from analogpc.data import Dataset
from analogpc.dynamics.relaxation import output_error
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.signals import SignalsEP, Steady
from analogpc.rules.hopfield.teacher import Teacher

FOLDER = Path(__file__).parent
SAMPLES = 32
PLAIN = "plain"


def taught(data: Dataset, epochs: int) -> Teacher:
    """Train the teacher of the study."""
    fields = tomllib.loads((FOLDER / "teachers" / "digits.toml").read_text(encoding="utf-8"))
    study = Study.from_dict(fields)
    how = {"batch_size": study.batch_size, "optimiser": study.optimiser, "progress": False}
    return Teacher.of(fit(Network(study.network), Backprop(output="cross-entropy"), data, epochs=epochs, **how).network)


def rules(layers: int, teacher: Teacher) -> dict[str, HopfieldEP]:
    """Return the rules of the study by name, with gamma of its first epoch."""
    fields = tomllib.loads((FOLDER / "signals.toml").read_text(encoding="utf-8"))
    (pairs,) = [one["set"] for one in fields["exceptions"] if one["where"]["layers"] == str(layers)]
    found: dict[str, HopfieldEP] = {}
    for name, case in fields["axes"]["case"].items():
        rule = dict(case["rule"])
        if rule["kind"] == "hopfield-ep":
            found[name] = HopfieldEP.from_dict(rule)
        elif rule["kind"] == "hopfield-ep-signals":
            rule["gamma"] = {"kind": "constant", "start": rule["gamma"]["start"]}
            if "teacher" in rule["signals"]:
                numbers = {key.rpartition(".")[2]: value for key, value in pairs.items()}
                rule["signals"] = rule["signals"] | numbers | {"teacher": teacher}
            found[name] = SignalsEP.from_dict(rule)
    return found


def student(layers: int, seed: int, steps: int = 0) -> Network:
    """Build a network of the study in float64."""
    fields = tomllib.loads((FOLDER / "signals.toml").read_text(encoding="utf-8"))["axes"]["layers"][str(layers)]["network"]
    return Network(Hopfield.from_dict(fields | {"dtype": "float64", "steps": steps or fields["steps"]}), seed=seed)


def update(network: Network, rule: HopfieldEP, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the update of all layers (without the heads), as one vector."""
    learnt: dict[int, np.ndarray] = {}
    rule.train_step(network, x, target, lambda products, gain: collect(learnt, products, gain))
    return flat(network, learnt)


def gradient(network: Network, rule: HopfieldEP, x: np.ndarray, target: np.ndarray, steps: int) -> np.ndarray:
    """Return the negative gradient of the loss that the rule descends, at the free equilibrium, as one vector."""
    reference = RecurrentBackprop(steps=steps, output=rule.output)
    free, history = reference.begin(network, x, target)
    last = len(free.layers) - 1
    pulled = output_error(rule.output, target, free.output())
    adjoints = [np.zeros_like(state) for state in free.states[1:]]
    adjoints[-1] = free.send_back(last, pulled)
    if isinstance(rule, SignalsEP):
        assert isinstance(rule.gamma, Steady)
        for signal in rule.signals.of(network, free, target):
            adjoints[signal.number - 1] = adjoints[signal.number - 1] + signal.force(rule.gamma.start)(free)
    learnt: dict[int, np.ndarray] = {}
    for contribution in reference.increments(free, history, adjoints):
        for products in contribution:
            collect(learnt, products, 1.0)
    collect(learnt, free.layers[last].products(free.read(last)[1], pulled), 1.0)
    return flat(network, learnt)


def collect(learnt: dict[int, np.ndarray], products, gain: float) -> None:
    """Add the products of one layer."""
    for matrix, pre, post in products:
        learnt[id(matrix)] = learnt.get(id(matrix), 0.0) + gain * post.T @ pre


def flat(network: Network, learnt: dict[int, np.ndarray]) -> np.ndarray:
    """Return the parts of all layers, from the input on, as one vector."""
    matrices = [matrix for layer in network.layers for matrix in layer.matrices.values()]
    return np.concatenate([learnt[id(matrix)].ravel() for matrix in matrices])


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Return the cosine of the angle between two vectors."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def measure(network: Network, rule: HopfieldEP, x: np.ndarray, target: np.ndarray, steps: int) -> dict[str, float]:
    """Return the cosines of one network and rule; the phases of "converged" have ``steps`` steps."""
    exact = Network(network.architecture.but(steps=steps), seed=0)
    for name, matrix in exact.matrices().items():
        matrix.increment(network.matrices()[name].weights() - matrix.weights())
    plain = HopfieldEP(beta=rule.beta, steps=rule.steps, output=rule.output)
    augmented, alone = gradient(exact, rule, x, target, steps), gradient(exact, plain, x, target, steps)
    trained, converged = update(network, rule, x, target), update(exact, rule.but(beta=0.01, steps=steps), x, target)
    return {
        "augmented, as trained": cosine(trained, augmented),
        "loss, as trained": cosine(trained, alone),
        "augmented, converged": cosine(converged, augmented),
        "loss, converged": cosine(converged, alone),
    }


def table(rows: list[dict], chosen: argparse.Namespace, command: str) -> str:
    """Return the page."""
    measures = list(rows[0]["cosines"])
    lines = [
        "# Updates with intermediate signals and the gradient of the augmented loss",
        "",
        "Cosine of the update of all layers with the negative gradient of the augmented loss and with that of the loss at the output "
        f"alone, on {SAMPLES} images: mean over the seeds with half of its 95 % interval (Student's t), and lowest to highest.",
        "",
    ]
    body = []
    for layers in chosen.layers:
        for rule in dict.fromkeys(row["rule"] for row in rows):
            for when in ("before", "after"):
                group = [row["cosines"] for row in rows if (row["layers"], row["rule"], row["when"]) == (layers, rule, when)]
                cells = []
                for name in measures:
                    values = [one[name] for one in group]
                    cells.append(f"{plus_minus(values, '.4f')} ({min(values):.4f} to {max(values):.4f})")
                body.append([str(layers), rule, f"{when} training", *cells])
    return "\n".join(
        [*lines, *markdown(["layers", "rule", "when", *measures], body), "", dated(__version__, chosen.seeds, command), ""]
    )


def main() -> None:
    """Measure, train, measure again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--layers", type=int, nargs="+", default=[6])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--steps", type=int, default=150, help="steps of converged phases")
    parser.add_argument("--out", type=Path, default=FOLDER / "results" / "gradient")
    chosen = parser.parse_args()
    data = load_data("digits").take(chosen.images, 100)
    teacher = taught(data, 10 * chosen.epochs)
    x = data.inputs("test", np.arange(SAMPLES), dtype="float64")
    target = np.eye(10)[data.labels("test", np.arange(SAMPLES))]
    rows = []
    for layers in chosen.layers:
        for name, rule in rules(layers, teacher).items():
            for seed in chosen.seeds:
                network = student(layers, seed)
                how = {"batch_size": 32, "optimiser": AdamW(learning_rate=5e-3), "progress": False}
                run = fit(network, rule, data, epochs=chosen.epochs, seed=seed, **how)
                for when, one in (("before", student(layers, seed)), ("after", run.network)):
                    cosines = measure(one, rule, one.inputs(x), target, chosen.steps)
                    rows.append({"layers": layers, "rule": name, "seed": seed, "when": when, "cosines": cosines})
                print(f"{layers} layers, {name}, seed {seed}: {rows[-1]['cosines']}", flush=True)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    command = "python experiments/intermediate_signals/gradient.py"
    chosen.out.with_suffix(".md").write_text(table(rows, chosen, command), encoding="utf-8")


if __name__ == "__main__":
    main()
