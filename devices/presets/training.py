"""Devices for in-situ training: published pulse responses.

The numbers are those of aihwkit's presets (Rasch et al., arXiv 2104.02184), fitted to the measurements named in each ``source``. Where
aihwkit's code contradicts its formula of the asymmetry, the steps of its code are used.
"""

from __future__ import annotations

from analogpc.devices.device import Device
from analogpc.devices.responses import ConstantStep, ExponentialStep, Ideal, LinearStep, SoftBounds, SoftBoundsReference

_WINDOW = (
    "The conductance window is not part of the published fit; 1 to 40 uS is that of the HfOx cells of Wan et al., "
    "Nature 608:504 (2022), and fixes the unit of exported conductances only."
)

# aihwkit subtracts an asymmetry of 0.259359 from the downward step only: up 0.00135, down 0.00135 (1 - 0.259359). As mean and
# asymmetry about it, with all spreads and the write noise relative to that mean:
_ES_MEAN = 0.00135 * (1 - 0.259359 / 2)
_ES_ASYMMETRY = 0.259359 / (2 - 0.259359)
_ES_SHARE = 0.00135 / _ES_MEAN

TRAINING: tuple[Device, ...] = (
    Device(
        name="ideal",
        response=Ideal(),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=f"No device: exact and unbounded. {_WINDOW}",
    ),
    Device(
        name="idealized",
        response=ConstantStep(dw_min=0.0002, dw_min_dtod=0.3, w_max_dtod=0.3, w_min_dtod=0.3, dw_min_std=0.3),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=(
            "aihwkit IdealizedPresetDevice: Gokmen and Vlasov, Front. Neurosci. 10:333 (2016), with finer and "
            f"symmetric steps. {_WINDOW}"
        ),
    ),
    Device(
        name="gokmen-vlasov",
        response=ConstantStep(dw_min=0.0016, dw_min_dtod=0.3, up_down_dtod=0.01, w_max_dtod=0.3, w_min_dtod=0.3, dw_min_std=0.3),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=(
            "aihwkit GokmenVlasovPresetDevice: the resistive device asked for by Gokmen and Vlasov, Front. Neurosci. 10:333 "
            f"(2016). {_WINDOW}"
        ),
    ),
    Device(
        name="ecram",
        response=LinearStep(
            dw_min=0.002,
            w_max=1.1724,
            w_min=-0.8276,
            gamma_up=0.1153,
            gamma_down=0.5085,
            dw_min_dtod=0.1,
            up_down_dtod=0.01,
            w_max_dtod=0.05,
            w_min_dtod=0.05,
            gamma_up_dtod=0.05,
            gamma_down_dtod=0.05,
            dw_min_std=0.3,
        ),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=f"aihwkit EcRamPresetDevice: fit of the Li-based ECRAM of Tang et al., IEDM 2018. {_WINDOW}",
    ),
    Device(
        name="ecram-mo",
        response=LinearStep(
            dw_min=0.00028214,
            w_max=1.1714,
            w_min=-0.8286,
            gamma_up=0.4152,
            gamma_down=0.7342,
            dw_min_dtod=0.1,
            up_down_dtod=0.01,
            w_max_dtod=0.05,
            w_min_dtod=0.05,
            gamma_up_dtod=0.05,
            gamma_down_dtod=0.05,
            dw_min_std=2.0,
        ),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=f"aihwkit EcRamMOPresetDevice: metal-oxide ECRAM. {_WINDOW}",
    ),
    Device(
        name="reram-sb",
        response=SoftBounds(
            dw_min=0.002,
            up_down_dtod=0.01,
            w_max=1.25,
            w_min=-0.75,
            dw_min_dtod=0.3,
            w_max_dtod=0.3 / 1.25,
            w_min_dtod=0.3 / 0.75,
            dw_min_std=3.75,
            mult_noise=False,
            write_noise_std=56.0,
        ),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=(
            f"aihwkit ReRamSBPresetDevice: soft-bounds fit of the ReRAM of Gong et al., Nat. Commun. 9:2102 (2018). {_WINDOW}"
        ),
    ),
    Device(
        name="reram-es",
        response=ExponentialStep(
            dw_min=_ES_MEAN,
            up_down=_ES_ASYMMETRY,
            a=-0.5,
            b=-0.5,
            gamma_up=5.0,
            gamma_down=5.0,
            A_up=-1.18445,
            A_down=-0.081404,
            dw_min_dtod=0.2 * _ES_SHARE,
            up_down_dtod=0.05 * _ES_SHARE,
            w_max_dtod=0.3,
            w_min_dtod=0.3,
            dw_min_std=5.0,
            write_noise_std=75.0 * _ES_SHARE,
        ),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=(
            "aihwkit ReRamESPresetDevice: exponential-step fit of the ReRAM of Gong et al., Nat. Commun. 9:2102 (2018); "
            f"there up 0.00135, down 0.00135 (1 - 0.259359). {_WINDOW}"
        ),
    ),
    Device(
        name="reram-array-om",
        response=SoftBoundsReference(
            dw_min=0.0949,
            dw_min_dtod=0.7829,
            dw_min_dtod_log_normal=True,
            up_down_dtod=0.01,
            w_max_dtod=0.3499,
            w_min_dtod=0.5695,
            dw_min_std=0.4158,
            mult_noise=False,
            write_noise_std=1.4113,
            corrupt_range=0.01,
            subtract_symmetry_point=True,
            reference_std=0.05,
        ),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=(
            "aihwkit ReRamArrayOMPresetDevice: array of ReRAM of optimised material, Gong, Rasch et al., IEDM 2022, range adjusted "
            f"by compliance; 13.48 % of the measured devices were corrupt (corrupt_prob), here none. {_WINDOW}"
        ),
    ),
    Device(
        name="reram-array-hfo2",
        response=SoftBoundsReference(
            dw_min=0.4622,
            dw_min_dtod=0.7125,
            dw_min_dtod_log_normal=True,
            up_down_dtod=0.01,
            w_max_dtod=0.4295,
            w_min_dtod=0.5990,
            dw_min_std=0.2174,
            mult_noise=False,
            write_noise_std=0.5841,
            corrupt_range=0.01,
            subtract_symmetry_point=True,
            reference_std=0.05,
        ),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=(
            "aihwkit ReRamArrayHfO2PresetDevice: array of baseline HfO2, Gong, Rasch et al., IEDM 2022, range adjusted by "
            f"compliance; 9.77 % of the measured devices were corrupt (corrupt_prob), here none. {_WINDOW}"
        ),
    ),
    Device(
        name="capacitor",
        response=LinearStep(
            dw_min=0.005,
            gamma_up=0.05,
            gamma_down=0.05,
            dw_min_dtod=0.1,
            up_down_dtod=0.06,
            w_max_dtod=0.07,
            w_min_dtod=0.07,
            gamma_up_dtod=0.01,
            gamma_down_dtod=0.01,
            dw_min_std=0.3,
            mult_noise=False,
            lifetime=1e6,
            lifetime_dtod=0.3,
        ),
        g_min_siemens=1e-6,
        g_max_siemens=40e-6,
        source=(
            "aihwkit CapacitorPresetDevice: trench capacitor and read transistor of Li et al., VLSI 2018; it leaks once per "
            f"update cycle, of which the physical time (cycle_seconds) is assumed. {_WINDOW}"
        ),
    ),
    Device(
        name="pcm",
        response=ExponentialStep(
            dw_min=0.01,
            w_max=2.0,
            w_min=0.0,
            a=-1.0,
            b=0.0,
            gamma_up=2.5,
            gamma_down=2.5,
            A_up=-27.235,
            A_down=-2.235,
            dw_min_dtod=0.2,
            up_down_dtod=0.05,
            w_max_dtod=0.1,
            dw_min_std=0.6,
            dw_min_std_add=0.042,
            dw_min_std_slope=0.108,
            reset=0.01,
            reset_dtod=0.02,
            reset_std=0.01,
        ),
        g_min_siemens=0.1e-6,
        g_max_siemens=32.47e-6,
        source=(
            "aihwkit PCMPresetDevice: Ge2Sb2Te5 of Nandakumar et al., Front. Neurosci. 14:406 (2020), crystallised pulse by pulse, "
            "so that weights need one-sided pairs. A state of 2 is put at 25 uS, a fully reset device at 0.1 uS."
        ),
    ),
)
