"""Relaxation of a network with value nodes inside its layers: forward and backward sweeps that are cut at the nodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from analogpc.blocks.base import Block, Product
from analogpc.blocks.sweep_state import Sweep
from analogpc.blocks.value_node import ValueNodeBlock
from analogpc.dynamics.relaxation import Output, Watch, output_energy, output_error, refuse_target
from analogpc.kernels.descent import momentum_step, plain_step
from analogpc.kernels.gpu.arrays import as_type, on_gpu
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import largest, row
from analogpc.kernels.targets import cross_entropy


class SweptArchitecture(Protocol):
    """Protocol of an architecture with value nodes."""

    @property
    def tokens(self) -> int:
        """Number of tokens if inputs and targets are tokens; otherwise 0."""

    @property
    def tied(self) -> bool:
        """Whether two blocks share one matrix."""

    def sweep(self, x: np.ndarray, target: np.ndarray | None, cut: bool) -> Sweep:
        """Return the shared state of the blocks during the sweeps of a batch."""

    def samples(self, x: np.ndarray, target: np.ndarray) -> Any:
        """Return the number of samples over which gradients are averaged."""


class SweptNetwork(Protocol):
    """Protocol of a network with value nodes inside its layers."""

    layers: list[Block]

    @property
    def architecture(self) -> SweptArchitecture:
        """Architecture of the network."""

    @property
    def nodes(self) -> list[ValueNodeBlock]:
        """Value nodes, in the order of a sweep."""


class SweepRelaxation:
    """States of the value nodes of a network between a clamped input and a clamped output, initialised by a feed-forward pass.

    The counterpart of `Relaxation` for networks whose states are `ValueNode` blocks inside the layers: a state may depend directly on any
    number of others. In a forward sweep every node passes on its state in place of its prediction; a backward sweep gives every node
    the derivative of all energies directly after it, and every matrix its products. Every matrix is read once in each direction per
    sweep, for any number of nodes. Without nodes a sweep is backpropagation.

    A node follows its prediction until an error reaches it. Matrices not reached by an error get no products.

    Parameters
    ----------
    network : Network
    x : (n, *input_shape) array
        Clamped input.
    target : array
        Clamped output: in its shape, or for networks of tokens (p, 2) int32, position and token of every target (see
        `Transformer`).
    output : Output
        Loss at the output layer.
    cut : bool
        Whether nodes hold states; otherwise `differentiate` is backpropagation.

    Attributes
    ----------
    outputs : array
        Last prediction of the output; ``first_outputs`` is that of the feed-forward pass.
    sweep : Sweep
        States, predictions and gradients of all nodes, by name.
    """

    def __init__(
        self, network: SweptNetwork, x: np.ndarray, target: np.ndarray, output: Output = "cross-entropy", *, cut: bool = True
    ) -> None:
        self.network, self.output, self._x = network, output, x
        self.sweep = network.architecture.sweep(x, target, cut)
        self.nodes = network.nodes
        self._samples = network.architecture.samples(x, target)
        self._velocities: dict[str, np.ndarray] = {}
        self._products: list[Iterable[Product]] = []
        self._forward()
        self.first_outputs = self.outputs
        self.hold(target)

    def hold(self, target: np.ndarray) -> None:
        """Clamp the output at ``target``.

        Raises
        ------
        ValueError
            If it has another shape than the output, or if the squared error is used with tokens.
        """
        if self.network.architecture.tokens:
            if self.output != "cross-entropy":
                raise ValueError(f"networks of tokens need output = 'cross-entropy', not '{self.output}'")
            # One buffer for all batches: kernels process whole rows of labels.
            self._labels = np.ascontiguousarray(target[:, 1], like=target)
        else:
            refuse_target(target, self.outputs)
        self._target = target

    def _forward(self) -> None:
        y, self._tapes = self._x, []
        for layer in self.network.layers:
            y, tape = layer.pass_forward(y, self.sweep)
            self._tapes.append(tape)
        self.outputs, self._stale = y, False

    def differentiate(self) -> None:
        """Compute the gradient of the energy with respect to every state, and the products of all matrices, at the current states."""
        if self._stale:
            self._forward()
        back: np.ndarray | None = self._output_error()
        self.sweep.gradients = {}
        self._products = []
        for number in range(len(self.network.layers) - 1, -1, -1):
            if back is None:
                break
            back, products = self.network.layers[number].pass_back(self._tapes[number], back, self.sweep, onward=number > 0)
            self._products = products + self._products

    def _output_error(self) -> np.ndarray:
        if not self.network.architecture.tokens:
            return output_error(self.output, self._target, self.outputs)
        self._losses, errors = cross_entropy(self.outputs, self._labels)
        return errors

    @property
    def gradients(self) -> dict[str, np.ndarray | None]:
        """Gradients of the energy at the last `differentiate`, by node name; None if zero by construction."""
        return {node.name: self.sweep.gradients.get(node.name) for node in self.nodes}

    def descend(self, step_size: Any, momentum: float = 0.0, nesterov: bool = False, *, front: bool = False) -> None:
        """Move all states together, down the last gradients; see `Relaxation.descend`.

        ``step_size`` may be a 0-d device array if there is no momentum. With ``front`` only states move that
        an error has reached for the first time.
        """
        for node in self.nodes:
            gradient = self.sweep.gradients.get(node.name)
            if gradient is None or (front and node.name in self.sweep.states):
                continue
            state = self.sweep.states.get(node.name, self.sweep.predictions[node.name])
            self.sweep.states[node.name] = self._moved(node.name, state, gradient, step_size, momentum, nesterov)
        self._stale = True

    def _moved(
        self, name: str, state: np.ndarray, gradient: np.ndarray, step_size: Any, momentum: float, nesterov: bool
    ) -> np.ndarray:
        if momentum == 0:
            if on_gpu(step_size):
                return state - as_type(step_size, state.dtype) * gradient
            return plain_step(state, gradient, step_size)
        if name not in self._velocities:
            self._velocities[name] = zeros(state.shape, state.dtype, state)
        return momentum_step(state, gradient, self._velocities[name], step_size, momentum, nesterov)

    def learn(self, apply: Callable[[Iterable[Product], float], None], gain: float = 1.0) -> None:
        """Apply the products of the last `differentiate`; the matrices change, so the next one sweeps forward again."""
        apply(self._by_matrix(), gain)
        self._stale = True

    def _by_matrix(self) -> Iterable[Product]:
        """Yield the products grouped by matrix, also for a matrix shared by two blocks."""
        products = itertools.chain.from_iterable(self._products)
        if not self.network.architecture.tied:
            return products
        found: dict[int, list[Product]] = {}
        for product in products:
            found.setdefault(id(product[0]), []).append(product)
        return itertools.chain.from_iterable(found.values())

    def learn_new(self, known: set[int], apply: Callable[[Iterable[Product], float], None], gain: float = 1.0) -> None:
        """Apply the products of matrices whose ids are not in ``known``, and add them to it."""
        products = [product for product in itertools.chain.from_iterable(self._products) if id(product[0]) not in known]
        known.update(id(product[0]) for product in products)
        apply(iter(products), gain)
        self._stale = True

    def residual(self) -> float:
        """Return the largest absolute component of the last gradients; 0 if there is none."""
        return max((largest(g) for g in self.sweep.gradients.values() if g is not None), default=0.0)

    def energy(self) -> Any:
        """Return the energy per sample at the last predictions: a number, or a 0-d device array."""
        return self.energies().sum()

    def energies(self) -> np.ndarray:
        """Return the energy of every node per sample, in node order, then of the output per target: (nodes + 1,) float64.

        Call it after `differentiate`, before any state moves.
        """
        n = len(self._x)
        hidden = [node.energy(self.sweep) / n for node in self.nodes]
        return row([*hidden, self._output_energy()], self.outputs)

    def _output_energy(self) -> Any:
        if not self.network.architecture.tokens:
            return output_energy(self.output, self._target, self.outputs)
        return self._losses.sum(dtype=np.float64) / self._samples

    def show(self, watch: Watch | None) -> None:
        """Call a ``watch``, if there is one, with the current energies and state errors x - mu of the nodes."""
        if watch is not None:
            if self._stale:
                self.differentiate()
            kept = self.sweep
            watch(
                self.energies(),
                [kept.states.get(node.name, kept.predictions[node.name]) - kept.predictions[node.name] for node in self.nodes],
            )
