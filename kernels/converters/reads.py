"""Reads of a crossbar in compiled code: digital-to-analog conversion, products, noise and analog-to-digital conversion.

The batch is processed in strips: along the vectors, each strip is converted, multiplied and converted again while it is in the cache; along
the sensed lines, where these are more, all vectors are converted first. Strips depend on the shapes alone, so that results do not depend
on the number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.calls import recorded
from analogpc.kernels.converters.shared import QUICK, STRIP, few_squares, uniform
from analogpc.kernels.converters.strips import STEP, WORDS, end, parts
from analogpc.kernels.converters.variances import AMPLITUDES, ROWS, Variances
from analogpc.kernels.gemm import address, blas_function, suits
from analogpc.kernels.memory import empty
from analogpc.kernels.products import UNIT, strip_width
from analogpc.kernels.random.streams import Key, MovingStep
from analogpc.kernels.sharing import share_all

_PART = 2**20
"""Least multiply-adds of a strip: some 30 microseconds, as long as waking a helper; in recorded calls none has to be woken."""
_NORMAL = 100
"""Multiply-adds that take as long as drawing one normal number."""
_CACHED, _FEWEST = 2**16, 256
"""Largest number of values on the lines, or of sums, of a strip of vectors, unless it has fewer vectors than the second number: BLAS
rearranges the whole matrix for every strip, which takes a twentieth of the time of a product of 256 vectors, and a quarter of one of 32."""


@dataclass(frozen=True)
class Converters:
    """Uniform converters on both sides of an array.

    Attributes
    ----------
    dac_bits, dac_bound, adc_bits, adc_bound : float
        Resolutions and ranges; ``inf`` for ideal.
    managed : bool
        Whether every vector is scaled so that its largest magnitude is mapped to ``dac_bound``; see `shared.dac`.
    noise : float
        Standard deviation of the output noise, in units of the sums.
    """

    dac_bits: float
    dac_bound: float
    managed: bool
    adc_bits: float
    adc_bound: float
    noise: float


class _Plan:
    """What a read of n vectors needs besides the addresses of its arrays.

    Attributes
    ----------
    vectors, strips : Part
    groups, count : int
        Number of parts of each: groups of vectors, which are strips at the same time unless strips are along the sensed lines.
    words : list of int
        First words of the frame.
    by_columns : bool
        Whether strips are along the sensed lines.
    driven, amplitudes, codes, space : int
        If the values on the lines are kept until all vectors have been converted: first numbers, after the scale of every vector, of these
        values, of the units of their squares in fixed-point numbers, and of the squares. Numbers of all together.
    own, clipped, counts, saturated, size : int
        First words of the squares of all groups, of their clipped values, of the two totals, and of the saturated values of every vector,
        after the frame; number of all words.
    """

    def __init__(
        self,
        kind: np.dtype,
        converters: Converters,
        factors: tuple[float, ...],
        varied: bool,
        ends: tuple[int, ...],
        n: int,
        sensed: int,
    ) -> None:
        self.vectors, self.strips = parts(kind, varied)
        lines, arrays, self.by_columns = ends[-1], len(ends) - 1, n < sensed
        normals = arrays if converters.noise > 0 or factors[0] > 0 or varied else 0
        width = strip_width(n, (1 + varied) * lines + _NORMAL * normals, sensed, _PART)
        if self.by_columns:
            rows = n if n * lines < QUICK else max(1, STRIP // lines)
        else:
            rows = width = min(width, max(_FEWEST, _CACHED // max(lines, sensed) // UNIT * UNIT))
        self.groups, self.count = -(-n // rows), -(-max(n, sensed) // width)
        rounded = self.by_columns and varied and kind == np.float32
        sizes = n * lines * self.by_columns, n * rounded, -(-n // ROWS) * ROWS * (lines + 2 * arrays) // 2 * rounded
        # What is not kept is given an address at the beginning: one beyond the last number would not belong to this memory.
        starts = n, n + sizes[0], n + sizes[0] + sizes[1]
        self.driven, self.amplitudes, self.codes = (start * (size > 0) for start, size in zip(starts, sizes, strict=True))
        self.space = n + sum(sizes)
        into, out = (
            uniform(kind, *of)
            for of in ((converters.dac_bits, converters.dac_bound), (converters.adc_bits, converters.adc_bound))
        )
        few = 2.0 ** (converters.dac_bits - 1) - 1 <= AMPLITUDES
        self.kept = np.array([*into, *out, converters.noise, *factors, into[1] if few else 0], kind), np.array(ends, np.int64)
        self.words = [
            *blas_function(kind), n, lines, sensed, width, self.by_columns, rows, arrays, converters.managed,
            few_squares(kind, converters.dac_bits), address(self.kept[1]), address(self.kept[0]),
        ]  # fmt: skip
        self.own = WORDS
        self.clipped = self.own + self.groups * lines
        self.counts = self.clipped + self.groups
        self.saturated = self.counts + 2
        self.size = self.saturated + n * (self.count if self.by_columns else 1)


_plan = lru_cache(maxsize=1024)(_Plan)


def _variance_words(variances: np.ndarray | Variances | None) -> list[int]:
    """Return the words of a frame that refer to the variances of the devices."""
    if variances is None:
        return [0] * 4
    if isinstance(variances, np.ndarray):
        return [address(variances), *variances.strides, 0]
    return [address(variances.codes), *variances.codes.strides[:2], address(variances.units)]


def read(
    x: np.ndarray,
    matrix: np.ndarray,
    ends: tuple[int, ...],
    converters: Converters,
    factors: tuple[float, float, float],
    variances: np.ndarray | Variances | None,
    squares: np.ndarray,
    key: Key,
    step: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the outputs of a read in main memory: `shared.dac`, a product and `shared.adc` for every array, and their sum.

    Parameters
    ----------
    x : (n, lines) array, float32 or float64
    matrix : (lines, sensed lines) array in the type of ``x``
        Operand of the products.
    ends : tuple of int
        Array c has the driven lines from ``ends[c]`` to ``ends[c + 1]``, and its own ADCs.
    converters : Converters
    factors : (float, float, float)
        Variance of the independent noise of every device and vector, if it is the same for all devices, and two digital factors of the
        outputs.
    variances : Variances for float32, (lines, sensed lines) array for float64, or None
        That variance for every device, if they differ; the first factor is 0 then.
    squares : (lines,) float64 array
        Accumulator of the squares of the values on the lines, as for `shared.dac`.
    key, step
        Noise stream; the draw for line j of vector i and array c is a function of (key, step + c, i, j).

    Returns
    -------
    outputs : (n, sensed lines) array
    counts : (2,) int64 array
        Numbers of clipped inputs and of saturated sums.
    saturated : (n,) int64 array
        Number of saturated sums of every vector.

    None, with nothing done, if this BLAS, such small arrays or ideal DACs need the separate functions.
    """
    n, kind = len(x), x.dtype
    ideal = math.isinf(converters.dac_bits) and math.isinf(converters.dac_bound)
    operands = [matrix, variances] if isinstance(variances, np.ndarray) else [matrix]
    if ideal or n < 2 or not all(map(suits, operands)) or not blas_function(kind)[0]:
        return None
    plan = _plan(kind, converters, factors, variances is not None, ends, n, matrix.shape[1])
    x, record = np.ascontiguousarray(x), recorded()
    total, scale = empty((n, matrix.shape[1]), kind, x), empty((plan.space,), kind, x)
    block = np.zeros(plan.size, np.int64)
    at, item, words = address(scale), kind.itemsize, address(block)
    block[:WORDS] = [
        *plan.words, address(x), at + item * plan.driven, at, address(total), address(matrix), *matrix.strides,
        *_variance_words(variances), at + item * plan.codes, at + item * plan.amplitudes, address(squares),
        words + 8 * plan.own, words + 8 * plan.clipped, words + 8 * plan.saturated, *map(int, key.words), step,
        words + 8 * plan.counts,
    ]  # fmt: skip
    if record is not None:
        record.kept += plan.kept
        if isinstance(step, MovingStep):
            record.steps.append((block, STEP, step))
    driven = [(plan.vectors, block, plan.groups)] if plan.by_columns else []
    with one_blas_thread:
        share_all([*driven, (plan.strips, block, plan.count), (end(), block, 1)])
    return total, block[plan.counts : plan.counts + 2], block[plan.saturated : plan.saturated + n]
