"""Exact matrix of an ideal digital computer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.devices.costs.digital import count_digital
from analogpc.devices.costs.meter import Meter
from analogpc.devices.costs.paths import BACKWARD, FORWARD, LOOK_UP
from analogpc.devices.costs.schedule import note
from analogpc.devices.matrix import Matrix, Products, ReadStream, TwoPhases, checked, refuse_numbers_of_inputs
from analogpc.devices.state import Settled, Shaped, Tree
from analogpc.kernels.checks import passing_seconds, refuse_shape
from analogpc.kernels.gpu.arrays import Backend, as_type, backend_of, copied
from analogpc.kernels.lookups import rows_of
from analogpc.kernels.products import added, duplicate, matmul, outer, outer_macs
from analogpc.kernels.random.streams import Key


class DigitalMatrix(Matrix):
    """Exact matrix: an array in memory and the ordinary matrix product.

    Parameters
    ----------
    weights : (n_out, n_in) array, float32 or float64
        Initial weights; copied.
    """

    specified = ("shape", "dtype")
    _shared = False

    def __init__(self, weights: np.ndarray) -> None:
        # Stored transposed, as the crossbar stores its devices, so that both substrates call the same products.
        self._stored = copied(weights.T)
        self.shape = weights.shape
        self.dtype = self._stored.dtype
        self.meter = Meter()
        self._reads = ReadStream(Key(0))

    @property
    @override
    def takes_increments(self) -> bool:
        return True

    @property
    @override
    def exact(self) -> bool:
        return True

    @override
    def read_arrays(self) -> list[np.ndarray]:
        return [self._stored]

    @override
    def forward(self, x: np.ndarray) -> np.ndarray:
        refuse_shape(x, "inputs", ("n", self.shape[1]))
        self.meter.forward_reads += len(x)
        note(FORWARD, self, len(x))
        return matmul(x, self._stored)

    @override
    def forward_constant(self, like: np.ndarray) -> np.ndarray:
        self.meter.forward_reads += 1
        note(FORWARD, self, 1)
        # The product with 1 is bit-identical to the column.
        return duplicate(self._stored)

    @override
    def backward(self, g: np.ndarray) -> np.ndarray:
        refuse_shape(g, "inputs of a transposed read", ("n", self.shape[0]))
        self.meter.backward_reads += len(g)
        note(BACKWARD, self, len(g))
        return matmul(g, self._stored.T)

    @override
    def look_up(self, ids: np.ndarray) -> np.ndarray:
        refuse_numbers_of_inputs(ids, self.shape[1])
        self.meter.forward_reads += len(ids)
        self.meter.look_ups += len(ids)
        note(LOOK_UP, self, len(ids))
        return rows_of(self._stored, ids)

    @override
    def learn(self, products: Products, rate: float) -> None:
        scale, products = as_type(rate, self.dtype), checked(products, self.shape)
        self.meter.update_cycles += 1
        count_digital(self, self._learn(products, scale), 2 * self._stored.size)

    def _learn(self, products: Products, scale: np.ndarray) -> int:
        """Learn, and return the number of multiply-adds."""
        macs = 0
        if isinstance(products, TwoPhases):
            # Nearly cancelling terms are subtracted before they are added to anything large.
            change = np.zeros_like(self._stored)
            for pre, post in products:
                self.meter.updates += len(pre)
                macs += outer_macs(pre, post, self.shape[1])
                change += outer(pre, post, self.shape[1])
            self._add(scale * change)
            return macs
        for pre, post in products:
            self.meter.updates += len(pre)
            macs += outer_macs(pre, post, self.shape[1])
            change = outer(pre, post, self.shape[1])
            change *= scale
            self._add(change)
        return macs

    @override
    def increment(self, change: np.ndarray) -> None:
        refuse_shape(change, "changes", self.shape)
        self.meter.update_cycles += 1
        count_digital(self, self._stored.size, 2 * self._stored.size)
        self._add(change.T)

    def _add(self, change: np.ndarray) -> None:
        """Add to the weights (n_in, n_out): in place, unless a tree of `held` has the same memory."""
        if self._shared:
            self._stored, self._shared = added(self._stored, change), False
        else:
            self._stored += change

    @override
    def increment_by(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.increment(change(self._stored.T))

    @override
    def weights(self) -> np.ndarray:
        return copied(self._stored.T)

    @property
    def stored(self) -> np.ndarray:
        """Weights as stored, (n_in, n_out), not a copy: valid until the next update, and not to be changed."""
        return self._stored

    @property
    @override
    def backend(self) -> Backend:
        return backend_of(self._stored)

    @override
    def all_finite(self) -> Any:
        return np.isfinite(self._stored).all()

    def elapse(self, seconds: float) -> None:
        """Do nothing: digital weights do not age."""
        passing_seconds(seconds)

    @override
    def held(self) -> Tree:
        tree = {"weights": self._stored.T, "meter": self.meter.as_dict()}
        if self.backend == "gpu":
            return tree
        # The next update writes elsewhere, so that nothing need be copied. Graphs of a GPU need weights that stay where they are.
        self._shared = True
        return Settled(tree)

    @override
    def template(self) -> dict[str, Any]:
        return {"weights": Shaped(self.shape, (self.dtype.name,)), "meter": Meter().as_dict()}

    @override
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        self.meter, self._reads = Meter(**tree["meter"]), ReadStream(Key(0))
        self._stored, self._shared = copied(tree["weights"].T.astype(self.dtype, copy=False), backend), False

    def key_streams(self, key: Key) -> None:
        """Do nothing: a digital matrix has no randomness."""

    @override
    def swap_session(self, reads: ReadStream, meter: Meter) -> tuple[ReadStream, Meter]:
        former = self._reads, self.meter
        self._reads, self.meter = reads, meter
        return former
