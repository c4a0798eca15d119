"""Accuracy of a digitally trained network programmed onto a device, immediately and after time."""

from __future__ import annotations

from dataclasses import dataclass

from analogpc.assessment.findings import Interval, chosen
from analogpc.assessment.protocol import DIGITAL
from analogpc.devices.device import Device
from analogpc.devices.substrate import Analog
from analogpc.kernels.gpu.arrays import Backend
from analogpc.studies.api import SweepResult
from analogpc.training.study import Study

TIMES = {"at once": 0.0, "after an hour": 3600.0, "after a day": 86400.0, "after a month": 2629800.0, "after a year": 31557600.0}


@dataclass(frozen=True)
class Kept:
    """Accuracy of inference on the device.

    Attributes
    ----------
    when : str
    seconds : float
        Time since programming.
    compensated : bool
        Whether outputs are scaled by global drift compensation.
    accuracies : tuple of float
        Test accuracy of every seed, each with its own weights and devices.
    relative : Interval
        Accuracy relative to the digital network.
    """

    when: str
    seconds: float
    compensated: bool
    accuracies: tuple[float, ...]
    relative: Interval


def kept(device: Device, found: SweepResult, backend: Backend) -> list[Kept]:
    """Program the digital networks of the first rule onto the device and evaluate them.

    They are retrained bit-identically, which takes seconds; devices without ageing are evaluated once.

    Parameters
    ----------
    device : Device
    found : SweepResult
        Result of `protocol.learning_plan`.
    backend : "cpu" or "gpu"
    """
    from analogpc.analysis.conditions import evaluate_conditions
    from analogpc.kernels.blas_threads import one_blas_thread
    from analogpc.training.fit import begin
    from analogpc.training.study_data import study_data

    twin = next(one for one in chosen(found) if one.cells["on"] == DIGITAL)
    finished = [row["trial"] for row in twin.rows if row["status"] == "finished"]
    times = TIMES if device.ages else dict(list(TIMES.items())[:1])
    names = {seconds: name for name, seconds in times.items()}
    values: dict[tuple[float, bool], list[tuple[float, float]]] = {}
    with one_blas_thread:
        for number in finished:
            study = found.study(number)
            assert isinstance(study, Study)
            data = study_data(study)
            run = begin(study, data, backend=backend).train(data, progress=False)
            digital = run.history["test_accuracy"][-1]
            compensations = (False, True) if device.drift.kind != "none" else (False,)
            for one in evaluate_conditions(
                run, data, after=list(names), compensation=compensations, substrate=Analog(device=device), seed=study.seed
            ):
                values.setdefault((one.after_seconds, one.compensated), []).append((one.mean("accuracy"), digital))
    return [
        Kept(names[seconds], seconds, compensated, tuple(a for a, _ in pairs), Interval.of([a / b for a, b in pairs if b]))
        for (seconds, compensated), pairs in values.items()
    ]
