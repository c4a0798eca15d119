"""Blocks: the differentiable functions that layers are made of. A new block is a new file here and a name in `AnyBlock`."""

from analogpc.blocks.activation import Activation, ActivationName
from analogpc.blocks.base import Block, BlockSpecification, Initialisation, MatrixMaker, Product, ShapeError
from analogpc.blocks.chain import AnyBlock, Chain
from analogpc.blocks.conv import Conv2d
from analogpc.blocks.dense import Dense
from analogpc.blocks.pool import MaxPool
from analogpc.blocks.shape import Flatten

__all__ = [
    "Activation",
    "ActivationName",
    "AnyBlock",
    "Block",
    "BlockSpecification",
    "Chain",
    "Conv2d",
    "Dense",
    "Flatten",
    "Initialisation",
    "MatrixMaker",
    "MaxPool",
    "Product",
    "ShapeError",
]
