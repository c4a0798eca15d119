"""Devices against the inference models of aihwkit and CrossSim: mean and spread at every target and time, including target 0.

Every comparison of means and of standard deviations allows 5 standard errors of the difference, those of the deviations from the fourth
moment of our own sample: 132 comparisons, a false alarm in 10,000 runs of other seeds.
"""

import numpy as np
import pytest
from peer_numbers import numbers

from analogpc.devices.arrays.array import Array
from analogpc.devices.presets import preset
from analogpc.kernels.random.streams import Key

SHAPE = (200, 200)
THEIRS = 200_000
DAY = 86400.0
US, NA_PER_SIEMENS = 1e6, 0.1e9


def close(found, mean, std):
    """Whether a sample has about that mean and deviation, themselves measured on `THEIRS` devices."""
    found = found.astype(np.float64).ravel()
    centred = found - found.mean()
    own = np.sqrt((centred**2).mean())
    share = 1 / found.size + 1 / THEIRS
    spread = np.sqrt(max((centred**4).mean() - own**4, 0)) / (2 * own) if own > 0 else 0.0
    assert abs(found.mean() - mean) <= 5 * own * np.sqrt(share) + 1e-9
    assert abs(own - std) <= 5 * spread * np.sqrt(share) + 1e-9


def programmed(device, target, key):
    array = Array(device, SHAPE, key, np.dtype("float64"))
    array.program(device.state(np.full(SHAPE, target)))
    return array


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0, 2.5, 6.0, 12.5, 20.0, 25.0])
def test_phase_change_memory_after_programming_and_up_to_a_year(target):
    """Exponents belong to the target, the 1/f amplitude to what programming has left."""
    device, theirs = preset("pcm-inference"), numbers("aihwkit_inference")[f"pcm/{target}"]
    array = programmed(device, target / US, Key(5).fold(int(target * 10)))
    close(device.conductance(array.state) * US, *theirs[:2])
    close(array.conductance() * US, *theirs[4:6])
    for place, seconds in ((6, 1.0), (8, 3599.0), (10, 365 * DAY - 3600)):
        array.elapse(seconds)
        close(array.conductance() * US, *theirs[place : place + 2])


@pytest.mark.parametrize("target", [0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0])
def test_reram_relaxes_about_its_target(target):
    device, theirs = preset("reram-wan"), numbers("aihwkit_inference")[f"wan/{target}"]
    array = programmed(device, target / US, Key(6).fold(int(target * 10)))
    close(device.conductance(array.state) * US, *theirs[:2])
    for place, seconds in ((2, 1.0), (4, DAY - 1), (6, DAY)):
        array.elapse(seconds)
        close(array.conductance() * US, *theirs[place : place + 2])


@pytest.mark.parametrize("target", [0.0, 20.0, 100.0, 400.0, 900.0, 1500.0, 1799.0])
def test_charge_trap_cells_drift_by_their_target(target):
    device, theirs = preset("sonos"), numbers("crosssim_devices")[f"sonos/{target}"]
    array = programmed(device, target / NA_PER_SIEMENS, Key(7).fold(int(target)))
    close(array.conductance() * NA_PER_SIEMENS, *theirs[:2])
    for place, days in ((2, 1.0), (4, 1.5), (6, 2.5)):
        array.elapse(days * DAY)
        close(array.conductance() * NA_PER_SIEMENS, *theirs[place : place + 2])


@pytest.mark.parametrize(
    ("name", "model", "targets"),
    [("pcm-joshi", "joshi", (0.25, 1.0, 5.0, 12.0, 20.0, 25.0)), ("rram-milo", "milo", (50.0, 90.0, 140.0, 200.0, 225.0))],
)
def test_programming_errors(name, model, targets):
    device = preset(name)
    for target in targets:
        array = programmed(device, target / US, Key(8).fold(int(target * 100)))
        theirs = numbers("crosssim_devices")[f"{model}/{target}"]
        if target > 0.25:
            close(device.conductance(array.state) * US, *theirs)
        else:
            # Ours cannot conduct less than nothing, theirs can.
            assert device.conductance(array.state).min() >= 0


def test_the_curved_characteristic_of_milo():
    theirs = numbers("crosssim_devices")
    current = preset("rram-milo").conduction.current(theirs["milo/G"] * 1e-6, theirs["milo/V"][None]).sum(1)
    np.testing.assert_allclose(current, theirs["milo/I"], rtol=1e-11)


def test_what_pulses_write_is_its_own_target():
    """A device that was programmed and then written otherwise drifts by the state that it has now."""
    device = preset("pcm-inference")
    array, other = (programmed(device, target / US, Key(9)) for target in (0.0, 12.0))
    for grid in (array, other):
        grid.shift(0.5 - grid.state)
        grid.elapse(365 * DAY)
    found = [grid._ageing.drifted(device.conductance(grid.state), device.conductance(grid.state)) for grid in (array, other)]
    np.testing.assert_array_equal(*found)
    copy = array.copy()
    np.testing.assert_array_equal(copy.conductance(), array.conductance())
