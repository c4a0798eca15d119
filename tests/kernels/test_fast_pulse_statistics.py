"""The distribution of fast pulsed updates: two-sample tests against the slow kernel, and closed forms.

Statistical tests use fixed keys; each has a false-alarm rate below 1e-5 over the choice of keys, all of them together below 1e-3.
"""

import numpy as np
import pytest
from pulse_cases import agree, both, devices, linear, same_trains

from analogpc.kernels.pulses import sent as sent_trains
from analogpc.kernels.pulses.batches import apply_batch
from analogpc.kernels.pulses.trains import trains
from analogpc.kernels.pulses.updates import ADDITIVE, MULTIPLICATIVE
from analogpc.kernels.random.streams import Key


@pytest.fixture
def sparse(monkeypatch):
    """No row counts as busy, however dense the trains of a test are."""
    monkeypatch.setattr(sent_trains, "_BUSY", np.inf)


MIXED = [5, -3, 0, 31, -31, 2, -1, 0, -20, 25] * 4
CONSTANT = [
    # (hits of the products, start, bound, spread): far from all bounds, one way, near one, at one, wide noise, most in one product
    ([1], 0.0, 1e3, 0.3),
    (MIXED, 0.0, 1e3, 0.3),
    (MIXED, 0.0, 1e3, 5.0),
    ([4] * 50, 0.0, 1e3, 0.5),
    ([-31] * 10, 0.0, 0.8, 0.3),
    (MIXED, 0.7, 0.8, 0.3),
    (MIXED, -0.8, 0.8, 1.0),
    ([31, -31], 0.5, 0.8, 3.0),
    ([2, -1, 1, -2] * 30, 0.75, 0.8, 0.6),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("hits", "start", "bound", "spread"), CONSTANT)
def test_constant_steps_are_distributed_as_pulse_by_pulse(hits, start, bound, spread, dtype):
    shape, up, down = (50, 200), 0.01, 0.013
    p, state = devices(shape, dtype, up=up, down=down, low=-bound, high=bound), np.full(shape, start, dtype)
    rows, columns = same_trains(hits, shape)
    slow, fast = both(state, rows, columns, p, linear(spread, ADDITIVE if spread == 0.3 else MULTIPLICATIVE))
    agree(slow[0], fast[0], (-bound, bound))
    assert slow[2] == fast[2] == np.abs(hits).sum() * state.size
    if bound > 1:
        n_up, n_down = (sum(abs(h) for h in hits if (h > 0) == way) for way in (True, False))
        mean, variance = up * n_up - down * n_down, spread**2 * (up**2 * n_up + down**2 * n_down)
        assert abs(fast[0].mean(dtype=np.float64) - start - mean) < 5 * np.sqrt(variance / state.size)
        assert abs(fast[0].var(dtype=np.float64) / variance - 1) < 5 * np.sqrt(2 / state.size)


SOFT = [
    # (hits, start, spread, step, whether a bound can be touched)
    ([2], 0.0, 1.0, 0.004, False),
    ([-7], 0.1, 1.0, 0.004, False),
    ([31], -0.2, 0.5, 0.004, False),
    ([31, -31, 17, 5, -2], 0.0, 0.5, 0.002, False),
    ([-31, 31], 0.0, 0.0, 0.004, False),
    ([3] * 40, 0.4, 3.75, 0.004, True),
    ([-2, 3] * 20, -0.35, 3.0, 0.004, True),
    ([31] * 3, 0.49, 0.3, 0.02, True),
]


