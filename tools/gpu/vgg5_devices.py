"""VGG5 on CIFAR-10 with S+F, digital and trained in place with stochastic pulses on simulated devices.

    python tools/gpu/vgg5_devices.py [--substrates idealized digital reram-sb] [--backend gpu] [--epochs 5] [--minutes 9]
        [--width 1.0] [--data-dir DIR] [--out devices.json]

The learning rate of every substrate is the one of `RATES` with the best accuracy on held-out images after one epoch on a part of the
training images; the network is then trained with it on all of them, and tested once, at the end. Substrates that the time does not
suffice for are left out or, if begun, are recorded as unfinished.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from epochs import BATCH, CASES, RULES, network_of
from queue_machine import described
from queue_training import pulses_per_weight

from analogpc.data import Dataset, load_data
from analogpc.kernels.gpu.arrays import Backend
from analogpc.rules import PredictiveCoding
from analogpc.training.fit import begin
from analogpc.training.run import DivergenceError
from analogpc.training.study import Study

RATES = (0.05, 0.1, 0.2, 0.4, 0.8)
SEARCH_IMAGES, HOLDOUT = 16_000, 0.2
HEADROOM = 8.0
SLICE = 20


def study_of(substrate: str, rate: float, epochs: int, width: float, images: int, holdout: float) -> Study:
    """Return the study of a substrate, a preset or "digital"."""
    case = CASES["vgg5"]
    analog = {"kind": "analog", "device": substrate, "rows": 512, "columns": 512, "mapping": {"headroom": HEADROOM}}
    return Study(
        dataset=case.dataset,
        network=network_of(case, width),
        rule=PredictiveCoding(steps=case.depth, **RULES["s+f"]),
        substrate={"kind": "digital"} if substrate == "digital" else analog,
        optimiser={"kind": "sgd", "learning_rate": rate, "schedule": {"kind": "warmup-cosine"}},
        batch_size=BATCH,
        epochs=epochs,
        train_images=images,
        holdout=holdout,
    )


def trained(study: Study, data: Dataset, backend: Backend, end: float) -> dict[str, Any]:
    """Train until the end of the study or of the time (`time.perf_counter`), and return the record of the run."""
    run, diverged, started = begin(study, data, backend=backend), "", time.perf_counter()
    try:
        while not run.finished and time.perf_counter() < end:
            run.train(data, batches=SLICE, progress=False)
    except DivergenceError as error:
        diverged = str(error).partition(";")[0]
    return {
        "study": study.to_toml(),
        "finished": run.finished,
        "diverged": diverged,
        "seconds": time.perf_counter() - started,
        "pulses_per_weight": pulses_per_weight(run),
        "history": run.history,
    }


def of_substrate(substrate: str, data: Dataset, chosen: argparse.Namespace, end: float) -> dict[str, Any]:
    """Choose the rate on held-out images, and train with it."""
    search: dict[str, float] = {}
    for rate in RATES:
        study = study_of(substrate, rate, 1, chosen.width, min(SEARCH_IMAGES, len(data.train_labels)), HOLDOUT)
        record = trained(study, data, chosen.backend, end)
        if not record["finished"] and not record["diverged"]:
            return {"search": search, "finished": False}
        search[f"{rate:g}"] = 0.0 if record["diverged"] else record["history"]["validation_accuracy"][-1]
        print(f"{substrate}, rate {rate:g}: {search[f'{rate:g}']:.2%} on held-out images, {record['seconds']:.1f} s", flush=True)
    rate = max(RATES, key=lambda value: search[f"{value:g}"])
    record = trained(study_of(substrate, rate, chosen.epochs, chosen.width, 0, 0.0), data, chosen.backend, end)
    accuracies = ", ".join(f"{value:.2%}" for value in record["history"].get("test_accuracy", []))
    print(f"{substrate}, rate {rate:g}, {record['seconds']:.0f} s, test accuracy by epoch: {accuracies}", flush=True)
    return {"search": search, "rate": rate, **record}


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--substrates", nargs="+", default=["idealized", "digital", "reram-sb"])
    parser.add_argument("--backend", choices=["cpu", "gpu"], default="gpu")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=0, help="number of training images; 0: all")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("devices.json"))
    chosen = parser.parse_args()
    end = time.perf_counter() + 60 * chosen.minutes
    data = load_data("cifar10", data_dir=chosen.data_dir)
    data = data.take(chosen.images, 512) if chosen.images else data
    record: dict[str, Any] = {"machine": described(chosen.backend), "width": chosen.width, "substrates": {}}
    for substrate in chosen.substrates:
        record["substrates"][substrate] = of_substrate(substrate, data, chosen, end)
        chosen.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
