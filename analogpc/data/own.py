"""Data sets from your own arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np

from analogpc.data.augmentation import Augmentation
from analogpc.data.dataset import Dataset
from analogpc.data.description import DataDescription
from analogpc.data.normalisation import NormalisationName, check_name, estimate
from analogpc.data.samples import DataError, Samples, refuse_unusable
from analogpc.data.targets import Targets, Task

Layout = Literal["channels-last", "channels-first"]
Normalisation = NormalisationName | tuple[Any, Any]
"""Name of a normalisation, or two arrays (mean, std) that broadcast to a sample."""


def from_arrays(
    x: Any,
    y: Any,
    *,
    validation: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    name: str = "arrays",
    task: Task | None = None,
    classes: int | Sequence[Any] | None = None,
    normalisation: Normalisation = "standard",
    layout: Layout | None = None,
    augmentation: Augmentation | None = None,
) -> Dataset:
    """Create a data set from arrays.

    Parameters
    ----------
    x : (n, ...) array of real numbers
        Training samples of any shape: tables (n, features), sequences (n, steps, features), images (n, height, width) or (n, height,
        width, channels).
    y : (n,) integers from 0, (n,) texts, (n, classes) one-hot rows, or (n,) or (n, outputs) floats for regression
    validation, test : (x, y)
        Additional parts, with labels of the same kind.
    name : str
        Name of the data in studies and files.
    task : "classification" or "regression"
        Inferred from ``y`` by default: floats that are not one-hot mean regression.
    classes : int or sequence of names
        All classes, in the order of the outputs, if ``y`` does not contain all. Strings are sorted by default.
    normalisation : str or (mean, std)
        "standard", "global", "min-max" or "none" (see `NormalisationName`), estimated on the training part only; or given
        numbers. It is stored with every run and applied to all raw samples in later predictions.
    layout : "channels-last" or "channels-first"
        Position of the channels of images. Samples of three axes that look channels-first are refused unless this is given;
        channels-first images are transposed.
    augmentation : Augmentation
        Augmentation of training images.

    Raises
    ------
    DataError
        If samples and labels do not match; the message says which.
    """
    samples = _images(x, layout, "the training samples")
    targets = Targets.of(y, "the training labels", task, classes)
    parts: dict[str, Any] = {}
    for split, given in (("validation", validation), ("test", test)):
        if given is not None:
            parts |= _part(split, given, layout, targets)
    return assembled(name, samples, targets.encode(y, "the training labels"), targets, normalisation, augmentation, parts)


def _part(split: str, given: Any, layout: Layout | None, targets: Targets) -> dict[str, Any]:
    """Return the samples and labels of an additional part."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise DataError(f"{split} must be two arrays (x, y), not {type(given).__name__}")
    samples = _images(given[0], layout, f"the {split} samples")
    return {f"{split}_images": samples, f"{split}_labels": targets.encode(given[1], f"the {split} labels")}


def assembled(
    name: str,
    samples: Samples,
    labels: np.ndarray,
    targets: Targets,
    normalisation: Normalisation,
    augmentation: Augmentation | None,
    parts: Mapping[str, Any],
) -> Dataset:
    """Create a data set from samples of any source, with their normalisation."""
    if len(samples) != len(labels):
        raise DataError(f"there are {len(samples)} training samples and {len(labels)} labels")
    refuse_unusable(samples, "the training samples")
    kind: str
    if isinstance(normalisation, str):
        kind, (mean, std) = normalisation, estimate(cast(NormalisationName, normalisation), samples)
    else:
        kind, (mean, std) = "given", _two_arrays(normalisation, tuple(samples.shape[1:]))
    return Dataset(
        name,
        samples,
        labels,
        classes=targets.classes,
        mean=mean,
        std=std,
        pixel_max=1.0,
        augmentation=augmentation or Augmentation(),
        normalisation=kind,
        named_labels=targets.named,
        **parts,
    )


