"""Value nodes inside a network: states between blocks, which replace values in forward sweeps and cut backward sweeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, MatrixMaker, Product
from analogpc.blocks.sweep_state import Extent, Sweep
from analogpc.kernels.node_errors import squared_error_slopes
from analogpc.kernels.products import difference, inner, negative
from analogpc.kernels.random.streams import Key
from analogpc.kernels.softmax import divergence_slopes, log_softmax

NodeEnergyName = Literal["squared-error", "softmax"]


class ValueNode(BlockSpecification):
    """A state between two blocks, with an energy that couples it to its prediction.

    In a forward sweep the node takes a prediction mu and outputs its state x. In a backward sweep it receives -dE/dx of everything
    after it, and passes on only -dE_own/dmu. A node whose error is zero by construction follows its prediction: x equals mu, and no
    error is passed on. Outside of sweeps, and in backpropagation, the node is transparent in both directions.

    Attributes
    ----------
    name : str
        Name, unique in the network.
    energy : "squared-error" or "softmax"
        With sums over all values:

        - "squared-error": 1/2 (x - mu)^2, the Gaussian node.
        - "softmax": sum p (log p - log q) with p = softmax(x) and q = softmax(mu) over the last axis: the Kullback-Leibler divergence of
          nodes whose state goes through a softmax (F_KL). The state consists of logits: any real number is valid, so a step down the
          gradient remains valid.
    extent : "all", "positions", "scores" or "targets"
        Values that count; errors and energies of all others are 0. See `Extent`.

    References
    ----------
    Pinchetti et al., NeurIPS 2022, for energies other than Gaussian; Salvatori et al., ICLR 2024, Section 5.
    """

    kind: Literal["value-node"] = "value-node"
    numbered: ClassVar[bool] = False
    name: Annotated[str, Field(min_length=1)]
    energy: NodeEnergyName = "squared-error"
    extent: Extent = "all"

    @property
    @override
    def has_nodes(self) -> bool:
        return True

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> ValueNodeBlock:
        return ValueNodeBlock(self, input_shape)


class NodeEnergy(ABC):
    """Energy of a state x and a prediction mu, both (n, ..., values), where ``weight`` is 1 (everywhere if None).

    ``blocked`` is added to both before a softmax.
    """

    @abstractmethod
    def value(self, x: np.ndarray, mu: np.ndarray, weight: np.ndarray | None, blocked: np.ndarray | None) -> Any:
        """Return the sum over all values: a number, or a 0-d device array."""

    @abstractmethod
    def slopes(
        self, x: np.ndarray, mu: np.ndarray, g: np.ndarray, weight: np.ndarray | None, blocked: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return dE/dx - ``g``, where ``g`` is minus the derivative of the energies after the state, and -dE/dmu; both new arrays."""


class _SquaredError(NodeEnergy):
    @override
    def value(self, x: np.ndarray, mu: np.ndarray, weight: np.ndarray | None, blocked: np.ndarray | None) -> Any:
        error = difference(x, mu)
        return 0.5 * inner(error, error if weight is None else error * weight)

    @override
    def slopes(
        self, x: np.ndarray, mu: np.ndarray, g: np.ndarray, weight: np.ndarray | None, blocked: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        return squared_error_slopes(x, mu, g, weight)


class _Softmax(NodeEnergy):
    @override
    def value(self, x: np.ndarray, mu: np.ndarray, weight: np.ndarray | None, blocked: np.ndarray | None) -> Any:
        logs, predicted = (log_softmax(values if blocked is None else values + blocked) for values in (x, mu))
        ratio = logs - predicted
        return inner(np.exp(logs), ratio if weight is None else ratio * weight)

    @override
    def slopes(
        self, x: np.ndarray, mu: np.ndarray, g: np.ndarray, weight: np.ndarray | None, blocked: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        own, error = divergence_slopes(*(values if blocked is None else values + blocked for values in (x, mu)))
        if weight is not None:
            own *= weight
            error *= weight
        own -= g
        return own, error


ENERGIES: dict[NodeEnergyName, NodeEnergy] = {"squared-error": _SquaredError(), "softmax": _Softmax()}
"""Node energies by name."""


class ValueNodeBlock(Block):
    """Built from `ValueNode`; the tape of a sweep is the pair of state and prediction.

    Parameters
    ----------
    specification : ValueNode
    input_shape : tuple of int
    causal : bool
        Whether scores of later keys are masked.
    """

    numbered = False

    def __init__(self, specification: ValueNode, input_shape: tuple[int, ...], causal: bool = False) -> None:
        super().__init__(input_shape, input_shape)
        self.name, self._extent, self._causal = specification.name, specification.extent, causal
        self._energy = ENERGIES[specification.energy]

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return x, None

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        return g

    @override
    def nodes(self) -> Iterable[ValueNodeBlock]:
        return (self,)

    @override
    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, Any]:
        if not sweep.cut:
            return x, None
        sweep.predictions[self.name] = x
        state = sweep.states.get(self.name, x)
        return state, (state, x)

    @override
    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        if not sweep.cut:
            return g, []
        state, prediction = tape
        if state is prediction:
            # The error is zero by construction, so none is passed on.
            sweep.gradients[self.name] = negative(g)
            return None, []
        sweep.gradients[self.name], error = self._energy.slopes(state, prediction, g, *self._masks(state, sweep))
        return error, []

    def energy(self, sweep: Sweep) -> Any:
        """Return the total energy of the node: a number, or a 0-d device array."""
        if self.name not in sweep.states:
            return 0.0
        state = sweep.states[self.name]
        return self._energy.value(state, sweep.predictions[self.name], *self._masks(state, sweep))

    def _masks(self, values: np.ndarray, sweep: Sweep) -> tuple[np.ndarray | None, np.ndarray | None]:
        blocked = sweep.blocked(self._causal, values) if self._extent == "scores" else None
        return sweep.weight(self._extent, self._causal, values), blocked
