"""Variances of the sums of a read in fixed-point numbers, for noise that differs from device to device.

The variance of a sum is the sum over the lines of the squared value, times the variance of the device. It needs fewer digits than the sum
itself. Squares and variances are therefore rounded to 14 and 13 bits and multiplied as integers, by instructions that multiply and add
pairs of 16-bit numbers: two to four times as many per second as products of float32. Integers of 32 bits hold the exact sums over 16 lines;
these are added in float32 in a fixed order, so that results depend neither on the machine nor on the threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from analogpc.kernels.compiled import compiled, intrinsic
from analogpc.kernels.memory import on_line
from analogpc.kernels.threads import distribute

AMPLITUDES = 128
"""Units of the largest value of a vector, unless its values are multiples of a DAC step and not larger than that."""
LEVELS = 8190
"""Units of the largest variance of a sensed line. Rounding may add one."""
LANES, ROWS = 16, 4
"""Sensed lines of a panel, and vectors that are multiplied together."""
_AT_ONCE = 4
"""Panels multiplied together where registers have 512 bits: as many sums as registers hold. Otherwise one."""
TILE = LANES * _AT_ONCE
"""Sums of a vector are stored in whole tiles of this many sensed lines."""
_PAIRS = 8
"""Pairs of lines whose products are added exactly: (128**2) * 8191 * 16 < 2**31."""
_GRAIN = 2**15
"""Least number of variances that another thread is called for."""


@dataclass(frozen=True, eq=False)
class Variances:
    """Variances of all devices in fixed-point numbers, in the order in which products need them.

    Attributes
    ----------
    codes : (panels, pairs, LANES, 2) int16 array
        Multiples of the unit: two lines of a panel of sensed lines. The last panels hold zeros, so that a product may begin at any panel.
    units : (panels * LANES,) float32 array
        Unit of every sensed line.
    """

    codes: np.ndarray
    units: np.ndarray

    @property
    def arrays(self) -> list[np.ndarray]:
        """Return the arrays whose addresses a recorded read holds."""
        return [self.codes, self.units]


def fixed_point(variances: np.ndarray) -> Variances:
    """Round variances (lines, sensed lines), float32, to 13 bits of the largest one on each sensed line.

    The sums of the codes over the first lines are the sums of the variances, each rounded to the nearest integer in units of the
    largest variance over `LEVELS`. So small variances, which would be rounded to zero one by one, keep their sum.

    The variance of a sum, Σ x² v over its lines, is wrong by at most Σ x² max(v) / `LEVELS`. The rounded squares of `square_codes` add
    max(x²) Σ v / (2 `AMPLITUDES`²), unless they are exact. Half of that over Σ x² v is the relative error of the standard deviation.

    Examples
    --------
    >>> made = fixed_point(np.float32([[1.0], [0.00005], [0.00005], [0.00005], [0.00005]]))
    >>> made.codes[0, :, 0].ravel().tolist()
    [8190, 0, 1, 0, 1, 0]
    """
    lines, sensed = variances.shape
    panels = -(-sensed // LANES)
    codes = on_line((panels + _AT_ONCE - 1, -(-lines // 2), LANES, 2), np.int16)
    units = np.empty((len(codes), LANES), np.float32)
    codes[panels:], units[panels:] = 0, 0
    by_columns = variances.flags.f_contiguous and not variances.flags.c_contiguous
    stored = np.ascontiguousarray(variances.T if by_columns else variances).reshape(-1)
    steps = (1, lines) if by_columns else (sensed, 1)
    distribute(
        lambda first, stop: _round(first, stop, stored, *steps, lines, sensed, codes, units),
        panels,
        1 + _GRAIN // (LANES * lines),
    )
    return Variances(codes, units.reshape(-1))


@compiled(allocates=True, error_model="numpy")
def _round(first, stop, variances, down, right, lines, sensed, codes, units):
    """Round the panels ``first`` to ``stop``; line i of sensed line j is ``variances[i * down + j * right]``."""
    largest, factors = np.empty(LANES, np.float32), np.empty(LANES)
    total, before = np.empty(LANES), np.empty(LANES)
    for panel in range(first, stop):
        width, start = min(LANES, sensed - panel * LANES), panel * LANES * right
        largest[:], total[:], before[:] = 0, 0, 0
        for i in range(lines):
            for j in range(width):
                value = variances[start + i * down + j * right]
                largest[j] = value if value > largest[j] else largest[j]
                total[j] += np.float64(value)
        for j in range(LANES):
            # A variance that is not finite makes the noise so, instead of a wrong finite number.
            units[panel, j] = largest[j] / np.float32(LEVELS) if np.isfinite(total[j]) else np.float32(np.nan)
            factors[j] = LEVELS / np.float64(largest[j]) if largest[j] > 0 and np.isfinite(total[j]) else 0.0
        total[:] = 0
        codes[panel, -1] = 0
        for i in range(lines):
            pair, half = i >> 1, i & 1
            for j in range(width):
                total[j] += np.float64(variances[start + i * down + j * right]) * factors[j]
                rounded = np.rint(total[j])
                codes[panel, pair, j, half] = np.int16(rounded - before[j])
                before[j] = rounded
            for j in range(width, LANES):
                codes[panel, pair, j, half] = 0


@compiled(error_model="numpy")
def square_codes(x, cuts, step, codes):
    """Write the squares of the values of one vector in fixed-point numbers; return the unit of the values.

    Parameters
    ----------
    x : (lines,) float32 array
    cuts : (arrays + 1,) int64 array
        Array c has the lines from ``cuts[c]`` to ``cuts[c + 1]``.
    step : float32
        Step of the values if none of them is larger than `AMPLITUDES` steps, 0 otherwise: the unit is then the largest over `AMPLITUDES`.
    codes : (lines + 2 arrays,) int16 array
        Squares, line i of array c at ``i + 2 * c``. Between the arrays are zeros, so that each array may use whole pairs of lines.
    """
    unit = step
    if step == 0:
        largest = np.float32(0)
        for i in range(x.size):
            magnitude = abs(x[i])
            largest = magnitude if magnitude > largest else largest
        unit = largest / np.float32(AMPLITUDES)
    factor = np.float32(1) / unit
    # The inverse of a unit that is too small for a normal number may be infinite: such squares are zero in float32, too.
    factor = factor if factor < np.float32(np.inf) else np.float32(0)
    for c in range(cuts.size - 1):
        for i in range(cuts[c], cuts[c + 1]):
            value = x[i] * factor
            codes[i + 2 * c] = np.int16(np.int32(np.rint(value * value)))
        codes[cuts[c + 1] + 2 * c] = codes[cuts[c + 1] + 2 * c + 1] = 0
    return unit


@compiled
def multiply_codes(squares, down, pairs, panels, across, columns, sums, rows):
    """Store the products of squares and variances, in units of both.

    Parameters
    ----------
    squares : int
        Address of the codes of the first line of an array; those of the next vector follow after ``down`` bytes.
    pairs : int
        Number of pairs of lines.
    panels : int
        Address of the same lines in a panel of `Variances`; the next panel follows after ``across`` bytes.
    columns : int
        Number of sensed lines.
    sums : (rows, columns) float32 array
        Result, with a multiple of `ROWS` vectors and of `TILE` sensed lines.
    rows : int
        Number of vectors.
    """
    at, width = sums.ctypes.data, sums.shape[1]
    sums[:] = 0
    for column in range(0, columns, LANES * _tile_panels()):
        for pair in range(0, pairs, _PAIRS):
            few = min(_PAIRS, pairs - pair)
            for row in range(0, rows, ROWS):
                _add_tile(
                    squares + row * down + 4 * pair, down, panels + column // LANES * across + 4 * LANES * pair, across, few,
                    at + 4 * (row * width + column), 4 * width,
                )  # fmt: skip


_WORD, _HALF, _INT, _REAL = ir.IntType(64), ir.IntType(16), ir.IntType(32), ir.FloatType()


def _count_panels() -> int:
    """Return the number of panels multiplied together by the processor that Numba generates code for."""
    from numba.core.registry import cpu_target

    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return _AT_ONCE if "+avx512bw" in features else 1


@intrinsic("int64()")
def _tile_panels(builder):
    return _WORD(_count_panels())


@intrinsic(f"void({', '.join(['int64'] * 7)})")
def _add_tile(builder, squares, down, panels, across, pairs, sums, below):
    """Add the products of `ROWS` vectors and some panels over pairs of lines, at least one, to sums at an address."""
    _Tile(builder, _count_panels()).generate(squares, down, panels, across, pairs, sums, below)


class _Tile:
    """Generator of the innermost loop: all sums stay in registers.

    Numbers of 16 bits are extended to 32 bits, multiplied, and added in pairs: LLVM has one instruction for this on most processors
    (vpdpwssd or vpmaddwd on x86), and several on others, with the same result.
    """

    def __init__(self, builder: Any, panels: int) -> None:
        self.builder, self.panels = builder, panels
        self.halves, self.wide, self.sums = (ir.VectorType(kind, size) for kind, size in ((_HALF, 32), (_INT, 32), (_INT, 16)))

    def load(self, base: Any, offset: Any, kind: Any) -> Any:
        return self.builder.load(self.builder.inttoptr(self.builder.add(base, offset), kind.as_pointer()), align=2)

    def in_pairs(self, products: Any) -> Any:
        """Return the sums of neighbouring products."""
        nothing = ir.Constant(self.wide, ir.Undefined)
        even, odd = (
            self.builder.shuffle_vector(products, nothing, ir.Constant(self.sums, list(range(half, 2 * LANES, 2))))
            for half in (0, 1)
        )
        return self.builder.add(even, odd)

    def products(self, pair: Any, rows: list[Any], columns: list[Any]) -> list[Any]:
        """Return the sums of the products of two lines, for all rows and panels."""
        builder, zeros = self.builder, ir.Constant(self.sums, [0] * LANES)
        variances = [builder.sext(self.load(at, builder.mul(pair, _WORD(4 * LANES)), self.halves), self.wide) for at in columns]
        found = []
        for at in rows:
            nothing = ir.Constant(self.sums, ir.Undefined)
            both = builder.insert_element(nothing, self.load(at, builder.mul(pair, _WORD(4)), _INT), _INT(0))
            square = builder.sext(builder.bitcast(builder.shuffle_vector(both, nothing, zeros), self.halves), self.wide)
            found += [self.in_pairs(builder.mul(square, variance)) for variance in variances]
        return found

    def generate(self, squares: Any, down: Any, panels: Any, across: Any, pairs: Any, sums: Any, below: Any) -> None:
        builder, entry = self.builder, self.builder.block
        loop, end = builder.append_basic_block("pairs"), builder.append_basic_block("sums")
        rows = [builder.add(squares, builder.mul(down, _WORD(row))) for row in range(ROWS)]
        columns = [builder.add(panels, builder.mul(across, _WORD(panel))) for panel in range(self.panels)]
        builder.branch(loop)
        builder.position_at_end(loop)
        pair = builder.phi(_WORD)
        pair.add_incoming(_WORD(0), entry)
        before = [builder.phi(self.sums) for _ in range(ROWS * self.panels)]
        after = [builder.add(one, more) for one, more in zip(before, self.products(pair, rows, columns), strict=True)]
        following = builder.add(pair, _WORD(1))
        pair.add_incoming(following, loop)
        for one, more in zip(before, after, strict=True):
            one.add_incoming(ir.Constant(self.sums, [0] * LANES), entry)
            one.add_incoming(more, loop)
        builder.cbranch(builder.icmp_signed("<", following, pairs), loop, end)
        builder.position_at_end(end)
        reals = ir.VectorType(_REAL, LANES)
        for place, total in enumerate(after):
            row, panel = divmod(place, self.panels)
            offset = builder.add(builder.mul(below, _WORD(row)), _WORD(4 * LANES * panel))
            at = builder.inttoptr(builder.add(sums, offset), reals.as_pointer())
            builder.store(builder.fadd(builder.load(at, align=4), builder.sitofp(total, reals)), at, align=4)
