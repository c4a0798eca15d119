"""Mixed second derivatives of layers, for the gradient references of recurrent networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.blocks import Block, Product


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
        As for `Block.tangent`.
    g, h : (n, *output_shape) arrays
    """
    leaves = list(zip(block.leaves(), block.leaf_tapes(tape), strict=True))
    # Below this leaf, nothing depends on the error.
    lowest = next((i for i, (leaf, _) in enumerate(leaves) if leaf.matrices or leaf.curved), len(leaves))
    directions, theres = [dx], []
    for leaf, at in leaves:
        moved, there = leaf.tangent(at, directions[-1])
        directions.append(moved)
        theres.append(there)
    learnt: list[tuple[Block, Any, np.ndarray, Any, np.ndarray]] = []
    for index in range(len(leaves) - 1, -1, -1):
        leaf, at = leaves[index]
        if leaf.matrices:
            learnt.append((leaf, at, h, theres[index], g))
        h = leaf.vjp(at, h)
        if leaf.curved:
            h = h + leaf.curvature(at, directions[index], g)
        if index > lowest:
            g = leaf.vjp(at, g)
    return Mixed(directions[-1], h, lambda: [product for one in reversed(learnt) for product in _twofold(*one)])


def _twofold(leaf: Block, at: Any, h: np.ndarray, there: Any, g: np.ndarray) -> list[Product]:
    """The products of <h, f(x)> and of <g, f'(x) dx> of one linear block, by matrix; the latter has no bias."""
    learnt: dict[int, list[Product]] = {id(matrix): [] for matrix in leaf.matrices.values()}
    offset = leaf.matrices.get("bias")
    for product in (*leaf.products(at, h), *(p for p in leaf.products(there, g) if p[0] is not offset)):
        learnt[id(product[0])].append(product)
    return [product for products in learnt.values() for product in products]
