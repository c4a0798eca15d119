"""Words of 32 bits that carry a pulse train: a bit for each of 31 slots, and the sign in the top bit; and the bits set in a word."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

MAX_LENGTH = 31
"""Slots of a train."""
SLOTS = np.uint32(0x7FFFFFFF)
"""The bits of all slots."""
SIGN = np.uint32(0x80000000)
"""The sign bit: an exclusive or with it turns pulses upwards into pulses downwards."""


@intrinsic
def count_bits(typing_context, word):
    """The number of bits set in an unsigned integer, in its own type."""
    return word(word), lambda context, builder, signature, args: builder.ctpop(args[0])


@intrinsic
def lowest_bit(typing_context, word):
    """The place of the lowest bit set in an unsigned integer other than zero, in its own type."""
    return word(word), lambda context, builder, signature, args: builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))
