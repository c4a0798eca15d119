"""Pulsed updates on every backend: bit-identical except for library exponentials and powers."""

from __future__ import annotations

import emulated_gpu
import numpy as np
import pytest
from device_arrays import KINDS

from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.pulses.batches import apply_batch
from analogpc.kernels.pulses.trains import trains
from analogpc.kernels.pulses.updates import (
    ADDITIVE,
    COMPOSITE,
    EXPONENTIAL,
    LINEAR,
    MEASURED,
    MULTIPLICATIVE,
    PIECEWISE,
    POWER,
    Law,
    apply_counts,
    apply_pulses,
)
from analogpc.kernels.random.streams import Key

KEY, STEP = Key(2**63 + 5), 2**40 + 3
LAWS = {
    "linear": (LINEAR, ()),
    "exponential": (EXPONENTIAL, (-0.5, -0.5, -1.18, 5.0, -0.08, 4.0)),
    "exponential that vanishes": (EXPONENTIAL, (1.0, 0.1, 0.9, 3.0, 1.2, 2.0)),
    "power": (POWER, ()),
    "piecewise": (PIECEWISE, (1.0, 0.4, 0.1, 0.0, 0.2, 0.3, 1.5, 2.0)),
    "piecewise of one section": (PIECEWISE, (1.0, 0.4, 0.2, 0.3)),
    "measured": (
        MEASURED,
        (2, 4, 0.0, 0.1, 0.6, 1.0, -1.0, 0.2, 0.8, 3.0, -0.5, 0.1, 0.3, 1.0, 0.0, 0.2, 0.4, 2.0, 0.1, 0.5, 0.9, 4.0),
    ),
}
TO_THE_BIT = {LINEAR, PIECEWISE}
NOISES = {"multiplicative": MULTIPLICATIVE, "additive": ADDITIVE, "composite": COMPOSITE}
# Numba takes seconds for each law, noise, type and direction: not every one of them, but each with every other.
# Each law and each noise once at least; every combination would compile two dozen kernels of the CPU to compare with.
CASES = [
    *(("linear", noise, np.float32, False) for noise in NOISES),
    ("exponential", "composite", np.float32, False),
    ("power", "additive", np.float32, False),
    ("piecewise", "multiplicative", np.float32, False),
    ("linear", "multiplicative", np.float64, True),
    ("piecewise", "composite", np.float64, False),
    ("measured", "multiplicative", np.float32, False),
]


def law_of(name, noise, spread):
    return Law(*LAWS[name], spread, NOISES[noise], 0.03, 0.1)


def parameters_of(rng, shape, kind):
    """Devices of which each has its own step, shape and bounds; a few cannot move."""
    p = {name: rng.uniform(0.002, 0.02, shape) for name in ("up", "down")}
    p |= {name: rng.uniform(0.3, 2, shape) for name in ("shape_up", "shape_down")}
    p |= {"low": -rng.uniform(0.1, 0.3, shape), "high": rng.uniform(0.1, 0.3, shape)}
    stuck = rng.random(shape) < 0.1
    p["high"][stuck] = p["low"][stuck] = 0.05
    return {name: values.astype(kind) for name, values in p.items()}


def on(device, parameters):
    return {name: device.array(values) for name, values in parameters.items()}


def words_of(rng, n, lines, density):
    """Trains of either sign, some of them empty."""
    words = np.zeros((n, lines), np.uint32)
    for slot in range(31):
        words |= (rng.random((n, lines)) < density).astype(np.uint32) << np.uint32(slot)
    words[rng.random((n, lines)) < 0.2] = 0
    return words | (rng.random((n, lines)) < 0.5).astype(np.uint32) << np.uint32(31)


def close(found, expected, law, most_pulses):
    """Equal to the bit, or to four units of the last place of 1 for each of ``most_pulses``: states lie within 0.3.

    A library's exponential or power is off by a few such units, of a factor of at most 10; a step is at most 0.02 of it, and
    what one step is off by, no later one enlarges, but for noise (at most six times its spread).
    """
    found = found.get()
    assert found.dtype == expected.dtype
    if law.law in TO_THE_BIT:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=4 * most_pulses * np.finfo(expected.dtype).eps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (6, 40), (40, 301), (0, 4), (3, 0)])
