"""Reads of a crossbar in compiled code: digital-to-analog conversion, products, noise and analog-to-digital conversion.

The batch is processed in strips: along the vectors, each strip is converted, multiplied and converted again while it is in the cache; along
the sensed lines, where these are more, all vectors are converted first. Strips depend on the shapes alone, so that results do not depend
on the number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from llvmlite import ir

from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.calls import recorded
from analogpc.kernels.compiled import compiled, intrinsic, numba_function
from analogpc.kernels.converters.shared import INFINITY, QUICK, STRIP, adc_row, dac_rows, few_squares, uniform
from analogpc.kernels.gemm import address, blas_function, multiply_at, suits
from analogpc.kernels.memory import empty
from analogpc.kernels.native import word_at
from analogpc.kernels.products import UNIT, strip_width
from analogpc.kernels.random.streams import Key, MovingStep, row_normals, split
from analogpc.kernels.sharing import share_all
from analogpc.kernels.trampolines import Part

_PART = 2**20
"""Least multiply-adds of a strip: some 30 microseconds, as long as waking a helper; in recorded calls none has to be woken."""
_NORMAL = 100
"""Multiply-adds that take as long as drawing one normal number."""
_CACHED, _FEWEST = 2**16, 256
"""Largest number of values on the lines, or of sums, of a strip of vectors, unless it has fewer vectors than the second number: BLAS
rearranges the whole matrix for every strip, which takes a twentieth of the time of a product of 256 vectors, and a quarter of one of 32."""
(
    _FUNCTION, _WIDE, _N, _LINES, _SENSED, _WIDTH, _BY_COLUMNS, _ROWS, _ARRAYS, _MANAGED, _FEW, _CUTS, _NUMBERS_AT, _X, _DRIVEN,
    _SCALE, _TOTAL, _MATRIX, _DOWN, _RIGHT, _VARIANCES, _VARIANCES_DOWN, _VARIANCES_RIGHT, _SQUARES, _OWN, _CLIPPED, _SATURATED, _KEY_0,
    _KEY_1, _STEP, _COUNTS, _WORDS,
) = range(32)  # fmt: skip
"""Words of the frame of a read: addresses, sizes and flags."""
_IN_BOUND, _IN_STEP, _OUT_BOUND, _OUT_STEP, _NOISE, _DEVICE_NOISE, _WEIGHT, _GAIN, _NUMBERS = range(9)
"""Floating-point numbers of a read."""


carray = numba_function("carray")


@intrinsic("voidptr(int64)")
def _pointer(builder, address):
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


@compiled(fastmath={"reassoc"})
def _sum_of_squares(x):
    total = x.dtype.type(0)
    for j in range(x.size):
        total += x[j] * x[j]
    return total


@compiled
def _square(x, out):
    for i in range(len(x)):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * x[i, j]


@compiled(error_model="numpy")
def _add_noise(y, variance, noise, draws):
    """Add noise of the variance ``noise**2 + variance`` to a row of sums."""
    for j in range(y.size):
        y[j] += np.sqrt(noise * noise + variance[j]) * draws[j]


@compiled(allocates=True)
def _drive(frame, first, stop, driven, squares, kind, integer, infinity):
    """Convert the vectors from ``first`` to ``stop``; return the number of clipped values."""
    n, lines = word_at(frame, _N), word_at(frame, _LINES)
    x = carray(_pointer(word_at(frame, _X)), (n, lines), kind)[first:stop]
    bits = carray(_pointer(word_at(frame, _X)), (n, lines), integer)[first:stop]
    scale = carray(_pointer(word_at(frame, _SCALE)), (n,), kind)[first:stop]
    scale_bits = carray(_pointer(word_at(frame, _SCALE)), (n,), integer)[first:stop]
    settings = carray(_pointer(word_at(frame, _NUMBERS_AT)), (_NUMBERS,), kind)
    managed, few = word_at(frame, _MANAGED) != 0, word_at(frame, _FEW)
    return dac_rows(
        x, bits, infinity, driven, scale, scale_bits, managed, False, settings[_IN_BOUND], settings[_IN_STEP], kind(1), few,
        squares,
    )  # fmt: skip


def _functions(kind: Any, integer: Any) -> tuple[Any, Any]:
    """Return the compiled functions of (frame, first, stop) for a floating type and the integers of its size: for vectors and strips."""
    infinity = INFINITY[np.dtype(kind).itemsize]

    @compiled(allocates=True)
    def vectors(frame, first, stop):
        """Convert groups of vectors."""
        n, lines, rows = word_at(frame, _N), word_at(frame, _LINES), word_at(frame, _ROWS)
        driven = carray(_pointer(word_at(frame, _DRIVEN)), (n, lines), kind)
        squares = carray(_pointer(word_at(frame, _OWN)), (-(-n // rows), lines), np.float64)
        clipped = carray(_pointer(word_at(frame, _CLIPPED)), (-(-n // rows),), np.int64)
        for group in range(first, stop):
            top, below = group * rows, min(n, (group + 1) * rows)
            squares[group] = 0
            clipped[group] = _drive(frame, top, below, driven[top:below], squares[group], kind, integer, infinity)

    @compiled(allocates=True)
    def strips(frame, first, stop):
        """Multiply and convert strips; along the vectors, convert these first."""
        n, lines, sensed = word_at(frame, _N), word_at(frame, _LINES), word_at(frame, _SENSED)
        width, by_columns, arrays = word_at(frame, _WIDTH), word_at(frame, _BY_COLUMNS) != 0, word_at(frame, _ARRAYS)
        scale = carray(_pointer(word_at(frame, _SCALE)), (n,), kind)
        total = carray(_pointer(word_at(frame, _TOTAL)), (n, sensed), kind)
        settings = carray(_pointer(word_at(frame, _NUMBERS_AT)), (_NUMBERS,), kind)
        cuts = carray(_pointer(word_at(frame, _CUTS)), (arrays + 1,), np.int64)
        many = -(-max(n, sensed) // width)
        squares = carray(_pointer(word_at(frame, _OWN)), (many, lines), np.float64)
        clipped = carray(_pointer(word_at(frame, _CLIPPED)), (many,), np.int64)
        saturated = carray(_pointer(word_at(frame, _SATURATED)), (many if by_columns else 1, n), np.int64)
        function, wide, item = word_at(frame, _FUNCTION), word_at(frame, _WIDE) != 0, scale.itemsize
        b, b_down, b_right = word_at(frame, _MATRIX), word_at(frame, _DOWN), word_at(frame, _RIGHT)
        v, v_down, v_right = word_at(frame, _VARIANCES), word_at(frame, _VARIANCES_DOWN), word_at(frame, _VARIANCES_RIGHT)
        k0, k1, step = np.uint32(word_at(frame, _KEY_0)), np.uint32(word_at(frame, _KEY_1)), np.uint64(word_at(frame, _STEP))
        noise, device_noise, gain = settings[_NOISE], settings[_DEVICE_NOISE], settings[_GAIN]
        rows, columns = (n, min(width, sensed)) if by_columns else (min(width, n), sensed)
        own = np.empty((0 if by_columns else rows, lines), kind)
        sums, draws = np.empty(rows * columns, kind), np.empty((columns + 3) // 4 * 4, np.float32)
        squared, variances = np.empty((rows if v != 0 else 0, lines), kind), np.empty(rows * columns if v != 0 else 0, kind)
        for strip in range(first, stop):
            if by_columns:
                top, left, columns, counter = 0, strip * width, min(width, sensed - strip * width), strip
                driven = carray(_pointer(word_at(frame, _DRIVEN)), (n, lines), kind)
            else:
                top, left, rows, counter = strip * width, 0, min(width, n - strip * width), 0
                driven = own[:rows]
                squares[strip] = 0
                clipped[strip] = _drive(frame, top, top + rows, driven, squares[strip], kind, integer, infinity)
            saturated[counter, top : top + rows] = 0
            y, variance = sums[: rows * columns].reshape(rows, columns), variances[: rows * columns].reshape(-1, columns)
            if v != 0:
                _square(driven, squared)
            for cut in range(arrays):
                before, after = cuts[cut], cuts[cut + 1]
                a, at = driven.ctypes.data + before * item, b + before * b_down + left * b_right
                multiply_at(
                    function, wide, item, rows, columns, after - before, a, lines * item, item, at, b_down, b_right, y.ctypes.data,
                    columns * item,
                )  # fmt: skip
                if v != 0:
                    a, at = squared.ctypes.data + before * item, v + before * v_down + left * v_right
                    multiply_at(
                        function, wide, item, rows, columns, after - before, a, lines * item, item, at, v_down, v_right,
                        variance.ctypes.data, columns * item,
                    )  # fmt: skip
                c2, c3 = split(step + np.uint64(cut))
                for row in range(rows):
                    this, deviation = top + row, noise
                    if device_noise > 0:
                        deviation = np.sqrt(noise * noise + _sum_of_squares(driven[row, before:after]) * device_noise)
                    if deviation > 0 or v != 0:
                        row_normals(draws, np.uint32(this), c2, c3, k0, k1, left // 4)
                    if v != 0:
                        _add_noise(y[row], variance[row], noise, draws)
                        deviation = kind(0)
                    factor = scale[this] * settings[_WEIGHT] * gain
                    saturated[counter, this] += adc_row(
                        y[row], draws, total[this, left : left + columns], factor, deviation, settings[_OUT_BOUND],
                        settings[_OUT_STEP], cut == 0,
                    )  # fmt: skip

    return vectors, strips


@compiled(allocates=True)
def _finish(frame, first, stop):
    """Add the squares of all groups of vectors, and the clipped and saturated values of all strips."""
    n, lines, groups = word_at(frame, _N), word_at(frame, _LINES), -(-word_at(frame, _N) // word_at(frame, _ROWS))
    squares = carray(_pointer(word_at(frame, _SQUARES)), (lines,), np.float64)
    own = carray(_pointer(word_at(frame, _OWN)), (groups, lines), np.float64)
    counts = carray(_pointer(word_at(frame, _COUNTS)), (2,), np.int64)
    for group in range(groups):
        for line in range(lines):
            squares[line] += own[group, line]
    strips = -(-word_at(frame, _SENSED) // word_at(frame, _WIDTH)) if word_at(frame, _BY_COLUMNS) != 0 else 1
    saturated = carray(_pointer(word_at(frame, _SATURATED)), (strips, n), np.int64)
    for strip in range(1, strips):
        for row in range(n):
            saturated[0, row] += saturated[strip, row]
    counts[0] = carray(_pointer(word_at(frame, _CLIPPED)), (groups,), np.int64).sum()
    counts[1] = saturated[0].sum()


@cache
def _parts(kind: np.dtype) -> tuple[Part, Part]:
    vectors, strips = _functions(kind.type, np.int32 if kind == np.float32 else np.int64)
    return Part(vectors), Part(strips)


@cache
def _end() -> Part:
    return Part(_finish)


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
    driven : int
        Number of vectors whose values on the lines are kept until all have been converted.
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
        self.vectors, self.strips = _parts(kind)
        lines, arrays, self.by_columns = ends[-1], len(ends) - 1, n < sensed
        normals = arrays if converters.noise > 0 or factors[0] > 0 or varied else 0
        width = strip_width(n, (1 + varied) * lines + _NORMAL * normals, sensed, _PART)
        if self.by_columns:
            rows = n if n * lines < QUICK else max(1, STRIP // lines)
        else:
            rows = width = min(width, max(_FEWEST, _CACHED // max(lines, sensed) // UNIT * UNIT))
        self.groups, self.count = -(-n // rows), -(-max(n, sensed) // width)
        self.driven = n if self.by_columns else 0
        into, out = (
            uniform(kind, *of)
            for of in ((converters.dac_bits, converters.dac_bound), (converters.adc_bits, converters.adc_bound))
        )
        self.kept = np.array([*into, *out, converters.noise, *factors], kind), np.array(ends, np.int64)
        self.words = [
            *blas_function(kind), n, lines, sensed, width, self.by_columns, rows, arrays, converters.managed,
            few_squares(kind, converters.dac_bits), address(self.kept[1]), address(self.kept[0]),
        ]  # fmt: skip
        self.own = _WORDS
        self.clipped = self.own + self.groups * lines
        self.counts = self.clipped + self.groups
        self.saturated = self.counts + 2
        self.size = self.saturated + n * (self.count if self.by_columns else 1)


_plan = lru_cache(maxsize=1024)(_Plan)


def read(
    x: np.ndarray,
    matrix: np.ndarray,
    ends: tuple[int, ...],
    converters: Converters,
    factors: tuple[float, float, float],
    variances: np.ndarray | None,
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
    variances : (lines, sensed lines) array in the type of ``x``, or None
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
    if ideal or n < 2 or not suits(matrix) or not (variances is None or suits(variances)) or not blas_function(kind)[0]:
        return None
    plan = _plan(kind, converters, factors, variances is not None, ends, n, matrix.shape[1])
    x, record = np.ascontiguousarray(x), recorded()
    total, scale = empty((n, matrix.shape[1]), kind, x), empty((n * (1 + (x.shape[1] if plan.driven else 0)),), kind, x)
    block = np.zeros(plan.size, np.int64)
    at, words = address(scale), address(block)
    block[:_WORDS] = [
        *plan.words, address(x), at + n * kind.itemsize * bool(plan.driven), at, address(total), address(matrix), *matrix.strides,
        *((0, 0, 0) if variances is None else (address(variances), *variances.strides)), address(squares),
        words + 8 * plan.own, words + 8 * plan.clipped, words + 8 * plan.saturated, *map(int, key.words), step,
        words + 8 * plan.counts,
    ]  # fmt: skip
    if record is not None:
        record.kept += plan.kept
        if isinstance(step, MovingStep):
            record.steps.append((block, _STEP, step))
    driven = [(plan.vectors, block, plan.groups)] if plan.by_columns else []
    with one_blas_thread:
        share_all([*driven, (plan.strips, block, plan.count), (_end(), block, 1)])
    return total, block[plan.counts : plan.counts + 2], block[plan.saturated : plan.saturated + n]
