"""32-bit words that encode a pulse train: a bit for each of 31 slots, and the sign in the top bit; and operations on their bits."""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from analogpc.kernels.compiled import intrinsic

MAX_LENGTH = 31
"""Number of slots of a train."""
SLOTS = np.uint32(0x7FFFFFFF)
"""Mask of all slots."""
SIGN = np.uint32(0x80000000)
"""Sign bit: an exclusive or with it inverts the direction of pulses."""


@intrinsic(lambda kind: kind(kind))
def count_bits(builder, word):
    """Return the number of bits set in an unsigned integer, in its own type."""
    return builder.ctpop(word)


@intrinsic(lambda kind: kind(kind))
def lowest_bit(builder, word):
    """Return the position of the lowest bit set in a nonzero unsigned integer, in its own type."""
    return builder.cttz(word, ir.Constant(ir.IntType(1), 1))
