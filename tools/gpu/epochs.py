"""Seconds per epoch of VGG5, VGG7, VGG10 and VGG15, with PC and with S+F, beside the published ones and beside PCX.

    python tools/gpu/epochs.py [--networks vgg5 vgg7] [--backend gpu] [--slice 40] [--slices 7] [--whole-epochs 0]
        [--data-dir DIR] [--pcx PYTHON] [--pcx-path DIR] [--out epochs.json]

Batch 128, T as published (the number of layers), GELU, AdamW, the augmentation of the data set, the arithmetic of the backend as it is by
default. Slices of batches are timed after one that warms up, and the median time of a batch is multiplied by the batches of an
epoch; evaluation is left out, as in the published figures. With ``--whole-epochs`` so many epochs are timed instead, after one that
warms up. The data are those of the published figures, or else random images of the same shapes and number, since speed does not
depend on their values.

Published: Qi et al., arXiv 2506.23800, Table 6 (an H100; VGG5 and VGG7 on CIFAR-10, VGG10 on CIFAR-100, VGG15 on Tiny ImageNet).
``--pcx`` names a Python in whose environment PCX is installed (see pcx_epochs.py); it has PC and no precisions, so no S+F. It gets
its images ready-made, we cut and mirror ours.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from queue_machine import described, without_places

from analogpc.data import Dataset, load_data
from analogpc.data.augmentation import Augmentation
from analogpc.data.files import in_folder
from analogpc.data.sources import SOURCES
from analogpc.kernels.gpu import arrays as gpu
from analogpc.networks import VGG
from analogpc.rules import PredictiveCoding
from analogpc.training.fit import begin
from analogpc.training.run import Run
from analogpc.training.study import Study

BATCH = 128
TEST_IMAGES = 256
"""Of random data; evaluation is not timed."""


@dataclass(frozen=True)
class Case:
    """A network, the data of its published figures, and these figures.

    Attributes
    ----------
    depth : int
    dataset : str
    shape : (int, int, int)
    classes, images : int
    crop_padding : int
        Of the augmentation.
    published : dict of float
        Seconds per epoch on an H100, by rule.
    """

    depth: int
    dataset: str
    shape: tuple[int, int, int]
    classes: int
    images: int
    crop_padding: int
    published: dict[str, float]


CASES = {
    "vgg5": Case(5, "cifar10", (32, 32, 3), 10, 50_000, 4, {"pc": 2.59, "s+f": 2.37}),
    "vgg7": Case(7, "cifar10", (32, 32, 3), 10, 50_000, 4, {"pc": 3.75, "s+f": 3.58}),
    "vgg10": Case(10, "cifar100", (32, 32, 3), 100, 50_000, 4, {"pc": 10.38, "s+f": 10.88}),
    "vgg15": Case(15, "tiny-imagenet", (64, 64, 3), 200, 100_000, 8, {"pc": 79.61, "s+f": 77.58}),
}
# The relaxations of vgg5-pc and vgg5-sf in QUEUE.md; how fast they are does not depend on the numbers, but for T.
RULES: dict[str, dict[str, Any]] = {
    "pc": {"step_size": 0.0235, "momentum": 0.3},
    "s+f": {"step_size": 0.8, "momentum": 0.1, "nesterov": True, "precision": "spiking", "update": "forward"},
}


def data_for(case: Case, images: int, data_dir: Path | None) -> tuple[Dataset, str]:
    """The published images, or random ones; and which."""
    place = data_dir or (Path(os.environ["ANALOGPC_DATA"]) if "ANALOGPC_DATA" in os.environ else None)
    if place is not None and images == case.images and case.dataset in SOURCES and in_folder(SOURCES[case.dataset], place):
        return load_data(case.dataset, data_dir=place), "published"
    generator = np.random.default_rng(0)

    def some(count: int) -> np.ndarray:
        size = (count, *case.shape)
        return np.frombuffer(generator.bytes(math.prod(size)), np.uint8).reshape(size)

    return Dataset(
        case.dataset,
        some(images),
        generator.integers(0, case.classes, images),
        some(TEST_IMAGES),
        generator.integers(0, case.classes, TEST_IMAGES),
        classes=tuple(map(str, range(case.classes))),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        augmentation=Augmentation(crop_padding=case.crop_padding, flip=True),
    ), "random"


def network_of(case: Case, width: float) -> VGG:
    """The network, its channels times ``width``."""
    return VGG(depth=case.depth, input_shape=case.shape, classes=case.classes, activation="gelu", width=width)


def begun(case: Case, rule: str, data: Dataset, backend: gpu.Backend, width: float) -> Run:
    """A run at its beginning."""
    study = Study(
        dataset=data.name,
        network=network_of(case, width),
        rule=PredictiveCoding(steps=case.depth, **RULES[rule]),
        optimiser={"kind": "adamw"},
        batch_size=BATCH,
        epochs=10_000,
    )
    return begin(study, data, backend=backend)


def timed(run: Run, data: Dataset, batches: int) -> float:
    """Seconds that the given number of batches take; `Run.train` ends when a GPU has done all of it."""
    start = time.perf_counter()
    run.train(data, batches=batches, progress=False)
    return time.perf_counter() - start


def measured(run: Run, data: Dataset, chosen: argparse.Namespace) -> dict[str, Any]:
    """Seconds per batch and per epoch."""
    per_epoch = math.ceil(len(data.train_labels) / BATCH)
    if chosen.whole_epochs:
        # The last batch closes the epoch with an evaluation, which is not what is timed.
        seconds = []
        for _ in range(chosen.whole_epochs + 1):
            seconds.append(timed(run, data, per_epoch - 1) * per_epoch / (per_epoch - 1))
            run.train(data, batches=1, progress=False)
        times = np.array(seconds[1:]) / per_epoch
    else:
        if (chosen.slices + 1) * chosen.slice >= per_epoch:
            raise ValueError(
                f"--slice {chosen.slice} and --slices {chosen.slices} do not fit: with one more to warm up they must stay within the "
                f"{per_epoch} batches of an epoch"
            )
        times = np.array([timed(run, data, chosen.slice) / chosen.slice for _ in range(chosen.slices + 1)][1:])
    low, middle, high = np.quantile(times, (0.25, 0.5, 0.75))
    found = {
        "seconds_per_batch": float(middle),
        "quartiles": [float(low), float(high)],
        "batches_per_epoch": per_epoch,
        "seconds_per_epoch": float(middle) * per_epoch,
        "how": f"{chosen.whole_epochs} whole epochs"
        if chosen.whole_epochs
        else f"median of {chosen.slices} slices of {chosen.slice} batches, times the batches of an epoch",
    }
    if chosen.backend == "gpu":
        free, total = gpu.cupy().cuda.runtime.memGetInfo()
        found["gpu_bytes_in_use"] = int(total - free)
        gpu.cupy().get_default_memory_pool().free_all_blocks()
    return found


def pcx_times(case: Case, chosen: argparse.Namespace) -> dict[str, Any]:
    """What PCX takes for the same network, with PC, in its own process; see pcx_epochs.py. Its loaders drop the last, smaller batch."""
    network = network_of(case, chosen.width)
    asked = {
        "shape": case.shape,
        "classes": case.classes,
        "stages": [[stage.channels, stage.padding, stage.pooled] for stage in network.stages()],
        "hidden": network.hidden(),
        "steps": case.depth,
        "batch": BATCH,
        "slice": chosen.slice,
        "slices": chosen.slices,
        **RULES["pc"],
    }
    command = [str(chosen.pcx), str(Path(__file__).with_name("pcx_epochs.py"))]
    # Otherwise JAX would take most of the memory of the GPU.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONPATH": chosen.pcx_path}
    try:
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False, env=environment)
    except OSError as error:
        return {"failed": f"it cannot be started: {error.strerror}"}
    if done.returncode != 0:
        return {"failed": without_places((done.stderr.strip().splitlines() or ["no message"])[-1])}
    answer = json.loads(done.stdout.splitlines()[-1])
    seconds = float(np.median(answer["seconds_per_batch"]))
    return {"seconds_per_batch": seconds, "seconds_per_epoch": seconds * (case.images // BATCH), **answer["versions"]}


def row_of(name: str, rule: str, data: Dataset, which: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything about one network with one rule."""
    case = CASES[name]
    row = {
        "network": name,
        "rule": rule,
        "steps": case.depth,
        "batch": BATCH,
        "shape": case.shape,
        "images": len(data.train_labels),
    }
    row |= {"data": which, **measured(begun(case, rule, data, chosen.backend, chosen.width), data, chosen)}
    if chosen.width == 1 and len(data.train_labels) == case.images:
        row["published_h100_seconds"] = case.published[rule]
        row["of_published"] = row["seconds_per_epoch"] / case.published[rule]
    if rule == "pc" and chosen.pcx is not None:
        row["pcx"] = pcx = pcx_times(case, chosen)
        if "failed" not in pcx:
            row["of_pcx"] = row["seconds_per_batch"] / pcx["seconds_per_batch"]
    return row