def test_trains(device, rng, kind, shape) -> None:
    x = rng.normal(size=shape).astype(kind)
    gain, length = rng.uniform(0.1, 1.5, shape[0]), rng.integers(0, 32, shape[0])
    if x.size > 100:
        x[:3, 0], x[:3, 1] = (0, np.nan, -0.0), (1, -1, 1e-30)
        gain[:3], length[:2] = 1, (0, 31)
    words, clipped = trains(x, gain, length, KEY, STEP)
    for put in (np.array, device.array):
        found, over = trains(device.array(x), put(gain), put(length), KEY, STEP)
        assert found.dtype == np.uint32
        np.testing.assert_array_equal(found.get(), words)
        assert over.get().sum() == clipped.sum()
    assert clipped.sum() > 0 or x.size < 100


@pytest.mark.parametrize(("name", "noise", "kind", "one_sided"), CASES)
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_pulses(device, rng, name, noise, kind, spread, one_sided) -> None:
    n, shape = 9, (11, 70)
    law, p = law_of(name, noise, spread), parameters_of(rng, shape, kind)
    rows, columns = words_of(rng, n, shape[0], 0.3), words_of(rng, n, shape[1], 0.3)
    columns[:, 5] = 0
    state = np.clip(rng.uniform(-0.3, 0.3, shape).astype(kind), p["low"], p["high"])
    there, received, marked = device.array(state), np.zeros(shape, np.int32), device.array(np.zeros(shape, np.int32))
    pulses = apply_pulses(state, rows, columns, p, law, one_sided, KEY, STEP, received)
    sent = device.array(rows), device.array(columns), on(device, p)
    found = apply_pulses(there, *sent, law, one_sided, KEY, STEP, marked)
    close(there, state, law, 31 * n)
    np.testing.assert_array_equal(marked.get(), received)
    found = int(found)
    assert found == pulses > 0
    assert 0 < np.count_nonzero(received) < received.size


@pytest.mark.parametrize("n", [0, 1, 127, 128, 129, 1000])
def test_many_products_in_which_few_lines_fire(device, rng, n) -> None:
    """As in convolutions: the kernel decides on 128 products at a time by the bits of the lines that fire."""
    shape = (5, 37)
    law, p = law_of("linear", "multiplicative", 0.3), parameters_of(rng, shape, np.float32)
    rows, columns = words_of(rng, n, shape[0], 0.01), words_of(rng, n, shape[1], 0.003)
    state = np.clip(rng.uniform(-0.3, 0.3, shape).astype(np.float32), p["low"], p["high"])
    there, received, marked = device.array(state), np.zeros(shape, np.int32), device.array(np.zeros(shape, np.int32))
    pulses = apply_pulses(state, rows, columns, p, law, False, KEY, STEP, received)
    found = apply_pulses(there, device.array(rows), device.array(columns), on(device, p), law, False, KEY, STEP, marked)
    np.testing.assert_array_equal(there.get(), state)
    np.testing.assert_array_equal(marked.get(), received)
    assert int(found) == pulses
    assert (pulses > 0) == (n > 1)


@pytest.mark.parametrize(
    ("name", "kind"), [("linear", np.float32), ("power", np.float32), ("exponential", np.float64), ("piecewise", np.float64)]
)
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_counted_pulses(device, rng, name, kind, spread) -> None:
    shape = (11, 70)
    law, p = law_of(name, "multiplicative", spread), parameters_of(rng, shape, kind)
    counts = (rng.integers(-40, 41, shape) * (rng.random(shape) < 0.7)).astype(np.int32)
    state = np.clip(rng.uniform(-0.3, 0.3, shape).astype(kind), p["low"], p["high"])
    there = device.array(state)
    pulses = apply_counts(state, counts, p, law, KEY, STEP)
    found = apply_counts(there, device.array(counts), on(device, p), law, KEY, STEP)
    close(there, state, law, 40)
    found = int(found)
    assert found == pulses == np.abs(counts).sum()


def test_a_count_is_a_train_of_as_many_slots(device, rng) -> None:
    """On the GPU, too: laws with an exponential among them, to the bit."""
    shape = (1, 31)
    for name in LAWS:
        law, p = law_of(name, "multiplicative", 0.5), on(device, parameters_of(rng, shape, np.float64))
        counts = np.arange(-15, 16, dtype=np.int32)[None]
        columns = np.array([[(1 << abs(int(c))) - 1 | (0x80000000 if c < 0 else 0) for c in counts[0]]], np.uint32)
        one, other = (device.array(np.zeros(shape)) for _ in range(2))
        rows = device.array(np.full((1, 1), 0x7FFFFFFF, np.uint32))
        marked = device.array(np.zeros(shape, np.int32))
        assert apply_counts(one, device.array(counts), p, law, KEY, 9) == 240
        assert apply_pulses(other, rows, device.array(columns), p, law, False, KEY, 9, marked) == 240
        np.testing.assert_array_equal(one.get(), other.get())


