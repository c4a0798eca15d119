"""Derivatives of blocks along a direction, for the gradient references of recurrent networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.blocks import Block, Product
from analogpc.blocks.chain import ChainBlock
from analogpc.blocks.conv import Conv2dBlock
from analogpc.blocks.dense import DenseBlock
from analogpc.blocks.initialisation import read_bias
from analogpc.blocks.pool import AvgPoolBlock, MaxPoolBlock, PoolBlock, SoftPoolBlock, SoftTape
from analogpc.blocks.shape import FlattenBlock
from analogpc.kernels.images.patches import fold


def tangent(block: Block, tape: Any, dx: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return the Jacobian of a block at a tape times a direction.

    Parameters
    ----------
    block : Block
        Dense, Conv2d, MaxPool, AvgPool, SoftPool, Flatten, or a chain of them.
    tape
        Tape of its `forward`.
    dx : (n, *input_shape) array

    Returns
    -------
    dy : (n, *output_shape) array
        Tangent; for matrices by a forward read minus the bias.
    tape
        Tape with which `Block.products` gives the derivatives of <g, dy> with respect to the weights, and also products for the bias,
        which must be ignored.

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
        return value - read_bias(block.matrices, dx), there
    if isinstance(block, (FlattenBlock, AvgPoolBlock)):
        return block.forward(dx)
    if isinstance(block, MaxPoolBlock):
        return _at_the_maxima(block, tape.where, dx), tape
    if isinstance(block, SoftPoolBlock):
        return (_softly(block, tape)[0] * _windows(block, dx)).sum(axis=3), tape
    raise TypeError(f"{type(block).__name__.removesuffix('Block')} has no directional derivative here")


def _at_the_maxima(block: MaxPoolBlock, where: np.ndarray, dx: np.ndarray) -> np.ndarray:
    return np.take_along_axis(_windows(block, dx), where[:, :, :, None].astype(np.intp), axis=3)[:, :, :, 0]


def _windows(block: PoolBlock, x: np.ndarray) -> np.ndarray:
    """Return every window with its positions in reading order: (n, out_height, out_width, size * size, channels)."""
    size, stride = block.window
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.moveaxis(windows, 3, -1).reshape(*windows.shape[:3], size * size, windows.shape[3])


def _softly(block: SoftPoolBlock, tape: SoftTape) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of a soft maximum at the positions of each window, p (1 + (v - y) / T), and p."""
    rate = tape.x.dtype.type(1 / block.temperature)
    return tape.weights * (1 + rate * (_windows(block, tape.x) - tape.y[:, :, :, None])), tape.weights


def _curvature(block: SoftPoolBlock, tape: SoftTape, dx: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return the derivative of <g, f'(x) dx> with respect to x: (n, *input_shape).

    With j = f'(x) it is g / T (j (dx - sum p dx) + p (dx - sum j dx)) at the positions of each window.
    """
    slopes, p = _softly(block, tape)
    along = _windows(block, dx)
    means = [(weights * along).sum(axis=3, keepdims=True) for weights in (p, slopes)]
    bent = g[:, :, :, None] * (slopes * (along - means[0]) + p * (along - means[1])) * g.dtype.type(1 / block.temperature)
    # Scatter back to the windows: patches of `fold` have the same order.
    return fold(bent.reshape(math.prod(bent.shape[:3]), math.prod(bent.shape[3:])), dx.shape, *block.window)


@dataclass(frozen=True)
class Mixed:
    """Derivatives of <h, f(x)> + <g, f'(x) dx> for a block f.

    Attributes
    ----------
    along : array
        Derivative with respect to g: f'(x) dx.
    back : array
        Derivative with respect to x.
    products : callable
        Returns the products whose sums are the derivatives with respect to the matrices.
    """

    along: np.ndarray
    back: np.ndarray
    products: Callable[[], list[Product]]


def mixed(block: Block, tape: Any, dx: np.ndarray, g: np.ndarray, h: np.ndarray) -> Mixed:
    """Compute the contributions of the reads of a block in both directions to the adjoint of a relaxation.

    Parameters
    ----------
    block, tape, dx
        As for `tangent`.
    g, h : (n, *output_shape) arrays
    """
    leaves = list(_leaves(block, tape))
    lowest = next((i for i, (leaf, _) in enumerate(leaves) if leaf.matrices or isinstance(leaf, SoftPoolBlock)), len(leaves))
    directions, theres = [dx], []
    for leaf, at in leaves:
        moved, there = tangent(leaf, at, directions[-1])
        directions.append(moved)
        theres.append(there)
    learnt: list[tuple[Block, Any, np.ndarray, Any, np.ndarray]] = []
    for index in range(len(leaves) - 1, -1, -1):
        leaf, at = leaves[index]
        if leaf.matrices:
            learnt.append((leaf, at, h, theres[index], g))
        h = leaf.vjp(at, h)
        if isinstance(leaf, SoftPoolBlock):
            h = h + _curvature(leaf, at, directions[index], g)
        if index > lowest:
            g = leaf.vjp(at, g)
    return Mixed(directions[-1], h, lambda: [product for one in reversed(learnt) for product in _twofold(*one)])


def _leaves(block: Block, tape: Any) -> Iterator[tuple[Block, Any]]:
    if not isinstance(block, ChainBlock):
        yield block, tape
        return
    for own, at in zip(block.blocks, tape, strict=True):
        yield from _leaves(own, at)


def _twofold(leaf: Block, at: Any, h: np.ndarray, there: Any, g: np.ndarray) -> list[Product]:
    """The products of <h, f(x)> and of <g, f'(x) dx> of one linear block, by matrix; the latter has no bias."""
    learnt: dict[int, list[Product]] = {id(matrix): [] for matrix in leaf.matrices.values()}
    offset = leaf.matrices.get("bias")
    for product in (*leaf.products(at, h), *(p for p in leaf.products(there, g) if p[0] is not offset)):
        learnt[id(product[0])].append(product)
    return [product for products in learnt.values() for product in products]
