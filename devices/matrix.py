"""Interface between networks and hardware: a logical matrix that is read in both directions and learns from local products."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import numpy as np

from analogpc.devices.costs.meter import Meter
from analogpc.devices.state import Stateful
from analogpc.kernels.calls import NotRecordableError
from analogpc.kernels.checks import refuse_shape
from analogpc.kernels.gpu.arrays import Backend, on_gpu
from analogpc.kernels.lookups import one_hot
from analogpc.kernels.memory import filled
from analogpc.kernels.random.streams import Key

Products = Iterable[tuple[np.ndarray, np.ndarray]]
"""Pairs (pre, post) of shapes (n, n_in) and (n, n_out): n presynaptic vectors with their n postsynaptic errors.

A ``pre`` of shape (n,), int32, represents one-hot vectors by the index of the 1.
"""

P = TypeVar("P", bound=tuple[Any, ...])


@dataclass(frozen=True)
class TwoPhases(Generic[P]):
    """Products of two phases that nearly cancel: those of ``plus`` are added, those of ``minus`` subtracted.

    Iteration yields first the products of ``plus``, then those of ``minus`` with the sign of ``post`` inverted. Update schemes that
    distinguish the phases may send them to different devices.

    Attributes
    ----------
    plus, minus : iterables of (..., pre, post)
    """

    plus: Iterable[P]
    minus: Iterable[P]

    def __iter__(self) -> Iterator[P]:
        yield from self.plus
        for product in self.minus:
            yield cast(P, (*product[:-1], -product[-1]))


@dataclass
class ReadStream:
    """Noise stream of the reads: a key and the number of steps used so far."""

    key: Key
    step: int = 0

    def take(self, steps: int) -> int:
        """Reserve ``steps`` consecutive steps and return the first."""
        first = self.step
        self.step += steps
        return first


class Matrix(Stateful):
    """A logical matrix W of shape (n_out, n_in) on a substrate.

    Attributes
    ----------
    shape : (n_out, n_in)
    dtype : numpy.dtype
        float32 or float64: the type of reads and products.
    meter : Meter
        Counts of operations; `swap_session` exchanges it together with the noise stream of the reads.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    meter: Meter

    @property
    @abstractmethod
    def takes_increments(self) -> bool:
        """Whether `increment` is supported."""

    @property
    def repeatable(self) -> bool:
        """Whether reads and learning always perform the same operations, independent of computed values.

        A captured CUDA graph can then repeat them, as long as `baked` does not change.
        """
        return True

    def read_arrays(self) -> list[np.ndarray]:
        """Return the arrays in main memory that reads use or add to, which weight updates may replace by others of the same form.

        Raises
        ------
        NotRecordableError
            If reads do more than compiled functions do with these arrays, so that a recording cannot repeat them (see
            `kernels.recording`).
        """
        raise NotRecordableError(f"the reads of {type(self).__name__} are not recorded")

    def accumulators(self) -> list[np.ndarray]:
        """Return those of the `read_arrays` to which reads add."""
        return []

    @property
    def baked(self) -> Any:
        """Host values, besides the specification, on which a captured graph depends; comparable with ``==``."""
        return None

    def counters(self) -> list[tuple[Any, str]]:
        """Counters that learning and reading increment and that random streams use as steps (see `graphs.Graph`)."""
        return []

    def counting(self) -> list[Any]:
        """Objects in which learning and reading keep their counters."""
        return [self.meter]

    def forget(self) -> None:
        """Discard values cached from the devices or weights, after these were changed from outside the matrix."""
        return

    @property
    def exact(self) -> bool:
        """Whether reads are plain products, up to rounding.

        The read of a sum is then the sum of the reads, repeated reads agree, and the partition of a batch into reads does not matter.
        """
        return False

    @abstractmethod
    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return W x for every row of ``x``: (n, n_in) -> (n, n_out)."""

    def forward_constant(self, like: np.ndarray) -> np.ndarray:
        """Return W x of a one-input matrix for the constant 1, as scales and biases are read: (1, n_out), on the backend of ``like``."""
        return self.forward(filled((1, 1), 1, self.dtype, like))

    @abstractmethod
    def backward(self, g: np.ndarray) -> np.ndarray:
        """Transposed read of the same devices, W^T g for every row of ``g``: (n, n_out) -> (n, n_in)."""

    def look_up(self, ids: np.ndarray) -> np.ndarray:
        """Return W x for one-hot vectors x, given by the indices of their ones: (n,) int32 -> (n, n_out)."""
        refuse_numbers_of_inputs(ids, self.shape[1])
        self.meter.look_ups += len(ids)
        return self.forward(one_hot(ids, self.shape[1], self.dtype))

    @abstractmethod
    def learn(self, products: Products, rate: float) -> None:
        """Change W by ``rate`` times the sum of the outer products post pre^T, in the given order, as the substrate can."""

    @abstractmethod
    def increment(self, change: np.ndarray) -> None:
        """Change W by a digitally computed ``change`` (n_out, n_in).

        Raises
        ------
        UnsupportedUpdateError
            If the update scheme of the substrate cannot apply it.
        """

    def increment_by(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change W by ``change(W)``, both (n_out, n_in); the function must neither write to its argument nor keep it."""
        self.increment(change(self.weights()))

    @abstractmethod
    def weights(self) -> np.ndarray:
        """Return the logical weights (n_out, n_in) that an ideal read would find; a copy."""

    @property
    @abstractmethod
    def backend(self) -> Backend:
        """Backend of its arrays, inputs and outputs: "cpu" or "gpu"."""

    @abstractmethod
    def all_finite(self) -> Any:
        """Whether every weight is a finite number: a bool, or a 0-d device array (no synchronisation)."""

    @abstractmethod
    def elapse(self, seconds: float) -> None:
        """Let time pass for the devices."""

    @abstractmethod
    def template(self) -> dict[str, Any]:
        """Return the template of a state of this matrix, which follows from its specification; see `state.fitted`."""

    def refuse_state(self) -> None:
        """Reject a state, just loaded from a file, with invalid numbers, by a `StateError`."""

    @abstractmethod
    def key_streams(self, key: Key) -> None:
        """Draw all future read and update noise from streams of ``key``; the devices stay the same."""

    @abstractmethod
    def swap_session(self, reads: ReadStream, meter: Meter) -> tuple[ReadStream, Meter]:
        """Exchange the read noise stream and the meter, and return the former ones, so that an evaluation leaves no trace."""


