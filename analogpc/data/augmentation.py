"""Augmentation of training images: random crops and mirror images."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from analogpc.devices.bounds import NonNegativeInteger
from analogpc.devices.specification import Specification
from analogpc.kernels.gpu.arrays import Backend, backend_of, copied
from analogpc.kernels.random.streams import Key, bits


class Augmentation(Specification):
    """Random crops of the padded image, and random mirroring, before normalisation.

    Attributes
    ----------
    crop_padding : int
        Pixels added on every side before cropping to the original size; 0 for no crops.
    padding_mode : "constant" or "edge"
        Black pixels (byte 0, so not 0 after normalisation), or copies of the outermost ones.
    flip : bool
        Mirror images left to right with probability 1/2.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2: 4 pixels and mirroring for CIFAR.
    """

    crop_padding: NonNegativeInteger = 0
    padding_mode: Literal["constant", "edge"] = "constant"
    flip: bool = False

    @property
    def active(self) -> bool:
        """Whether the augmentation changes images."""
        return self.crop_padding > 0 or self.flip

    def apply(self, images: np.ndarray, indices: np.ndarray, total: int, key: Key, epoch: int) -> np.ndarray:
        """Augment a batch; the result for an image depends only on (key, epoch, index).

        Parameters
        ----------
        images : (n, height, width, channels) array
        indices : (n,) int array
            Indices of the images in the split.
        total : int
            Number of images in the split.
        key, epoch
            Random stream and its step.

        Returns
        -------
        (n, height, width, channels) array
        """
        words = _words(key, epoch, total, backend_of(images))[indices]
        pad, (height, width) = self.crop_padding, images.shape[1:3]
        rows = np.broadcast_to(np.arange(height, like=images), (len(images), height))
        columns = np.broadcast_to(np.arange(width, like=images), (len(images), width))
        if pad:
            images = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode=self.padding_mode)
            # A 32-bit word modulo at most a few hundred is uniform to within 1e-7.
            top, left = (words[:, axis] % np.uint32(2 * pad + 1) for axis in (0, 1))
            rows, columns = rows + top[:, None].astype(np.intp), columns + left[:, None].astype(np.intp)
        if self.flip:
            mirrored = words[:, 2] >> np.uint32(31) == 1
            columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
        return images[np.arange(len(images), like=images)[:, None, None], rows[:, :, None], columns[:, None, :]]


@lru_cache(maxsize=1)
def _words(key: Key, epoch: int, total: int, backend: Backend) -> np.ndarray:
    """Draw four random words for each image of a split, (total, 4) uint32, shared by the batches of an epoch."""
    return bits(key, epoch, (total, 4), like=copied(np.empty(0), backend))
