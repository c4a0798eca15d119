"""Keyed random numbers: every draw is a pure function of (key, step, index).

The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a 128-bit
counter and a 64-bit key give four 32-bit words. The key identifies *who* draws (a seed folded with names, see `Key`), the upper half of
the counter *when* (the step) and the lower half *which number* (the index of a block of four words). Draws do not depend on the number
of threads, on their order or on the partition of an array.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from llvmlite import ir

from analogpc.kernels.compiled import compiled, intrinsic
from analogpc.kernels.gpu.arrays import copied, on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.gpu.steps import MovingStep
from analogpc.kernels.threads import distribute

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_SCALE = np.float32(2.0**-32)
_PART = 4096
_BITS = CudaKernel("random/streams", "fill_bits")
_NORMALS = CudaKernel("random/streams", "fill_normals")

# Coefficients of AS 241, PPND7: centre (A, B) and tails (C, D).
_A0, _A1, _A2, _A3 = (np.float32(v) for v in (3.3871327179, 50.434271938, 159.29113202, 59.109374720))
_B1, _B2, _B3 = (np.float32(v) for v in (17.895169469, 78.757757664, 67.187563600))
_C0, _C1, _C2, _C3 = (np.float32(v) for v in (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103))
_D1, _D2 = (np.float32(v) for v in (0.73700164250, 0.12021132975))
# (ln(1 + y) - y) / y^2 for 1 + y from sqrt(1/2) to sqrt(2): least squares at Chebyshev nodes; error of ln(1 + y) at most 1.1e-8.
_L0, _L1, _L2, _L3 = (np.float32(v) for v in (-0.49999986, 0.33333958, -0.25002129, 0.1996212))
_L4, _L5, _L6, _L7 = (np.float32(v) for v in (-0.16563112, 0.14910179, -0.14351936, 0.08808367))
_LN2 = np.float32(math.log(2))
_SQRT_HALF_BITS, _MANTISSA = np.int32(0x3F3504F3), np.int32(23)
_LAST_BIT, _SIGN = np.int32(31), np.int32(-(2**31))

LARGEST_NORMAL = 6.34
"""Largest normal number drawn here: the inverse distribution function at 2**-33 is -6.338."""


@dataclass(frozen=True)
class Key:
    """Identifier of a random stream: a seed, folded with names and numbers.

    Parameters
    ----------
    value : int
        64-bit value. ``Key(seed)`` is the root of an experiment; children are made by `fold`.

    Examples
    --------
    >>> Key(0).fold("layer", 3, "read") == Key(0).fold("layer").fold(3).fold("read")
    True
    """

    value: int

    def __post_init__(self) -> None:
        value = self.value
        if isinstance(value, np.integer):
            value = int(value)
            object.__setattr__(self, "value", value)
        if type(value) is not int or not 0 <= value < 2**64:
            raise ValueError(f"a seed is a whole number from 0 to 2**64 - 1, not {value!r}")

    def fold(self, *names: str | int) -> Key:
        """Return the key of a child stream; equal names give equal keys, different names independent ones (64 bits of BLAKE2b)."""
        return _folded(self.value, *names)

    @cached_property
    def words(self) -> tuple[np.uint32, np.uint32]:
        """Return the two 32-bit halves for kernels, low half first."""
        return np.uint32(self.value & 0xFFFFFFFF), np.uint32(self.value >> 32)


# Every update folds the same few names again; equal numbers of different types are different names.
@functools.lru_cache(maxsize=1024, typed=True)
def _folded(value: int, *names: str | int) -> Key:
    for name in names:
        if isinstance(name, MovingStep):
            raise TypeError("a captured graph cannot depend on the number of a step")
        message = f"{type(name).__name__}:{name}".encode()
        digest = hashlib.blake2b(message, digest_size=8, key=value.to_bytes(8, "little")).digest()
        value = int.from_bytes(digest, "little")
    return Key(value)


# Kernels that call these in a plain loop should be vectorised: the functions must therefore be inlined, whatever their size, must not
# branch, and keep 32-bit words in 64-bit lanes, where a product is one instruction.
@compiled(forceinline=True)
def _round(c0, c1, c2, c3, k0, k1):
    p0 = (c0 & _LOW) * _M0
    p1 = (c2 & _LOW) * _M1
    return (p1 >> _HALF) ^ c1 ^ k0, p1, (p0 >> _HALF) ^ c3 ^ k1, p0, k0 + _W0, k1 + _W1


@compiled(forceinline=True)
def philox(c0, c1, c2, c3, k0, k1):
    """Return four 32-bit words of random bits by Philox4x32-10 from a counter (c0..c3) and a key (k0, k1), all uint32."""
    c0, c1, c2, c3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    k0, k1 = np.uint64(k0), np.uint64(k1)
    # Only the lower half of every word counts. The ten rounds are unrolled: the loop around them is to be vectorised.
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    return np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)


@compiled(forceinline=True)
def split(step):
    """Return the low and the high 32-bit word of a step."""
    wide = np.uint64(step)
    return np.uint32(wide & _LOW), np.uint32(wide >> _HALF)


@intrinsic("int32(float32)")
def _bits_of(builder, x):
    """Reinterpret a float32 as an int32."""
    return builder.bitcast(x, ir.IntType(32))


@intrinsic("float32(int32)")
def _float_of(builder, x):
    """Reinterpret an int32 as a float32."""
    return builder.bitcast(x, ir.FloatType())


@compiled(forceinline=True, error_model="numpy")
def _log(x):
    """Return the natural logarithm of a positive float32, to 2e-7 relative below 0.1, using only additions and products."""
    word = _bits_of(x)
    exponent = np.int32(np.int32(word - _SQRT_HALF_BITS) >> _MANTISSA)
    y = _float_of(np.int32(word - np.int32(exponent << _MANTISSA))) - np.float32(1)
    y2 = y * y
    lower = (_L1 * y + _L0) + (_L3 * y + _L2) * y2
    upper = (_L5 * y + _L4) + (_L7 * y + _L6) * y2
    return (y2 * (lower + upper * (y2 * y2)) + y) + np.float32(exponent) * _LN2


@compiled(forceinline=True, error_model="numpy")
def normal(word):
    """Return a standard normal float32 from 32 random bits: the inverse distribution function at (word + 1/2) / 2**32.

    Algorithm AS 241, PPND7 (Wichura, Appl. Statist. 37:477, 1988), whose third region lies beyond 2**-33 and is not needed.
    Exactly symmetric; |value| <= 6.338; error at most 1e-6 relative or 1e-7 absolute, whichever is larger. Both regions are computed and
    one is selected, and only operations that IEEE 754 rounds correctly are used, none of them fused: results are bit-identical on every
    machine.
    """
    word = np.int32(word)
    # The complement of the upper half of the words mirrors it onto the lower half; the sign is restored at the end.
    tail = (np.float32(np.int32(word ^ np.int32(word >> _LAST_BIT))) + np.float32(0.5)) * _SCALE
    q = np.float32(0.5) - tail
    r = np.float32(0.180625) - q * q
    centre_above = q * (((_A3 * r + _A2) * r + _A1) * r + _A0)
    centre_below = ((_B3 * r + _B2) * r + _B1) * r + np.float32(1)
    s = np.float32(math.sqrt(-_log(tail))) - np.float32(1.6)
    tail_above = ((_C3 * s + _C2) * s + _C1) * s + _C0
    tail_below = (_D2 * s + _D1) * s + np.float32(1)
    central = tail > np.float32(0.075)
    value = (centre_above if central else tail_above) / (centre_below if central else tail_below)
    return _float_of(np.int32(_bits_of(value) ^ np.int32(~word & _SIGN)))


@compiled
def _some_bits(out, first, k0, k1, step):
    """Fill ``out``, which begins with the first word of block ``first``, with random words."""
    c2, c3 = split(step)
    whole = out.size // 4
    for place in range(whole):
        c0, c1 = split(first + place)
        w0, w1, w2, w3 = philox(c0, c1, c2, c3, k0, k1)
        out[4 * place] = w0
        out[4 * place + 1] = w1
        out[4 * place + 2] = w2
        out[4 * place + 3] = w3
    if out.size > 4 * whole:
        c0, c1 = split(first + whole)
        words = philox(c0, c1, c2, c3, k0, k1)
        for lane in range(out.size - 4 * whole):
            out[4 * whole + lane] = words[lane]


@compiled(error_model="numpy")
def _some_normals(out, first, k0, k1, step):
    """Fill ``out``, which begins with the first word of block ``first``, with normal numbers."""
    c2, c3 = split(step)
    whole = out.size // 4
    for place in range(whole):
        c0, c1 = split(first + place)
        w0, w1, w2, w3 = philox(c0, c1, c2, c3, k0, k1)
        out[4 * place] = normal(w0)
        out[4 * place + 1] = normal(w1)
        out[4 * place + 2] = normal(w2)
        out[4 * place + 3] = normal(w3)
    if out.size > 4 * whole:
        c0, c1 = split(first + whole)
        words = philox(c0, c1, c2, c3, k0, k1)
        for lane in range(out.size - 4 * whole):
            out[4 * whole + lane] = normal(words[lane])


@compiled(error_model="numpy")
def row_normals(out, c1, c2, c3, k0, k1, first):
    """Fill ``out`` (float32, a multiple of 4 long) with normal numbers from the blocks ``first``, .. of row ``c1`` of step (c2, c3)."""
    for place in range(out.size // 4):
        w0, w1, w2, w3 = philox(np.uint32(first + place), c1, c2, c3, k0, k1)
        out[4 * place] = normal(w0)
        out[4 * place + 1] = normal(w1)
        out[4 * place + 2] = normal(w2)
        out[4 * place + 3] = normal(w3)


def bits(key: Key, step: int, shape: int | tuple[int, ...], *, first: int = 0, like: np.ndarray | None = None) -> np.ndarray:
    """Return uniform random 32-bit words, ``shape``, uint32; element i (C order) is word i mod 4 of block i div 4.

    ``like`` is an array on the backend of the result. In main memory, the result may begin with element ``first``.
    """
    if like is None or not on_gpu(like):
        return _drawn(_some_bits, np.uint32, key, step, shape, first)
    out = np.empty(shape, np.uint32, like=like)
    _BITS(-(-out.size // 4), out, out.size, *key.words, *step_there(step))
    return out


def _drawn(kernel: Callable[..., None], dtype: type, key: Key, step: int, shape: int | tuple[int, ...], begin: int) -> np.ndarray:
    """Return random words or numbers from element ``begin`` on, drawn in parts of whole blocks."""
    lead, when = begin % 4, np.uint64(step)
    out: np.ndarray = np.empty(lead + (shape if isinstance(shape, int) else math.prod(shape)), dtype)
    distribute(lambda first, stop: kernel(out[first:stop], (begin + first) // 4, *key.words, when), out.size, _PART)
    return out[lead:].reshape(shape)


def uniforms(
    key: Key,
    step: int,
    shape: int | tuple[int, ...],
    dtype: str | type | np.dtype = np.float32,
    *,
    first: int = 0,
    like: np.ndarray | None = None,
) -> np.ndarray:
    """Return uniform numbers in (0, 1], ``shape``: 32 random bits each, rounded to ``dtype``; ``first``, ``like`` as for `bits`."""
    drawn = bits(key, step, shape, first=first, like=like) + 0.5
    drawn *= 2.0**-32
    return drawn.astype(dtype, copy=False)


def normals(
    key: Key,
    step: int,
    shape: int | tuple[int, ...],
    dtype: str | type | np.dtype = np.float32,
    *,
    first: int = 0,
    like: np.ndarray | None = None,
) -> np.ndarray:
    """Return standard normal numbers, ``shape``, from 32 random bits each, of float32 accuracy; ``first``, ``like`` as for `bits`."""
    if like is None or not on_gpu(like):
        # Drawn in float32 for every type: one kernel less to compile.
        return _drawn(_some_normals, np.float32, key, step, shape, first).astype(dtype, copy=False)
    out = np.empty(shape, dtype, like=like)
    _NORMALS(-(-out.size // 4), out, out.size, *key.words, *step_there(step))
    return out


@functools.cache
def _unmoved() -> Any:
    """Return the offset of a step outside of graphs: zero."""
    return copied(np.zeros((), np.uint64), "gpu")


def steps_of(first_step: Any, n: int) -> np.ndarray:
    """Return the steps of n draws in main memory, (n,) uint64: ``first_step`` and those after it, unless it is such an array."""
    return first_step if isinstance(first_step, np.ndarray) else np.uint64(first_step) + np.arange(n, dtype=np.uint64)


def step_there(step: int) -> tuple[np.uint64, Any]:
    """Return a step as a pair for GPU kernels (see ``step_of`` in streams.cuh): a number, and the device array added to it."""
    return np.uint64(int(step)), step.moved if isinstance(step, MovingStep) else _unmoved()


def permutation(key: Key, step: int, n: int) -> np.ndarray:
    """Return a uniformly random order of 0 .. n-1, (n,) int64: the ranks of 64-bit random numbers."""
    words = bits(key, step, 2 * n).astype(np.uint64)
    return np.argsort((words[0::2] << _HALF) | words[1::2], kind="stable")
