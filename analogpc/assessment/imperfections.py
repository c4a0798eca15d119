"""Imperfections of crossbars, and the same crossbars without one of them."""

from __future__ import annotations

import math
from collections.abc import Callable

from analogpc.devices.crossbars.errors import without_converters
from analogpc.devices.device import Device
from analogpc.devices.device_numbers import device_numbers, places, step_at_zero
from analogpc.devices.nonidealities import ExactProgramming, Faults, Flicker, Levels, NoDrift, NoReadNoise, Ohmic, Telegraph
from analogpc.devices.responses import ConstantStep, PulseResponse
from analogpc.devices.substrate import Analog
from analogpc.devices.wires.wired_array import Wires

FINER, FINE = 10.0, 5000
"""Factor by which the steps of a device are refined, unless it has that many states already."""


def imperfections(substrate: Analog) -> dict[str, Analog]:
    """Return the imperfections of crossbars by name, with the same crossbars without each.

    The first entry of a pulsed device is the noise of its pulses; imperfections that the crossbars lack are omitted.

    Parameters
    ----------
    substrate : Analog
    """
    found = {}
    for name, remove in REMOVALS.items():
        without = remove(substrate)
        if without != substrate:
            found[name] = without
    return found


def without_all(substrate: Analog) -> Analog:
    """Return the crossbars without any imperfections; only the bounds of the devices and the pulse size remain."""
    for remove in REMOVALS.values():
        substrate = remove(substrate)
    return substrate


def _on_device(change: Callable[[Device], Device]) -> Callable[[Analog], Analog]:
    def changed(substrate: Analog) -> Analog:
        device = change(substrate.device)
        return substrate if device == substrate.device else substrate.but(device=device)

    return changed


def _pulse_noise(device: Device) -> Device:
    return _with_response(device, ("dw_min_std",))


def _spread(device: Device) -> Device:
    if not device.response.pulsed:
        return device
    names = [name for name in type(device.response).model_fields if name.endswith("_dtod")]
    return _with_response(device, (*names, "reference_std"))


def _with_response(device: Device, zeros: tuple[str, ...]) -> Device:
    """Return the device with these fields of its response set to zero, where present."""
    response = device.response
    if not response.pulsed:
        return device
    there = {name: 0.0 for name in zeros if getattr(response, name, 0.0)}
    return device.but(response=response.but(**there)) if there else device


def _state_dependence(device: Device) -> Device:
    """Use the same step at all states and in both directions: the mean of those at zero weight, with the same relative noise."""
    if not device.response.pulsed or device_numbers(device).symmetric:
        return device
    response = device.pulse_response
    low, high, zero = places(response)
    step = step_at_zero(response)
    shared = {
        name: getattr(response, name)
        for name in PulseResponse.model_fields
        if name not in ("kind", "dw_min", "up_down", "up_down_dtod", "w_max", "w_min", "dw_min_std", "write_noise_std", "reset")
    }
    noise = device_numbers(device).step_ctoc or 0.0
    even = ConstantStep(
        dw_min=step,
        w_max=high - zero,
        w_min=low - zero,
        dw_min_std=noise,
        write_noise_std=response.write_noise_std * response.dw_min / step,
        **shared,
    )
    return device.but(response=even)


def _coarseness(device: Device) -> Device:
    """Refine the steps, with the same relative noise and the same write noise."""
    if device.response.pulsed:
        response = device.pulse_response
        if device_numbers(device).states >= FINE:
            return device
        finer = {"dw_min": response.dw_min / FINER, "write_noise_std": response.write_noise_std * FINER}
        # The additional noise of exponential steps is in units of state, not of steps.
        added = {
            name: getattr(response, name) / FINER for name in ("dw_min_std_add", "dw_min_std_slope") if hasattr(response, name)
        }
        return device.but(response=response.but(**finer, **added))
    return device if device.levels == Levels() else device.but(levels=Levels())


def _write_noise(device: Device) -> Device:
    if device.response.pulsed:
        return _with_response(device, ("write_noise_std",))
    return device if device.programming.kind == "exact" else device.but(programming=ExactProgramming())


def _leak(device: Device) -> Device:
    response = device.response
    if response.leaks:
        device = device.but(response=response.but(lifetime=math.inf, diffusion=0.0))
    return device if device.drift.kind == "none" else device.but(drift=NoDrift())


def _faults(device: Device) -> Device:
    device = _with_response(device, ("corrupt_prob",))
    return device.but(faults=Faults()) if device.faults.active else device


def _conduction(device: Device) -> Device:
    return device if device.conduction.linear else device.but(conduction=Ohmic())


def _read_noise(substrate: Analog) -> Analog:
    quiet = {"read_noise": NoReadNoise(), "flicker": Flicker(), "telegraph": Telegraph()}
    device = substrate.device
    if any(getattr(device, name) != value for name, value in quiet.items()):
        substrate = substrate.but(device=device.but(**quiet))
    return substrate.but(read_noise=0.0) if substrate.read_noise else substrate


def _converters(substrate: Analog) -> Analog:
    made = without_converters(substrate)
    return substrate if made == substrate else made


def _wires(substrate: Analog) -> Analog:
    return substrate.but(wires=Wires()) if substrate.wires.present else substrate


REMOVALS: dict[str, Callable[[Analog], Analog]] = {
    "noise of pulses": _on_device(_pulse_noise),
    "spread between devices": _on_device(_spread),
    "steps that depend on state and direction": _on_device(_state_dependence),
    "few states": _on_device(_coarseness),
    "write noise": _on_device(_write_noise),
    "read noise": _read_noise,
    "resolution of converters": _converters,
    "leak and drift": _on_device(_leak),
    "faults": _on_device(_faults),
    "curved current-voltage relation": _on_device(_conduction),
    "resistance of wires": _wires,
}
"""Functions that remove an imperfection from crossbars, by name; crossbars without it are returned unchanged."""
