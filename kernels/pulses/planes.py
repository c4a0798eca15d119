"""Pulse trains as bit planes: one bit per line and slot, so that 64 crosspoints are handled by one word.

In slot s of a product the columns that fire form a row of bits, a plane; a row line that fires in this slot sends a pulse to exactly
these columns. The coincidences of one row in a whole batch are therefore the sum of the planes of all its slots. They are added bit by
bit, 64 columns to a word: full adders (carry-save) convert eight planes to the binary digits of their sum, without multiplications and
without inspecting crosspoints (the bit count of Harley and Seal; Warren, Hacker's Delight, 2nd ed., section 5-1).
"""

from __future__ import annotations

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.memory import empty
from analogpc.kernels.sharing import over_ranges, over_slices
from analogpc.kernels.words import MAX_LENGTH, SIGN, SLOTS, count_bits, lowest_bit

WORDS = 8
"""Number of uint64 words in a block of columns: 512 columns, one cache line."""
COLUMNS = 64 * WORDS
"""Number of columns of a block."""
MAX_BATCH = 256
"""Number of products whose coincidences are summed together; 31 slots of each fill ``LEVELS`` binary digits."""
LEVELS = 13
STRIP = 16
"""Number of rows that share working space: allocating it for every row takes as long as processing a sparse row."""
SCRATCH = WORDS * LEVELS + WORDS
"""Number of uint64 words of working space of `sum_planes`: the digits of a block of columns, and a carry."""
# Unsigned indices: with signed ones Numba tests for negative values at every access, and nothing is vectorised.
_W, _W2, _W3, _W4, _CARRY = (np.uint64(WORDS * level) for level in (1, 2, 3, 4, LEVELS))
_HALVES = np.uint32(0xFFFF)
_PART = 2**13
"""Least number of trains for one thread."""
_FEW = 4
"""Number of slots of a product up to which bits are collected slot by slot, instead of transposing all of them."""


@compiled
def _transpose(square):
    """Exchange bit t of word s and bit s of word t of 32 words (Warren, Hacker's Delight, 2nd ed., section 7-3)."""
    distance, mask = 16, _HALVES
    while distance > 0:
        shift = np.uint32(distance)
        for first in range(0, 32, 2 * distance):
            for k in range(first, first + distance):
                swapped = np.uint32((np.uint32(square[k] >> shift) ^ square[k + distance]) & mask)
                square[k + distance] ^= swapped
                square[k] ^= np.uint32(swapped << shift)
        distance //= 2
        mask = np.uint32(mask ^ np.uint32(mask << np.uint32(distance)))


@compiled
def _used_slots(words, used):
    """Set the sign bit and the slots in which any line fires, for every product."""
    for b in range(words.shape[0]):
        slots = SIGN
        for j in range(words.shape[1]):
            slots |= words[b, j]
        used[b] = slots


@compiled
def _count_slots(words, kept, pulses):
    """Add the slots of a train on every line to ``pulses``."""
    for j in range(words.size):
        pulses[j] += count_bits(np.uint32(words[j] & kept))


@compiled
def _by_line(begin, end, room, words, kept, lines, pulses, slots):
    """Set the trains of the lines from ``begin`` to ``end``, a strip of lines at a time, and their numbers of slots."""
    pulses[begin:end] = 0
    slots[begin:end] = 0
    for b in range(words.shape[0]):
        _count_slots(words[b, begin:end], SLOTS, pulses[begin:end])
    for b in range(words.shape[0]):
        _count_slots(words[b, begin:end], np.uint32(kept[b] & SLOTS), slots[begin:end])
    for start in range(begin, end, STRIP):
        stop = min(start + STRIP, end)
        for b in range(words.shape[0]):
            own, mask = words[b], kept[b]
            for j in range(np.uint64(start), np.uint64(stop)):
                lines[j, np.uint64(b)] = own[j] & mask


