"""Where the numbers of a device come from: measurements, intervals, assumptions, and what the fit's uncertainty leaves open."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat, model_validator

from analogpc.devices.specification import Specification

Count = Annotated[int, Field(ge=0)]


class Source(Specification):
    """A measurement that was used.

    Attributes
    ----------
    kind : str
        What was measured: "pulses", "drift", "reads", "programming", "iv", "endurance" or "step-table".
    file : str
        Name of the file, without its folder.
    sha256 : str
        Of its content; empty where the data were no file.
    readings, devices, cycles : int
        What it holds.
    understood : str
        How the columns were read, in a sentence.
    """

    kind: str
    file: str
    sha256: str = ""
    readings: Count = 0
    devices: Count = 0
    cycles: Count = 0
    understood: str = ""


class Interval(Specification):
    """A fitted number with its 90 % interval.

    Attributes
    ----------
    name : str
        What it is.
    value, low, high : float
    unit : str
    field : str
        The field of the device that holds it, as in "response.dw_min_std"; empty if it is none or follows from several.
    """

    name: str
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    unit: str = ""
    field: str = ""


class StepModel(Specification):
    """The fitted steps with their covariance, from which devices can be drawn that the data allow as well.

    Attributes
    ----------
    family : str
        Name of the family; empty if no steps were fitted.
    parameters : tuple of float
        Of the family; see `devices.calibration.families`.
    covariance : tuple of tuple of float
        Lower triangle, row by row.
    low_bound, high_bound : float
        Hard bounds as places; infinite for none.
    base_siemens, unit_siemens : float
        Conductance = base + unit times place.
    """

    family: str = ""
    parameters: tuple[FiniteFloat, ...] = ()
    covariance: tuple[tuple[FiniteFloat, ...], ...] = ()
    low_bound: float = float("-inf")
    high_bound: float = float("inf")
    base_siemens: FiniteFloat = 0.0
    unit_siemens: FiniteFloat = 1.0

    @model_validator(mode="after")
    def _triangle(self) -> StepModel:
        if [len(row) for row in self.covariance] != list(range(1, len(self.parameters) + 1)):
            raise ValueError(f"covariance must be the lower triangle for {len(self.parameters)} parameters")
        return self


class Curve(Specification):
    """A measured curve, for pictures.

    Attributes
    ----------
    pulses : tuple of int
        Pulses since the first reading.
    upward : tuple of bool
        The direction of the pulses before each reading.
    siemens : tuple of float
    begins : tuple of int
        Places at which a series begins.
    """

    pulses: tuple[int, ...] = ()
    upward: tuple[bool, ...] = ()
    siemens: tuple[FiniteFloat, ...] = ()
    begins: tuple[int, ...] = ()


class Provenance(Specification):
    """What a device was made from.

    Attributes
    ----------
    sources : tuple of Source
    intervals : tuple of Interval
    assumptions : tuple of str
        What was not measured, and what was taken instead.
    remarks : tuple of str
        What to know before trusting the device.
    verdict : str
        "passed", or what spoke against the fit when it was accepted all the same.
    step_model : StepModel
    measured : Curve
        A part of the measured pulse series.
    """

    sources: tuple[Source, ...] = ()
    intervals: tuple[Interval, ...] = ()
    assumptions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    verdict: str = ""
    step_model: StepModel = StepModel()
    measured: Curve = Curve()

    @property
    def measured_any(self) -> bool:
        """Whether the device was made from measurements."""
        return bool(self.sources)