@pytest.mark.usefixtures("sparse")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("hits", "start", "spread", "step", "touching"), SOFT)
def test_soft_bounds_are_distributed_as_pulse_by_pulse(hits, start, spread, step, touching, dtype):
    shape, low, high = (50, 200), -0.4, 0.5
    p = devices(shape, dtype, up=step, down=step, shape_up=-1 / high, shape_down=-1 / low, low=low, high=high)
    state = np.full(shape, start, dtype)
    slow, fast = both(state, *same_trains(hits, shape), p, linear(spread, ADDITIVE))
    assert slow[2] == fast[2]
    if spread == 0:
        np.testing.assert_array_equal(slow[0], fast[0])
        return
    agree(slow[0], fast[0], (dtype(low), dtype(high)))
    if not touching:
        mean, variance = start, 0.0
        for h in hits:
            bound, signed = (high, step) if h > 0 else (low, -step)
            kept = 1 - signed / bound
            mean = bound + (mean - bound) * kept ** abs(h)
            variance = variance * kept ** (2 * abs(h)) + (step * spread) ** 2 * (1 - kept ** (2 * abs(h))) / (1 - kept**2)
        assert abs(fast[0].mean(dtype=np.float64) - mean) < 5 * np.sqrt(variance / state.size)
        assert abs(fast[0].var(dtype=np.float64) / variance - 1) < 5 * np.sqrt(2 / state.size)


GRID = [(0.0, 0.7), (0.5, 0.5), (-0.5, 0.25), (-0.3, -0.6), (1.7, 0.3), (2.0, -3.0)]


@pytest.mark.parametrize(("pre", "post"), GRID)
@pytest.mark.parametrize("additive", [False, True])
def test_mean_and_variance_of_an_update_are_the_closed_form(pre, post, additive):
    """Var = dw^2 (BL p (1 - p) + spread^2 BL p) for each of three products; devices of the diagonal, which share no trains."""
    lines, length, dw, spread, products = 700, 31, 0.001, 0.5, 3
    changes = []
    for repeat in range(6):
        key, gain, lengths = Key(repeat).fold(str((pre, post))), np.ones(products), np.full(products, length)
        rows, columns = (
            trains(np.full((products, lines), value), gain, lengths, key.fold(name), 0)[0]
            for name, value in (("pre", pre), ("post", post))
        )
        state = np.zeros((lines, lines))
        p = devices(state.shape, up=dw, down=dw, shape_up=1e-9 if additive else 0.0)
        apply_batch(
            state, rows, columns, p, linear(spread, ADDITIVE if additive else MULTIPLICATIVE), False, key, 0, state.astype(bool)
        )
        changes.append(state.diagonal())
    change = np.concatenate(changes)
    probability = min(1, abs(pre)) * min(1, abs(post))
    mean = products * np.sign(pre * post) * dw * length * probability
    variance = products * dw**2 * length * probability * (1 - probability + spread**2)
    assert abs(change.mean() - mean) <= 5 * np.sqrt(variance / len(change)) + 1e-15
    fourth = ((change - mean) ** 4).mean()
    assert abs(((change - mean) ** 2).mean() - variance) <= 5 * np.sqrt(max(fourth - variance**2, 0) / len(change)) + 1e-15


@pytest.mark.usefixtures("sparse")
def test_noise_is_independent_between_devices_and_batches():
    """Neighbours in a row, in a column and in time, and one draw for many products against single pulses; 4.9 standard errors each."""
    shape = (300, 301)
    p = devices(shape)

    def noise(hits, step, shape_up=0.0):
        state = np.zeros(shape)
        apply_batch(
            state, *same_trains(hits, shape), p | {"shape_up": np.full(shape, shape_up)}, linear(1.0), False, Key(8), step,
            np.zeros(shape, np.int32),
        )  # fmt: skip
        return (state - 0.01 * sum(hits)) / (0.01 * np.sqrt(sum(hits)))

    x, later, single = noise([1, 2], 0), noise([1, 2], 2), noise([1], 0, 1e-12)
    blocks = single.ravel()[: x.size // 4]
    pairs = [
        (x[:, :-1], x[:, 1:]),
        (x[:, :-4], x[:, 4:]),
        (x[:-1], x[1:]),
        (x, later),
        (x, single),
        (x.ravel()[::4][: len(blocks)], blocks),
    ]
    for a, b in pairs:
        assert abs(np.mean(a * b)) < 4.9 / np.sqrt(a.size)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / x.size)
