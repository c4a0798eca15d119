"""The contract of the blocks: every block knows its function, its own transpose and its local products; there is no autodiff."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BeforeValidator, SerializeAsAny

from analogpc.devices.families import Member, by_kind
from analogpc.devices.matrix import Matrix
from analogpc.kernels.gpu.arrays import Backend, copied
from analogpc.kernels.products import added
from analogpc.kernels.random.streams import Key

if TYPE_CHECKING:
    from analogpc.blocks.sweep import Sweep
    from analogpc.blocks.value_node import ValueNodeBlock

Product = tuple[Matrix, np.ndarray, np.ndarray]
"""(matrix, pre, post): n presynaptic vectors (n, n_in) beside n postsynaptic errors (n, n_out), to be learnt by that matrix.

Vectors that are 1 at one place and 0 elsewhere are given by the numbers of these places: ``pre`` is an (n,) int32 array.
"""

MatrixMaker = Callable[[str, np.ndarray], Matrix]
"""Takes a role, "weight", "bias" or "scale", and initial weights (n_out, n_in), and makes the matrix on a substrate of its choice."""


Initialisation = Literal[
    "kaiming-uniform", "kaiming-normal", "kaiming-normal-fan-out", "xavier-uniform", "xavier-normal", "normal"
]
"""How weights and biases start.

- "kaiming-uniform": both uniform within +-1 / sqrt(fan_in), the default of PyTorch's ``Linear`` and ``Conv2d`` (He et al. with a
  leaky slope of sqrt(5)).
- "kaiming-normal": normal of variance 2 / fan_in, no bias (He et al., arXiv 1502.01852, for rectifiers).
- "kaiming-normal-fan-out": normal of variance 2 / fan_out, no bias (the same authors' other choice, which keeps the size of the
  gradients; Kerjan et al., arXiv 2606.03584, for their VGG10).
- "xavier-uniform", "xavier-normal": variance 2 / (fan_in + fan_out), no bias (Glorot and Bengio, AISTATS 2010).
- "normal": normal of variance 1, no bias, for layers whose ``gain`` does the scaling: the NTK parametrisation (Jacot et al.,
  arXiv 1806.07572) and muPC (Innocenti et al., arXiv 2505.13124), whose code (JPC) makes networks without biases by default and
  otherwise lets them start near zero.
