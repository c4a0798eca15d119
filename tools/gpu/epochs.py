"""Seconds per epoch of VGG5, VGG7, VGG10 and VGG15 with PC and S+F, compared with published times and with PCX.

    python tools/gpu/epochs.py [--networks vgg5 vgg7] [--backend gpu] [--slice 40] [--slices 7] [--whole-epochs 0]
        [--data-dir DIR] [--pcx PYTHON] [--pcx-path DIR] [--out epochs.json]

Batch 128, T as published (the number of layers), GELU, AdamW, the augmentation of the data set, the default precision of the backend.
Slices of batches are timed after a warm-up slice, and the median time of a batch is multiplied by the number of batches per epoch;
evaluation is not included, as in the published figures. ``--whole-epochs`` times the given number of epochs instead, after a warm-up
epoch. The data are those of the published figures, or random images of the same shape and number if they are missing; the speed does
not depend on the values.

Published: Qi et al., arXiv 2506.23800, Table 6 (an H100; VGG5 and VGG7 on CIFAR-10, VGG10 on CIFAR-100, VGG15 on Tiny ImageNet).
``--pcx`` is a Python interpreter with PCX installed (see pcx_epochs.py); PCX supports PC but no precisions, so no S+F. It receives
prepared images, whereas analogpc also crops and flips its images.
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
"""Number of test images of random data; evaluation is not timed."""


@dataclass(frozen=True)
class Case:
    """A network with its published data set and times.

    Attributes
    ----------
    depth : int
    dataset : str
    shape : (int, int, int)
    classes, images : int
    crop_padding : int
        Padding of the random crops, in pixels.
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
# The relaxations of vgg5-pc and vgg5-sf in QUEUE.md; among their numbers only T affects the speed.
RULES: dict[str, dict[str, Any]] = {
    "pc": {"step_size": 0.0235, "momentum": 0.3},
    "s+f": {"step_size": 0.8, "momentum": 0.1, "nesterov": True, "precision": "spiking", "update": "forward"},
}


def data_for(case: Case, images: int, data_dir: Path | None) -> tuple[Dataset, str]:
    """Return the published images or random images, and their name."""
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
    """Build the network, with its channels multiplied by ``width``."""
    return VGG(depth=case.depth, input_shape=case.shape, classes=case.classes, activation="gelu", width=width)


def begun(case: Case, rule: str, data: Dataset, backend: gpu.Backend, width: float) -> Run:
    """Create a run before its first batch."""
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
    """Time the given number of batches in seconds; `Run.train` returns only after the GPU has finished."""
    start = time.perf_counter()
    run.train(data, batches=batches, progress=False)
    return time.perf_counter() - start


def measured(run: Run, data: Dataset, chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the seconds per batch and per epoch."""
    per_epoch = math.ceil(len(data.train_labels) / BATCH)
    if chosen.whole_epochs:
        # The last batch ends the epoch with an evaluation, which is not timed.
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
    """Time PCX on the same network with PC, in a separate process; see pcx_epochs.py. Its loaders drop the last, smaller batch."""
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
    # Otherwise JAX would allocate most of the GPU memory.
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
    """Return all measurements of one network with one rule."""
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
    """Measure and print; write the results after every network."""
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
    """Run the command line; return 0, or 1 with an error message on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--backend", choices=("cpu", "gpu"), default="gpu")
    parser.add_argument("--slice", type=int, default=40, help="number of batches per timed slice")
    parser.add_argument("--slices", type=int, default=7)
    parser.add_argument("--whole-epochs", type=int, default=0, help="time the given number of whole epochs instead")
    parser.add_argument("--images", type=int, default=0, help="number of training images, for tests (default: as published)")
    parser.add_argument("--width", type=float, default=1.0, help="factor on the channels, for tests")
    parser.add_argument("--data-dir", type=Path)
    pcx, path = os.environ.get("ANALOGPC_PCX"), os.environ.get("ANALOGPC_PCX_PATH", "")
    parser.add_argument("--pcx", type=Path, default=pcx, help="Python interpreter with PCX installed (default: $ANALOGPC_PCX)")
    parser.add_argument("--pcx-path", default=path, help="PYTHONPATH for PCX (default: $ANALOGPC_PCX_PATH)")
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
