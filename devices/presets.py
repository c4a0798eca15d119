"""Published devices by name, every one with its source."""

from __future__ import annotations

from analogpc.devices.device import Device
from analogpc.devices.responses import ConstantStep, Ideal, LinearStep, SoftBounds

_WINDOW = (
    "The conductance window is not part of the published fit; 1 to 40 uS is that of the HfOx cells of Wan et al., "
    "Nature 608:504 (2022), and fixes the unit of exported conductances only."
)

PRESETS: dict[str, Device] = {
    device.name: device
    for device in (
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
            response=ConstantStep(
                dw_min=0.0016, dw_min_dtod=0.3, up_down_dtod=0.01, w_max_dtod=0.3, w_min_dtod=0.3, dw_min_std=0.3
            ),
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
    )
}


def preset(name: str) -> Device:
    """The preset of that name.

    Raises
    ------
    ValueError
        If there is none; the sentence lists those there are.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no device preset '{name}'; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]