"""


class ShapeError(ValueError):
    """A block was given samples of a shape, or of a floating type, that it does not take."""


class Block(ABC):
    """A differentiable function of a batch of samples, with the matrices that it reads.

    Parameters
    ----------
    input_shape, output_shape : tuple of int
        Of one sample, without the batch; images are (height, width, channels).
    matrices : dict of Matrix by name
        Empty for a block without parameters.
    buffers : dict of arrays by name
        What the block keeps besides its matrices, such as running statistics.

    Attributes
    ----------
    input_shape, output_shape, matrices, buffers
        As given.
    precision : array of shape (values,) or None
        Fixed weights of the energies of the values that the block predicts, where it ends a layer: 1/2 sum_i precision_i e_i^2, besides
        the precision that a schedule gives to the layer. None for 1 everywhere. Only flat samples have them.
    """

    precision: np.ndarray | None = None

    def __init__(
        self,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        matrices: dict[str, Matrix] | None = None,
        buffers: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.input_shape = input_shape
        self.output_shape = output_shape
        self._matrices = {} if matrices is None else matrices
        self._buffers = {} if buffers is None else buffers

    @property
    def matrices(self) -> dict[str, Matrix]:
        """The matrices by name, in the order in which they were made."""
        return self._matrices

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """What the block keeps besides its matrices, by name: arrays that are changed in place."""
        return self._buffers

    @abstractmethod
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """Map a batch.

        Parameters
        ----------
        x : (n, *input_shape) array

        Returns
        -------
        y : (n, *output_shape) array
            In the type of ``x``, and possibly ``x`` itself in another shape.
        tape
            What `vjp` and `products` need to know of this call. It may hold ``x`` itself, which must not be changed while it is
            in use.

        Raises
        ------
        ShapeError
            If the samples have another shape, or the matrices another floating type.
        """

    def infer(self, x: np.ndarray) -> np.ndarray:
        """What a trained network answers: `forward` without a tape, and with kept statistics in place of those of the batch."""
        return self.forward(x)[0]

    @abstractmethod
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        """The transposed Jacobian at the tape, times ``g``: (n, *output_shape) -> (n, *input_shape)."""

    @property
    def exact(self) -> bool:
        """Whether all reads of its matrices are exact, and it has a `shift`."""
        return type(self).shift is not Block.shift and all(matrix.exact for matrix in self._matrices.values())

    @property
    def steady(self) -> bool:
        """Whether the same input gives the same output again, as long as nothing is learnt; noise of reads aside."""
        return True

    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        """How far the output moves when the input moves, without the difference of two large numbers.

        forward(x + dx) - forward(x) to the full relative precision of ``dx``, which a subtraction of two outputs does not have: it
        is off by the rounding of the outputs, however small the difference.

        Parameters
        ----------
        tape
            From the `forward` that took the input before it moved, by the matrices as they are now.
        dx : (n, *input_shape) array
            How far it has moved.
        x : (n, *input_shape) array
            Where it is now, if that is at hand.

        Returns
        -------
        dy : (n, *output_shape) array
            Possibly ``dx`` itself in another shape.
        tape
            As `forward` at the new place would give it, for `vjp` and `products`; not for another `shift`.

        Raises
        ------
        NotImplementedError
            If the block does not know how; then it is not `exact`, and relaxations read it again and subtract.
        """
        raise NotImplementedError(f"{type(self).__name__} has no shift")

    def again(self, tape: Any) -> None:
        """Take note that the input has been evaluated once more, and a read was spared since it would give the same."""
        return

    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        """The local products whose sums post^T pre are the derivatives of <g, forward(x)> with respect to the matrices.

        Products of one matrix follow each other. They are formed when they are consumed, and no product depends on a matrix that
        an earlier product has updated.

        Parameters
        ----------
        tape
            From `forward`.
        g : (n, *output_shape) array
        """
        return iter(())

    @property
    def least_samples(self) -> int:
        """The smallest batch, apart from an empty one, from which the block can learn."""
        return 1

    def nodes(self) -> Iterable[ValueNodeBlock]:
        """The value nodes inside the block, in the order in which a sweep forward meets them."""
        return ()

    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, Any]:
        """`forward` within a sweep: value nodes inside the block hand on their states, and masks are heeded."""
        return self.forward(x)

    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        """`vjp` and `products` within a sweep, with one transposed read of every matrix for both.

        Parameters
        ----------
        tape
            From `pass_forward`.
        g : (n, *output_shape) array
            The negative derivative of the energies behind the block.
        sweep : Sweep
        onward : bool
            Whether the first result is wanted.

        Returns
        -------
        g : (n, *input_shape) array or None
            The negative derivative with respect to the input, of the energies at and behind the first value nodes that are met; None
            where zero by construction, or not wanted.
        products : list of iterables of Product
            None of whose products depends on a matrix that learns from them.
        """
        return (self.vjp(tape, g) if onward else None), [self.products(tape, g)] if self.matrices else []

    def copy(self, backend: Backend | None = None) -> Self:
        """An independent block whose matrices and buffers are in the same state, its arrays on a ``backend``, if one is named."""
        twin = copy.copy(self)
        twin._buffers = {name: copied(kept, backend) for name, kept in self._buffers.items()}
        twin._matrices = {name: matrix.copy(backend) for name, matrix in self._matrices.items()}
        if self.precision is not None:
            twin.precision = copied(self.precision, backend)
        return twin

    def _check(self, x: np.ndarray) -> None:
        """Refuse a batch of another shape, and one that would silently change the floating type of the reads."""
        name = type(self).__name__.removesuffix("Block")
        if x.shape[1:] != self.input_shape or x.ndim == 0:
            expected = ", ".join(("n", *map(str, self.input_shape)))
            raise ShapeError(f"{name} was built for batches of shape ({expected}), not {x.shape}")
        for role, matrix in self._matrices.items():
            if x.dtype != matrix.dtype:
                raise ShapeError(f"{name} has a {role} matrix of type {matrix.dtype} and cannot read inputs of type {x.dtype}")


def moved(start: np.ndarray, change: np.ndarray, there: np.ndarray | None) -> np.ndarray:
    """``start`` + ``change``: where that is at hand, ``there``."""
    return added(start, change) if there is None else there


class BlockSpecification(Member):
    """What a block is; `build` makes one.

    A subclass adds its fields and a ``kind`` of its own, by which networks, studies and files know it as soon as its module is
    imported (see ``docs/rules.md``).
    """

    family_name: ClassVar[str] = "block"

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> Block:
        """Make the block.

        Parameters
        ----------
        input_shape : tuple of int
            Of one sample, without the batch.
        make : MatrixMaker
            Called once for each matrix: the weight, then the bias.
        key : Key
            Of the initial weights.
        dtype : numpy.dtype
            Floating type of the weights.

        Raises
        ------
        ShapeError
            If the block does not take samples of that shape.
        """


AnyBlock = Annotated[SerializeAsAny[BlockSpecification], BeforeValidator(by_kind(BlockSpecification))]
"""Any block specification, or its fields with its ``kind``."""