def checked(products: Products, shape: tuple[int, int]) -> Products:
    """Check that products match a matrix of shape (n_out, n_in): a list immediately, other iterables while iterating.

    Raises
    ------
    ValueError
        If a pair does not have the shapes (n, n_in), or (n,) for input indices, and (n, n_out).
    """
    if isinstance(products, TwoPhases):
        return TwoPhases(checked(products.plus, shape), checked(products.minus, shape))
    if isinstance(products, (list, tuple)):
        for pre, post in products:
            _refuse_product(pre, post, shape)
        return products
    return _as_they_come(products, shape)


def _as_they_come(products: Products, shape: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for pre, post in products:
        _refuse_product(pre, post, shape)
        yield pre, post


def _refuse_product(pre: np.ndarray, post: np.ndarray, shape: tuple[int, int]) -> None:
    n_out, n_in = shape
    if getattr(pre, "ndim", 0) == 1:
        refuse_numbers_of_inputs(pre, n_in)
    else:
        refuse_shape(pre, f"presynaptic vectors of a matrix of {n_in} inputs", ("n", n_in))
    refuse_shape(
        post, f"postsynaptic errors of a matrix of {n_out} outputs, for {len(pre)} presynaptic vectors,", (len(pre), n_out)
    )


def refuse_numbers_of_inputs(ids: np.ndarray, n_in: int) -> None:
    """Reject (n,) input indices outside 0 to n_in - 1; indices on a GPU are not checked."""
    if ids.dtype.kind not in "iu":
        raise ValueError(f"input indices must be integers, not {ids.dtype}")
    if not on_gpu(ids) and ids.size and not (ids.min() >= 0 and ids.max() < n_in):
        raise ValueError(f"input indices must lie from 0 to {n_in - 1}, not from {ids.min()} to {ids.max()}")


class UnsupportedUpdateError(ValueError):
    """The substrate has no physical way to perform the requested update."""


class NonFiniteError(ArithmeticError):
    """A state, a product or a weight is not finite."""
