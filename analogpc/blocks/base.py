"""Interface of the blocks: every block implements its function, its transpose and its local products; there is no autodiff."""

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
    from analogpc.blocks.sweep_state import Sweep
    from analogpc.blocks.value_node import ValueNodeBlock

Product = tuple[Matrix, np.ndarray, np.ndarray]
"""(matrix, pre, post): n presynaptic vectors (n, n_in) and n postsynaptic errors (n, n_out) from which the matrix learns.

One-hot vectors are given by their indices: ``pre`` is then an (n,) int32 array.
"""

MatrixMaker = Callable[[str, tuple[int, int], Callable[[], np.ndarray]], Matrix]
"""Callable that takes a role, "weight", "bias" or "scale", and initial weights (n_out, n_in), and creates the matrix on a substrate."""


Initialisation = Literal[
    "kaiming-uniform",
    "kaiming-uniform-fan-out",
    "kaiming-normal",
    "kaiming-normal-fan-out",
    "xavier-uniform",
    "xavier-normal",
    "normal",
]
"""Initialisation of weights and biases.

- "kaiming-uniform": both uniform within +-1 / sqrt(fan_in), the default of PyTorch's ``Linear`` and ``Conv2d`` (He et al. with a
  leaky slope of sqrt(5)).
- "kaiming-uniform-fan-out": weights uniform within +-1 / sqrt(fan_out), biases as before (Kerjan et al., arXiv 2606.03584, for the
  convolutions of their VGG10).
- "kaiming-normal": normal of variance 2 / fan_in, no bias (He et al., arXiv 1502.01852, for rectifiers).
- "kaiming-normal-fan-out": normal of variance 2 / fan_out, no bias (the alternative of the same authors, which preserves the size of the
  gradients).
- "xavier-uniform", "xavier-normal": variance 2 / (fan_in + fan_out), no bias (Glorot and Bengio, AISTATS 2010).
- "normal": normal of variance 1, no bias, for layers scaled by ``gain``: the NTK parametrisation (Jacot et al.,
  arXiv 1806.07572) and muPC (Innocenti et al., arXiv 2505.13124), whose code (JPC) makes networks without biases by default and
  otherwise initialises them near zero.
"""


class ShapeError(ValueError):
    """Raised for samples of a shape or floating type that a block does not accept."""


