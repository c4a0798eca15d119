"""Derivatives of blocks along a direction, for the gradient references of recurrent networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.blocks import Block
from analogpc.blocks.chain import ChainBlock
from analogpc.blocks.conv import Conv2dBlock
from analogpc.blocks.dense import DenseBlock
from analogpc.blocks.initialisation import read_bias
from analogpc.blocks.pool import MaxPoolBlock
from analogpc.blocks.shape import FlattenBlock


def tangent(block: Block, tape: Any, dx: np.ndarray) -> tuple[np.ndarray, Any]:
    """The Jacobian of a block at a tape, times a direction.

    Parameters
    ----------
    block : Block
        Dense, Conv2d, MaxPool, Flatten, or a chain of them.
    tape
        From its `forward`.
    dx : (n, *input_shape) array

    Returns
    -------
    dy : (n, *output_shape) array
        For matrices by a forward read, from which the bias is taken off again.
    tape
        With which `Block.products` gives the derivatives of <g, dy> with respect to the weights, and besides, for the bias, products
        that do not belong there.

    Raises
    ------
    TypeError
        For other blocks.
    """
    if isinstance(block, ChainBlock):
        tapes = []
        for own, at in zip(block.blocks, tape, strict=True):
            dx, there = tangent(own, at, dx)
            tapes.append(there)
        return dx, tapes
    if isinstance(block, (DenseBlock, Conv2dBlock)):
        value, there = block.forward(dx)
        return value - read_bias(block.matrices, dx.dtype), there
    if isinstance(block, FlattenBlock):
        return block.forward(dx)
    if isinstance(block, MaxPoolBlock):
        return _at_the_maxima(block, tape, dx), tape
    raise TypeError(f"{type(block).__name__.removesuffix('Block')} has no derivative along a direction here")


def _at_the_maxima(block: MaxPoolBlock, tape: Any, dx: np.ndarray) -> np.ndarray:
    size, stride = block._window
    windows = np.lib.stride_tricks.sliding_window_view(dx, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    flat = windows.reshape(*windows.shape[:4], size * size)
    return np.take_along_axis(flat, tape[..., None].astype(np.intp), axis=-1)[..., 0]
