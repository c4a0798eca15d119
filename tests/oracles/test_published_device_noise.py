"""Published device models, written out again in plain arithmetic, with values worked out by hand."""

import math

import numpy as np
import pytest

from analogpc.devices.nonidealities import Cubic, MiloRRAM, Retention, Sinh, Thermal, drift, flicker, noise, programming
from analogpc.devices.nonidealities import conductance_relaxation as relaxation

US = 1e-6
DAY = 86400.0


def only(g):
    return np.array([g], np.float64)


# (model, conductance in uS, top of the range in uS, standard deviation in uS), by hand from the coefficients.
PROGRAMMING = [
    (programming.PCM_NANDAKUMAR_2019, 0.0, 25, 0.26348),
    (programming.PCM_NANDAKUMAR_2019, 25.0, 25, 1.05538),
    (programming.PCM_NANDAKUMAR_2019, 12.5, 25, 0.952705),
    (programming.PCM_NANDAKUMAR_2019, 25.0, 50, 1.90541),
    (programming.PCM_NANDAKUMAR_2019, 5.0, 5, 0.211076),
    (programming.RERAM_WAN_2022, 0.0, 40, 0.348),
    (programming.RERAM_WAN_2022, 40.0, 40, 1.103),
    (programming.RERAM_WAN_2022, 20.0, 40, 2.0229375),
    # The trap that a reference tool fell into: on a device of twice the range everything doubles.
    (programming.RERAM_WAN_2022, 40.0, 80, 4.045875),
    (programming.RERAM_WAN_2022, 2.0, 4, 0.20229375),
    (programming.RERAM_WAN_2022_CUBIC, 0.0, 39.26, 1.053),
    (programming.RERAM_WAN_2022_CUBIC, 20.0, 39.26, 2.3618),
    (programming.RERAM_WAN_2022_CUBIC, 20.0, 30.0, 2.3618),
    (programming.PCM_JOSHI_2020, 25.0, 25, 1.06552324),
    (programming.PCM_JOSHI_2020, 25.0, 100, 1.06552324),
    (programming.RRAM_MILO_2021, 100.0, 225, 3.871621),
    (programming.RRAM_MILO_2021, 225.0, 225, 2.733246),
    (programming.SONOS_AGRAWAL_2022, 1.763115, 16, 12.570733 / 100),
]


@pytest.mark.parametrize(("model", "g", "top", "sigma"), PROGRAMMING)
def test_programming_deviations(model, g, top, sigma):
    assert model.deviation(only(g * US), top * US)[0] == pytest.approx(sigma * US, rel=1e-6)


def test_curves_over_the_whole_range():
    for top in (10.0, 25.0, 40.0, 90.0):
        for g in np.linspace(0, 1, 21):
            pcm = 0.26348 + 1.9650 * g - 1.1731 * g**2
            reram = 0.348 + 16.030 * g - 43.853 * g**2 + 45.393 * g**3 - 16.815 * g**4
            found = programming.PCM_NANDAKUMAR_2019.deviation(only(g * top * US), top * US)[0]
            assert found == pytest.approx(pcm * top / 25 * US, rel=1e-9)
            found = programming.RERAM_WAN_2022.deviation(only(g * top * US), top * US)[0]
            assert found == pytest.approx(max(reram, 0) * top / 40 * US, rel=1e-9, abs=1e-18)
    for g in np.linspace(0, 25, 21):
        joshi = max(-0.00178767 * g * g + 0.07585724 * g + 0.28638599, 0)
        cubic = max(1.536e-4 * g**3 - 1.167e-2 * g**2 + 0.2374 * g + 1.053, 0)
        assert programming.PCM_JOSHI_2020.deviation(only(g * US), 25 * US)[0] == pytest.approx(joshi * US, rel=1e-9)
        assert programming.RERAM_WAN_2022_CUBIC.deviation(only(g * US), 39.26 * US)[0] == pytest.approx(cubic * US, rel=1e-9)


