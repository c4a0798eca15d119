"""Steps drawn from a measured table: quantiles of the step at equally spaced places of the range.

``constants`` hold, one after the other: the number of places P, the number of chances C, the C chances (increasing, from 0 to 1),
the P rows of C quantiles for pulses upwards, and as many for pulses downwards. A draw is the quantile at the chance Φ(ξ) of a
standard normal number ξ, interpolated linearly between chances, and between the quantiles of the neighbouring places.
"""

from __future__ import annotations

import math

from analogpc.kernels.compiled import compiled


@compiled
def drawn_factor(constants, w, upward, low, high, xi):
    """Return the step at state ``w`` relative to the device's step, for the standard normal number ``xi``."""
    kind = type(w)
    places, chances = int(constants[0]), int(constants[1])
    chance = kind(0.5) * kind(math.erfc(-xi * kind(0.7071067811865476)))
    first, last = 2, 1 + chances
    # The chances on both sides, by bisection.
    while last - first > 1:
        middle = (first + last) // 2
        if constants[middle] <= chance:
            first = middle
        else:
            last = middle
    gap = constants[last] - constants[first]
    part = (chance - constants[first]) / gap if gap > 0 else kind(0)
    part = min(max(part, kind(0)), kind(1))
    place = (w - low) / (high - low) * kind(places - 1)
    left = min(max(int(place), 0), places - 2)
    share = min(max(place - kind(left), kind(0)), kind(1))
    row = 2 + chances + chances * (left if upward else left + places) + first - 2
    here = constants[row] + part * (constants[row + 1] - constants[row])
    there = constants[row + chances] + part * (constants[row + chances + 1] - constants[row + chances])
    return here + share * (there - here)