def by_line(words: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the trains of each line one after the other, without some slots.

    Parameters
    ----------
    words : (n, lines) uint32 array
    kept : (n,) uint32 array
        The sign bit, and the slots that are kept.

    Returns
    -------
    lines : (lines, n) uint32 array
    pulses, slots : (lines,) uint32 arrays
        Number of slots in which each line fires, and of those that are kept.
    """
    n, height = words.shape
    lines, pulses, slots = (empty(shape, np.uint32, words) for shape in ((height, n), (height,), (height,)))
    over_ranges(_by_line, height, STRIP * (1 + _PART // (STRIP * max(1, n))), tuple, (words, kept, lines, pulses, slots))
    return lines, pulses, slots


def used_slots(words: np.ndarray) -> np.ndarray:
    """Return the slots in which any line fires in each product, and the sign bit: (n,) uint32 from trains (n, lines)."""
    used = empty((len(words),), np.uint32, words)
    over_slices(_used_slots, _PART, (np.ascontiguousarray(words), used))
    return used


@compiled(forceinline=True)
def _slot(square, slot, turned):
    """Return the bits of a slot of 32 words with the sign bit 0, or 1 if ``turned`` is 0, in the order of the words."""
    bits = np.uint32(0)
    for t in range(np.uint64(32)):
        word = square[t]
        bits |= np.uint32(np.uint32(word >> slot) & np.uint32(np.uint32(word ^ turned) >> np.uint32(31))) << np.uint32(t)
    return bits


@compiled
def _fill_planes(first, last, room, columns, used, planes):
    """Fill the planes of the ``used`` slots of the products from ``first`` to ``last``; ``room`` is a word of 32 columns."""
    (square,), width = room, columns.shape[1]
    if first == 0:
        planes[:, 2 * MAX_LENGTH * len(columns) :] = 0
    for b in range(first, last):
        slots = np.uint32(used[b] & SLOTS)
        few = count_bits(slots) <= _FEW
        for word in range(planes.shape[0] * 2 * WORDS if slots != 0 else 0):
            block, place, start = word // (2 * WORDS), word % (2 * WORDS), 32 * word
            some = np.uint32(0)
            # Words of missing columns stay empty.
            for t in range(32 if start < width else 0):
                square[t] = columns[b, start + t] if start + t < width else np.uint32(0)
                some |= square[t]
            some = np.uint32(some & slots)
            negative = np.uint32(0)
            if some != 0 and not few:
                _transpose(square)
                negative = square[31]
            left = slots
            while left != 0:
                slot = np.uint32(lowest_bit(left))
                left = np.uint32(left & np.uint32(left - np.uint32(1)))
                up, down = np.uint32(0), np.uint32(0)
                if some != 0 and few:
                    up, down = _slot(square, slot, SIGN), _slot(square, slot, np.uint32(0))
                elif some != 0:
                    up, down = square[slot] & ~negative, square[slot] & negative
                pair = 2 * (MAX_LENGTH * b + int(slot))
                planes[block, pair, place], planes[block, pair + 1, place] = up, down


def bit_planes(columns: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Convert the column trains of a batch to planes.

    Parameters
    ----------
    columns : (n, columns) uint32 array
        From `pulses.trains`.
    used : (n,) uint32 array
        From `used_slots`.

    Returns
    -------
    (blocks, (62 n + 8) WORDS) uint64 array
        Plane 2 (31 b + s) + sign of a block holds the columns that fire in slot s of product b with that sign (1: negative), 64
        to a word, lowest bit first. Planes of slots in which no column fires are not written, and must not be read. The last 8 planes
        are empty.
    """
    n, width = columns.shape
    planes = empty((-(-width // COLUMNS), 2 * MAX_LENGTH * n + 8, 2 * WORDS), np.uint32, columns)
    least = 1 + _PART // max(1, width)
    over_ranges(_fill_planes, n, least, lambda: (np.empty(32, np.uint32),), (columns, used, planes))
    return planes.view(np.uint64).reshape(len(planes), -1)


@compiled(forceinline=True)
def mark_firing(planes, part, start, row, b, one_sided, mask):
    """Mark columns that coincide with the train ``row`` in product ``b``: those of block ``part`` from word ``start`` on."""
    slots = np.uint32(row & ~SIGN)
    sign = np.uint64(row >> np.uint32(31))
    mask[:] = 0
    while slots != 0:
        pair = np.uint64(2) * (np.uint64(MAX_LENGTH * b) + np.uint64(lowest_bit(slots)))
        up = np.uint64(WORDS) * (pair + sign) + start
        down = up if one_sided else np.uint64(WORDS) * (pair + np.uint64(1) - sign) + start
        for w in range(np.uint64(mask.size)):
            mask[w] |= planes[part, up + w] | planes[part, down + w]
        slots = np.uint32(slots & np.uint32(slots - np.uint32(1)))


@compiled
def list_planes(row, places):
    """Find the planes that a row line with the trains ``row`` (n,) sends upwards: their offsets in a block.

    They are padded to multiples of eight with empty ones. The offsets of the downward planes are these xor WORDS. Returns the number of
    slots in which the row fires.
    """
    n, count = row.size, 0
    for b in range(n):
        slots = np.uint32(row[b] & ~SIGN)
        sign = np.uint64(row[b] >> np.uint32(31))
        while slots != 0:
            places[count] = np.uint64(WORDS) * (np.uint64(2) * (np.uint64(MAX_LENGTH * b) + np.uint64(lowest_bit(slots))) + sign)
            count += 1
            slots = np.uint32(slots & np.uint32(slots - np.uint32(1)))
    for extra in range(count, (count + 7) // 8 * 8):
        places[extra] = np.uint64(2 * MAX_LENGTH * n * WORDS)
    return count


@compiled(forceinline=True)
def _add_eight(planes, s0, s1, s2, s3, s4, s5, s6, s7, digits, words):
    """Add eight planes to the five lowest digits, storing the remaining carries separately; return whether there are any."""
    # All digits are in one array at constant distances: with separate arrays the compiler would have to test too many pairs for overlap
    # and would not vectorise.
    some = np.uint64(0)
    for w in range(words):
        ones, twos, fours = digits[w], digits[w + _W], digits[w + _W2]
        p, q = planes[s0 + w], planes[s1 + w]
        x = ones ^ p
        a = (ones & p) | (x & q)
        ones = x ^ q
        p, q = planes[s2 + w], planes[s3 + w]
        x = ones ^ p
        b = (ones & p) | (x & q)
        ones = x ^ q
        x = twos ^ a
        c = (twos & a) | (x & b)
        twos = x ^ b
        p, q = planes[s4 + w], planes[s5 + w]
        x = ones ^ p
        a = (ones & p) | (x & q)
        ones = x ^ q
        p, q = planes[s6 + w], planes[s7 + w]
        x = ones ^ p
        b = (ones & p) | (x & q)
        ones = x ^ q
        x = twos ^ a
        d = (twos & a) | (x & b)
        twos = x ^ b
        x = fours ^ c
        eights = (fours & c) | (x & d)
        digits[w], digits[w + _W], digits[w + _W2] = ones, twos, x ^ d
        sixteens = digits[w + _W3] & eights
        digits[w + _W3] ^= eights
        carry = digits[w + _W4] & sixteens
        digits[w + _W4] ^= sixteens
        digits[w + _CARRY] = carry
        some |= carry
    return some != 0


@compiled
def sum_planes(planes, places, count, direction, digits, halves, counts, marks):
    """Add up planes: the number of pulses in one direction for every column.

    Parameters
    ----------
    planes : (blocks, (62 n + 8) WORDS) uint64 array
        From `bit_planes`.
    places, count
        From `list_planes`.
    direction : uint64
        0 (upwards) or 1 (downwards).
    digits, halves : (SCRATCH,) uint64 array and the same memory as (2 SCRATCH,) uint32 array
        Working space.
    counts : (columns,) array of integers
        Overwritten.
    marks : (columns / 64, rounded up) uint64 array
        Columns with pulses are added to it, lowest bit first.
    """
    d = np.uint64(WORDS) * direction
    levels = 0
    while count >> levels > 0:
        levels += 1
    for block in range(planes.shape[0]):
        start, stop = block * COLUMNS, min(counts.size, (block + 1) * COLUMNS)
        words = (stop - start + 63) // 64
        for place in range(WORDS * max(levels, 5)):
            digits[place] = 0
        for g in range(0, count, 8):
            # fmt: off
            more = _add_eight(
                planes[block], places[g] ^ d, places[g + 1] ^ d, places[g + 2] ^ d, places[g + 3] ^ d, places[g + 4] ^ d,
                places[g + 5] ^ d, places[g + 6] ^ d, places[g + 7] ^ d, digits, np.uint64(words),
            )
            # fmt: on
            level = 5
            while more:
                more = False
                for w in range(words):
                    carry, kept = digits[WORDS * LEVELS + w], digits[WORDS * level + w]
                    digits[WORDS * LEVELS + w] = kept & carry
                    digits[WORDS * level + w] = kept ^ carry
                    more = more or kept & carry != 0
                level += 1
        for w in range(words):
            for level in range(levels):
                marks[WORDS * block + w] |= digits[WORDS * level + w]
        for word in range((stop - start + 31) // 32):
            _read_digits(halves[word:], levels, counts[start + 32 * word : min(start + 32 * word + 32, stop)])


@compiled
def _read_digits(digits, levels, counts):
    """Extract the counts of up to 32 columns from their binary digits, which are 2 WORDS apart."""
    counts[:] = 0
    for level in range(levels):
        bits = digits[2 * WORDS * level]
        if bits == 0:
            continue
        for t in range(np.uint64(counts.size)):
            counts[t] += np.int32(np.uint32(np.uint32(bits >> np.uint32(t)) & np.uint32(1)) << np.uint32(level))


@compiled
def _count(begin, end, room, rows, planes, counts, marks, pulses):
    """Count the coincidences of all columns with the rows from ``begin`` to ``end``; see `count_coincidences`."""
    places, digits = room
    halves = digits.view(np.uint32)
    for j in range(begin, end):
        marks[j], pulses[j] = 0, 0
        count = list_planes(rows[j], places)
        for direction in range(2 if count > 0 else 0):
            sum_planes(planes, places, count, np.uint64(direction), digits, halves, counts[j, direction], marks[j])
            total = np.int64(0)
            for i in range(counts.shape[2]):
                total += counts[j, direction, i]
            pulses[j, direction] = total


def count_coincidences(rows: np.ndarray, planes: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the pulses that devices receive from a batch.

    Parameters
    ----------
    rows : (rows, n) uint32 array
        Trains of the rows, with no slots in which no column fires.
    planes : array
        From `bit_planes`.
    width : int
        Number of columns.

    Returns
    -------
    counts : (rows, 2, columns) int16 array
        Pulses upwards and downwards; not set in rows without slots.
    marks : (rows, columns / 64, rounded up) uint64 array
        Devices that receive pulses, lowest bit first.
    pulses : (rows, 2) int64 array
        Sums of the counts over a row.
    """
    height, n = rows.shape
    counts, pulses = empty((height, 2, width), np.int16, rows), empty((height, 2), np.int64, rows)
    marks = empty((height, -(-width // 64)), np.uint64, rows)

    def room() -> tuple[np.ndarray, ...]:
        return np.empty(MAX_LENGTH * n + 8, np.uint64), np.empty(SCRATCH, np.uint64)

    over_ranges(_count, height, STRIP, room, (rows, planes, counts, marks, pulses))
    return counts, marks, pulses