# (g / g_max, mean, std) of the drift exponents of PCM.
EXPONENTS = [(1.0, 0.049, 0.008), (0.1, 0.0600901, 0.0228823), (0.2, 0.0493463, 0.0142180), (0.0, 0.1, 0.045)]


@pytest.mark.parametrize("top", [25.0, 7.0])
@pytest.mark.parametrize(("g", "mean", "std"), EXPONENTS)
def test_drift_exponents_of_pcm(g, mean, std, top):
    exponent = drift.PCM_NANDAKUMAR_2019.exponent
    for xi in (-1.0, 0.0, 1.0, -5.0):
        found = exponent.nu(only(g * top * US), top * US, only(xi))[0]
        assert found == pytest.approx(abs(mean + std * xi), abs=2e-7)


def test_drift_of_pcm():
    """G_p ((t + 20 s) / 20 s)^-0.049 at the top of the range: 980 s later that is 50^-0.049 = 0.825563."""
    found = drift.PCM_NANDAKUMAR_2019.conductance(only(25 * US), 980.0, 25 * US, only(0.0))[0]
    assert found == pytest.approx(25 * US * 0.825563, rel=1e-6)


@pytest.mark.parametrize(("g", "q"), [(1.0, 0.0088), (0.1, 0.0393082), (1e-3, 0.2), (0.0, 0.2), (0.5, 0.0138088)])
@pytest.mark.parametrize("top", [25.0, 60.0])
def test_amplitude_of_the_flicker_noise_of_pcm(g, q, top):
    assert flicker.PCM_NANDAKUMAR_2019.deviation_scale(only(g * top * US), top * US)[0] == pytest.approx(q, rel=1e-5)


def test_variance_of_the_flicker_noise_of_pcm():
    """ln((t + t_r) / (2 t_r)) with t_r = 250 ns: 17.504390 at 20 s; the modes come within 1 %."""
    model = flicker.PCM_NANDAKUMAR_2019
    assert math.sqrt(model.variance(20.0)) == pytest.approx(math.sqrt(17.504390), rel=0.01)
    for seconds in np.geomspace(1e-5, 1e7, 60):
        published = math.log((seconds + 250e-9) / 500e-9)
        assert math.sqrt(model.variance(seconds)) == pytest.approx(math.sqrt(published), rel=0.01)


@pytest.mark.parametrize(
    ("g", "second", "first_day", "second_day"), [(1.0, 1.103, 2.651, 2.677), (0.5, 2.0229375, 3.909, 3.929125)]
)
@pytest.mark.parametrize("top", [40.0, 10.0])
def test_relaxation_of_reram(g, second, first_day, second_day, top):
    model, at = relaxation.RERAM_WAN_2022, only(g * top * US)
    for seconds, sigma in ((DAY, first_day), (2 * DAY, second_day), (30 * DAY, second_day)):
        moved = model.conductance(at, seconds, top * US, only(1.0)) - at
        assert moved[0] == pytest.approx(math.sqrt(sigma**2 - second**2) * top / 40 * US, rel=1e-6)
    for seconds in (0.0, 0.3, 1.0):
        assert model.conductance(at, seconds, top * US, only(1.0)) == at
    # Half way between 1 s and 1 day on the logarithmic axis.
    middle = (second + first_day) / 2
    moved = model.conductance(at, math.sqrt(DAY), top * US, only(-1.0)) - at
    assert moved[0] == pytest.approx(-math.sqrt(middle**2 - second**2) * top / 40 * US, rel=1e-6)