def run(chosen: argparse.Namespace) -> None:
    """Measure, print, and write after every network."""
    record: dict[str, Any] = {"machine": described(chosen.backend), "width": chosen.width, "results": []}
    for name in chosen.networks:
        case = CASES[name]
        data, which = data_for(case, chosen.images or case.images, chosen.data_dir)
        for rule in RULES:
            row = row_of(name, rule, data, which, chosen)
            record["results"].append(row)
            beside = [
                f"{row[key]:.2f} of {what}" for key, what in (("of_published", "published"), ("of_pcx", "PCX")) if key in row
            ]
            beside += [f"PCX failed: {row['pcx']['failed']}"] if "failed" in row.get("pcx", {}) else []
            print(f"{name} {rule}: {row['seconds_per_epoch']:.3g} s per epoch", *beside, sep=", ", flush=True)
            if chosen.out is not None:
                chosen.out.parent.mkdir(parents=True, exist_ok=True)
                chosen.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 1 with a sentence on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--backend", choices=("cpu", "gpu"), default="gpu")
    parser.add_argument("--slice", type=int, default=40, help="batches that are timed together")
    parser.add_argument("--slices", type=int, default=7)
    parser.add_argument("--whole-epochs", type=int, default=0, help="time so many whole epochs instead")
    parser.add_argument("--images", type=int, default=0, help="training images, for trials; as published if not given")
    parser.add_argument("--width", type=float, default=1.0, help="factor on the channels, for trials")
    parser.add_argument("--data-dir", type=Path)
    pcx, path = os.environ.get("ANALOGPC_PCX"), os.environ.get("ANALOGPC_PCX_PATH", "")
    parser.add_argument(
        "--pcx", type=Path, default=pcx, help="a Python in whose environment PCX is installed; else $ANALOGPC_PCX"
    )
    parser.add_argument("--pcx-path", default=path, help="its PYTHONPATH; else $ANALOGPC_PCX_PATH")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        run(chosen)
    except (ValueError, OSError, gpu.GpuError) as error:
        print(f"epochs: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
