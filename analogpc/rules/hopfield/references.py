"""Exact gradients of Hopfield networks, as references for equilibrium propagation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.blocks import Block, Product
from analogpc.devices.bounds import PositiveInteger
from analogpc.devices.costs.schedule import at_once
from analogpc.dynamics.recurrent import Recurrent
from analogpc.dynamics.relaxation import Output, output_error
from analogpc.dynamics.tangents import mixed
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, Rule, StepResult
from analogpc.rules.contrast import apply_together
from analogpc.rules.hopfield.hopfield_ep import check_target, recurrent, step_result

Products = Callable[[], list[Product]]


@dataclass
class Instant:
    """One synchronous step: the states before it, the tapes of their reads, and the slopes of the resulting states.

    Attributes
    ----------
    states : list of arrays
        States from the input on.
    tapes : list
        Tapes, one for each layer that leads to a state.
    returns : list of (block, tape)
        Feedback block and tape of each of these layers.
    slopes : list of arrays
        Slopes, one for each state after the input.
    skips : list of (state below, state above, block, tape)
        Couplings past a state.
    """

    states: list[np.ndarray]
    tapes: list[Any]
    returns: list[tuple[Block, Any]]
    slopes: list[np.ndarray]
    skips: list[tuple[int, int, Block, Any]]

    @classmethod
    def of(cls, states: Recurrent) -> Instant:
        """Record the next step."""
        numbers = range(1, len(states.states))
        slopes = [states.slope(number, states.pre_activation(number)) for number in numbers]
        tapes = [states.read(number - 1)[1] for number in numbers]
        return cls(list(states.states), tapes, [states.feedback(number - 1) for number in numbers], slopes, states.skips())

    def through(self, adjoints: list[np.ndarray]) -> list[np.ndarray]:
        """Convert derivatives with respect to the states after the step into those with respect to the nonlinearity arguments."""
        return [slope * adjoint for slope, adjoint in zip(self.slopes, adjoints, strict=True)]

    def back(self, layers: list[Block], errors: list[np.ndarray]) -> tuple[list[np.ndarray], list[Products]]:
        """Return the derivatives with respect to the states before the step, and a function for the products of every layer and skip.

        Both are derivatives of <errors, arguments of the nonlinearities>: with a primitive function, of <errors, dPhi/ds>.
        """
        adjoints = [np.zeros_like(error) for error in errors]
        learnt: list[Products] = [partial(_products, layers[0], self.tapes[0], errors[0])]
        for number in range(1, len(errors)):
            layer, tape = layers[number], self.tapes[number]
            block, there = self.returns[number]
            own = block is not layer
            above = np.zeros_like(errors[number]) if own else errors[number]
            found = mixed(block, there, errors[number - 1], self.states[number + 1], above)
            adjoints[number] += found.along
            adjoints[number - 1] += found.back
            if own:
                adjoints[number - 1] += layer.vjp(tape, errors[number])
                learnt.append(partial(_both, partial(_products, layer, tape, errors[number]), found.products))
            else:
                learnt.append(found.products)
        for low, high, skip, there in self.skips:
            if not low:
                learnt.append(partial(_products, skip, there, errors[high - 1]))
                continue
            found = mixed(skip, there, errors[low - 1], self.states[high], errors[high - 1])
            adjoints[high - 1] += found.along
            adjoints[low - 1] += found.back
            learnt.append(found.products)
        return adjoints, learnt


def _products(layer: Block, tape: Any, error: np.ndarray) -> list[Product]:
    return list(layer.products(tape, error))


def _both(one: Products, other: Products) -> list[Product]:
    return one() + other()


class RecurrentReference(Rule):
    """Gradient of the loss of the free relaxation of a network of the architecture `Hopfield`.

    Attributes
    ----------
    steps : int
        Number of relaxation steps that the gradient covers.
    output : "squared-error" or "cross-entropy"
        Loss at the end of the free relaxation.
    """

    recurrent: ClassVar[bool] = True
    steps: PositiveInteger = 10
    output: Output = "squared-error"

    @abstractmethod
    def increments(self, free: Recurrent, history: list[Instant], adjoints: list[np.ndarray]) -> Iterator[list[list[Product]]]:
        """Yield the products of every layer that leads to a state, one list per contribution, the last step first.

        Parameters
        ----------
        free : Recurrent
            States after the last step.
        history : list of Instant
            The last steps, in order.
        adjoints : list of arrays
            Negative derivative of the loss with respect to every state after the last step.
        """

    @property
    @abstractmethod
    def remembered(self) -> int:
        """Return the number of steps of history needed."""

    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> tuple[Recurrent, list[Instant]]:
        """Return the state after the free relaxation, and the history of its last steps."""
        architecture = self._architecture(network)
        free = architecture.states(network.layers, x, network.extras)
        history: list[Instant] = []
        for left in range(architecture.steps, 0, -1):
            if left <= self.remembered:
                history.append(Instant.of(free))
            before = list(free.states)
            free.step(architecture.order)
            if architecture.tolerance > 0 and free.change(before) <= architecture.tolerance:
                break
        check_target(free, target)
        return free, history

    def _architecture(self, network: Network) -> Hopfield:
        return recurrent(self, network, self.output)

    def contributions(
        self, free: Recurrent, history: list[Instant], target: np.ndarray
    ) -> tuple[Iterator[list[list[Product]]], list[Product]]:
        """Yield the results of `increments` and the products of a softmax read-out."""
        pulled = output_error(self.output, target, free.output())
        adjoints = [np.zeros_like(state) for state in free.states[1:]]
        if free.readout != "softmax":
            adjoints[-1] = pulled
            return self.increments(free, history, adjoints), []
        last = len(free.layers) - 1
        adjoints[-1] = free.send_back(last, pulled)
        return self.increments(free, history, adjoints), list(free.layers[last].products(free.read(last)[1], pulled))

    @override
    def repeatable(self, network: Network) -> bool:
        return self._architecture(network).tolerance == 0

    @override
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        free, history = self.begin(network, x, target)
        result = step_result(free, target, self.output)
        steps, read_out = self.contributions(free, history, target)
        # Perform all reads first: a matrix must not be updated before it is read.
        per_layer = list(zip(*steps, strict=True))
        for sets in at_once(per_layer):
            apply_together(apply, sets, 1.0)
        if read_out:
            apply(read_out, 1.0)
        return result


class BackpropThroughTime(RecurrentReference):
    """Backpropagation through the last ``steps`` steps of the free relaxation, which must be synchronous.

    It needs the history of all states, which equilibrating hardware does not keep: a reference for the other rules.

    References
    ----------
    Ernoult et al., NeurIPS 2019, arXiv 1905.13633: at equilibrium its increments are those of equilibrium propagation, step by step.
    """

    kind: Literal["backprop-through-time"] = "backprop-through-time"

    @property
    @override
    def remembered(self) -> int:
        return self.steps

    @override
    def _architecture(self, network: Network) -> Hopfield:
        architecture = super()._architecture(network)
        if architecture.order != "synchronous" or architecture.tolerance > 0:
            raise ValueError("the rule 'backprop-through-time' needs a network with order = 'synchronous' and tolerance = 0")
        return architecture

    @override
    def increments(self, free: Recurrent, history: list[Instant], adjoints: list[np.ndarray]) -> Iterator[list[list[Product]]]:
        layers = list(free.layers)
        for instant in reversed(history):
            errors = instant.through(adjoints)
            adjoints, learnt = instant.back(layers, errors)
            yield [products() for products in learnt]


class RecurrentBackprop(RecurrentReference):
    """Recurrent backpropagation: the errors relax at the free equilibrium, for ``steps`` steps.

    With e <- f' (H e + r), H = d2Phi/ds2 at the free state and the error r of the output, the gradient of the loss at the equilibrium
    is d<e, dPhi/ds>/dW. Any order of the relaxation is allowed.

    References
    ----------
    Almeida, ICNN 1987; Pineda, Phys. Rev. Lett. 59:2229 (1987).
    """

    kind: Literal["recurrent-backprop"] = "recurrent-backprop"

    @property
    @override
    def remembered(self) -> int:
        return 0

    @override
    def increments(self, free: Recurrent, history: list[Instant], adjoints: list[np.ndarray]) -> Iterator[list[list[Product]]]:
        layers, instant = list(free.layers), Instant.of(free)
        errors = instant.through(adjoints)
        for _ in range(self.steps - 1):
            onward, _ = instant.back(layers, errors)
            errors = instant.through([a + b for a, b in zip(adjoints, onward, strict=True)])
        yield [products() for products in instant.back(layers, errors)[1]]
