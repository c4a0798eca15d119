"""Measured steps: what devices draw has the measured distribution, at every conductance and in both directions."""

import numpy as np
import pytest
from scipy import stats

from analogpc.devices.responses import MeasuredSteps
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.pulses.updates import MEASURED, MULTIPLICATIVE, PIECEWISE, Law, apply_counts, apply_pulses
from analogpc.kernels.random.streams import Key

CHANCES = (0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 1.0)
UP = ((-1.0, -0.5, 0.2, 0.8, 1.5, 4.0, 6.0), (0.0, 0.0, 0.5, 1.0, 1.2, 1.3, 2.0), (-2.0, -0.2, 0.0, 0.1, 0.3, 0.8, 1.0))
DOWN = ((-0.5, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5), (0.0, 0.1, 0.6, 0.9, 1.1, 1.5, 5.0), (-1.0, 0.5, 1.0, 1.5, 2.5, 4.0, 9.0))
RESPONSE = MeasuredSteps(dw_min=1e-3, chances=CHANCES, quantiles_up=UP, quantiles_down=DOWN)


def population(n, dtype=np.float64):
    return dict(RESPONSE.sample(Key(0), (1, n), np.dtype(dtype)))


@pytest.mark.parametrize("upward", [True, False])
@pytest.mark.parametrize("place", [0.0, 0.3, 1.0, 1.7, 2.0])
def test_drawn_steps_have_the_measured_distribution(place, upward):
    """Kolmogorov and Smirnov's test at 1e-4 for each of ten cases, 20,000 devices each; straight lines between the chances."""
    n, start = 20_000, place - 1.0
    state = np.full((1, n), start)
    # Devices at a bound would be cut off there: the window is wider than the table for this test.
    step = np.zeros((1, n))
    parameters = population(n)
    counts = np.full((1, n), 1 if upward else -1, np.int32)
    wide = {**parameters, "high": parameters["high"] + 1, "low": parameters["low"] - 1}
    table = np.array(UP if upward else DOWN)
    # Three places of a window twice as wide, so that the middle ones are those of the table.
    law = widened(table if upward else np.array(UP), np.array(DOWN) if upward else table)
    apply_counts(state, counts, wide, law, Key(7), 3)
    step = (state - start)[0] / 1e-3 * (1 if upward else -1)
    expected = np.array([np.interp(place, [0, 1, 2], table[:, k]) for k in range(len(CHANCES))])

    def cdf(x):
        # A flat piece of the quantiles is a jump of the distribution: none here but at zero, which is spread by rounding alone.
        return np.interp(x, expected + 1e-9 * np.arange(len(CHANCES)), CHANCES)

    assert stats.kstest(step, cdf).pvalue > 1e-4
    mean = np.trapezoid(expected, CHANCES)
    assert step.mean() == pytest.approx(mean, abs=5 * step.std() / np.sqrt(n))


def widened(up, down):
    """The law with one more place on either side, as steps are there."""
    rows = [np.vstack([t[:1], t, t[-1:]]).ravel() for t in (up, down)]
    return Law(MEASURED, (5, len(CHANCES), *CHANCES, *rows[0], *rows[1]), 1.0, MULTIPLICATIVE)


def test_the_mean_device_takes_mean_steps_and_less_scatter_scales():
    law = RESPONSE.without_spread.law
    assert law.law == PIECEWISE
    assert law.constants[:3] == pytest.approx(RESPONSE.means[0])
    state = np.zeros((1, 4000))
    half = RESPONSE.but(dw_min_std=0.5)
    apply_counts(state, np.ones((1, 4000), np.int32), population(4000), half.law, Key(1), 0)
    whole = np.zeros((1, 4000))
    apply_counts(whole, np.ones((1, 4000), np.int32), population(4000), RESPONSE.law, Key(1), 0)
    assert state.mean() == pytest.approx(whole.mean(), abs=5 * whole.std() / np.sqrt(4000))
    assert state.std() == pytest.approx(whole.std() / 2, rel=0.05)


def test_trains_draw_the_same_steps_as_counts(rng):
    words = (np.ones((1, 1), np.uint32), np.ones((1, 50), np.uint32))
    one, other = np.zeros((1, 50), np.float32), np.zeros((1, 50), np.float32)
    p = population(50, np.float32)
    apply_pulses(one, *words, p, RESPONSE.law, False, Key(3), 5, np.zeros((1, 50), bool))
    apply_counts(other, np.ones((1, 50), np.int32), p, RESPONSE.law, Key(3), 5)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"chances": (0.0, 0.5, 0.4, 0.6, 0.9, 0.99, 1.0)}, "must increase from 0 to 1"),
        ({"quantiles_up": UP[:2]}, "quantiles_up has 2 places and quantiles_down 3"),
        ({"quantiles_up": (UP[0][:3], *UP[1:])}, "rows of 3 quantiles"),
        ({"quantiles_down": (DOWN[0][::-1], *DOWN[1:])}, "must not decrease"),
    ],
)
def test_bad_tables_are_refused(changes, sentence):
    with pytest.raises(SpecificationError, match=sentence):
        RESPONSE.but(**changes)
    assert MeasuredSteps.from_toml(RESPONSE.to_toml()) == RESPONSE
