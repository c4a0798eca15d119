"""Tables of ΔG, from the files to networks that learn on the measured steps."""

import numpy as np
import pytest
from scipy import stats

import analogpc as apc
from analogpc.devices.arrays.array import Array
from analogpc.devices.calibration.assembly import calibrate_files
from analogpc.kernels.random.streams import Key

PLACES = np.linspace(300e-6, 980e-6, 18)
CHANCES = np.linspace(0, 1, 41)


def steps(sign):
    """Skewed steps that fade towards the end of their way, by chance and place, in siemens; a tenth point the wrong way."""
    part = (PLACES - PLACES[0]) / np.ptp(PLACES)
    size = 9e-6 * ((1.15 - part) if sign > 0 else (0.15 + part))
    quantiles = stats.gamma(2.0).ppf(np.clip(CHANCES, 0.0005, 0.9995)) / 2 - 0.27
    table = quantiles[:, None] * size
    return table if sign > 0 else -table[::-1]


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp("tables"), []
    for name, sign in (("up", 1), ("down", -1)):
        rows = [PLACES, CHANCES, *steps(sign)]
        paths.append(folder / f"{name}.txt")
        paths[-1].write_text("\n".join(",".join(f"{x:.9g}" for x in row) for row in rows) + "\n")
    return calibrate_files(paths, name="table").device


def test_an_array_draws_the_steps_of_the_files_at_every_conductance(device):
    """Kolmogorov and Smirnov's test at 1e-4 / 32 for each of 16 conductances and both ways: one false alarm in 10,000 runs."""
    n, places = 1500, PLACES[1:-1]
    start, rng = np.repeat(device.state(places)[:, None], n, axis=1), np.random.default_rng(3)
    for sign in (1, -1):
        array = Array(device, start.shape, Key(sign + 1), np.dtype("float64"))
        array.program(start)
        array.pulse_each(np.full(start.shape, sign, np.int32), Key(7), 0)
        moved = array.conductance() - places[:, None]
        for k, place in enumerate(places):
            # Where the window ends, steps are cut; equal values are spread for the test.
            quantiles = np.clip(steps(sign)[:, k + 1], PLACES[0] - place, PLACES[-1] - place)
            expected = np.interp(rng.uniform(size=4 * n), CHANCES, quantiles)
            spread = 1e-12 * rng.normal(size=5 * n)
            assert stats.ks_2samp(moved[k] + spread[:n], expected + spread[n:]).pvalue > 1e-4 / 32


@pytest.mark.parametrize("rule", ["s+f", "pc", "ep"])
def test_networks_learn_on_measured_steps(device, rule):
    net = apc.mlp([64, 24, 10], substrate=apc.Analog(device=device))
    run = apc.fit(net, rule, apc.load_data("digits").take(400, 200), epochs=3, seed=0, progress=False)
    assert run.history["test_accuracy"][-1] > 0.5
