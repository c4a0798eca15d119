"""Keyed random numbers: every draw is a pure function of (key, step, index).

The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
128-bit counter and a 64-bit key give four 32-bit words. Here the key names *who* draws (a seed folded with names, see `Key`), the
upper half of the counter *when* (the step) and the lower half *which number* (the index of a block of four words). Nothing depends
on the number of threads, on the order of the draws or on how an array is cut.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numba as nb
import numpy as np

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_SCALE = np.float32(2.0**-32)

# Coefficients of AS 241, PPND7: centre (A, B) and tails (C, D).
_A0, _A1, _A2, _A3 = (np.float32(v) for v in (3.3871327179, 50.434271938, 159.29113202, 59.109374720))
_B1, _B2, _B3 = (np.float32(v) for v in (17.895169469, 78.757757664, 67.187563600))
_C0, _C1, _C2, _C3 = (np.float32(v) for v in (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103))
_D1, _D2 = (np.float32(v) for v in (0.73700164250, 0.12021132975))


@dataclass(frozen=True)
class Key:
    """The name of a random stream: a seed, folded with names and numbers.

    Parameters
    ----------
    value : int
        64 bits. ``Key(seed)`` is the root of an experiment; children are made by `fold`.

    Examples
    --------
    >>> Key(0).fold("layer", 3, "read") == Key(0).fold("layer").fold(3).fold("read")
    True
    """

    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.value < 2**64:
            raise ValueError(f"a seed is a whole number from 0 to 2**64 - 1, not {self.value!r}")

    def fold(self, *names: str | int) -> Key:
        """The key of a child stream; equal names give equal keys, different names independent ones (64 bits of BLAKE2b)."""
        value = self.value
        for name in names:
            message = f"{type(name).__name__}:{name}".encode()
            digest = hashlib.blake2b(message, digest_size=8, key=value.to_bytes(8, "little")).digest()
            value = int.from_bytes(digest, "little")
        return Key(value)

    @property
    def words(self) -> tuple[np.uint32, np.uint32]:
        """The two 32-bit halves that the kernels take, low half first."""
        return np.uint32(self.value & 0xFFFFFFFF), np.uint32(self.value >> 32)


@nb.njit(cache=True)
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10: four 32-bit words of random bits from a counter (c0..c3) and a key (k0, k1), all uint32."""
    for _ in range(10):
        p0 = np.uint64(c0) * _M0
        p1 = np.uint64(c2) * _M1
        h0, l0 = np.uint32(p0 >> _HALF), np.uint32(p0 & _LOW)
        h1, l1 = np.uint32(p1 >> _HALF), np.uint32(p1 & _LOW)
        # Numba widens the xor of two 32-bit words to 64 bits; the casts keep every word at its size.
        c0, c1, c2, c3 = np.uint32(h1 ^ c1 ^ k0), l1, np.uint32(h0 ^ c3 ^ k1), l0
        k0 = np.uint32(k0 + _W0)
        k1 = np.uint32(k1 + _W1)
    return c0, c1, c2, c3


@nb.njit(cache=True)
def split(step):
    """The low and the high 32-bit word of a step."""
    wide = np.uint64(step)
    return np.uint32(wide & _LOW), np.uint32(wide >> _HALF)


@nb.njit(cache=True)
def normal(word):
    """A standard normal float32 from 32 random bits: the inverse distribution function at (word + 1/2) / 2**32.

    Algorithm AS 241, PPND7 (Wichura, Appl. Statist. 37:477, 1988), whose third region lies beyond 2**-33 and is not needed.
    Exactly symmetric; |value| <= 6.34; off by at most 2e-6 relative or 1e-7 absolute, whichever is larger.
    """
    upper = word >= np.uint32(0x80000000)
    nearest = np.uint32(~word) if upper else word
    tail = (np.float32(nearest) + np.float32(0.5)) * _SCALE
    if tail > np.float32(0.075):
        q = np.float32(0.5) - tail
        r = np.float32(0.180625) - q * q
        above = ((_A3 * r + _A2) * r + _A1) * r + _A0
        below = ((_B3 * r + _B2) * r + _B1) * r + np.float32(1)
        value = q * above / below
    else:
        r = np.float32(math.sqrt(-math.log(tail))) - np.float32(1.6)
        value = (((_C3 * r + _C2) * r + _C1) * r + _C0) / ((_D2 * r + _D1) * r + np.float32(1))
    return value if upper else -value


@nb.njit(cache=True, parallel=True)
def _fill_bits(out, k0, k1, step):
    c2, c3 = split(step)
    for block in nb.prange((out.size + 3) // 4):
        c0, c1 = split(block)
        words = philox(c0, c1, c2, c3, k0, k1)
        for lane in range(4):
            if 4 * block + lane < out.size:
                out[4 * block + lane] = words[lane]


@nb.njit(cache=True, parallel=True)
def _fill_normals(out, k0, k1, step):
    c2, c3 = split(step)
    for block in nb.prange((out.size + 3) // 4):
        c0, c1 = split(block)
        words = philox(c0, c1, c2, c3, k0, k1)
        for lane in range(4):
            if 4 * block + lane < out.size:
                out[4 * block + lane] = normal(words[lane])


def bits(key: Key, step: int, shape: int | tuple[int, ...]) -> np.ndarray:
    """Uniform random 32-bit words, ``shape``, uint32; element i (C order) is word i mod 4 of block i div 4."""
    out = np.empty(shape, np.uint32)
    _fill_bits(out.reshape(-1), *key.words, np.uint64(step))
    return out


def uniforms(key: Key, step: int, shape: int | tuple[int, ...], dtype: str | type | np.dtype = np.float32) -> np.ndarray:
    """Uniform numbers in (0, 1], ``shape``: 32 random bits each, rounded to ``dtype``."""
    return ((bits(key, step, shape) + 0.5) * 2.0**-32).astype(dtype)


def normals(key: Key, step: int, shape: int | tuple[int, ...], dtype: str | type | np.dtype = np.float32) -> np.ndarray:
    """Standard normal numbers, ``shape``, from 32 random bits each, of float32 accuracy whatever the ``dtype``."""
    out = np.empty(shape, dtype)
    _fill_normals(out.reshape(-1), *key.words, np.uint64(step))
    return out


def permutation(key: Key, step: int, n: int) -> np.ndarray:
    """A uniformly random order of 0 .. n-1, (n,) int64: the ranks of 64-bit random numbers."""
    words = bits(key, step, 2 * n).astype(np.uint64)
    return np.argsort((words[0::2] << _HALF) | words[1::2], kind="stable")
