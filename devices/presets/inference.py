"""Devices that are programmed once and then read: published programming errors, noise and drift.

The response is `Programmable`; conductances may leave the programming range slightly, within the window. No source gives the duration
of the reads in which the white noise was measured; 100 ns is assumed.
"""

from __future__ import annotations

from analogpc.devices.device import Device
from analogpc.devices.nonidealities import MiloRRAM, drift, flicker, noise, programming
from analogpc.devices.nonidealities import conductance_relaxation as relaxation
from analogpc.devices.responses import Programmable

INFERENCE: tuple[Device, ...] = (
    Device(
        name="pcm-inference",
        response=Programmable(overshoot=0.2),
        g_min_siemens=0.0,
        g_max_siemens=30e-6,
        programming=programming.PCM_NANDAKUMAR_2019,
        drift=drift.PCM_NANDAKUMAR_2019,
        flicker=flicker.PCM_NANDAKUMAR_2019,
        source=(
            "Doped Ge2Sb2Te5 up to 25 uS: Nandakumar et al., ICECS 2019; numbers of aihwkit's PCMLikeNoiseModel. Time counts from the "
            "first read, 20 s after programming."
        ),
    ),
    Device(
        name="pcm-joshi",
        response=Programmable(overshoot=0.2, undershoot=0.01),
        g_min_siemens=0.0025e-6,
        g_max_siemens=29.95e-6,
        programming=programming.PCM_JOSHI_2020,
        source=(
            "Doped Ge2Sb2Te5, 0.25 to 25 uS (on/off ratio 100): Joshi et al., Nat. Commun. 11:2473 (2020); fit of CrossSim's PCMJoshi. "
            "Programming errors only."
        ),
    ),
    Device(
        name="reram-wan",
        response=Programmable(overshoot=0.3),
        g_min_siemens=0.0,
        g_max_siemens=52e-6,
        programming=programming.RERAM_WAN_2022,
        drift=relaxation.RERAM_WAN_2022,
        read_noise=noise.RERAM_WAN_2022,
        source=(
            "HfOx up to 40 uS: Wan et al., Nature 608:504 (2022), 1 s to 2 days after programming; fits of aihwkit's "
            "ReRamWan2022NoiseModel, with the read noise of 1 % of the range that it advises."
        ),
    ),
    Device(
        name="reram-wan-cubic",
        response=Programmable(overshoot=0.3),
        g_min_siemens=0.0,
        g_max_siemens=51.038e-6,
        programming=programming.RERAM_WAN_2022_CUBIC,
        source=(
            "The same measurement 1 s after programming, up to 39.26 uS, in the fit of CrossSim's RRAMWan, whose errors at small "
            "conductances are three times as large."
        ),
    ),
    Device(
        name="rram-milo",
        response=Programmable(overshoot=0.1, undershoot=0.1),
        g_min_siemens=32.5e-6,
        g_max_siemens=242.5e-6,
        programming=programming.RRAM_MILO_2021,
        conduction=MiloRRAM(),
        source=(
            "HfO2 from 50 to 225 uS: Milo et al., IRPS 2021, programmed by IGVVA-100, with its current-voltage curve; fits of CrossSim's "
            "RRAMMilo."
        ),
    ),
    Device(
        name="sonos",
        response=Programmable(overshoot=0.3),
        g_min_siemens=1.8e-12,
        g_max_siemens=23.4e-6,
        programming=programming.SONOS_AGRAWAL_2022,
        read_noise=noise.SONOS_AGRAWAL_2022,
        drift=relaxation.SONOS_AGRAWAL_2022,
        source=(
            "40 nm SONOS charge trap, 0 to 1800 nA at an assumed 0.1 V, on/off ratio 1e7: Agrawal et al., IEDM 2022, 21.7; fits of "
            "CrossSim 3.2, drift over 5 days."
        ),
    ),
)
