"""Optimisers: how the products of a batch become a change of the weights, and at which rate.

Plain SGD hands the products to the matrix as they are, so that a crossbar can apply them in place. Every other optimiser forms the
gradient digitally and hands the matrix an increment, which needs an update scheme that can write one.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.blocks import Product
from analogpc.devices.matrix import Matrix, TwoPhases, UnsupportedUpdateError
from analogpc.devices.specification import Specification
from analogpc.kernels.gpu.arrays import as_type, copied
from analogpc.kernels.products import matmul

Rate = Annotated[FiniteFloat, Field(gt=0)]
Fraction = Annotated[FiniteFloat, Field(ge=0, le=1)]
Decay = Annotated[FiniteFloat, Field(ge=0)]


class Constant(Specification):
    """The learning rate as it is."""

    kind: Literal["constant"] = "constant"

    def factor(self, step: int, total: int) -> float:
        """The factor on the learning rate at step 0 .. total - 1."""
        return 1.0


class WarmupCosine(Specification):
    """A linear rise from 1 to ``peak`` during the first ``warmup`` of all steps, then half a cosine down to ``end``.

    The rise need not end at a whole step: 10 % of 117 steps are 11.7 steps.

    References
    ----------
    The schedule of Pinchetti et al. (arXiv 2407.01163) and Qi et al. (arXiv 2506.23800), optax's ``warmup_cosine_decay_schedule``.
    """

    kind: Literal["warmup-cosine"] = "warmup-cosine"
    peak: Rate = 1.1
    warmup: Fraction = 0.1
    end: Annotated[FiniteFloat, Field(ge=0)] = 0.1

    def factor(self, step: int, total: int) -> float:
        """The factor on the learning rate at step 0 .. total - 1; it stays at ``end`` afterwards."""
        rising = self.warmup * total
        if step < rising:
            return 1.0 + (self.peak - 1.0) * step / rising
        progress = min(1.0, (step - rising) / (total - rising)) if total > rising else 1.0
        return self.end + (self.peak - self.end) * 0.5 * (1.0 + math.cos(math.pi * progress))


Schedule = Annotated[Constant | WarmupCosine, Field(discriminator="kind")]


class Optimiser(Specification):
    """Shared fields.

    Attributes
    ----------
    learning_rate : float
        Per mean gradient of a batch.
    schedule : Constant or WarmupCosine
    """

    kind: str
    learning_rate: Rate
    schedule: Schedule = Constant()

    @property
    def in_place(self) -> bool:
        """Whether products can be handed to the matrix as they are."""
        return False

    @abstractmethod
    def start(self, shape: tuple[int, int], dtype: np.dtype) -> dict[str, Any]:
        """The memory of one matrix (n_out, n_in): arrays by name."""

    @abstractmethod
    def change(self, memory: dict[str, Any], gradient: np.ndarray, weights: np.ndarray, rate: Any) -> np.ndarray:
        """The increment for an ascent direction ``gradient`` (n_out, n_in); updates ``memory`` in place."""


class SGD(Optimiser):
    """Stochastic gradient descent, with heavy-ball momentum and L2 weight decay if wanted."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Rate = 0.1
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    weight_decay: Decay = 0.0

    @property
    def in_place(self) -> bool:
        """Plain SGD needs no memory and no gradient."""
        return self.momentum == 0 and self.weight_decay == 0

    @override
    def start(self, shape: tuple[int, int], dtype: np.dtype) -> dict[str, Any]:
        return {"velocity": np.zeros(shape, dtype)} if self.momentum else {}

    @override
    def change(self, memory: dict[str, Any], gradient: np.ndarray, weights: np.ndarray, rate: float) -> np.ndarray:
        kind = gradient.dtype.type
        if self.weight_decay:
            gradient = gradient - kind(self.weight_decay) * weights
        if self.momentum:
            velocity = memory["velocity"]
            velocity *= kind(self.momentum)
            velocity += gradient
            gradient = velocity
        return as_type(rate, gradient.dtype) * gradient


