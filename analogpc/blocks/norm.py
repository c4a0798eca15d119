"""Normalisation blocks, with a learnt scale and a learnt bias for every channel; channels are the last axis."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, MatrixMaker, Product, ShapeError
from analogpc.blocks.initialisation import bias_products
from analogpc.devices.bounds import Positive
from analogpc.devices.costs.schedule import work
from analogpc.devices.matrix import Matrix
from analogpc.kernels.layer_norm import normalise_rows, normalised_rows_transposed, row_means
from analogpc.kernels.memory import filled
from analogpc.kernels.normalisation import column_moments, column_pair_means, normalisation_transposed, normalise_columns
from analogpc.kernels.random.streams import Key


class BatchNorm(BlockSpecification):
    """Batch normalisation: normalises every channel to mean 0 and variance 1 over batch and positions, then scales and shifts.

        y = scale (x - mean) / sqrt(variance + eps) + bias

    A channel is an index of the last axis, so dense samples (n, features) are normalised per feature over the batch, and
    images (n, height, width, channels) over the batch and all pixels. The variance is the biased one.

    Training always normalises with the statistics of the batch, also during relaxation; the samples of a batch are then coupled, and
    `vjp` is the transpose for the whole batch. `infer` uses the running statistics.

    Attributes
    ----------
    eps : float
        Constant added to the variance, in units of x squared.
    momentum : float
        Momentum of the running statistics; see ``convention``.
    freezing : bool
        Freeze the running statistics during relaxation. They are then updated when the block learns, by the statistics of the tape it
        learns from (the freezing of Qi et al.), once the products of that tape are taken. This is once per batch for a rule with one
        update; rules that learn several times from a batch, as incremental predictive coding in every step and equilibrium propagation
        in each phase, update them every time. Without freezing, every evaluation updates them: the first, each relaxation step in which
        the layer is active, whether or not its input changed and needed a read, and the one before the weight update. (In equilibrium
        propagation, the reads of the phases count.)
        "pytorch": the running statistics become (1 - momentum) running + momentum batch, with the unbiased variance; learning
        normalises by the batch alone.

        "pcx": the behaviour of PCX, from Equinox (mode "ema"). They become momentum running + (1 - momentum) batch, with the biased
        variance, and those of the first batch are copied; training normalises by these running statistics, and the gradient flows
        through the share of the batch in them.

    Notes
    -----
    The matrices "scale" and "bias", of shape (channels, 1) with a constant input of 1, start at 1 and 0. The buffers are
    "running_mean" and "running_variance", of shape (channels,), which start at 0 and 1; for "pcx" also "started", of shape (1,).

    References
    ----------
    Ioffe and Szegedy, arXiv 1502.03167. Freezing: Qi et al., arXiv 2506.23800, with its code DeepPCNs.
    """

    kind: Literal["batch-norm"] = "batch-norm"
    eps: Positive = 1e-5
    momentum: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.1
    freezing: bool = True
    convention: Literal["pytorch", "pcx"] = "pytorch"

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> BatchNormBlock:
        if not input_shape:
            raise ShapeError("BatchNorm takes samples with at least one axis, the last being the channels, not ()")
        kept = {"running_mean": np.zeros(input_shape[-1], dtype), "running_variance": np.ones(input_shape[-1], dtype)}
        if self.convention == "pcx":
            kept["started"] = np.zeros(1, dtype)
        return BatchNormBlock(self, input_shape, _affine(input_shape[-1], make, dtype), kept)


class LayerNorm(BlockSpecification):
    """Layer normalisation: normalises the values of every position to mean 0 and variance 1, then scales and shifts each value.

        y = scale (x - mean) / sqrt(variance + eps) + bias

    Mean and (biased) variance are those over the last axis, separately for each sample and position: over all features of dense
    samples (n, features), over the features of each token of (n, tokens, features), and over the channels of each pixel of an image.
    Training and inference are identical.

    Attributes
    ----------
    eps : float
        Constant added to the variance, in units of x squared.

    Notes
    -----
    The matrices "scale" and "bias", of shape (features, 1) with a constant input of 1, start at 1 and 0.

    References
    ----------
    Ba, Kiros and Hinton, arXiv 1607.06450.
    """

    kind: Literal["layer-norm"] = "layer-norm"
    eps: Positive = 1e-5

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> LayerNormBlock:
        if not input_shape or input_shape[-1] < 2:
            raise ShapeError(
                f"LayerNorm takes samples with at least two values along the last axis, over which it normalises, not {input_shape}"
            )
        return LayerNormBlock(self, input_shape, _affine(input_shape[-1], make, dtype))


def _affine(channels: int, make: MatrixMaker, dtype: np.dtype) -> dict[str, Matrix]:
    shape = channels, 1
    return {
        "scale": make("scale", shape, lambda: np.ones(shape, dtype)),
        "bias": make("bias", shape, lambda: np.zeros(shape, dtype)),
    }


class _NormBlock(Block):
    """Base class of normalisations with scale and bias; tapes hold the normalised values."""

    def _rows(self, x: np.ndarray) -> np.ndarray:
        """Return one row for each position of each sample: (n, ..., channels) -> (n * positions, channels)."""
        return x.reshape(-1, self.input_shape[-1])

    def _read(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read scale and bias, (channels,) each, with a constant input of 1, in the type and on the backend of ``x``."""
        return self.matrices["scale"].forward_constant(x)[0], self.matrices["bias"].forward_constant(x)[0]

    @abstractmethod
    def _normal(self, tape: Any) -> np.ndarray:
        """Return the normalised values of a tape, as rows."""

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        rows = self._rows(g)
        yield self.matrices["scale"], filled((len(rows), 1), 1, g.dtype, g), rows * self._normal(tape)
        yield from bias_products(self.matrices, rows)