def _two_arrays(given: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Convert a given mean and standard deviation to arrays over the last axes of a sample."""
    if isinstance(given, Mapping) or len(given) != 2:
        check_name(given)
    numbers = [np.atleast_1d(np.asarray(array, np.float64)) for array in given]
    for word, array in zip(("mean", "std"), numbers, strict=True):
        if array.ndim > len(shape) or any(a not in (1, b) for a, b in zip(array.shape[::-1], shape[::-1], strict=False)):
            raise DataError(f"the {word} of the normalisation has the shape {array.shape}, which does not broadcast to {shape}")
    last = [np.broadcast_to(array, np.broadcast_shapes(array.shape, shape[-1:])) for array in numbers]
    full = np.broadcast_shapes(*(array.shape for array in last), shape[len(shape) - max(array.ndim for array in last) :])
    return np.broadcast_to(last[0], full), np.broadcast_to(last[1], full)


def _images(x: Any, layout: Layout | None, what: str) -> Any:
    """Convert samples to an array with channels last."""
    if isinstance(x, np.ma.MaskedArray):
        raise DataError(f"{what} are a masked array; leave out the masked values first")
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} must be real numbers, not {array.dtype}")
    if len(array.shape) == 1:
        raise DataError(f"{what} must be (n, ...), one row for each sample; x[:, None] makes samples of one value")
    if array.dtype == np.float16 or array.dtype.itemsize > 8:
        array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    if layout not in (None, "channels-last", "channels-first"):
        raise DataError(f"layout = {layout!r} is not allowed: it is channels-last or channels-first")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if len(array.shape) != 4:
        if layout == "channels-first":
            raise DataError(f"layout = 'channels-first' needs images (n, channels, height, width), not {array.shape}")
        return array[..., None] if len(array.shape) == 3 and layout == "channels-last" else array
    if layout is None and looks_channels_first(array.shape[1:]):
        raise DataError(
            f"{what} of shape {tuple(array.shape[1:])} look channels-first: set layout = 'channels-first', "
            "which transposes them, or layout = 'channels-last'"
        )
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if layout == "channels-first" else array


def looks_channels_first(shape: Sequence[int]) -> bool:
    """Return whether samples of three axes look channels-first."""
    few = (1, 2, 3, 4)
    return shape[0] in few and shape[2] not in few


def as_dataset(
    data: Any,
    *,
    validation: Any = None,
    test: Any = None,
    outputs: int | None = None,
    known: DataDescription | None = None,
    **options: Any,
) -> Dataset:
    """Convert to a data set: a `Dataset`, two arrays (x, y), or a name for `load_data`.

    Parameters
    ----------
    data : Dataset, (x, y) or str
    validation, test : (x, y)
        Additional parts of data given as arrays.
    outputs : int
        Number of outputs of the network: the number of classes, if integer labels contain fewer.
    known : DataDescription
        Description of these data in an earlier run: kind of labels and normalisation.
    **options
        Options of `from_arrays`.

    Raises
    ------
    DataError
        If ``data`` is none of these.
    """
    if isinstance(data, str):
        from analogpc.data.loaders import load_data

        data = load_data(data)
    if isinstance(data, Dataset):
        if validation is not None or options:
            raise DataError("a Dataset has its own parts and normalisation: set them in Dataset.from_arrays")
        if test is not None:
            raise DataError("a Dataset has its own test part: leave out test")
        return data
    if not isinstance(data, Sequence) or len(data) != 2:
        raise DataError(f"data must be a Dataset, two arrays (x, y) or the name of a data set, not {type(data).__name__}")
    x, y = data
    if known is not None:
        options = _as_before(known) | options
    if outputs is not None and options.get("classes") is None and options.get("task") != "regression":
        options["classes"] = _widened(y, outputs)
    return from_arrays(x, y, validation=validation, test=test, **options)


def _widened(y: Any, outputs: int) -> int | None:
    """Return the number of classes for integer labels in a network with the given number of outputs; None if given by the labels."""
    labels = np.asarray(y)
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not labels.size or labels.min() < 0:
        return None
    return outputs if labels.max() < outputs else None


def _as_before(known: DataDescription) -> dict[str, Any]:
    """Return the options that created the data of a run."""
    scale, targets = known.scale, known.targets
    named: dict[str, Any] = {"name": known.name, "task": targets.task, "classes": targets.classes or None}
    return named | {"normalisation": (scale.mean, scale.std) if scale.name == "given" else scale.name}