class AdamW(Optimiser):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, Algorithm 2, decay times rate as in optax)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Rate = 3e-4
    beta1: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.999
    eps: Rate = 1e-8
    weight_decay: Decay = 0.0

    @override
    def start(self, shape: tuple[int, int], dtype: np.dtype) -> dict[str, Any]:
        return {"mean": np.zeros(shape, dtype), "square": np.zeros(shape, dtype), "count": np.zeros((), np.int64)}

    @override
    def change(self, memory: dict[str, Any], gradient: np.ndarray, weights: np.ndarray, rate: float) -> np.ndarray:
        kind = gradient.dtype.type
        mean, square = memory["mean"], memory["square"]
        memory["count"] += 1
        mean += kind(1 - self.beta1) * (gradient - mean)
        square += kind(1 - self.beta2) * (gradient * gradient - square)
        corrected = as_type(1 / (1 - self.beta1 ** memory["count"]), gradient.dtype) * mean
        root = np.sqrt(as_type(1 / (1 - self.beta2 ** memory["count"]), gradient.dtype) * square)
        change = corrected / (root + kind(self.eps))
        if self.weight_decay:
            change -= kind(self.weight_decay) * weights
        return as_type(rate, gradient.dtype) * change


AnyOptimiser = Annotated[SGD | AdamW, Field(discriminator="kind")]


class Learner:
    """An optimiser at work on the matrices of a network: its memory, and the way from products to changes.

    Parameters
    ----------
    optimiser : Optimiser
    matrices : dict of Matrix by name

    Raises
    ------
    UnsupportedUpdateError
        If the optimiser needs increments that a matrix cannot take; the sentence names the matrix.
    """

    def __init__(self, optimiser: Optimiser, matrices: dict[str, Matrix]) -> None:
        self.optimiser = optimiser
        self._matrices = matrices
        self._names = {id(matrix): name for name, matrix in matrices.items()}
        self.memory: dict[str, dict[str, Any]] = {}
        for name, matrix in matrices.items():
            if not (optimiser.in_place or matrix.takes_increments):
                raise UnsupportedUpdateError(
                    f"the optimiser '{optimiser.kind}' forms its changes digitally, and the update scheme of {name} cannot write "
                    "them; use plain SGD (no momentum, no weight decay) or another scheme"
                )
            self.memory[name] = self._placed(optimiser.start(matrix.shape, matrix.dtype), matrix)

    @staticmethod
    def _placed(memory: dict[str, Any], matrix: Matrix) -> dict[str, Any]:
        """What an optimiser keeps of a matrix, its arrays where those of the matrix are."""
        return {name: copied(kept, matrix.backend) for name, kept in memory.items()}

    def restore(self, memory: dict[str, dict[str, Any]]) -> None:
        """Take over what `memory` once was; its arrays may come from anywhere."""
        self.memory = {name: self._placed(memory[name], self._matrices[name]) for name in self.memory}

    def learn(self, products: Iterable[Product], rate: Any, batch: int, gain: float) -> None:
        """Let the matrices learn from the products of a batch.

        Parameters
        ----------
        products : iterable of (matrix, pre, post), or two phases of them
            Products of one matrix follow each other; each is consumed when its turn comes.
        rate : float, or float64 array of the GPU without axes
            Learning rate of this step.
        batch : int
            Samples whose products are summed; the gradient is their mean.
        gain : float
            Factor on the products.
        """
        for matrix, pairs in _by_matrix(products):
            if self.optimiser.in_place:
                matrix.learn(pairs, rate * gain / batch)
                continue
            gradient = sum(matmul(post.T, pre) for pre, post in pairs)
            gradient *= matrix.dtype.type(gain / batch)
            memory = self.memory[self._names[id(matrix)]]
            matrix.increment(self.optimiser.change(memory, gradient, matrix.weights(), rate))


def _by_matrix(products: Iterable[Product]) -> Iterator[tuple[Matrix, Iterable[tuple[np.ndarray, np.ndarray]]]]:
    """Every matrix with its own products; products of two phases stay two phases."""
    if isinstance(products, TwoPhases):
        minus = {id(matrix): list(pairs) for matrix, pairs in _by_matrix(products.minus)}
        for matrix, pairs in _by_matrix(products.plus):
            yield matrix, TwoPhases(list(pairs), minus[id(matrix)])
        return
    for _, group in groupby(products, key=lambda product: id(product[0])):
        first = next(group)
        yield first[0], ((pre, post) for _, pre, post in chain((first,), group))
