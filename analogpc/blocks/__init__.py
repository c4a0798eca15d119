"""Blocks: the differentiable functions of layers, each with its transpose and its local products.

Contains subclasses of `BlockSpecification` and `Block`; rules and dynamics use blocks only through these two interfaces.
To add a block, add one file, here or elsewhere (see ``docs/rules.md``).
"""

from analogpc.blocks.activation import Activation, ActivationName, register_activation
from analogpc.blocks.attention import Attention
from analogpc.blocks.base import AnyBlock, Block, BlockSpecification, Initialisation, MatrixMaker, Product, ShapeError
from analogpc.blocks.chain import Chain
from analogpc.blocks.conv import Conv2d
from analogpc.blocks.dense import Dense
from analogpc.blocks.embedding import AtTargets, Embedding, TiedDecoder
from analogpc.blocks.mean import GlobalMean
from analogpc.blocks.norm import BatchNorm, LayerNorm
from analogpc.blocks.parallel import Parallel, Sum
from analogpc.blocks.pool import AvgPool, MaxPool, SoftPool
from analogpc.blocks.residual import Residual
from analogpc.blocks.shape import Flatten
from analogpc.blocks.sweep_state import Sweep
from analogpc.blocks.value_node import ValueNode
from analogpc.devices.families import import_members

import_members(__path__, __name__)

__all__ = [
    "Activation",
    "ActivationName",
    "AnyBlock",
    "AtTargets",
    "Attention",
    "AvgPool",
    "BatchNorm",
    "Block",
    "BlockSpecification",
    "Chain",
    "Conv2d",
    "Dense",
    "Embedding",
    "Flatten",
    "GlobalMean",
    "Initialisation",
    "LayerNorm",
    "MatrixMaker",
    "MaxPool",
    "Parallel",
    "Product",
    "Residual",
    "ShapeError",
    "SoftPool",
    "Sum",
    "Sweep",
    "TiedDecoder",
    "ValueNode",
    "register_activation",
]
