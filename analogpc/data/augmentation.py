"""Augmentation of training images: random crops and mirror images."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from analogpc.devices.specification import Specification
from analogpc.kernels.streams import Key, bits


class Augmentation(Specification):
    """Random crops of the padded image, and random mirroring, before normalisation.

    Attributes
    ----------
    crop_padding : int
        Pixels added on every side before a crop of the original size is cut out; 0 for no crops.
    padding_mode : "constant" or "edge"
        Black pixels, or copies of the outermost ones.
    flip : bool
        Mirror every second image, on average, left to right.
    """

    crop_padding: Annotated[int, Field(ge=0)] = 0
    padding_mode: Literal["constant", "edge"] = "constant"
    flip: bool = False

    @property
    def active(self) -> bool:
        """Whether it does anything."""
        return self.crop_padding > 0 or self.flip

    def apply(self, images: np.ndarray, indices: np.ndarray, total: int, key: Key, epoch: int) -> np.ndarray:
        """Augment a batch; what happens to an image depends on (key, epoch, its index) alone.

        Parameters
        ----------
        images : (n, height, width, channels) array
        indices : (n,) int array
            Which images of the split these are.
        total : int
            Images in the split.
        key, epoch
            Random stream and its step.

        Returns
        -------
        (n, height, width, channels) array
        """
        words = bits(key, epoch, (total, 4))[indices]
        if self.crop_padding:
            pad, (height, width) = self.crop_padding, images.shape[1:3]
            padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode=self.padding_mode)
            # A 32-bit word modulo at most some hundred places is uniform to within 1e-7.
            top, left = (words[:, axis] % np.uint32(2 * pad + 1) for axis in (0, 1))
            rows = top[:, None].astype(np.intp) + np.arange(height)
            columns = left[:, None].astype(np.intp) + np.arange(width)
            images = padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
        if self.flip:
            mirrored = (words[:, 2] >> np.uint32(31)).astype(bool)
            images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        return images
