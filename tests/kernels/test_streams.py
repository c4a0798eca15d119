"""Random streams against published vectors, a plain implementation of the generator, and their distributions."""

import numba as nb
import numpy as np
import pytest
from device_arrays import KINDS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from analogpc.kernels.random.streams import LARGEST_NORMAL, Key, bits, normal, normals, permutation, philox, row_normals, uniforms

# Known-answer vectors of Philox4x32-10 from the Random123 distribution (kat_vectors): counter, key, result.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def plain_philox(counter, key):
    """The generator as its paper states it, in Python integers."""
    (c0, c1, c2, c3), (k0, k1), mask = counter, key, 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & mask, (p0 >> 32) ^ c3 ^ k1, p0 & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c0, c1, c2, c3


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_vectors(counter, key, answer):
    assert philox(*map(np.uint32, counter), *map(np.uint32, key)) == answer
    assert plain_philox(counter, key) == answer


@given(
    value=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**64 - 1),
    size=st.integers(1, 40),
)
@settings(max_examples=50, deadline=None)
def test_bits_follow_the_plain_statement(value, step, size):
    key = Key(value)
    expected = [
        word
        for block in range(-(-size // 4))
        for word in plain_philox((block, 0, step & 0xFFFFFFFF, step >> 32), (value & 0xFFFFFFFF, value >> 32))
    ]
    assert bits(key, step, size).tolist() == expected[:size]


def test_a_number_depends_on_its_index_alone():
    key = Key(3)
    long = normals(key, 7, 1001)
    np.testing.assert_array_equal(normals(key, 7, (10, 100)).reshape(-1), long[:1000])
    np.testing.assert_array_equal(normals(key, 7, 1001, np.float64).astype(np.float32), long)


def test_a_row_has_blocks_of_its_own():
    key, found, expected = Key(6), np.empty(40, np.float32), np.empty(40, np.float32)
    row_normals(found, *map(np.uint32, (5, 7, 9)), *key.words, 0)
    words = [word for place in range(10) for word in plain_philox((place, 5, 7, 9), tuple(map(int, key.words)))]
    in_a_loop(np.array(words, np.uint32), expected)
    np.testing.assert_array_equal(found, expected)
    row_normals(found[:24], *map(np.uint32, (5, 7, 9)), *key.words, 4)
    np.testing.assert_array_equal(found[:24], expected[16:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_hold_the_normals_of_their_bits(dtype):
    """However many are drawn at a time: the length is no multiple of anything."""
    n = 10_007
    expected = np.empty(n, np.float32)
    in_a_loop(bits(Key(7), 2, n), expected)
    np.testing.assert_array_equal(normals(Key(7), 2, n, dtype), expected)


def test_threads_change_nothing(with_threads):
    one, two = with_threads(lambda: normals(Key(5), 0, 100_003))
    np.testing.assert_array_equal(one, two)


def test_keys_and_steps_give_different_numbers():
    root = Key(0)
    streams = [root, root.fold("a"), root.fold("b"), root.fold(0), root.fold("0"), root.fold("a", "b"), root.fold("b", "a")]
    draws = {bits(key, step, 4).tobytes() for key in streams for step in (0, 1, 2**32, 2**40)}
    assert len(draws) == 4 * len(streams)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_outside_64_bits_is_refused(seed):
    with pytest.raises(ValueError, match=r"a seed is a whole number from 0 to 2\*\*64 - 1, not -?\d+"):
        Key(seed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normals_are_normal(dtype):
    """Kolmogorov-Smirnov, four moments and the tail; each check has a false-alarm rate below 1e-5 over the choice of keys."""
    n = 1_000_000
    x = normals(Key(11), 0, n, dtype).astype(np.float64)
    assert stats.kstest(x, "norm").pvalue > 1e-5
    # Standard errors of the sample moments of a normal variable: sqrt(Var(x^k) / n).
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - mean) < 4.5 * np.sqrt(variance / n)
    beyond = np.count_nonzero(np.abs(x) > 4)
    assert stats.binomtest(beyond, n, 2 * stats.norm.sf(4)).pvalue > 1e-5


@nb.njit(error_model="numpy")
def in_a_loop(words, out):
    for i in range(out.size):
        out[i] = normal(words[i])


def some_words(n):
    """Random words, the last ones of both tails, and the neighbourhood of every power of two and of the seam of the two regions."""
    ends = np.arange(2**17)
    powers = np.add.outer(2 ** np.arange(4, 32), np.arange(-8, 8)).ravel()
    seams = np.add.outer([int(0.075 * 2**32), int(0.925 * 2**32)], np.arange(-1000, 1000)).ravel()
    words = np.concatenate([ends, 2**32 - 1 - ends, powers, 2**32 - 1 - powers, seams, bits(Key(4), 0, n)])
    return np.unique(words).astype(np.uint32)


def test_normals_invert_the_distribution_function():
    """Against SciPy's inverse at 1.3 million words, the most extreme ones included; the middle is met to 1e-7 absolute."""
    words = some_words(1_000_000)
    values, mirrored = np.empty(words.size, np.float32), np.empty(words.size, np.float32)
    in_a_loop(words, values)
    in_a_loop(~words, mirrored)
    np.testing.assert_allclose(values, special.ndtri((words + 0.5) / 2**32), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(values, -mirrored)
    assert values.max() == -values.min() <= LARGEST_NORMAL


def test_normals_have_the_same_bits_as_plain_float32_arithmetic():
    """NumPy, operation by operation: no compiler fuses or reorders any of them, in vectors or one by one."""
    words, one = some_words(100_000), np.float32(1)
    values = np.empty(words.size, np.float32)
    in_a_loop(words, values)

    def polynomial(x, *coefficients):
        total = np.float32(coefficients[0])
        for c in coefficients[1:]:
            total = total * x + np.float32(c)
        return total

    upper = words >= 2**31
    tail = (np.where(upper, ~words, words).astype(np.int32).astype(np.float32) + np.float32(0.5)) * np.float32(2**-32)
    q = np.float32(0.5) - tail
    r = np.float32(0.180625) - q * q
    centre = (
        q
        * polynomial(r, 59.109374720, 159.29113202, 50.434271938, 3.3871327179)
        / polynomial(r, 67.187563600, 78.757757664, 17.895169469, one)
    )
    word = tail.view(np.int32)
    exponent = (word - np.int32(0x3F3504F3)) >> 23
    y = (word - (exponent << 23)).view(np.float32) - one
    y2 = y * y
    c = [
        np.float32(v) for v in (-0.49999986, 0.33333958, -0.25002129, 0.1996212, -0.16563112, 0.14910179, -0.14351936, 0.08808367)
    ]
    low, high = ((c[k + 1] * y + c[k]) + (c[k + 3] * y + c[k + 2]) * y2 for k in (0, 4))
    logarithm = (y2 * (low + high * (y2 * y2)) + y) + exponent.astype(np.float32) * np.float32(np.log(2))
    s = np.sqrt(-logarithm) - np.float32(1.6)
    far = polynomial(s, 0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777) / polynomial(
        s, 0.12021132975, 0.73700164250, one
    )
    value = np.where(tail > np.float32(0.075), centre, far)
    np.testing.assert_array_equal(values, np.where(upper, value, -value))
    np.testing.assert_array_equal(values[:50], [normal(w) for w in words[:50]])


def test_neighbours_are_independent():
    """Correlations between the lanes of a block, between blocks and between steps vanish (false alarms below 1e-5 in all)."""
    n = 400_000
    x = normals(Key(12), 0, n).astype(np.float64)
    other = normals(Key(12), 1, n).astype(np.float64)
    pairs = [(x[:-lag], x[lag:]) for lag in (1, 2, 3, 4, 8)] + [(x, other), (x[:-1] ** 2 - 1, x[1:] ** 2 - 1)]
    for a, b in pairs:
        scale = a.std() * b.std()
        assert abs((a * b).mean()) / scale < 4.9 / np.sqrt(len(a))


def test_uniforms_are_uniform():
    x = uniforms(Key(13), 0, 1_000_000, np.float64)
    assert stats.kstest(x, "uniform").pvalue > 1e-5
    single = uniforms(Key(13), 0, 1_000_000)
    assert single.dtype == np.float32
    assert single.min() > 0
    assert single.max() <= 1


def test_permutations_are_permutations_and_equally_likely():
    """All 24 orders of four things, chi-squared with a false-alarm rate of 1e-5."""
    key, n = Key(14), 4800
    orders = [tuple(permutation(key, step, 4)) for step in range(n)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    counts = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-5


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1025])
def test_bits_and_normals_are_those_of_the_processor(device, size) -> None:
    there, key, step = device.empty(0), Key(2**63 + 11), 2**40 + 3
    assert np.array_equal(bits(key, step, size, like=there).get(), bits(key, step, size))
    assert np.array_equal(uniforms(key, step, size, like=there).get(), uniforms(key, step, size))
    for kind in KINDS:
        assert np.array_equal(normals(key, step, size, kind, like=there).get(), normals(key, step, size, kind))


def test_a_million_normals_are_those_of_the_processor(device) -> None:
    assert np.array_equal(normals(Key(1), 7, (1000, 1003), like=device.empty(0)).get(), normals(Key(1), 7, (1000, 1003)))
