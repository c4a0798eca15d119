"""Robustness to corrupted images: the corruptions of Hendrycks and Dietterich, from a library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from types import ModuleType
from typing import Any

import numpy as np

from analogpc.data import Dataset
from analogpc.data.dataset import Split
from analogpc.data.samples import DataError
from analogpc.kernels.random.streams import Key, bits

SEVERITIES = (1, 2, 3, 4, 5)
_SIDE = 32
"""Smallest image size that the library accepts."""
_GREY = 1
"""Channel that is kept of a corrupted grey image: a mean over the channels would average out noise."""


class MissingExtraError(ImportError):
    """Raised if the optional library is not installed; the message says how to install it."""


def corruption_names(subset: str = "common") -> tuple[str, ...]:
    """Return the names of the corruptions.

    Parameters
    ----------
    subset : str
        "common" (the 15 of the benchmark), "validation" (4 more, for model selection), "all", "noise", "blur",
        "weather" or "digital".

    Raises
    ------
    MissingExtraError
        If the library is not installed.
    """
    return tuple(_library().get_corruption_names(subset))


def corrupted(data: Dataset, corruption: str, severity: int, *, split: Split = "test", key: Key | None = None) -> Dataset:
    """Return a data set with one split corrupted; the given data set is unchanged.

    The result for an image depends only on key, corruption, severity and its index in the split.

    Parameters
    ----------
    data : Dataset
        Images with 1 or 3 channels.
    corruption : str
        One of `corruption_names`, such as "gaussian_noise", "defocus_blur", "fog" or "jpeg_compression".
    severity : int
        Severity from 1 to 5.
    split : "train" or "test"
    key : Key
        Key of the random numbers; ``Key(0)`` by default.

    Returns
    -------
    Dataset
        Data set named "NAME, CORRUPTION SEVERITY", with bytes of the same shape and range.

    Raises
    ------
    MissingExtraError
        If the library is not installed.
    DataError
        If corruption, severity or split are invalid, or the number of channels is not 1 or 3.

    Notes
    -----
    Severities are defined for photographs, in pixels, and not scaled to the image size. Images of less than 32 x 32
    are padded with copies of their outermost pixels, corrupted, and cut out again. Grey images are corrupted in three equal channels,
    the second of which is kept. The library draws from NumPy's global generator, whose state is restored afterwards.

    References
    ----------
    Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019; code of
    Michaelis et al., arXiv 1907.07484 (package imagecorruptions-imaug).
    """
    library = _library()
    names = library.get_corruption_names("all")
    if corruption not in names:
        raise DataError(f"there is no corruption '{corruption}'; the corruptions are {', '.join(names)}")
    if severity not in SEVERITIES:
        raise DataError(f"severity = {severity!r} is not allowed: it must be a whole number from 1 to 5")
    if split not in ("train", "test"):
        raise DataError(f"there is no split {split!r}; the splits are train and test")
    if data.input_shape[2] not in (1, 3):
        raise DataError(f"images of {data.input_shape[2]} channels cannot be corrupted; they must have 1 or 3")
    images = data.test_images if split == "test" else data.train_images
    stream = (Key(0) if key is None else key).fold("corruption", corruption, int(severity))
    seeds = bits(stream, 0, len(images))
    made = np.empty_like(images)
    with _global_generator_put_back():
        for index, (image, seed) in enumerate(zip(images, seeds, strict=True)):
            made[index] = _corrupt_one(library, image, corruption, int(severity), int(seed), data.pixel_max)
    changed: dict[str, Any] = {f"{split}_images": made, "name": f"{data.name}, {corruption} {severity}"}
    return replace(data, **changed)


def _corrupt_one(
    library: ModuleType, image: np.ndarray, corruption: str, severity: int, seed: int, pixel_max: float
) -> np.ndarray:
    """Corrupt one (height, width, channels) image of bytes, with white at ``pixel_max``."""
    height, width, channels = image.shape
    scaled = image if pixel_max == 255 else np.rint(image * (255 / pixel_max)).clip(0, 255).astype(np.uint8)
    above, left = max(0, _SIDE - height) // 2, max(0, _SIDE - width) // 2
    room = ((above, max(0, _SIDE - height) - above), (left, max(0, _SIDE - width) - left), (0, 0))
    np.random.seed(seed)  # noqa: NPY002  The library draws only from the global generator,
    # except for two corruptions with their own generators.
    own = {"seed": seed} if "seed" in signature(library.corruption_dict[corruption]).parameters else {}
    found = library.corrupt(np.pad(scaled, room, mode="edge"), severity=severity, corruption_name=corruption, **own)
    found = found[above : above + height, left : left + width]
    found = found[..., _GREY : _GREY + 1] if channels == 1 else found
    return found if pixel_max == 255 else np.rint(found * (pixel_max / 255)).astype(np.uint8)


@contextmanager
def _global_generator_put_back() -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _library() -> ModuleType:
    try:
        import imagecorruptions
    except ImportError as error:
        raise MissingExtraError(
            f"corruptions need the library imagecorruptions, which is not installed ({error}): pip install 'analogpc[robustness]'"
        ) from None
    return imagecorruptions
