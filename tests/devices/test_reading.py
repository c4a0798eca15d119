"""Reads against plain statements: tile by tile from their parts, and weight noise against weights sampled anew for every vector."""

import math

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.nonidealities.noise import ConstantNoise, RelativeNoise
from analogpc.devices.responses import Programmable
from analogpc.devices.substrate import Analog
from analogpc.kernels.converters.shared import SLOW
from analogpc.kernels.random.streams import Key, normal, philox

DAC_BITS, ADC_BITS, BOUND, NOISE = 7, 9, 12.0, 0.06


def quantised(value, bits, bound):
    """Clip and round to 2**bits - 1 levels, every operation in the type of ``value``."""
    kind = value.dtype.type
    step = kind(bound / (2.0 ** (bits - 1) - 1))
    return np.rint(np.clip(value, kind(-bound), kind(bound)) / step) * step


def draws(key, step, n, lines):
    blocks = [[philox(*map(np.uint32, (j, i, step, 0)), *key.words) for j in range(-(-lines // 4))] for i in range(n)]
    return np.array([[normal(word) for block in row for word in block][:lines] for row in blocks], np.float32)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rows", [64, 7])
def test_a_read_has_the_bits_of_its_plain_statement(rng, rows, transposed):
    """DAC, product, noise, ADC and digital sum of the tiles, in NumPy and in float32, operation by operation."""
    converters = {"dac": DAC(bits=DAC_BITS), "adc": ADC(bits=ADC_BITS, bound=BOUND)}
    substrate = Analog.ideal(rows=rows, columns=rows, read_noise=NOISE, **converters)
    w, x = rng.normal(size=(17, 21)).astype(np.float32), rng.normal(size=(6, 21)).astype(np.float32)
    matrix = make_matrix(substrate, w.T.copy() if transposed else w, Key(3))
    scale = np.float32(matrix.scales[0, 0])
    assert (matrix.scales == scale).all()
    state = matrix.arrays[0].apparent - matrix.arrays[1].apparent if len(matrix.arrays) == 2 else matrix.arrays[0].apparent
    state = state.T if transposed else state
    for first in (0, -(-21 // rows)):  # Two reads, one after the other: each has noise of its own.
        largest = np.abs(x).max(1)
        driven = quantised(x / largest[:, None], DAC_BITS, 1.0)
        expected = np.zeros((6, 17), np.float32)
        for cut, start in enumerate(range(0, 21, rows)):
            part = slice(start, start + rows)
            sums = driven[:, part] @ state[part]
            noisy = sums + np.float32(NOISE) * draws(Key(3).fold("read"), first + cut, 6, 17)
            expected += (largest * scale)[:, None] * quantised(noisy, ADC_BITS, BOUND)
        found = matrix.backward(x) if transposed else matrix.forward(x)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_a_look_up_reads_the_crossed_arrays_alone(rng):
    """Bit for bit: one product, one conversion and one draw of noise for each output, whatever the number of arrays."""
    rows, ids = 7, np.array([20, 0, 6, 7, 13, 20], np.int32)
    substrate = Analog.ideal(rows=rows, read_noise=NOISE, dac=DAC(bits=DAC_BITS), adc=ADC(bits=ADC_BITS, bound=BOUND))
    matrix = make_matrix(substrate, rng.normal(size=(17, 21)).astype(np.float32), Key(3))
    scale = np.float32(matrix.scales[0, 0])
    state = matrix.arrays[0].apparent - matrix.arrays[1].apparent if len(matrix.arrays) == 2 else matrix.arrays[0].apparent
    noise = [draws(Key(3).fold("read"), cut, len(ids), 17) for cut in range(3)]
    own = np.stack([noise[one // rows][place] for place, one in enumerate(ids)])
    expected = scale * quantised(state[ids] + np.float32(NOISE) * own, ADC_BITS, BOUND)
    np.testing.assert_array_equal(matrix.look_up(ids), expected)
    meter = matrix.meter
    assert (meter.look_ups, meter.forward_reads) == (len(ids), len(ids))
    assert (meter.conversions_in, meter.conversions_out) == (len(ids), len(ids) * 17)


def test_a_look_up_is_as_noisy_as_one_conversion(rng):
    """Three arrays: a whole read adds three independent noises, a look-up one; 5 standard errors."""
    ids, noise = np.repeat(np.arange(0, 30, 3), 200).astype(np.int32), 0.1
    matrix = make_matrix(Analog.ideal(read_noise=noise, rows=10, dac=DAC(bits=np.inf)), rng.normal(size=(20, 30)), Key(1))
    for read, count in ((matrix.look_up, 1), (lambda ids: matrix.forward(np.eye(30)[ids]), 3)):
        y = read(ids).reshape(10, 200, 20) / matrix.scales[0, 0]
        deviation = np.sqrt(y.var(axis=1, ddof=1).mean())
        assert abs(deviation / (noise * np.sqrt(count)) - 1) < 5 / np.sqrt(2 * y.size)


def test_lines_that_a_look_up_does_not_drive_see_no_voltage(rng):
    """DACs with an offset drive every line of a whole read; those of the other lines of a look-up are disconnected."""
    w, ids = rng.normal(size=(5, 12)), np.array([3, 11], np.int32)
    substrate = Analog.ideal(dac=DAC(bits=7, offset_lsb=2.0), rows=6)
    found = make_matrix(substrate, w, Key(0)).look_up(ids)
    drive = make_matrix(substrate, np.eye(12), Key(0)).forward(np.eye(12))
    np.testing.assert_allclose(found, (w[:, ids] * drive[ids, ids]).T, rtol=1e-9)
    assert np.abs(make_matrix(substrate, w, Key(0)).forward(np.eye(12)[ids]) - found).max() > 0.01


def restless(n_in, n_out, rng, read_noise=None, **fields):
    """A matrix of devices with white noise, by default in proportion to their conductances, read without converters."""
    device = Device(
        name="restless",
        response=Programmable(),
        g_min_siemens=1e-6,
        g_max_siemens=1e-5,
        read_noise=read_noise or RelativeNoise(relative=0.2),
    )
    substrate = Analog.ideal(device=device, scheme={"kind": "ideal"}, **fields)
    return make_matrix(substrate, rng.normal(size=(n_out, n_in)), Key(8))


@pytest.mark.parametrize("noise", [RelativeNoise(relative=0.2), ConstantNoise(std_siemens=1e-6)])
@pytest.mark.parametrize("transposed", [False, True])
def test_weight_noise_is_that_of_weights_sampled_for_every_vector(rng, transposed, noise):
    """Drawn at the outputs; against samples of all devices.

    Kolmogorov-Smirnov of every output with the exact normal law and with the sampled one, covariances of outputs and correlations of
    one vector with the next: 80 checks forwards and 216 transposed, of a false-alarm rate of at most 1e-6 each.
    """
    n, n_in, n_out = 20_000, 9, 5
    matrix = restless(n_in, n_out, rng, noise, rows=n_in)
    lines = n_out if transposed else n_in
    x = np.repeat(rng.normal(size=(1, lines)), n, axis=0)
    found = matrix.backward(x) if transposed else matrix.forward(x)
    scale, sampled, variance = matrix.scales[0, 0], 0.0, 0.0
    for leg, array in zip(matrix.substrate.mapping.legs, matrix.arrays, strict=True):
        deviation = np.broadcast_to(array.read_deviation(matrix.substrate.read_seconds), (n_in, n_out))
        device = leg.factor * scale * (array.apparent + deviation * rng.normal(size=(n, n_in, n_out)))
        sampled = sampled + np.einsum("ni,nij->nj", x, np.swapaxes(device, 1, 2) if transposed else device)
        spread = np.square(leg.factor * scale * deviation)
        variance = variance + np.square(x[0]) @ (spread.T if transposed else spread)
    exact = x[0] @ (matrix.weights() if transposed else matrix.weights().T)
    standard = (found - exact) / np.sqrt(variance)
    for j in range(found.shape[1]):
        assert stats.kstest(standard[:, j], "norm").pvalue > 1e-6
        assert stats.ks_2samp(found[:, j], sampled[:, j]).pvalue > 1e-6
    limit = stats.norm.isf(5e-7) / math.sqrt(n)
    covariance = standard.T @ standard / n - np.eye(found.shape[1])
    assert np.abs(covariance).max() < limit * math.sqrt(2)
    assert np.abs((standard[1:] * standard[:-1]).mean(0)).max() < limit


def test_threads_change_nothing(with_threads):
    """A whole read, of more numbers than one thread converts alone; BLAS keeps its one thread."""
    n, lines = 300, 310
    assert n * lines > SLOW
    substrate = Analog(device="reram-sb", rows=100, adc=ADC(noise_lsb=0.3, dnl_lsb=0.2), dac=DAC(noise_lsb=0.1))
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(lines, lines)).astype(np.float32), rng.normal(size=(n, lines)).astype(np.float32)

    def reads():
        matrix = make_matrix(substrate, w, Key(4))
        return matrix.forward(x), matrix.backward(x)

    with threadpool_limits(1, "blas"):
        for one, two in zip(*with_threads(reads), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("n", [0, 1])
def test_batches_may_be_small_or_empty(n):
    matrix = make_matrix(Analog(device="idealized"), np.ones((3, 2), np.float32), Key(0))
    assert matrix.forward(np.ones((n, 2), np.float32)).shape == (n, 3)
    assert matrix.backward(np.ones((n, 3), np.float32)).shape == (n, 2)