def test_drift_of_sonos():
    """Agrawal et al. 2022 in the fit of CrossSim 3.2.0: after 1 and 4 days, and half way between the days."""
    first = (1.72684e-1, 5.72552e-2, -6.85715e-4, 3.50271e-6, -9.37682e-9, 1.40575e-11, -1.19803e-14, 5.41293e-18)
    first += (-8.85448e-22, -1.66869e-25, 5.95180e-29)
    fourth = (4.03338e-2, 1.03111e-1, -1.04740e-3, 4.83961e-6, -1.28132e-8, 1.99484e-11, -1.85139e-14, 1.00008e-17)
    fourth += (-2.84944e-21, 3.01008e-25, 1.18747e-29)
    model, volts = relaxation.SONOS_AGRAWAL_2022, 0.1

    def shift(coefficients, current):
        return sum(c * current**k for k, c in enumerate(coefficients))

    def sigma(a, b, current):
        return a * (1 - math.exp(-current / b))

    # By hand, at 100 nA: 0.172684 + 5.72552 - 6.85715 + 3.50271 - 0.937682 + 0.140575 - 0.0119803 + 0.000541293 - ... = 1.73521
    assert shift(first, 100.0) == pytest.approx(1.73521, abs=1e-5)
    for dtype, tolerance in ((np.float64, 1e-6), (np.float32, 0.02)):
        for current in (0.0, 10.0, 100.0, 400.0, 1600.0):
            g = np.array([current * 1e-9 / volts], dtype)
            cases = (
                (1.0, shift(first, current), 25.59102, 186.85544),
                (4.0, shift(fourth, current), 33.76214, 204.77023),
                (0.5, shift(first, current) / 2, (19.88665 + 25.59102) / 2, (176.3115 + 186.85544) / 2),
            )
            for days, mean, a, b in cases:
                extra = math.sqrt(sigma(a, b, current + mean) ** 2 - sigma(19.88665, 176.3115, current) ** 2)
                for xi in (0.0, 1.0):
                    found = model.conductance(g, days * DAY, 16 * US, np.array([xi], dtype))
                    assert found.dtype == dtype
                    assert found[0] * volts * 1e9 == pytest.approx(max(current + mean + extra * xi, 0), abs=tolerance)
            assert model.conductance(g, 0.0, 16 * US, np.ones(1, dtype)) == g


def test_read_noise_of_sonos_and_reram():
    g = only(2.1536557 * US)
    sonos, reram = noise.SONOS_AGRAWAL_2022, noise.RERAM_WAN_2022
    assert sonos.deviation(g, 16 * US, sonos.reference_seconds)[0] == pytest.approx(7.952270e-8, rel=1e-6)
    assert reram.deviation(g, 40 * US, reram.reference_seconds)[0] == pytest.approx(0.4 * US)
    assert reram.deviation(g, 10 * US, reram.reference_seconds)[0] == pytest.approx(0.1 * US)


def test_currents():
    """G V + N2 V² + N3 V³ of Milo et al. at 100 uS: N2 = -8.2e-6, N3 = -6e-7; sinh(1) = 1.1752012."""
    g, v = only(100 * US), only(0.5)
    assert MiloRRAM().current(g, v)[0] == pytest.approx(5e-5 - 8.2e-6 * 0.25 - 6e-7 * 0.125, rel=1e-9)
    assert MiloRRAM().current(g, -v)[0] == pytest.approx(-5e-5 - 8.2e-6 * 0.25 + 6e-7 * 0.125, rel=1e-9)
    assert Sinh(scale_volts=0.5).current(only(1e-5), v)[0] == pytest.approx(5.876006e-6, rel=1e-6)
    assert Cubic().current(only(1e-5), only(1.0))[0] == pytest.approx(0.75e-5)


def test_thermal_activation():
    """0.1 eV from 300 K to 350 K: exp(0.1 / 8.617333e-5 (1 / 300 - 1 / 350)) = 1.737745."""
    assert Thermal(activation_ev=0.1).factor(350.0, only(0.0))[0] == pytest.approx(1.737745, rel=1e-5)
    assert Retention(lifetime_seconds=1e6, activation_ev=0.1).acceleration(350.0) == pytest.approx(1.737745, rel=1e-5)
    assert Thermal(activation_ev=0.1, activation_ev_dtod=0.02).factor(350.0, only(-5.0))[0] == pytest.approx(1.0)
