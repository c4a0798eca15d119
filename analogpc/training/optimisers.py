"""Optimisers: conversion of the outer products of a batch into weight changes.

Plain SGD passes the products to the matrix unchanged, so that a crossbar can apply them in place. Every other optimiser computes
the gradient digitally and passes an increment to the matrix, which requires an update scheme that can write it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, groupby
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.blocks import Product
from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.costs.digital import count_digital
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.matrix import Matrix, TwoPhases, UnsupportedUpdateError
from analogpc.devices.specification import Specification
from analogpc.devices.state import fitted
from analogpc.kernels.descent import AdamFactors, adam_step
from analogpc.kernels.gpu.arrays import as_type, copied, in_tree, on_gpu, to_host
from analogpc.kernels.products import outer, outer_macs
from analogpc.training.joint_adam import JointAdam
from analogpc.training.schedules import Constant, Schedule


class Optimiser(Specification):
    """Base class of optimisers, with the shared fields.

    Attributes
    ----------
    learning_rate : float
        Learning rate, per mean gradient of a batch.
    schedule : Constant, WarmupCosine, StepDecay or Exponential
        Schedule of the learning rate; a kind alone, as in ``schedule = "warmup-cosine"``, selects its default values.
    layer_rates : dict of floats
        Factors on the learning rate, by the name of a matrix or the prefix of several names: {"layer1": 0.1, "layer2.0.bias": 2}.
        The longest matching prefix applies; a matrix without a match has factor 1.
    """

    kind: str
    learning_rate: Positive
    schedule: Schedule = Constant()
    layer_rates: dict[str, NonNegative] = Field(default_factory=dict)

    def factor(self, name: str) -> float:
        """Return the factor on the learning rate of a matrix."""
        if not self.layer_rates:
            return 1.0
        parts = name.split(".")
        prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        return next((self.layer_rates[prefix] for prefix in prefixes if prefix in self.layer_rates), 1.0)

    @property
    def in_place(self) -> bool:
        """Whether products are passed to the matrix unchanged."""
        return False

    @abstractmethod
    def start(self, shape: tuple[int, int], dtype: np.dtype) -> dict[str, Any]:
        """Return the initial optimiser state of one matrix (n_out, n_in): arrays by name."""

    @abstractmethod
    def change(self, memory: dict[str, Any], gradient: np.ndarray, weights: np.ndarray, rate: Any) -> np.ndarray:
        """Return the increment for an ascent direction ``gradient`` (n_out, n_in); updates ``memory`` in place."""


class SGD(Optimiser):
    """Stochastic gradient descent, with optional momentum and L2 weight decay.

    Attributes
    ----------
    momentum : float
        v <- momentum v + g, and the weights change by the rate times v (heavy ball).
    nesterov : bool
        Nesterov momentum: the weights change by the rate times g + momentum v (Sutskever et al., ICML 2013, as in PyTorch).
    weight_decay : float
    """

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive = 0.1
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = true needs momentum above 0")
        return self

    @property
    def in_place(self) -> bool:
        """Whether this is plain SGD, which needs no state and no gradient."""
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
            gradient = gradient + kind(self.momentum) * velocity if self.nesterov else velocity
        return as_type(rate, gradient.dtype) * gradient


class AdamW(Optimiser):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, Algorithm 2, decay times rate as in optax).

    Attributes
    ----------
    lazy : bool
        Change only the rows of an embedding that the products contain: the weights and moments of all others stay, so that no device
        of theirs is written. The bias correction counts all steps, as in TensorFlow's LazyAdam.
    """

    kind: Literal["adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    beta1: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.999
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    lazy: bool = False

    @override
    def start(self, shape: tuple[int, int], dtype: np.dtype) -> dict[str, Any]:
        return {"mean": np.zeros(shape, dtype), "square": np.zeros(shape, dtype), "count": np.zeros((), np.int64)}

    @override
    def change(self, memory: dict[str, Any], gradient: np.ndarray, weights: np.ndarray, rate: float) -> np.ndarray:
        memory["count"] += 1
        # Python numbers take a tenth of the time of 0-d arrays.
        count = memory["count"] if on_gpu(memory["count"]) else int(memory["count"])
        corrections = (1 / (1 - self.beta1**count), 1 / (1 - self.beta2**count))
        return adam_step(memory["mean"], memory["square"], gradient, weights, rate, corrections, self.factors)

    @property
    def factors(self) -> AdamFactors:
        """Constants of every step."""
        return AdamFactors(1 - self.beta1, 1 - self.beta2, self.eps, self.weight_decay)


def _lazily(
    optimiser: Optimiser, seen: np.ndarray, memory: dict[str, Any], gradient: np.ndarray, weights: np.ndarray, rate: Any
) -> np.ndarray:
    """Return the increment of the columns that are ``seen`` (n_in,), zero elsewhere, where ``memory`` stays, too."""
    before = {name: kept.copy() for name, kept in memory.items() if kept.ndim}
    change = optimiser.change(memory, gradient, weights, rate)
    for name, kept in before.items():
        # Without a synchronisation, so that a graph can repeat it.
        memory[name][...] = np.where(seen, memory[name], kept)
    return np.where(seen, change, change.dtype.type(0))


AnyOptimiser = Annotated[SGD | AdamW, Field(discriminator="kind")]


class Learner:
    """An optimiser with its state, applied to the matrices of a network.

    Parameters
    ----------
    optimiser : Optimiser
    matrices : dict of Matrix by name

    Raises
    ------
    UnsupportedUpdateError
        If the optimiser needs increments that a matrix cannot write; the message names the matrix.
    """

    def __init__(self, optimiser: Optimiser, matrices: dict[str, Matrix]) -> None:
        self.optimiser = optimiser
        self._matrices = matrices
        self._names = {id(matrix): name for name, matrix in matrices.items()}
        self.memory: dict[str, dict[str, Any]] = {}
        if unknown := [rate for rate in optimiser.layer_rates if not any(f"{name}.".startswith(f"{rate}.") for name in matrices)]:
            raise ValueError(f"layer_rates contains '{unknown[0]}', but the matrices of the network are {', '.join(matrices)}")
        # A lazy update treats the rows of a matrix differently.
        joint = isinstance(optimiser, AdamW) and not optimiser.lazy
        self._joint = JointAdam(matrices if joint else {})
        for name, matrix in matrices.items():
            if not (optimiser.in_place or matrix.takes_increments):
                raise UnsupportedUpdateError(
                    f"the optimiser '{optimiser.kind}' computes its changes digitally, and the update scheme of {name} cannot write "
                    "them; use plain SGD (no momentum, no weight decay) or another scheme"
                )
            start = optimiser.start(matrix.shape, matrix.dtype)
            self.memory[name] = self._joint.memory[name] if name in self._joint else self._placed(start, matrix)

    @staticmethod
    def _placed(memory: dict[str, Any], matrix: Matrix) -> dict[str, Any]:
        """Return the optimiser state of a matrix, with its arrays on the backend of the matrix and in the order of its gradients."""
        backend = matrix.backend
        if not _turned(matrix):
            return {name: copied(kept, backend) for name, kept in memory.items()}
        return {name: copied(kept.T, backend).T for name, kept in memory.items()}

    def restore(self, memory: dict[str, dict[str, Any]]) -> None:
        """Restore a saved `memory`; its arrays may be on any backend.

        Raises
        ------
        StateError
            If it is not the state of this optimiser.
        """
        memory = fitted(memory, self.memory)
        for name in self.memory:
            if name in self._joint:
                self._joint.restore(name, in_tree(to_host, memory[name]))
            else:
                self.memory[name] = self._placed(memory[name], self._matrices[name])

    def learn(self, products: Iterable[Product], rate: Any, batch: Any, gain: float) -> None:
        """Update the matrices from the products of a batch.

        Parameters
        ----------
        products : iterable of (matrix, pre, post), or two phases of them
            Products of one matrix are adjacent; each is consumed in turn.
        rate : float, or 0-d float64 device array
            Learning rate of this step.
        batch : int or 0-d device array
            Number of samples whose products are summed; the gradient is their mean.
        gain : float
            Factor on the products.
        """
        for matrix, pairs in _by_matrix(products):
            name = self._names.get(id(matrix), "")
            factor = self.optimiser.factor(name)
            if factor == 0:
                continue
            # A separate factor would need a separate kernel on a GPU.
            own = rate if factor == 1 else rate * factor
            if self.optimiser.in_place:
                matrix.learn(pairs, own * gain / batch)
                continue
            if name in self._joint:
                self._joint.take(name, pairs, own)
                continue
            looked_up: list[np.ndarray] | None = [] if getattr(self.optimiser, "lazy", False) else None
            gradient, macs = _gradient(pairs, matrix, looked_up)
            gradient *= as_type(gain / batch, matrix.dtype)
            memory = self.memory[name]
            kept = sum(one.ndim > 0 for one in memory.values())
            seen = _seen(looked_up, matrix.shape[1])
            change = self.optimiser.change if seen is None else partial(_lazily, self.optimiser, seen)
            size = gradient.size if seen is None else matrix.shape[0] * min(sum(map(len, looked_up or ())), matrix.shape[1])
            # Every state array is read, changed by a multiply-add and written.
            count_digital(matrix, macs + kept * size, (2 + 2 * kept) * size)
            matrix.increment_by(partial(change, memory, gradient, rate=own))
        if isinstance(self.optimiser, AdamW):
            self._joint.update(gain / batch, self.optimiser.factors, (self.optimiser.beta1, self.optimiser.beta2))


def _turned(matrix: Matrix) -> bool:
    """Whether gradients of a matrix are transposed arrays: a digital matrix on the CPU adds them in the order of its weights."""
    return isinstance(matrix, DigitalMatrix) and matrix.backend == "cpu"


def _seen(looked_up: list[np.ndarray] | None, n_in: int) -> np.ndarray | None:
    """Return which inputs the indices of a lazy update contain, (n_in,) bool; None if all inputs change."""
    if not looked_up or any(pre.ndim > 1 for pre in looked_up):
        return None
    seen = np.zeros(n_in, bool, like=looked_up[0])
    for ids in looked_up:
        seen[ids] = True
    return seen


def _gradient(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], matrix: Matrix, looked_up: list[np.ndarray] | None = None
) -> tuple[np.ndarray, int]:
    """Return the sum of the outer products post pre^T, a new (n_out, n_in) array, and its multiply-adds.

    The presynaptic vectors, or their indices, are added to ``looked_up`` if it is given.
    """
    total: np.ndarray | None = None
    macs, n_in = 0, matrix.shape[1]
    for pre, post in pairs:
        if looked_up is not None:
            looked_up.append(pre)
        # One product for all matrices: its transpose, computed instead, may round differently.
        own = outer(pre, post, n_in).T
        own = own if _turned(matrix) else np.ascontiguousarray(own, like=post)
        if total is None:
            total = own
        else:
            total += own
        macs += outer_macs(pre, post, n_in)
    assert total is not None, "a matrix learns from at least one product"
    return total, macs


def _by_matrix(products: Iterable[Product]) -> Iterator[tuple[Matrix, Iterable[tuple[np.ndarray, np.ndarray]]]]:
    """Group products by matrix; the two phases stay separate."""
    if isinstance(products, TwoPhases):
        minus = {id(matrix): list(pairs) for matrix, pairs in _by_matrix(products.minus)}
        for matrix, pairs in _by_matrix(products.plus):
            yield matrix, TwoPhases(list(pairs), minus[id(matrix)])
        return
    for _, group in groupby(products, key=lambda product: id(product[0])):
        first = next(group)
        yield first[0], ((pre, post) for _, pre, post in chain((first,), group))
