"""Conversion of runs to and from trees of arrays, numbers and TOML text. The layout is documented in ``docs/files.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

from analogpc.devices.state import StateError, real, text, whole
from analogpc.kernels.gpu import arrays
from analogpc.kernels.gpu.arrays import Backend, as_backend
from analogpc.networks.network import Network
from analogpc.training.callbacks import Callbacks
from analogpc.training.run import Run
from analogpc.training.run_checks import (
    checked_data,
    checked_environment,
    checked_history,
    checked_position,
    names_in,
    texts_in,
)
from analogpc.training.stopping import Best
from analogpc.training.study import Study

if TYPE_CHECKING:
    from analogpc.training.language import LanguageRun

KIND = "run"
_PARTS = {
    "study",
    "said",
    "data",
    "environment",
    "network",
    "optimiser",
    "position",
    "history",
    "callbacks",
    "metrics",
    "best",
    "ledger",
}


def save_run(run: Run, path: str | Path) -> None:
    """Write a run to ``path``; see `Run.save`."""
    from analogpc.files.storage import write_file  # HDF5 is imported where a file is written or read.

    write_file(path, KIND, tree_of(run))


def tree_of(run: Run) -> dict[str, Any]:
    """Return the tree for `rebuilt`, in main memory: arrays, numbers and strings."""
    here = run.position
    tree = {
        "study": run.study.to_toml(),
        "said": tomli_w.dumps(run.study.said()),
        "data": run.data.tree(),
        "environment": run.environment,
        "network": run.network.held(),
        "optimiser": run.optimiser_state(),
        "position": {
            "epoch": here.epoch,
            "batch": here.batch,
            "seen": here.seen,
            "correct": here.correct,
            "loss": here.loss,
            "energies": here.energies,
            "seconds": here.seconds,
            "meter": here.meter.as_dict(),
            "stopped_early": here.stopped_early,
            "stop_reason": here.stop_reason,
        },
        "ledger": run.ledger.state(),
        "history": {name: np.array(values) for name, values in run.history.items()},
        "callbacks": {"changed_by": json.dumps(run.changed_by), "states": run.callbacks.states()},
        "metrics": json.dumps(run.function_metrics()),
    }
    if run.best is not None:
        tree["best"] = {"epoch": run.best.epoch, "value": run.best.value, "network": run.best.network}
    return tree


def load_run(path: str | Path, backend: Backend = "cpu") -> Run:
    """Load a run from ``path`` onto a backend.

    Raises
    ------
    StorageError
        If the file is missing, damaged, of another kind, or not supported by this version.
    """
    from analogpc.files.storage import open_file

    if as_backend(backend) == "gpu":
        arrays.cupy()  # Check for a GPU before reading the file.
    with open_file(path, KIND) as tree:
        run = rebuilt(tree, backend, Path(path).stat().st_size)
    run.saved_in = Path(path)
    return run


def rebuilt(tree: dict[str, Any], backend: Backend, size: int = 2**40) -> Run:
    """Rebuild a run from the result of `tree_of` on a backend; ``size`` is the size of the file in bytes, if there is one."""
    if unknown := tree.keys() - _PARTS:
        raise StateError(f"{min(unknown)} is not expected in the file of a run")
    # Files of earlier versions do not record which fields were given, so all fields count as given.
    study = Study.recalled(text(tree["study"], "study"), text(tree.get("said", tree["study"]), "said"))
    specified = {"architecture": study.network, "substrate": study.substrate, "seed": study.network_seed}
    network = Network.from_snapshot(specified, tree["network"])
    layers = len(network.layers)
    run = Run(study, network.to(backend), checked_data(tree["data"], network))
    run.environment = checked_environment(tree["environment"])
    run.learner.restore(tree["optimiser"])
    run.position = checked_position(tree["position"], study, layers)
    run.ledger.restore(tree.get("ledger"), run.position.epoch)
    run.changed_by = names_in(tree["callbacks"]["changed_by"], "callbacks/changed_by")
    run.callbacks = Callbacks(kept=texts_in(tree["callbacks"]["states"], "callbacks/states"))
    run.missing_metrics = names_in(tree["metrics"], "metrics")
    if "best" in tree:
        epoch = whole(tree["best"]["epoch"], "best/epoch", 1, run.position.epoch)
        run.best = Best(epoch, real(tree["best"]["value"], "best/value"), network.fitted(tree["best"]["network"]))
    run.history = checked_history(tree["history"], run.position.epoch, layers, size)
    return run


def load_any(path: str | Path) -> Run | LanguageRun:
    """Load the run of a network or of a language model.

    Raises
    ------
    StorageError
        If the file cannot be used; the message gives the reason.
    """
    from analogpc.files.storage import read_header
    from analogpc.training.language import KIND as LANGUAGE
    from analogpc.training.language import LanguageRun

    return LanguageRun.load(path) if read_header(path)["kind"] == LANGUAGE else load_run(path)


def load(path: str | Path, *, backend: Backend = "cpu") -> Network:
    """Load the network of a saved run; for a language model, the network of the best evaluation.

    Use `Run.load`, or `LanguageRun.load`, to resume training; resuming is bit-identical.

    Parameters
    ----------
    path : path
        An HDF5 file written by `Run.save` or ``analogpc train``.
    backend : "cpu" or "gpu"
        Backend of the arrays.

    Raises
    ------
    StorageError
        If the file cannot be used; the message gives the reason.
    """
    from analogpc.files.storage import read_header
    from analogpc.training.language import KIND as LANGUAGE
    from analogpc.training.language import LanguageRun

    if read_header(path)["kind"] == LANGUAGE:
        return LanguageRun.load(path, backend=backend).speaking
    return load_run(path, backend).network
