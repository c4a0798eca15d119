"""Compiled functions of a read of a crossbar (see `reads`): conversion of the inputs, and products, noise and converters strip by strip.

Every function takes the address of a frame, whose words are named here, and a range of strips or of groups of vectors.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from analogpc.kernels.compiled import compiled, intrinsic, numba_function
from analogpc.kernels.converters.shared import INFINITY, adc_row, dac_rows
from analogpc.kernels.converters.variances import LANES, ROWS, TILE, multiply_codes, square_codes
from analogpc.kernels.gemm import multiply_at
from analogpc.kernels.memory import LINE
from analogpc.kernels.native import word_at
from analogpc.kernels.random.streams import row_normals, split
from analogpc.kernels.trampolines import Part

(
    _FUNCTION, _WIDE, _N, _LINES, _SENSED, _WIDTH, _BY_COLUMNS, _ROWS, _ARRAYS, _MANAGED, _FEW, _CUTS, _NUMBERS_AT, _X, _DRIVEN,
    _SCALE, _TOTAL, _MATRIX, _DOWN, _RIGHT, _VARIANCES, _VARIANCES_DOWN, _VARIANCES_RIGHT, _UNITS, _CODES, _AMPLITUDES, _SQUARES, _OWN,
    _CLIPPED, _SATURATED, _KEY_0, _KEY_1, STEP, _COUNTS, WORDS,
) = range(35)  # fmt: skip
"""Words of the frame of a read: addresses, sizes and flags."""
_IN_BOUND, _IN_STEP, _OUT_BOUND, _OUT_STEP, _NOISE, _DEVICE_NOISE, _WEIGHT, _GAIN, _UNIT, _NUMBERS = range(10)
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


@compiled(error_model="numpy")
def _add_rounded_noise(y, products, unit, units, noise, draws):
    """Add noise of the variance ``noise**2 + unit**2 * products * units`` to a row of sums."""
    for j in range(y.size):
        y[j] += np.sqrt(noise * noise + products[j] * (unit * unit * units[j])) * draws[j]


@compiled(allocates=True)
def _on_line(count):
    """Return float32 numbers that begin with a cache line (see `memory.on_line`)."""
    block = np.empty(count + LINE, np.float32)
    start = -block.ctypes.data % LINE // block.itemsize
    return block[start : start + count]


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


@compiled(allocates=True)
def _codes(frame):
    """Return the squares of all vectors in fixed-point numbers, and their units."""
    n, width = word_at(frame, _N), word_at(frame, _LINES) + 2 * word_at(frame, _ARRAYS)
    codes = carray(_pointer(word_at(frame, _CODES)), (-(-n // ROWS) * ROWS, width), np.int16)
    return codes, carray(_pointer(word_at(frame, _AMPLITUDES)), (n,), np.float32)


@compiled(allocates=True)
def _square_codes(frame, driven, codes, amplitudes):
    """Square vectors in fixed-point numbers."""
    cuts = carray(_pointer(word_at(frame, _CUTS)), (word_at(frame, _ARRAYS) + 1,), np.int64)
    unit = carray(_pointer(word_at(frame, _NUMBERS_AT)), (_NUMBERS,), np.float32)[_UNIT]
    for row in range(len(driven)):
        amplitudes[row] = square_codes(driven[row], cuts, unit, codes[row])


def _functions(kind: Any, integer: Any, varied: bool) -> tuple[Any, Any]:
    """Return the compiled functions of (frame, first, stop) for vectors and for strips.

    Parameters
    ----------
    kind, integer : types
        Floating type, and the integers of its size.
    varied : bool
        Whether the noise differs from device to device. In float32 its variances are then `Variances`.
    """
    infinity, rounded = INFINITY[np.dtype(kind).itemsize], varied and kind is np.float32
    exact = varied and not rounded

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
            if rounded:
                codes, amplitudes = _codes(frame)
                _square_codes(frame, driven[top:below], codes[top:below], amplitudes[top:below])

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
        k0, k1, step = np.uint32(word_at(frame, _KEY_0)), np.uint32(word_at(frame, _KEY_1)), np.uint64(word_at(frame, STEP))
        noise, device_noise, gain = settings[_NOISE], settings[_DEVICE_NOISE], settings[_GAIN]
        rows, columns = (n, min(width, sensed)) if by_columns else (min(width, n), sensed)
        own = np.empty((0 if by_columns else rows, lines), kind)
        sums, draws = np.empty(rows * columns, kind), np.empty((columns + 3) // 4 * 4, np.float32)
        squared, variances = np.empty((rows if exact else 0, lines), kind), np.empty(rows * columns if exact else 0, kind)
        if rounded:
            codes, amplitudes = _codes(frame)
            units = carray(_pointer(word_at(frame, _UNITS)), (-(-sensed // LANES) * LANES,), kind)
            if not by_columns:
                codes, amplitudes = np.empty((-(-rows // ROWS) * ROWS, lines + 2 * arrays), np.int16), np.empty(rows, kind)
            whole = -(-columns // TILE) * TILE
            products = _on_line(-(-rows // ROWS) * ROWS * whole).reshape(-1, whole)
        for strip in range(first, stop):
            if by_columns:
                top, left, columns, counter = 0, strip * width, min(width, sensed - strip * width), strip
                driven = carray(_pointer(word_at(frame, _DRIVEN)), (n, lines), kind)
            else:
                top, left, rows, counter = strip * width, 0, min(width, n - strip * width), 0
                driven = own[:rows]
                squares[strip] = 0
                clipped[strip] = _drive(frame, top, top + rows, driven, squares[strip], kind, integer, infinity)
                if rounded:
                    _square_codes(frame, driven, codes, amplitudes)
            saturated[counter, top : top + rows] = 0
            y = sums[: rows * columns].reshape(rows, columns)
            if exact:
                variance = variances[: rows * columns].reshape(rows, columns)
                _square(driven, squared)
            for cut in range(arrays):
                before, after = cuts[cut], cuts[cut + 1]
                a, at = driven.ctypes.data + before * item, b + before * b_down + left * b_right
                multiply_at(
                    function, wide, item, rows, columns, after - before, a, lines * item, item, at, b_down, b_right, y.ctypes.data,
                    columns * item,
                )  # fmt: skip
                if rounded:
                    pair, down = before // 2, codes.strides[0]
                    at = v + (left // LANES) * v_down + pair * v_right
                    multiply_codes(
                        codes.ctypes.data + 4 * (pair + cut), down, (after + 1) // 2 - pair, at, v_down, columns, products, rows
                    )  # fmt: skip
                if exact:
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
                    if deviation > 0 or varied:
                        row_normals(draws, np.uint32(this), c2, c3, k0, k1, left // 4)
                    if rounded:
                        amplitude = amplitudes[this if by_columns else row]
                        _add_rounded_noise(y[row], products[row], amplitude, units[left : left + columns], noise, draws)
                        deviation = kind(0)
                    if exact:
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
def parts(kind: np.dtype, varied: bool) -> tuple[Part, Part]:
    """Return the functions for vectors and for strips, for a floating type, and for noise that differs from device to device."""
    vectors, strips = _functions(kind.type, np.int32 if kind == np.float32 else np.int64, varied)
    return Part(vectors), Part(strips)


@cache
def end() -> Part:
    """Return the function that adds what was counted in groups and strips."""
    return Part(_finish)
