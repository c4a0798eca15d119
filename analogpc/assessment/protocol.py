"""The protocol of an assessment: trained networks, number of seeds, and data used for choices."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from analogpc.assessment.imperfections import imperfections, without_all
from analogpc.devices.bounds import NonNegativeInteger, Positive, PositiveInteger
from analogpc.devices.device import Device
from analogpc.devices.specification import Specification
from analogpc.devices.substrate import Analog
from analogpc.studies.plan import Plan, read_plan
from analogpc.training.study import Seed

DIGITAL = "digital"
"""Setting of the digital twin among the schemes."""

AS_IT_IS, NONE_LEFT = "as it is", "none of these"
"""Settings of the unchanged device, and of the device without any imperfection."""


class Protocol(Specification):
    """Computations of an assessment. All choices use a validation part of the training images.

    Attributes
    ----------
    rules : tuple of str
        Short names of rules.
    rates : tuple of float
        Learning rates; each is tried with the first seed in every setting, and the best one gets all seeds.
    seeds, seed : int
        Number of seeds, and first seed.
    epochs, batch_size : int
    widths : tuple of int
        Layer sizes of the network.
    train_images : int
        Number of digits images, including the fifth used for validation; 0: all 1,437.
    technology : str
        Technology that prices energy and time: a name or a file.
    """

    rules: Annotated[tuple[str, ...], Field(min_length=1)] = ("bp", "pc", "s+f", "ep")
    rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 0.3, 1.0)
    seeds: Annotated[int, Field(ge=2)] = 3
    seed: Seed = 0
    epochs: PositiveInteger = 8
    batch_size: PositiveInteger = 32
    widths: tuple[PositiveInteger, ...] = (64, 32, 10)
    train_images: NonNegativeInteger = 0
    technology: str = "isaac-32nm"


QUICK = Protocol(rules=("bp", "s+f"), rates=(0.1,), seeds=2, epochs=2, batch_size=16, widths=(64, 16, 10), train_images=400)
"""Short protocol of seconds: a test without results about the device."""


def schemes(device: Device) -> dict[str, dict[str, Any]]:
    """Return the applicable update schemes of a device, by name.

    Pulsed devices learn in place, from a digital accumulator, or by transfers from a second array of such devices,
    each line after every batch, as in the study of the update schemes. Programmed devices follow a digital target, which is
    written after every batch.
    """
    if device.response.pulsed:
        transfer = {"lines": 0, "unit": "batch", "fast_scaling": "rate", "fast_rate": 1.0}
        transfer |= {"transfer_scaling": "absolute", "transfer_rate": 0.05, "most_pulses": 20}
        return {
            "pulses in place": {"kind": "stochastic-pulses"},
            "mixed precision": {"kind": "mixed-precision"},
            "Tiki-Taka v2": {"kind": "tiki-taka-v2", **transfer},
        }
    if device.response.kind == "programmable":
        tolerance = 0.01 * (device.g_max_siemens - device.g_min_siemens)
        return {"program and verify": {"kind": "program-verify", "unit": "siemens", "tolerance": tolerance, "budget": 3}}
    return {"exact writing": {"kind": "ideal"}}


def learning_plan(device: Device, protocol: Protocol) -> Plan:
    """Return the plan of every rule with every scheme on the device, and on its digital twin."""
    on: dict[str, dict[str, Any]] = {DIGITAL: {"substrate": "digital"}}
    on |= {name: {"substrate": _analog(device, scheme)} for name, scheme in schemes(device).items()}
    return _plan("learning", protocol, {"rule": list(protocol.rules), "on": on}, technology=protocol.technology)


def limits_plan(device: Device, protocol: Protocol, rule: str, scheme: str) -> Plan:
    """Return the plan of one rule and scheme on the device, without each of its imperfections in turn, and without all of them."""
    fields = schemes(device)[scheme]
    whole = Analog.from_dict(_analog(device, fields))
    settings = {AS_IT_IS: _analog(device, fields)}
    settings |= {name: made.to_dict() for name, made in imperfections(whole).items()}
    if len(settings) > 2:
        settings[NONE_LEFT] = without_all(whole).to_dict()
    return _plan("limits", protocol, {"without": {name: {"substrate": one} for name, one in settings.items()}}, rule=rule)


def _analog(device: Device, scheme: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "analog", "device": device.short_name() or device.to_dict(), "scheme": scheme}


def _plan(name: str, protocol: Protocol, axes: dict[str, Any], **fields: Any) -> Plan:
    study = {
        "dataset": "digits",
        "seed": protocol.seed,
        "holdout": 0.2,
        "division": "stratified",
        "epochs": protocol.epochs,
        "batch_size": protocol.batch_size,
        "train_images": protocol.train_images,
        "network": {"kind": "mlp", "widths": list(protocol.widths), "activation": "leaky_relu"},
        "optimiser": {"kind": "sgd"},
        "search": {"sampler": "grid", "seeds": 1},
        "axes": {**axes, "optimiser.learning_rate": {"choices": list(protocol.rates)}, "seed": protocol.seeds},
        **fields,
    }
    return replace(read_plan(study), name=name)
