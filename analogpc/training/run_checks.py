"""Checks of the contents of a run file, apart from the network, against its own study."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_args

import numpy as np

from analogpc.data import DataDescription
from analogpc.devices.costs.meter import Meter
from analogpc.devices.state import Shaped, StateError, fitted, real, text, whole
from analogpc.kernels.gpu.blas import Precision
from analogpc.networks.network import Network
from analogpc.training.position import Position
from analogpc.training.study import Study

_MOST_THREADS = 2**16
_SMALL_COLUMN = 2**20
_FLOATS = ("float32", "float64")


def checked_position(given: dict[str, Any], study: Study, layers: int) -> Position:
    """Return the checked position of a run.

    Raises
    ------
    StateError
        If the position is impossible in this study; the number of batches per epoch is checked once the data are loaded.
    """
    template = vars(Position()) | {"meter": Meter().as_dict(), "energies": Shaped((layers,), _FLOATS)}
    held = fitted(given, template, "position")
    held["meter"] = Meter(**held["meter"])
    here = Position(**held)
    whole(here.epoch, "position/epoch", 0, study.epochs)
    most = here.batch * study.batch_size
    whole(here.seen, "position/seen", max(0, most - study.batch_size + 1), most)
    whole(here.correct, "position/correct", 0, here.seen)
    real(here.seconds, "position/seconds", 0)
    return here


def checked_history(given: dict[str, Any], epochs: int, layers: int, size: int) -> dict[str, list[Any]]:
    """Return the checked history of a run, with one entry for each finished epoch.

    Parameters
    ----------
    given : dict of arrays by column
    epochs : int
        Number of finished epochs.
    layers : int
    size : int
        Size of the file in bytes, which bounds the size of callback columns.
    """
    known = {"epoch", "train_loss", "energy", "seconds", *(field.name for field in fields(Meter))} if epochs else set()
    if missing := known - given.keys():
        raise StateError(f"history/{min(missing)} is missing")
    history = {}
    for name, column in given.items():
        shape = tuple(getattr(column, "shape", ()))
        inner = (layers,) if name == "energy" else () if name in known else shape[1:]
        if shape != (epochs, *inner) or column.dtype.kind not in "biuf":
            raise StateError(f"history/{name} must have one entry for each of {epochs} epochs")
        if column.nbytes > max(_SMALL_COLUMN, 16 * size):
            raise StateError(f"history/{name} is larger than its file can hold")
        history[name] = (column.read() if hasattr(column, "read") else column).tolist()
    if epochs and history["epoch"] != list(range(1, epochs + 1)):
        raise StateError(f"history/epoch must count from 1 to {epochs}")
    return history


def checked_environment(given: dict[str, Any]) -> dict[str, Any]:
    """Return the checked environment of the start of a run: strings and numbers, with valid values where they are used."""
    for name, value in given.items():
        if not isinstance(value, (str, int, float)):
            raise StateError(f"environment/{name} must be a text or a number")
    whole(given.get("kernel_threads"), "environment/kernel_threads", 1, _MOST_THREADS)
    if given.get("backend") not in ("cpu", "gpu"):
        raise StateError(f"environment/backend = {given.get('backend')!r} is not allowed: it is cpu or gpu")
    if given.get("gpu_precision", "tf32") not in get_args(Precision):
        raise StateError(f"environment/gpu_precision = {given['gpu_precision']!r} is not allowed")
    return given


def checked_data(given: dict[str, Any], network: Network) -> DataDescription:
    """Return the checked data description of a run, consistent with its network."""
    rank = len(given["input_shape"].shape) and given["input_shape"].shape[0]
    template = {
        **dict.fromkeys(("name", "fingerprint", "normalisation"), ""),
        "input_shape": Shaped((whole(rank, "data/input_shape", 1, 8),), ("int64",)),
        "unit": 0.0,
        "classes": dict.fromkeys(map(str, range(len(given["classes"]))), ""),
        "named": False,
        "outputs": 0,
    }
    sizes = {name: given[name].shape for name in ("mean", "std")}
    held = fitted(
        given, template | {name: Shaped(shape, ("float64",)) for name, shape in _limited(sizes, network).items()}, "data"
    )
    network.refuse_samples(tuple(int(size) for size in held["input_shape"]))
    if not (held["std"] > 0).all() or held["unit"] <= 0:
        raise StateError("data/std and data/unit must be positive")
    np.broadcast_shapes(tuple(held["input_shape"]), held["mean"].shape, held["std"].shape)
    if held["classes"] and len(held["classes"]) != held["outputs"]:
        raise StateError(f"data/classes has {len(held['classes'])} names for {held['outputs']} outputs")
    return DataDescription.from_tree(held)


def _limited(sizes: dict[str, tuple[int, ...]], network: Network) -> dict[str, tuple[int, ...]]:
    """Check that no normalisation shape has more elements than a sample."""
    for name, shape in sizes.items():
        if np.prod(shape, dtype=object) > np.prod(network.input_shape, dtype=object):
            raise StateError(f"data/{name} has the shape {shape}, which is more than a sample has")
    return sizes


def names_in(given: Any, place: str) -> list[str]:
    """Parse a list of names from JSON."""
    try:
        held = json.loads(text(given, place))
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
        raise StateError(f"{place} must be a list of names")
    return held


def texts_in(given: Any, place: str) -> dict[str, str]:
    """Check a mapping of names to strings."""
    if not isinstance(given, dict):
        raise StateError(f"{place} must be a group of texts")
    return {name: text(value, f"{place}/{name}") for name, value in given.items()}
