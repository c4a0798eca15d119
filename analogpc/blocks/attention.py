"""Self-attention: projections by matrices, and digital products of activations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, Initialisation, MatrixMaker, Product, ShapeError
from analogpc.blocks.dense import Dense, DenseBlock
from analogpc.blocks.sweep_state import Sweep
from analogpc.blocks.value_node import NodeEnergyName, ValueNode, ValueNodeBlock
from analogpc.devices.bounds import PositiveInteger
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.products import batched
from analogpc.kernels.random.streams import Key
from analogpc.kernels.softmax import softmax, softmax_product

_PROJECTIONS = ("queries", "keys", "values", "output")
_NODES = {"none": (), "scores": ("scores",), "levels": ("queries", "keys", "values", "scores", "delayed values", "context")}


class Attention(BlockSpecification):
    """Self-attention with one or several heads, on samples of shape (positions, features).

        Q, K, V = X W^T + b;  s = Q K^T / sqrt(d_h);  a = softmax(s);  C = a V;  Y = C W_o^T + b_o

    Features are split evenly among the heads, d_h for each. The four projections are matrices on the substrate; Q K^T and
    a V are products of activations and digital. The keys have no bias: it would shift every row of s by a constant, to which softmax
    is invariant, so its gradient would be rounding noise.

    Padding (see `Sweep`) and, if ``causal``, later positions are masked within the softmax, never in a state.

    Attributes
    ----------
    heads : int
    causal : bool
    init : Initialisation
        Initialisation of the four projections.
    name : str
        Prefix of the names of the value nodes.
    nodes : "none", "scores" or "levels"
        Value nodes within the block: none; on the scores s before the softmax; or on Q, K and V, then on s and again V, then on C,
        so that all paths through the block are equally long.
    score_energy : "softmax" or "squared-error"
        Energy of the node on the scores; see `ValueNode`.

    References
    ----------
    Vaswani et al., arXiv 1706.03762.
    """

    kind: Literal["attention"] = "attention"
    heads: PositiveInteger = 1
    causal: bool = False
    init: Initialisation = "kaiming-uniform"
    name: str = ""
    nodes: Literal["none", "scores", "levels"] = "none"
    score_energy: NodeEnergyName = "softmax"

    @property
    @override
    def has_nodes(self) -> bool:
        return self.nodes != "none"

    @model_validator(mode="after")
    def _nodes_have_names(self) -> Attention:
        if self.nodes != "none" and not self.name:
            raise ValueError(f"nodes = '{self.nodes}' needs a name, the prefix of the names of the value nodes")
        return self

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> AttentionBlock:
        if len(input_shape) != 2:
            raise ShapeError(f"Attention takes samples of shape (positions, features), not {input_shape}")
        positions, features = input_shape
        if features % self.heads:
            raise ShapeError(f"Attention with {self.heads} heads needs a multiple of {self.heads} features, not {features}")
        projections = {
            name: Dense(features=features, bias=name != "keys", init=self.init).build(input_shape, make, key.fold(name), dtype)
            for name in _PROJECTIONS
        }
        scores = (self.heads, positions, positions)
        nodes = {name: self._node(name, scores if name == "scores" else input_shape) for name in _NODES[self.nodes]}
        return AttentionBlock(input_shape, self.heads, self.causal, projections, nodes)

    def _node(self, name: str, shape: tuple[int, ...]) -> ValueNodeBlock:
        full = f"{self.name}.{name}"
        if name == "scores":
            return ValueNodeBlock(ValueNode(name=full, energy=self.score_energy, extent="scores"), shape, self.causal)
        return ValueNodeBlock(ValueNode(name=full, extent="positions"), shape)


class AttentionTape(NamedTuple):
    """Tape of `AttentionBlock`.

    Attributes
    ----------
    projections, nodes : dicts
        Tapes of projections and nodes, by name.
    q, k, v, a : arrays
        Per sample and head, (n * heads, positions, features of a head), and the probabilities (n * heads, positions, positions).
    """

    projections: dict[str, Any]
    nodes: dict[str, Any]
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    a: np.ndarray


class AttentionBlock(Block):
    """Built from `Attention`; the tape is an `AttentionTape`.

    Parameters
    ----------
    input_shape : (positions, features)
    heads, causal
        See `Attention`.
    projections : dict of DenseBlock
        "queries", "keys", "values" and "output". Matrices are named "queries.weight" and so on.
    nodes : dict of ValueNodeBlock
        Value nodes by position.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        heads: int,
        causal: bool,
        projections: dict[str, DenseBlock],
        nodes: dict[str, ValueNodeBlock],
    ) -> None:
        named = {f"{place}.{name}": m for place, block in projections.items() for name, m in block.matrices.items()}
        super().__init__(input_shape, input_shape, named)
        self._heads, self._causal, self._projections, self._nodes = heads, causal, projections, nodes
        self._shrink = 1 / math.sqrt(input_shape[1] // heads)

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return self.pass_forward(x, Sweep(cut=False))

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        back, _ = self.pass_back(tape, g, Sweep(cut=False))
        assert back is not None
        return back

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        """See `Block.products`; the transposed reads within the block are performed at the call."""
        _, products = self.pass_back(tape, g, Sweep(cut=False), onward=False)
        return (product for part in products for product in part)

    @override
    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, AttentionTape]:
        self._check(x)
        tapes: dict[str, Any] = {}
        own: dict[str, Any] = {}

        def node(name: str, values: np.ndarray) -> np.ndarray:
            if name in self._nodes:
                values, own[name] = self._nodes[name].pass_forward(values, sweep)
            return values

        read = {}
        for name in ("queries", "keys", "values"):
            read[name], tapes[name] = self._projections[name].pass_forward(x, sweep)
        q, k = (self._split(node(name, read[name])) for name in ("queries", "keys"))
        v = self._split(node("delayed values", node("values", read["values"])))
        scores = batched(q, k.swapaxes(1, 2))
        scores *= scores.dtype.type(self._shrink)
        scores = node("scores", scores.reshape(len(x), self._heads, *scores.shape[1:]))
        blocked = sweep.blocked(self._causal, scores)
        a = softmax(scores if blocked is None else scores + blocked).reshape(len(q), *scores.shape[2:])
        context = node("context", self._merge(batched(a, v)))
        y, tapes["output"] = self._projections["output"].pass_forward(context, sweep)
        return y, AttentionTape(tapes, own, q, k, v, a)

    @override
    def pass_back(
        self, tape: AttentionTape, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        products: list[Iterable[Product]] = []
        backs: list[np.ndarray] = []

        def node(name: str, values: np.ndarray | None) -> np.ndarray | None:
            if name in self._nodes and values is not None:
                values, _ = self._nodes[name].pass_back(tape.nodes[name], values, sweep)
            return values

        def project(name: str, values: np.ndarray | None, onward: bool) -> np.ndarray | None:
            if values is None:
                return None
            back, own = self._projections[name].pass_back(tape.projections[name], values, sweep, onward)
            products.extend(own)
            return back

        context = node("context", project("output", g, True))
        parts = self._behind_context(tape, context, node)
        for name in ("queries", "keys", "values"):
            back = project(name, parts[name], onward)
            backs += [] if back is None else [back]
        return _total(backs), products

    def _behind_context(self, tape: AttentionTape, context: np.ndarray | None, node: Any) -> dict[str, np.ndarray | None]:
        """Return the errors of the three projections, each (n, positions, features) or None."""
        parts: dict[str, np.ndarray | None] = dict.fromkeys(("queries", "keys", "values"))
        if context is None:
            return parts
        split = self._split(context)
        parts["values"] = node("values", node("delayed values", self._merge(batched(tape.a.swapaxes(1, 2), split))))
        scores = softmax_product(tape.a, batched(split, tape.v.swapaxes(1, 2)))
        scores = node("scores", scores.reshape(len(context), self._heads, *scores.shape[1:]))
        if scores is not None:
            shrunk = scores.reshape(tape.a.shape) * scores.dtype.type(self._shrink)
            parts["queries"] = node("queries", self._merge(batched(shrunk, tape.k)))
            parts["keys"] = node("keys", self._merge(batched(shrunk.swapaxes(1, 2), tape.q)))
        return parts

    def _split(self, x: np.ndarray) -> np.ndarray:
        """Split the heads: (n, positions, features) -> (n * heads, positions, features of a head)."""
        n, positions, features = x.shape
        if self._heads == 1:
            return x
        apart = x.reshape(n, positions, self._heads, features // self._heads).swapaxes(1, 2)
        return np.ascontiguousarray(apart, like=x).reshape(n * self._heads, positions, features // self._heads)

    def _merge(self, x: np.ndarray) -> np.ndarray:
        """Invert `_split`."""
        items, positions, features = x.shape
        if self._heads == 1:
            return x
        apart = x.reshape(items // self._heads, self._heads, positions, features).swapaxes(1, 2)
        return np.ascontiguousarray(apart, like=x).reshape(items // self._heads, positions, self._heads * features)

    @override
    def nodes(self) -> Iterable[ValueNodeBlock]:
        return self._nodes.values()

    @override
    def copy(self, backend: Backend | None = None) -> AttentionBlock:
        projections = {name: block.copy(backend) for name, block in self._projections.items()}
        return AttentionBlock(self.input_shape, self._heads, self._causal, projections, self._nodes)


def _total(parts: list[np.ndarray]) -> np.ndarray | None:
    """Return the sum; None if there are no parts."""
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        # The results of transposed reads are not shared, so they are changed in place.
        total += part
    return total
