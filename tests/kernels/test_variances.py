"""Variances of sums in fixed-point numbers: rounding, exact products, and the error of the noise."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.converters.reads import Converters, read
from analogpc.kernels.converters.variances import (
    AMPLITUDES,
    LANES,
    LEVELS,
    ROWS,
    TILE,
    fixed_point,
    multiply_codes,
    square_codes,
)
from analogpc.kernels.gemm import address
from analogpc.kernels.random.streams import Key


def rounded_variances(variances):
    """Differences of the rounded cumulative sums along the lines, (lines, sensed), and the units of the sensed lines."""
    top = variances.max(axis=0).astype(np.float64)
    sums = np.cumsum(variances * np.divide(LEVELS, top, out=np.zeros_like(top), where=top > 0), axis=0, dtype=np.float64)
    return np.diff(np.rint(sums), axis=0, prepend=0), (top / LEVELS).astype(np.float32)


def codes_of(made, shape):
    """The codes of `Variances` as a matrix (lines, sensed lines)."""
    lines, sensed = shape
    return made.codes.transpose(1, 3, 0, 2).reshape(-1, len(made.codes) * LANES)[:lines, :sensed]


def products(squares, made, sensed):
    """`multiply_codes` of squares (n, lines), int16, with the first lines of `Variances`."""
    n, lines = squares.shape
    padded = np.zeros((-(-n // ROWS) * ROWS, lines + lines % 2), np.int16)
    padded[:n, :lines] = squares
    sums = np.empty((len(padded), -(-sensed // TILE) * TILE), np.float32)
    panels, across = address(made.codes), made.codes.strides[0]
    multiply_codes(address(padded), padded.strides[0], padded.shape[1] // 2, panels, across, sensed, sums, n)
    return sums[:n, :sensed]


def plain_products(squares, codes):
    """Exact sums over 16 lines, added in float32."""
    total = np.zeros((len(squares), codes.shape[1]), np.float32)
    for line in range(0, len(codes), 16):
        total += (squares[:, line : line + 16].astype(np.int64) @ codes[line : line + 16].astype(np.int64)).astype(np.float32)
    return total


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), turned=st.booleans(), power=st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_rounding_equals_its_statement(shape, turned, power):
    rng = np.random.default_rng(shape)
    variances = np.asarray(rng.uniform(size=shape) ** power * 10.0 ** rng.integers(-6, 3, shape[1]), np.float32)
    variances[:, rng.uniform(size=shape[1]) < 0.1] = 0
    made = fixed_point(np.asarray(variances, order="F" if turned else "C"))
    codes, units = rounded_variances(variances)
    np.testing.assert_array_equal(codes_of(made, shape), codes)
    np.testing.assert_array_equal(made.units[: shape[1]], units)
    assert not made.units[shape[1] :].any()
    assert 0 <= codes.min() <= codes.max() <= LEVELS + 1
    # The rounded variances of the lines from any one to any other keep their sum.
    off = np.cumsum(codes * units - variances, axis=0, dtype=np.float64)
    assert (np.abs(off) <= 0.501 * units + 1e-6 * variances.sum(axis=0)).all()


def test_variances_that_are_not_finite_make_such_noise():
    made = fixed_point(np.float32([[1.0, np.nan, np.inf], [2.0, 1.0, 1.0]]))
    assert np.isfinite(made.units[:3]).tolist() == [True, False, False]


@given(n=st.integers(1, 20), lines=st.integers(1, 70), sensed=st.integers(1, 150))
@settings(max_examples=40, deadline=None)
def test_products_are_exact(n, lines, sensed):
    rng = np.random.default_rng((n, lines, sensed))
    squares = rng.integers(0, AMPLITUDES**2, (n, lines), endpoint=True)
    made = fixed_point(rng.uniform(size=(lines, sensed)).astype(np.float32))
    expected = plain_products(squares, codes_of(made, (lines, sensed)))
    np.testing.assert_array_equal(products(squares, made, sensed), expected)


def test_the_largest_products_do_not_overflow():
    made = fixed_point(np.ones((64, 3), np.float32))
    made.codes[:1] += 1
    expected = np.full((5, 3), 64 * AMPLITUDES**2 * (LEVELS + 1), np.float32)
    np.testing.assert_array_equal(products(np.full((5, 64), AMPLITUDES**2), made, 3), expected)


@pytest.mark.parametrize("codes", [63, 127, 128])
def test_squares_of_dac_codes_are_exact(rng, codes):
    step = np.float32(1 / codes)
    values = rng.integers(-codes, codes, 200, endpoint=True)
    found = np.full(200 + 4, -1, np.int16)
    assert square_codes(step * values.astype(np.float32), np.array([0, 77, 200]), step, found) == step
    np.testing.assert_array_equal(found[:77], values[:77] ** 2)
    np.testing.assert_array_equal(found[79:202], values[77:] ** 2)
    assert not found[[77, 78, 202, 203]].any()


@pytest.mark.parametrize("top", [0.0, 1e-42, 1e-30, 1.0, 1e15])
def test_other_squares_are_rounded_in_units_of_the_largest(rng, top):
    x = np.float32(top) * rng.uniform(-1, 1, 300).astype(np.float32)
    found = np.full(302, -1, np.int16)
    unit = square_codes(x, np.array([0, 300]), np.float32(0), found)
    assert unit == np.abs(x).max() / np.float32(AMPLITUDES)
    squares = np.square(x, dtype=np.float64)
    # Below 1e-38 squares are zero in float32 as well.
    tolerance = 0.501 * squares.max() / AMPLITUDES**2 if top > 1e-38 else 1e-70
    np.testing.assert_allclose(found[:300] * np.float64(unit) ** 2, squares, rtol=1e-6, atol=tolerance)


@pytest.mark.parametrize(
    ("shape", "rms"),
    [(lambda u: u, 1e-5), (lambda u: 1e-4 ** (1 - u), 3e-5), (lambda u: 1e-4 + (u > 0.99), 5e-3)],
    ids=["uniform", "contrast of 1e4", "few large ones"],
)
@pytest.mark.parametrize("bits", [7, 12])
def test_error_of_the_standard_deviation_keeps_its_bound(rng, shape, rms, bits):
    """The variance is wrong by at most Σ x² max(v) / 8190 from the variances v, and max(x²) Σ v / 32768 from the squares."""
    lines, sensed, n = 400, 60, 50
    step = np.float32(1 / (2 ** (bits - 1) - 1))
    x = rng.normal(size=(n, lines))
    x = (np.rint(x / np.abs(x).max(axis=1, keepdims=True) / step) * step).astype(np.float32)
    variances = shape(rng.uniform(size=(lines, sensed))).astype(np.float32)
    made, squares = fixed_point(variances), np.empty((n, lines + 2), np.int16)
    few = step if bits == 7 else np.float32(0)
    units = np.array([square_codes(x[i], np.array([0, lines]), few, squares[i]) for i in range(n)], np.float64)
    found = products(squares[:, :lines], made, sensed) * units[:, None] ** 2 * made.units[:sensed]
    exact = np.square(x, dtype=np.float64) @ variances
    bound = np.square(x).sum(axis=1)[:, None] * variances.max(axis=0) / LEVELS
    if bits > 7:
        bound = bound + np.square(x).max(axis=1)[:, None] * variances.sum(axis=0) / 2 / AMPLITUDES**2
    assert (np.abs(found - exact) <= bound * 1.01 + 1e-5 * exact).all()
    off = np.sqrt(found / exact) - 1
    # Errors of single lines hardly add up: most are far below the bound.
    assert np.sqrt(np.mean(np.square(off))) < rms


def test_noise_has_the_variance_of_independent_devices():
    """Sums of squares over the exact variance are chi-square: z within 5 fails once in 1.7 million seeds; an error of 1 % gives z = 6."""
    rng, n, lines, sensed = np.random.default_rng(3), 20_000, 30, 40
    x = np.tile(np.rint(63 * rng.uniform(-1, 1, lines)) / 63, (n, 1)).astype(np.float32)
    variances = rng.uniform(0.0001, 0.02, (lines, sensed)).astype(np.float32)
    ideal = Converters(7, 1.0, False, np.inf, np.inf, 0.0)
    nothing, key = np.zeros((lines, sensed), np.float32), Key(1)
    found = read(x, nothing, (0, lines), ideal, (0.0, 1.0, 1.0), fixed_point(variances), np.zeros(lines), key, 0)[0]
    ratio = np.square(found, dtype=np.float64) / (np.square(x[0], dtype=np.float64) @ variances)
    assert abs(ratio.sum() - ratio.size) < 5 * np.sqrt(2 * ratio.size)
    assert (np.abs(ratio.mean(axis=0) - 1) < 6 * np.sqrt(2 / n)).all()


SCRIPT = """
import hashlib, numpy as np
from tests.kernels.test_variances import products
from analogpc.kernels.converters.variances import fixed_point
rng = np.random.default_rng(0)
made = fixed_point(rng.uniform(size=(90, 100)).astype(np.float32))
print(hashlib.sha256(products(rng.integers(0, 16384, (7, 90)), made, 100).tobytes()).hexdigest())
"""


def test_every_processor_computes_the_same_bits(tmp_path):
    """Compiled for a processor without wide registers, and for this one."""
    found = set()
    for processor in ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, {}):
        own = os.environ | processor | {"NUMBA_CACHE_DIR": str(tmp_path)}
        found.add(subprocess.run([sys.executable, "-c", SCRIPT], env=own, check=True, capture_output=True, text=True).stdout)
    assert len(found) == 1
