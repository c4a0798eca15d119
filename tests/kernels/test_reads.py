"""Reads in compiled code against their parts: converters, products and noise, one after the other."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import get_num_threads, set_num_threads

from analogpc.devices.converters.levels import no_error
from analogpc.kernels.converters import reads
from analogpc.kernels.converters.per_line import convert
from analogpc.kernels.converters.reads import Converters, read
from analogpc.kernels.converters.shared import adc, dac
from analogpc.kernels.converters.variances import fixed_point
from analogpc.kernels.random.streams import Key
from tests.kernels.test_variances import rounded_variances

KEY, STEP = Key(7), 2**33 + 1


@pytest.fixture(params=[1, 2])
def threads(request):
    before = get_num_threads()
    set_num_threads(min(request.param, before))
    yield
    set_num_threads(before)


@pytest.fixture
def narrow(monkeypatch):
    """Strips as narrow as they can be, so that small arrays have several."""
    monkeypatch.setattr(reads, "_PART", 1)
    monkeypatch.setattr(reads, "_CACHED", 1)
    monkeypatch.setattr(reads, "_FEWEST", 32)
    reads._plan.cache_clear()
    yield
    reads._plan.cache_clear()


def apart(x, matrix, ends, converters, factors, variances, squares):
    """The same read by its parts; the noise of the devices adds up to the noise of a sum."""
    kind = x.dtype.type
    device_noise, weight, gain = map(kind, factors)
    driven, scale, clipped = dac(x, converters.dac_bits, converters.dac_bound, converters.managed, squares=squares)
    total, saturated = np.zeros((len(x), matrix.shape[1]), x.dtype), np.zeros(len(x), np.int64)
    for cut, (first, stop) in enumerate(itertools.pairwise(ends)):
        sums, variance = driven[:, first:stop] @ matrix[first:stop], None
        if device_noise > 0:
            variance = np.square(driven[:, first:stop]).sum(axis=1) * device_noise
        factor, rest = scale * weight * gain, (converters.adc_bits, converters.adc_bound)
        if variances is None:
            saturated += adc(sums, total, factor, converters.noise, *rest, KEY, STEP + cut, cut == 0, variance)
            continue
        values = rounded_squares(driven, converters) if x.dtype == np.float32 else np.square(driven)
        variance = (values[:, first:stop] @ variances[first:stop]).astype(x.dtype)
        none = no_error(matrix.shape[1], x.dtype)
        tables = none, np.empty((0, 0), x.dtype), np.arange(matrix.shape[1]), none
        saturated += convert(sums, total, factor, converters.noise, variance, *rest, *tables, KEY, STEP + cut, cut == 0)
    return total, clipped, saturated


def rounded_squares(driven, converters):
    """Squares in units of a DAC step, or of the largest value of a vector over 128, rounded to integers."""
    levels = 2.0 ** (converters.dac_bits - 1) - 1
    unit = np.full((len(driven), 1), converters.dac_bound / levels) if levels <= 128 else largest(driven) / 128
    return np.rint(np.square(np.divide(driven, unit, out=np.zeros(driven.shape), where=unit > 0))) * np.square(unit)


def largest(driven):
    return np.abs(driven.astype(np.float64)).max(axis=1, keepdims=True)


def compare(rng, dtype, n, sensed, ends, converters, factors, order="C", varied=False):
    x = rng.normal(size=(n, ends[-1])).astype(dtype)
    matrix = np.asarray(rng.normal(size=(ends[-1], sensed)).astype(dtype), order=order)
    variances = np.asarray(rng.uniform(0, 0.02, matrix.shape).astype(dtype), order=order) if varied else None
    own, expected_own = np.ones(ends[-1]), np.ones(ends[-1])
    rounded = varied and dtype == np.float32
    found = read(x, matrix, ends, converters, factors, fixed_point(variances) if rounded else variances, own, KEY, STEP)
    assert found is not None
    if rounded:
        codes, units = rounded_variances(variances)
        variances = codes * units
    expected = apart(x, matrix, ends, converters, factors, variances, expected_own)
    step = 2 * converters.adc_bound / 2**converters.adc_bits if math.isfinite(converters.adc_bits) else 0.0
    off = np.abs(found[0] - expected[0])
    tolerance = (1e-5 if dtype == np.float32 else 1e-13) * (1 + np.abs(expected[0]))
    # Sums that are rounded differently may reach the neighbouring level of an ADC, which hardly ever happens.
    assert (off > tolerance).mean() < 1e-3
    assert off.max() <= 1.1 * step * np.abs(x).max() * abs(factors[1] * factors[2]) + tolerance.max()
    assert found[1].tolist() == [expected[1], found[2].sum()]
    assert abs(found[2] - expected[2]).sum() <= 2
    np.testing.assert_allclose(own, expected_own, rtol=1e-12)
    return found


@given(
    n=st.integers(2, 40),
    sensed=st.integers(2, 40),
    lines=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    bits=st.tuples(st.one_of(st.integers(2, 12), st.just(math.inf)), st.one_of(st.integers(2, 12), st.just(math.inf))),
    managed=st.booleans(),
    noise=st.sampled_from([0.0, 0.1]),
    device_noise=st.sampled_from([0.0, 0.02, None]),
    single=st.booleans(),
    turned=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_read_equals_its_parts(n, sensed, lines, bits, managed, noise, device_noise, single, turned):
    ends = (0, *(int(end) for end in np.cumsum([max(2, lines[0]), *lines[1:]])))
    converters = Converters(bits[0], 1.0, managed, bits[1], 4.0, noise)
    rng = np.random.default_rng(n + 100 * sensed)
    dtype = np.float32 if single else np.float64
    compare(
        rng, dtype, n, sensed, ends, converters, (device_noise or 0.0, 0.5, 1.25), "F" if turned else "C", device_noise is None
    )


@pytest.mark.parametrize(("n", "sensed"), [(3, 300), (300, 40), (257, 129)])
def test_strips_change_nothing(rng, narrow, threads, n, sensed):
    """Several strips along the sensed lines or the vectors, with last ones that are narrower, in one thread and in two."""
    converters = Converters(7, 1.0, True, 9, 12.0, 0.06)
    compare(rng, np.float32, n, sensed, (0, 30, 70), converters, (1e-3, 1.0, 0.3))
    compare(rng, np.float32, n, sensed, (0, 30, 70), converters, (0.0, 1.0, 0.3), varied=True)
    plan = reads._plan(np.dtype(np.float32), converters, (1e-3, 1.0, 0.3), False, (0, 30, 70), n, sensed)
    assert plan.count >= 2


def test_threads_change_no_bit(rng, narrow):
    converters, before, results = Converters(7, 1.0, True, 9, 2.0, 0.06), get_num_threads(), []
    for n, sensed in ((100, 400), (400, 100)):
        x, matrix = rng.normal(size=(n, 50)).astype(np.float32), rng.normal(size=(50, sensed)).astype(np.float32)
        for count in (1, before):
            set_num_threads(count)
            squares = np.zeros(50)
            results.append((*read(x, matrix, (0, 20, 50), converters, (0.01, 1.0, 1.0), None, squares, KEY, STEP), squares))
        set_num_threads(before)
        for one, other in zip(*results[-2:], strict=True):
            np.testing.assert_array_equal(one, other)
        assert results[-1][1][0] == 0 < results[-1][1][1] == results[-1][2].sum()


def test_clipped_values_are_counted(rng):
    """Without scaling, the values beyond the range of the DACs are known."""
    x = rng.normal(size=(50, 20))
    converters = Converters(8, 1.5, False, math.inf, math.inf, 0.0)
    total, clipped, saturated = read(x, np.eye(20), (0, 20), converters, (0.0, 1.0, 1.0), None, np.zeros(20), KEY, STEP)
    assert clipped[0] == np.count_nonzero(np.abs(x) > 1.5)
    assert saturated.sum() == 0
    np.testing.assert_allclose(total, np.clip(x, -1.5, 1.5), atol=0.5 * 1.5 / 127 + 1e-12)


def test_what_needs_other_functions_is_left_to_them(rng):
    """Ideal DACs, single vectors, and matrices that BLAS does not take as they are."""
    x, matrix, squares = rng.normal(size=(4, 6)), rng.normal(size=(6, 5)), np.zeros(6)
    some, ideal = Converters(7, 1.0, True, 9, 12.0, 0.0), Converters(math.inf, math.inf, False, 9, 12.0, 0.0)
    rest = (0.0, 1.0, 1.0), None, squares, KEY, STEP
    assert read(x, matrix, (0, 6), ideal, *rest) is None
    assert read(x[:1], matrix, (0, 6), some, *rest) is None
    assert read(x, np.zeros((6, 10))[:, ::2], (0, 6), some, *rest) is None
    assert read(x, matrix, (0, 6), some, rest[0], np.zeros((6, 10))[:, ::2], *rest[2:]) is None
    assert read(x, matrix, (0, 6), some, *rest) is not None
    assert squares.any()
