"""Search for the default learning rates: every named rule on three substrates, by validation accuracy.

python experiments/defaults.py --out experiments/results/defaults.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import analogpc as apc
from analogpc.rules import named_rules
from analogpc.training.fit import begin

RATES = {"adamw": (3e-4, 1e-3, 3e-3, 1e-2), "sgd": (0.03, 0.1, 0.3, 1.0)}
SUBSTRATES = ("digital", "idealized", "reram-sb")


def one(rule: str, substrate: str, rate: float, seed: int, dataset: str, images: int, epochs: int, batch: int) -> dict:
    """Train without a stratified fifth of the training set, and evaluate on that fifth; the test set is not used."""
    kind = "adamw" if substrate == "digital" else "sgd"
    study = apc.Study(
        dataset=dataset,
        rule=rule,
        substrate=substrate,
        optimiser={"kind": kind, "learning_rate": rate},
        epochs=epochs,
        batch_size=batch,
        seed=seed,
        train_images=images,
        test_images=1,
        holdout=0.2,
        division="stratified",
    )
    data = apc.load_data(dataset)
    data = data.take(images or len(data.train_labels), 1)
    row = {"dataset": dataset, "rule": rule, "substrate": substrate, "rate": rate, "seed": seed, "epochs": epochs, "batch": batch}
    try:
        run = begin(study, data).train(data, progress=False)
    except ArithmeticError as error:
        return row | {"accuracy": 0.0, "error": str(error)}
    return row | {"accuracy": run.history["validation_accuracy"][-1], "seconds": sum(run.history["seconds"])}


def main() -> None:
    """Run the grid; append to the rows that are already in the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/defaults.json"))
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rules", nargs="*", default=list(named_rules()))
    parser.add_argument("--substrates", nargs="*", default=list(SUBSTRATES))
    given = parser.parse_args()
    rows = json.loads(given.out.read_text()) if given.out.exists() else []
    for substrate in given.substrates:
        for rule in given.rules:
            for rate in RATES["adamw" if substrate == "digital" else "sgd"]:
                for seed in range(given.seeds):
                    row = one(rule, substrate, rate, seed, given.dataset, given.images, given.epochs, given.batch)
                    rows.append(row)
                    print(row, flush=True)
                    given.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