class BatchTape(NamedTuple):
    """Tape of `BatchNormBlock`.

    Attributes
    ----------
    normal : (rows, channels) array
        Normalised values.
    inverse : (channels,) array
        1 / sqrt(variance + eps), with the variance used for normalisation.
    scale : (channels,) array
        Scale as read.
    mean, variance : (channels,) float64 arrays
        Statistics of the batch; the variance is biased.
    centre, spread : (channels,) float64 arrays
        Mean and variance used for normalisation.
    share : number, or (1,) array
        Share of the batch in them.
    """

    normal: np.ndarray
    inverse: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    share: Any


class BatchNormBlock(_NormBlock):
    """Built from `BatchNorm`; the tape is a `BatchTape`. Statistics are accumulated in float64 for all types of samples.

    An empty batch has no effect.
    """

    def __init__(
        self,
        specification: BatchNorm,
        input_shape: tuple[int, ...],
        matrices: dict[str, Matrix],
        buffers: dict[str, np.ndarray],
    ) -> None:
        super().__init__(input_shape, input_shape, matrices, buffers)
        self._specification = specification

    @property
    @override
    def least_samples(self) -> int:
        # Statistics need two values of every channel.
        return 2 if math.prod(self.input_shape[:-1]) == 1 else 1

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, BatchTape]:
        """See `Block.forward`.

        Raises
        ------
        ShapeError
            Also for a batch with a single value per channel.
        """
        self._check(x)
        work("normalisation", x.size)
        rows = self._rows(x)
        if len(rows) == 1:
            raise ShapeError(
                f"BatchNorm learns from batches with at least two values of every channel, not from one of shape {x.shape}"
            )
        mean, variance = column_moments(rows) if len(rows) else _moments_of_none(rows)
        scale, bias = self._read(x)
        centre, spread, share = self._statistics(mean, variance)
        inverse = self._inverse(spread, x.dtype)
        y, normal = normalise_columns(rows, centre.astype(x.dtype), inverse, scale, bias)
        tape = BatchTape(normal, inverse, scale, mean, variance, centre, spread, share)
        self.again(tape)
        return y.reshape(x.shape), tape

    def _statistics(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return the statistics that normalise a batch of the given mean and variance, and its share in them."""
        if self._specification.convention == "pytorch":
            return mean, variance, 1.0
        share = 1 - self._specification.momentum * self.buffers["started"].astype(np.float64)
        old = (self.buffers[f"running_{name}"].astype(np.float64) for name in ("mean", "variance"))
        centre, spread = (share * new + (1 - share) * kept for new, kept in zip((mean, variance), old, strict=True))
        return centre, spread, share

    @property
    @override
    def exact(self) -> bool:
        return super().exact and self.steady

    @property
    @override
    def steady(self) -> bool:
        # Running statistics change at every evaluation, and normalise the next.
        return self._specification.freezing or self._specification.convention == "pytorch"

    @override
    def again(self, tape: BatchTape) -> None:
        if not self._specification.freezing:
            self._keep(tape)

    @override
    def shift(self, tape: BatchTape, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, BatchTape]:
        """See `Block.shift`. The change of all moments follows from moments of the step and of its products with the normalised values."""
        work("normalisation", dx.size)
        d, inverse = self._rows(dx), tape.inverse.astype(np.float64)
        if len(d) == 0:
            return dx, tape
        step, roughness = column_moments(d)
        slope = column_pair_means(d, tape.normal)[1]
        bend = 2 * (slope / inverse + (tape.centre - tape.mean) * step) + roughness
        # 1 / sqrt(v + dv) relative to 1 / sqrt(v).
        stretch = tape.share * bend * inverse**2
        root = np.sqrt(np.maximum(1 + stretch, 0))
        shrinking = -stretch / (root * (1 + root))
        there = (inverse / root).astype(dx.dtype)
        change = (d - (tape.share * step).astype(dx.dtype)) * there
        change += tape.normal * shrinking.astype(dx.dtype)
        moved = BatchTape(
            tape.normal + change,
            there,
            tape.scale,
            tape.mean + step,
            tape.variance + bend,
            tape.centre + tape.share * step,
            tape.spread + tape.share * bend,
            tape.share,
        )
        self.again(moved)
        change *= tape.scale
        return change.reshape(dx.shape), moved

    @override
    def infer(self, x: np.ndarray) -> np.ndarray:
        self._check(x)
        scale, bias = self._read(x)
        factor = self._inverse(self.buffers["running_variance"].astype(np.float64), x.dtype)
        y, _ = normalise_columns(self._rows(x), self.buffers["running_mean"], factor, scale, bias)
        return y.reshape(x.shape)

    @override
    def vjp(self, tape: BatchTape, g: np.ndarray) -> np.ndarray:
        work("normalisation", g.size)
        factor, rows = tape.inverse * tape.scale, self._rows(g)
        if self._specification.convention == "pytorch":
            return normalisation_transposed(rows, tape.normal, factor).reshape(g.shape)
        # Only the share of the batch in the statistics depends on it.
        mean, slope = (tape.share * value for value in column_pair_means(rows, tape.normal))
        lag = (tape.centre - tape.mean) * tape.inverse
        back = rows - (mean + lag * slope).astype(g.dtype)
        back -= tape.normal * slope.astype(g.dtype)
        back *= factor
        return back.reshape(g.shape)

    @override
    def products(self, tape: BatchTape, g: np.ndarray) -> Iterator[Product]:
        """See `Block.products`. With freezing, the running statistics are updated when the first product is taken."""
        if self._specification.freezing:
            self._keep(tape)
        yield from super().products(tape, g)

    @override
    def _normal(self, tape: BatchTape) -> np.ndarray:
        return tape.normal

    def _inverse(self, variance: np.ndarray, dtype: np.dtype) -> np.ndarray:
        return (1 / np.sqrt(variance + self._specification.eps)).astype(dtype)

    def _keep(self, tape: BatchTape) -> None:
        """Update the running statistics."""
        count = len(tape.normal)
        if count == 0:
            return
        if self._specification.convention == "pcx":
            self.buffers["running_mean"][...], self.buffers["running_variance"][...] = tape.centre, tape.spread
            self.buffers["started"][...] = 1
            return
        news = {"running_mean": tape.mean, "running_variance": tape.variance * (count / (count - 1))}
        for name, new in news.items():
            kept, momentum = self.buffers[name], self._specification.momentum
            kept[...] = (1 - momentum) * kept.astype(np.float64) + momentum * new


class LayerTape(NamedTuple):
    """Tape of `LayerNormBlock`.

    Attributes
    ----------
    normal : (rows, features) array
        Normalised values, one row for each position.
    factor : (rows, 1) array
        1 / sqrt(variance + eps).
    scale : (features,) array
        Scale as read.
    """

    normal: np.ndarray
    factor: np.ndarray
    scale: np.ndarray


class LayerNormBlock(_NormBlock):
    """Built from `LayerNorm`; the tape is a `LayerTape`. Statistics are accumulated in float64 for all types of samples."""

    def __init__(self, specification: LayerNorm, input_shape: tuple[int, ...], matrices: dict[str, Matrix]) -> None:
        super().__init__(input_shape, input_shape, matrices)
        self._specification = specification

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, LayerTape]:
        self._check(x)
        work("normalisation", x.size)
        rows = self._rows(x)
        scale, bias = self._read(x)
        y, normal, factor = normalise_rows(rows, scale, bias, self._specification.eps)
        return y.reshape(x.shape), LayerTape(normal, factor, scale)

    @override
    def shift(self, tape: LayerTape, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, LayerTape]:
        work("normalisation", dx.size)
        kind, inverse = dx.dtype, tape.factor.astype(np.float64)
        d = self._rows(dx)
        d = d - row_means(d).astype(kind)
        # The variance grows by 2 <normal d> / factor + <d d>: 1 / sqrt(v + dv) relative to 1 / sqrt(v).
        stretch = (2 * row_means(tape.normal * d) / inverse + row_means(d * d)) * inverse**2
        root = np.sqrt(np.maximum(1 + stretch, 0))
        there = (inverse / root).astype(kind)
        d *= there
        d += tape.normal * (-stretch / (root * (1 + root))).astype(kind)
        normal = tape.normal + d
        d *= tape.scale
        return d.reshape(dx.shape), LayerTape(normal, there, tape.scale)

    @override
    def vjp(self, tape: LayerTape, g: np.ndarray) -> np.ndarray:
        work("normalisation", g.size)
        return normalised_rows_transposed(self._rows(g), tape.normal, tape.factor, tape.scale).reshape(g.shape)

    @override
    def _normal(self, tape: LayerTape) -> np.ndarray:
        return tape.normal


def _moments_of_none(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return placeholder mean and variance for zero rows: 0 and 1."""
    columns = rows.shape[1]
    return np.zeros(columns, np.float64, like=rows), filled((columns,), 1, np.float64, rows)