def test_products_may_be_cut_anywhere(device, rng) -> None:
    """Steps and directions of pulses are those of each product: a batch is its products one by one."""
    n, shape, law = 12, (20, 30), law_of("linear", "additive", 1.0)
    p = on(device, parameters_of(rng, shape, np.float32))
    rows, columns = (device.array(words_of(rng, n, lines, 0.2)) for lines in shape)
    states = []
    for cuts in ([12], [5, 7, 12]):
        state, marked, start = device.array(np.zeros(shape, np.float32)), device.array(np.zeros(shape, np.int32)), 0
        for stop in cuts:
            apply_batch(state, rows[start:stop], columns[start:stop], p, law, False, KEY, STEP + start, marked)
            start = stop
        states.append(state.get())
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("noise", ["multiplicative", "additive"])
def test_batches_take_no_shortcut_on_the_gpu(device, rng, noise) -> None:
    """Constant steps far from all bounds, where the processor draws once for many pulses: here states are those of every pulse."""
    n, shape, law = 30, (9, 65), law_of("linear", noise, 0.5)
    p = parameters_of(rng, shape, np.float32) | {name: np.zeros(shape, np.float32) for name in ("shape_up", "shape_down")}
    p |= {"low": np.full(shape, -100, np.float32), "high": np.full(shape, 100, np.float32)}
    rows, columns = words_of(rng, n, shape[0], 0.3), words_of(rng, n, shape[1], 0.3)
    results = []
    for apply, put in ((apply_pulses, np.array), (apply_batch, device.array), (apply_batch, np.array)):
        state, received = put(np.zeros(shape, np.float32)), put(np.zeros(shape, np.int32))
        own = {name: put(values) for name, values in p.items()}
        pulses = apply(state, put(rows), put(columns), own, law, False, KEY, STEP, received)
        results.append((gpu.to_host(state), gpu.to_host(received), pulses))
    slow, there, fast = results
    np.testing.assert_array_equal(there[0], slow[0])
    np.testing.assert_array_equal(there[1], slow[1])
    assert there[2] == slow[2] == fast[2]
    # Or else this would show nothing.
    assert (fast[0] != slow[0]).any()


def test_pulses_beyond_32_bits_are_counted(device) -> None:
    """2**31 - 1 pulses on each of three devices that cannot move: no loop, but a sum of more than 32 bits."""
    p = {name: device.array(np.zeros((1, 3), np.float32)) for name in ("up", "down", "shape_up", "shape_down", "low", "high")}
    counts = device.array(np.full((1, 3), 2**31 - 1, np.int32))
    assert apply_counts(device.array(np.zeros((1, 3), np.float32)), counts, p, law_of("linear", "additive", 0), KEY, 0) == 3 * (
        2**31 - 1
    )


def test_nothing_waits(emulated, rng) -> None:
    shape, law = (5, 6), law_of("piecewise", "additive", 0.5)
    p, state = on(emulated, parameters_of(rng, shape, np.float32)), emulated.array(np.zeros(shape, np.float32))
    before = emulated_gpu.MACHINE.waits
    rows, _ = trains(emulated.array(rng.normal(size=(4, 5))), np.ones(4), np.full(4, 31), KEY, 0)
    columns, _ = trains(emulated.array(rng.normal(size=(4, 6))), np.ones(4), np.full(4, 31), KEY, 1)
    apply_batch(state, rows, columns, p, law, False, KEY, 0, emulated.array(np.zeros(shape, np.int32)))
    apply_counts(state, emulated.array(np.ones(shape, np.int32)), p, law, KEY, 0)
    assert emulated_gpu.MACHINE.waits == before


def test_states_that_are_not_contiguous_are_refused(emulated, rng) -> None:
    state = emulated.array(np.zeros((4, 6), np.float32))[:, ::2]
    p = on(emulated, parameters_of(rng, (4, 3), np.float32))
    with pytest.raises(ValueError, match="the argument 'state' of the kernel apply_counts is not contiguous"):
        apply_counts(state, emulated.array(np.ones((4, 3), np.int32)), p, law_of("linear", "additive", 0.1), KEY, 0)
