"""Devices, pulse trains and comparisons that several tests of pulsed updates share."""

import numpy as np
from scipy import stats

from analogpc.kernels.pulses.batches import apply_batch
from analogpc.kernels.pulses.updates import LINEAR, MULTIPLICATIVE, Law, apply_pulses
from analogpc.kernels.random.streams import Key
from analogpc.kernels.words import SLOTS

RARE = 1e-5
"""False-alarm rate of one statistical test."""


def devices(shape, dtype=np.float64, up=0.01, down=0.01, shape_up=0.0, shape_down=0.0, low=-1e9, high=1e9):
    values = {"up": up, "down": down, "shape_up": shape_up, "shape_down": shape_down, "low": low, "high": high}
    return {name: np.full(shape, value, dtype) for name, value in values.items()}


def linear(spread=0.0, noise=MULTIPLICATIVE):
    return Law(LINEAR, (), spread, noise)


def random_trains(rng, n, lines, density):
    """Trains whose slots fire with a probability, of either sign; now and then none or all of them do."""
    words = np.zeros((n, lines), np.uint32)
    for slot in range(31):
        words |= (rng.random((n, lines)) < density).astype(np.uint32) << np.uint32(slot)
    words[rng.random((n, lines)) < 0.1] = 0
    words[rng.random((n, lines)) < 0.05] = SLOTS
    return words | (rng.random((n, lines)) < 0.5).astype(np.uint32) << np.uint32(31)


def both(state, rows, columns, p, law, one_sided=False, step=0):
    """States, touched devices and pulses of the slow and of the fast kernel."""
    results = []
    for apply in (apply_pulses, apply_batch):
        new, received = state.copy(), np.zeros(state.shape, np.int32)
        pulses = apply(new, rows, columns, p, law, one_sided, Key(5), step, received)
        results.append((new, received, pulses))
    return results


def same_trains(hits, shape):
    """Trains that give every device the same pulses: ``hits`` in each product, negative ones downwards."""
    words = np.array([(1 << abs(h)) - 1 | (0x80000000 if h < 0 else 0) for h in hits], np.uint32)
    return np.full((len(hits), shape[0]), SLOTS), np.repeat(words[:, None], shape[1], axis=1)


def agree(slow, fast, bounds):
    """Kolmogorov-Smirnov on the states, and equal numbers of devices at the bounds."""
    assert stats.ks_2samp(slow.ravel(), fast.ravel(), method="asymp").pvalue > RARE
    for bound in bounds:
        table = np.array([[np.sum(x == bound), np.sum(x != bound)] for x in (slow, fast)])
        if (table.sum(axis=0) > 10).all():
            assert stats.chi2_contingency(table).pvalue > RARE