class Block(ABC):
    """A differentiable function of a batch of samples, with the matrices that it reads.

    Parameters
    ----------
    input_shape, output_shape : tuple of int
        Shapes of one sample, without the batch axis; images are (height, width, channels).
    matrices : dict of Matrix by name
        Matrices; empty for a block without parameters.
    buffers : dict of arrays by name
        Other arrays of the block, such as running statistics.

    Attributes
    ----------
    input_shape, output_shape, matrices, buffers
        As given.
    precision : array of shape (values,) or None
        Fixed weights of the energies of the predicted values if the block ends a layer: 1/2 sum_i precision_i e_i^2, in addition to
        the precision of a schedule. None for 1 everywhere. Only for flat samples.
    """

    precision: np.ndarray | None = None
    numbered: bool = True
    """Whether a chain counts the block in the names of matrices."""
    affine: bool = False
    """Whether the output is an affine function of the input, so that the transpose does not depend on the input."""
    curved: bool = False
    """Whether the second derivative with respect to the input is nonzero, and given by `curvature`."""

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
        """Matrices by name, in the order of creation."""
        return self._matrices

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """Other arrays of the block by name, changed in place."""
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
            Output in the type of ``x``; possibly a view of ``x``.
        tape
            Data of this call for `vjp` and `products`. It may hold ``x``, which must not be changed while it is
            in use.

        Raises
        ------
        ShapeError
            If the samples have another shape, or the matrices another floating type.
        """

    def infer(self, x: np.ndarray) -> np.ndarray:
        """Compute `forward` for inference: without a tape, and with running statistics in place of those of the batch."""
        return self.forward(x)[0]

    @abstractmethod
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        """Return the transposed Jacobian at the tape times ``g``: (n, *output_shape) -> (n, *input_shape)."""

    @property
    def exact(self) -> bool:
        """Whether all reads of the matrices are exact and the block has a `shift`."""
        return type(self).shift is not Block.shift and all(matrix.exact for matrix in self._matrices.values())

    @property
    def recordable(self) -> bool:
        """Whether `forward`, `shift` and `vjp` consist of reads, of kernels on contiguous arrays and of views.

        A recording on the CPU can then repeat them (see `kernels.recording`), as far as the matrices can be repeated.
        """
        return False

    @property
    def steady(self) -> bool:
        """Whether equal inputs give equal outputs until the next weight update, apart from read noise."""
        return True

    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        """Compute the change of the output for a change of the input, without cancellation.

        Gives forward(x + dx) - forward(x) to the full relative precision of ``dx``. A subtraction of two outputs has the rounding error
        of the outputs, however small the difference is.

        Parameters
        ----------
        tape
            Tape of the `forward` at the previous input, with the current matrices.
        dx : (n, *input_shape) array
            Change of the input.
        x : (n, *input_shape) array
            Current input, if available.

        Returns
        -------
        dy : (n, *output_shape) array
            Change of the output; possibly a view of ``dx``.
        tape
            Tape at the new input, for `vjp` and `products`, but not for another `shift`.

        Raises
        ------
        NotImplementedError
            If not implemented; the block is then not `exact`, and relaxations read it again and subtract.
        """
        raise NotImplementedError(f"{type(self).__name__} has no shift")

    def shift_in_steps(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any, list[np.ndarray]]:
        """Compute `shift`; return also the change of the input of each of the `leaves`."""
        return *self.shift(tape, dx, x), [dx]

    def leaves(self) -> list[Block]:
        """Return the blocks that it applies one after the other: itself, unless it is a chain."""
        return [self]

    def leaf_tapes(self, tape: Any) -> list[Any]:
        """Return the tapes of the `leaves` in a tape of this block."""
        return [tape]

    def tangent(self, tape: Any, dx: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return the Jacobian at a tape times a direction.

        Parameters
        ----------
        tape
            Tape of a `forward`.
        dx : (n, *input_shape) array

        Returns
        -------
        dy : (n, *output_shape) array
            Tangent; for matrices by a forward read minus the bias.
        tape
            Tape with which `products` gives the derivatives of <g, dy> with respect to the weights, and also products for the bias,
            which must be ignored.

        Raises
        ------
        TypeError
            If not implemented.
        """
        raise TypeError(f"{type(self).__name__.removesuffix('Block')} has no directional derivative here")

    def curvature(self, tape: Any, dx: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the derivative of <g, f'(x) dx> with respect to x, (n, *input_shape), of a ``curved`` block with a `tangent`."""
        raise NotImplementedError(f"{type(self).__name__} has no curvature")

    def again(self, tape: Any) -> None:
        """Record another evaluation of an unchanged input, for which no read was needed."""
        return

    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        """Yield the local products whose sums post^T pre are the derivatives of <g, forward(x)> with respect to the matrices.

        Products of one matrix are adjacent. They are computed when consumed, and no product depends on a matrix that
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
        """Smallest non-empty batch from which the block can learn."""
        return 1

    def nodes(self) -> Iterable[ValueNodeBlock]:
        """Value nodes inside the block, in the order of a forward sweep."""
        return ()

    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, Any]:
        """Compute `forward` within a sweep: value nodes inside the block pass on their states, and masks apply."""
        return self.forward(x)

    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        """Compute `vjp` and `products` within a sweep, with one transposed read of every matrix for both.

        Parameters
        ----------
        tape
            From `pass_forward`.
        g : (n, *output_shape) array
            The negative derivative of the energies after the block.
        sweep : Sweep
        onward : bool
            Whether to compute the first result.

        Returns
        -------
        g : (n, *input_shape) array or None
            Negative derivative with respect to the input, of the energies up to and including the first value nodes; None if zero by
            construction, or not requested.
        products : list of iterables of Product
            Products, none of which depends on a matrix that learns from them.
        """
        return (self.vjp(tape, g) if onward else None), [self.products(tape, g)] if self.matrices else []

    def copy(self, backend: Backend | None = None) -> Self:
        """Return an independent block in the same state, optionally on another ``backend``."""
        twin = copy.copy(self)
        twin._buffers = {name: copied(kept, backend) for name, kept in self._buffers.items()}
        twin._matrices = {name: matrix.copy(backend) for name, matrix in self._matrices.items()}
        if self.precision is not None:
            twin.precision = copied(self.precision, backend)
        return twin

    def _check(self, x: np.ndarray) -> None:
        """Refuse a batch of another shape or floating type."""
        name = type(self).__name__.removesuffix("Block")
        if x.shape[1:] != self.input_shape or x.ndim == 0:
            expected = ", ".join(("n", *map(str, self.input_shape)))
            raise ShapeError(f"{name} was built for batches of shape ({expected}), not {x.shape}")
        for role, matrix in self._matrices.items():
            if x.dtype != matrix.dtype:
                raise ShapeError(f"{name} has a {role} matrix of type {matrix.dtype} and cannot read inputs of type {x.dtype}")


def moved(start: np.ndarray, change: np.ndarray, there: np.ndarray | None) -> np.ndarray:
    """Return ``start`` + ``change``, or ``there`` if it is given."""
    return added(start, change) if there is None else there


class BlockSpecification(Member):
    """Specification of a block; `build` creates the block.

    A subclass adds its fields and its own ``kind``, under which networks, studies and files find it once its module is imported
    (see ``docs/rules.md``).
    """

    family_name: ClassVar[str] = "block"
    numbered: ClassVar[bool] = True
    """Whether a chain counts the block, so that names and initial weights of later blocks depend on it."""
    commutes: ClassVar[bool] = False
    """Whether the block commutes with every increasing function of single values, as the maximum does."""
    couples: ClassVar[bool] = False
    """Whether the block may couple states of a Hopfield network: it is linear or a pooling, and its built block has a `Block.tangent`."""

    def leaves(self) -> list[BlockSpecification]:
        """Return the blocks that are applied one after the other: itself, unless it is a chain."""
        return [self]

    def without_bias(self) -> BlockSpecification:
        """Return the block without biases: itself if it has none."""
        return self

    @property
    def has_nodes(self) -> bool:
        """Whether it is or contains a `ValueNode`."""
        return False

    @property
    def nonlinearity(self) -> str:
        """Name of the activation function that it applies to single values; empty if none."""
        return ""

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> Block:
        """Create the block.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample, without the batch axis.
        make : MatrixMaker
            Called once for each matrix, the weight, then the bias, with its role, its shape (n_out, n_in) and a function that draws
            its initial weights. A loaded network does not draw them.
        key : Key
            Key of the initial weights.
        dtype : numpy.dtype
            Floating type of the weights.

        Raises
        ------
        ShapeError
            If the block does not accept samples of that shape.
        """


AnyBlock = Annotated[SerializeAsAny[BlockSpecification], BeforeValidator(by_kind(BlockSpecification))]
"""Any block specification, or its fields including ``kind``."""
