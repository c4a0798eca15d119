"""Relaxation of the states of a network whose value nodes lie inside its layers: sweeps forward and back that are cut at the nodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from analogpc.blocks.base import Block, Product
from analogpc.blocks.sweep import Sweep
from analogpc.blocks.value_node import ValueNodeBlock
from analogpc.dynamics.relaxation import Output, Watch, output_energy, output_error, refuse_target
from analogpc.kernels.descent import momentum_step, plain_step
from analogpc.kernels.gpu.arrays import as_type, on_gpu
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import largest, row
from analogpc.kernels.targets import cross_entropy


class SweptArchitecture(Protocol):
    """What a sweep needs to know of the architecture of a network."""

    @property
    def tokens(self) -> int:
        """How many tokens there are, if inputs and targets are tokens; 0 if they are not."""

    @property
    def tied(self) -> bool:
        """Whether two blocks read one matrix."""

    def sweep(self, x: np.ndarray, target: np.ndarray | None, cut: bool) -> Sweep:
        """What the blocks share while a batch is swept."""

    def samples(self, x: np.ndarray, target: np.ndarray) -> Any:
        """Over how many samples the gradients of a batch are a mean."""


class SweptNetwork(Protocol):
    """A network whose value nodes lie inside its layers."""

    layers: list[Block]

    @property
    def architecture(self) -> SweptArchitecture:
        """What its layers are."""

    @property
    def nodes(self) -> list[ValueNodeBlock]:
        """The value nodes, in the order in which a sweep meets them."""


class SweepRelaxation:
    """States of the value nodes of a network between a held input and a held output, initialised by a feed-forward pass.

    What `Relaxation` is to a sequence of layers with a state between each two, this is to a network whose states are the `ValueNode`
    blocks somewhere inside its layers: a state may depend directly on any number of others. One sweep forward hands on, at every
    node, its state in place of its prediction; one sweep back brings every node the derivative of all energies directly behind it, and
    every matrix its products. Every matrix is read once each way per sweep, however many nodes there are. Without nodes a sweep is
    backpropagation.

    A node follows its prediction until an error has reached it. Matrices behind no node that has been reached get no products.

    Parameters
    ----------
    network : Network
    x : (n, *input_shape) array
        The input, held.
    target : array
        The output, held: of its shape, or for networks of tokens (p, 2) int32, the place and the token of every target (see
        `Transformer`).
    output : Output
        Loss at the output layer.
    cut : bool
        Whether nodes hold states; without, `differentiate` is backpropagation.

    Attributes
    ----------
    outputs : array
        The latest prediction of the output; ``first_outputs`` is that of the feed-forward pass.
    sweep : Sweep
        With the states, predictions and gradients of all nodes, by their names.
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
        """Hold the output at ``target``.

        Raises
        ------
        ValueError
            If it has another shape than the output, or tokens are to be told apart by squared errors.
        """
        if self.network.architecture.tokens:
            if self.output != "cross-entropy":
                raise ValueError(f"networks of tokens need output = 'cross-entropy', not '{self.output}'")
            # One memory, whatever the batch: kernels see whole rows of labels.
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
        """Find the gradient of the energy with respect to every state, and the products of all matrices, at the states as they are."""
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
        """Of the energy, from the latest `differentiate`, by the name of the node; None where zero by construction."""
        return {node.name: self.sweep.gradients.get(node.name) for node in self.nodes}

    def descend(self, step_size: Any, momentum: float = 0.0, nesterov: bool = False, *, front: bool = False) -> None:
        """Move all states at once, down the gradients found last; see `Relaxation.descend`.

        ``step_size`` may be an array of the GPU without axes, where there is no momentum. With ``front`` only the states move that
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
        """Hand out the products of the latest `differentiate`; matrices learn, so that the next one sweeps forward again."""
        apply(self._by_matrix(), gain)
        self._stale = True

    def _by_matrix(self) -> Iterable[Product]:
        """The products, those of one matrix one after the other, also where two blocks read it."""
        products = itertools.chain.from_iterable(self._products)
        if not self.network.architecture.tied:
            return products
        found: dict[int, list[Product]] = {}
        for product in products:
            found.setdefault(id(product[0]), []).append(product)
        return itertools.chain.from_iterable(found.values())

    def learn_new(self, known: set[int], apply: Callable[[Iterable[Product], float], None], gain: float = 1.0) -> None:
        """The same for the matrices whose ids are not ``known``, which are then."""
        products = [product for product in itertools.chain.from_iterable(self._products) if id(product[0]) not in known]
        known.update(id(product[0]) for product in products)
        apply(iter(products), gain)
        self._stale = True

    def residual(self) -> float:
        """The largest absolute component of the gradients found last; 0 if there is none."""
        return max((largest(g) for g in self.sweep.gradients.values() if g is not None), default=0.0)

    def energy(self) -> Any:
        """The energy per sample, of the predictions read last: a number, or on the GPU an array without axes."""
        return self.energies().sum()

    def energies(self) -> np.ndarray:
        """What every node pays per sample, in the order of the nodes, and at last the output per target: (nodes + 1,) float64.

        After a `differentiate` with nothing moved since.
        """
        n = len(self._x)
        hidden = [node.energy(self.sweep) / n for node in self.nodes]
        return row([*hidden, self._output_energy()], self.outputs)

    def _output_energy(self) -> Any:
        if not self.network.architecture.tokens:
            return output_energy(self.output, self._target, self.outputs)
        return self._losses.sum(dtype=np.float64) / self._samples

    def show(self, watch: Watch | None) -> None:
        """Show a ``watch``, if there is one, the energies and the state errors x - mu of the nodes at this moment."""
        if watch is not None:
            if self._stale:
                self.differentiate()
            kept = self.sweep
            watch(
                self.energies(),
                [kept.states.get(node.name, kept.predictions[node.name]) - kept.predictions[node.name] for node in self.nodes],
            )
