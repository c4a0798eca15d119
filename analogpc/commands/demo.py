"""The demonstration: one predictive-coding network, trained twice on real images."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from analogpc.data import load_data
from analogpc.devices.substrate import Analog, Digital
from analogpc.files.atomic import check_writable, make_folder
from analogpc.kernels.compilers import KernelNotKeptError, only_kept_kernels
from analogpc.kernels.dispatchers import cached
from analogpc.kernels.gpu.arrays import Backend
from analogpc.networks.network import Network
from analogpc.networks.zoo import mlp
from analogpc.rules import named_rule
from analogpc.training.fit import fit
from analogpc.training.optimisers import SGD
from analogpc.training.run import Run
from analogpc.training.schedules import WarmupCosine

BATCH, RATE = 32, 0.2


def _network(device: str, seed: int) -> Network:
    return mlp([64, 64, 64, 10], substrate=Analog(device=device), seed=seed)


def compile_reads(device: str) -> None:
    """Read the crossbars of the demonstration once, so that the compiled kernels are in the cache."""
    rng = np.random.default_rng(0)
    for matrix in _network(device, 0).matrices().values():
        pre, post = (rng.normal(size=(BATCH, lines)).astype(np.float32) for lines in reversed(matrix.shape))
        matrix.forward(pre)
        matrix.backward(post)


def compile_updates(device: str) -> None:
    """Write the crossbars of the demonstration once, so that the compiled kernels are in the cache."""
    rng = np.random.default_rng(0)
    for matrix in _network(device, 0).matrices().values():
        pre, post = (rng.normal(size=(BATCH, lines)).astype(np.float32) for lines in reversed(matrix.shape))
        # Few pulses and many are applied by different kernels.
        for rate in (0.01 * RATE, RATE):
            matrix.learn([(pre, post)], rate / BATCH)


def _compiled_before(device: str) -> bool:
    """Return whether the cache has all kernels of the demonstration's crossbars; they are then loaded."""
    try:
        with only_kept_kernels():
            compile_reads(device)
            compile_updates(device)
    except KernelNotKeptError:
        return False
    return True


@contextmanager
def _compiling_beside(device: str, backend: Backend) -> Iterator[None]:
    """Compile the kernels of crossbars on the CPU in two other processes, if the cache lacks any; wait for them at the end.

    If one fails, the kernels are compiled where they are needed, as they would have been without it.
    """
    if backend != "cpu" or not cached() or (os.cpu_count() or 1) < 2 or _compiled_before(device):
        yield
        return
    # The same search path finds the same modules, beside which the kernels are kept; "-c" would begin it with the current folder.
    path = f"import sys; sys.path[:] = {sys.path!r}"
    processes = []
    try:
        for work in (compile_updates, compile_reads):
            code = f"{path}; from analogpc.commands.demo import {work.__name__} as work; work({device!r})"
            processes.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        yield
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_demo(device: str, epochs: int, seed: int, folder: Path, backend: Backend = "cpu") -> list[Run]:
    """Train on the digits of scikit-learn, in ideal digital arithmetic and on crossbars of ``device``; save the latter as run.h5.

    Both runs share network, initial weights, rule, optimiser and order of samples: predictive coding with
    spiking precision and forward updates, plain SGD, and gains that compensate the loss of signal from layer to layer.
    """
    make_folder(folder)
    for name in ("run.h5", "demo.png"):
        check_writable(folder / name)
    data = load_data("digits")
    crossbar = _network(device, seed)

    def trained(network: Network, checkpoint: Path | None) -> Run:
        return fit(
            network,
            named_rule("s+f"),
            data,
            epochs=epochs,
            batch_size=BATCH,
            seed=seed,
            optimiser=SGD(learning_rate=RATE, schedule=WarmupCosine()),
            checkpoint=checkpoint,
            backend=backend,
        )

    with _compiling_beside(device, backend):
        print("ideal-digital:", file=sys.stderr)
        digital = trained(crossbar.on(Digital()), None)
    print(f"crossbars of {device}:", file=sys.stderr)
    return [digital, trained(crossbar, folder / "run.h5")]
