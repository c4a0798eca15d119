"""Runs in files: what a run holds as a tree of arrays, numbers and TOML text, and back. The layout is told in ``docs/files.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from analogpc.data import DataDescription
from analogpc.devices.costs.meter import Meter
from analogpc.files.storage import StorageError, read_file, write_file
from analogpc.kernels.gpu.arrays import Backend
from analogpc.networks.network import Network
from analogpc.training.judging import Best
from analogpc.training.run import Position, Run
from analogpc.training.study import Study

KIND = "run"


def save_run(run: Run, path: str | Path) -> None:
    """Write a run to ``path``; see `Run.save`."""
    write_file(path, KIND, tree_of(run))


def tree_of(run: Run) -> dict[str, Any]:
    """Everything that `rebuilt` needs, in main memory: arrays, numbers and texts."""
    here = run.position
    tree = {
        "study": run.study.to_toml(),
        "said": tomli_w.dumps(run.study.said()),
        "data": run.data.tree(),
        "environment": run.environment,
        "network": run.network.state(),
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
        "history": {name: np.array(values) for name, values in run.history.items()},
        "callbacks": {"changed_by": json.dumps(run.changed_by), "states": run.callback_states()},
        "metrics": json.dumps(run.function_metrics()),
    }
    if run.best is not None:
        tree["best"] = {"epoch": run.best.epoch, "value": run.best.value, "network": run.best.network}
    return tree


def load_run(path: str | Path, backend: Backend = "cpu") -> Run:
    """Read a run from ``path``, onto a backend.

    Raises
    ------
    StorageError
        If the file is missing, damaged, of another kind, or holds what this version does not understand.
    """
    tree = read_file(path, KIND)
    try:
        run = rebuilt(tree, backend)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path} does not fit this version of analogpc: {error}") from error
    run.saved_in = Path(path)
    return run


def rebuilt(tree: dict[str, Any], backend: Backend) -> Run:
    """A run from what `tree_of` gave, on a backend."""
    # Files of earlier versions do not tell what was said, so that all of their study counts as said.
    study = Study.recalled(tree["study"], tree.get("said", tree["study"]))
    network = Network(study.network, study.substrate, study.network_seed)
    network.restore(tree["network"])
    run = Run(study, network.to(backend), DataDescription.from_tree(tree["data"]))
    run.environment = tree["environment"]
    run.learner.restore(tree["optimiser"])
    position = dict(tree["position"])
    run.position = Position(**{**position, "meter": Meter(**position["meter"])})
    run.changed_by = json.loads(tree["callbacks"]["changed_by"])
    run.take_callback_states(tree["callbacks"]["states"])
    run.missing_metrics = json.loads(tree["metrics"])
    if "best" in tree:
        run.best = Best(tree["best"]["epoch"], tree["best"]["value"], tree["best"]["network"])
    run.history = {name: values.tolist() for name, values in tree["history"].items()}
    return run


def load(path: str | Path, *, backend: Backend = "cpu") -> Network:
    """The network of a saved run, in the state in which it was saved.

    Use `Run.load` to go on training to the same bits.

    Parameters
    ----------
    path : path
        An HDF5 file that `Run.save` or ``analogpc train`` wrote.
    backend : "cpu" or "gpu"
        Where its arrays are to be.

    Raises
    ------
    StorageError
        If the file cannot be used; the sentence says why.
    """
    return load_run(path, backend).network
