"""The demonstration: one predictive-coding network, trained twice on real images."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from analogpc.data import load_data
from analogpc.devices.matrix import Matrix
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


def _vectors(device: str) -> Iterator[tuple[Matrix, np.ndarray, np.ndarray]]:
    """Yield the crossbars of the demonstration, each with vectors for both sides."""
    rng = np.random.default_rng(0)
    for matrix in _network(device, 0).matrices().values():
        pre, post = (rng.normal(size=(BATCH, lines)).astype(np.float32) for lines in reversed(matrix.shape))
        yield matrix, pre, post


def compile_reads(device: str) -> None:
    """Read the crossbars of the demonstration once, so that the compiled kernels are in the cache."""
    for matrix, pre, post in _vectors(device):
        matrix.forward(pre)
        matrix.backward(post)


def compile_updates(device: str, rate: float = RATE) -> None:
    """Write the crossbars of the demonstration once, so that the compiled kernels are in the cache."""
    for matrix, pre, post in _vectors(device):
        matrix.learn([(pre, post)], rate / BATCH)


def compile_sparse_updates(device: str) -> None:
    """Write them with so few pulses that other kernels apply these."""
    compile_updates(device, 0.003 * RATE)


def _compiled_before(device: str) -> bool:
    """Return whether the cache has all kernels of the demonstration's crossbars; they are then loaded."""
    try:
        with only_kept_kernels():
            for work in (compile_reads, compile_updates, compile_sparse_updates):
                work(device)
    except KernelNotKeptError:
        return False
    return True


@contextmanager
def _compiling_beside(device: str, backend: Backend) -> Iterator[Callable[[], None]]:
    """Compile the kernels of crossbars on the CPU in two other processes, if the cache lacks any; wait for them at the end.

    Yields what this process compiles after its other work, when the cache has what all updates need. If another process fails, its
    kernels are compiled where they are needed.
    """
    if backend != "cpu" or not cached() or (os.cpu_count() or 1) < 2 or _compiled_before(device):
        yield lambda: None
        return
    # The same search path finds the same modules, beside which the kernels are kept; "-c" would begin it with the current folder.
    path = f"import sys; sys.path[:] = {sys.path!r}"
    processes = []
    try:
        for work in (compile_updates, compile_reads):
            # The kernels are in the cache by then, and it takes half a second to release the memory of a compiler piece by piece.
            code = f"{path}; import os; from analogpc.commands import demo; demo.{work.__name__}({device!r}); os._exit(0)"
            processes.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        yield lambda: compile_sparse_updates(device)
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

    with _compiling_beside(device, backend) as compile_rest:
        print("ideal-digital:", file=sys.stderr)
        digital = trained(crossbar.on(Digital()), None)
        compile_rest()
        import analogpc.report.plots  # noqa: F401 # Matplotlib takes long to load; other processes may still compile.
    print(f"crossbars of {device}:", file=sys.stderr)
    return [digital, trained(crossbar, folder / "run.h5")]
