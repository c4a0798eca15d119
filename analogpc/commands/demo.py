"""The demonstration: one predictive-coding network, trained twice on real images."""

from __future__ import annotations

import sys
from pathlib import Path

from analogpc.data import load_data
from analogpc.devices.substrate import Analog, Digital
from analogpc.files.atomic import check_writable, make_folder
from analogpc.kernels.gpu.arrays import Backend
from analogpc.networks.zoo import mlp
from analogpc.rules import named_rule
from analogpc.training.fit import fit
from analogpc.training.optimisers import SGD
from analogpc.training.run import Run
from analogpc.training.schedules import WarmupCosine


def run_demo(device: str, epochs: int, seed: int, folder: Path, backend: Backend = "cpu") -> list[Run]:
    """Train on the digits of scikit-learn, in ideal digital arithmetic and on crossbars of ``device``; save the latter as run.h5.

    Both runs share network, initial weights, rule, optimiser and order of samples: predictive coding with
    spiking precision and forward updates, plain SGD, and gains that compensate the loss of signal from layer to layer.
    """
    make_folder(folder)
    for name in ("run.h5", "demo.png"):
        check_writable(folder / name)
    data = load_data("digits")
    crossbar = mlp([64, 64, 64, 10], substrate=Analog(device=device), seed=seed)
    runs = []
    for network, file in ((crossbar.on(Digital()), None), (crossbar, folder / "run.h5")):
        print("ideal-digital:" if file is None else f"crossbars of {device}:", file=sys.stderr)
        run = fit(
            network,
            named_rule("s+f"),
            data,
            epochs=epochs,
            batch_size=32,
            seed=seed,
            optimiser=SGD(learning_rate=0.2, schedule=WarmupCosine()),
            checkpoint=file,
            backend=backend,
        )
        runs.append(run)
    return runs
