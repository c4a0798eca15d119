"""Provenance of a device's parameters: measurements, intervals, assumptions, and the uncertainty of the fit."""

from __future__ import annotations

from pydantic import FiniteFloat, model_validator

from analogpc.devices.bounds import NonNegativeInteger
from analogpc.devices.specification import Specification


class Source(Specification):
    """A measurement used in a fit.

    Attributes
    ----------
    kind : str
        Measured quantity: "pulses", "drift", "reads", "programming", "iv", "endurance" or "step-table".
    file : str
        Name of the file, without its folder.
    sha256 : str
        SHA-256 digest of its content; empty if the data did not come from a file.
    readings, devices, cycles : int
        Number of readings, devices and cycles in it.
    understood : str
        Interpretation of the columns, in one sentence.
    """

    kind: str
    file: str
    sha256: str = ""
    readings: NonNegativeInteger = 0
    devices: NonNegativeInteger = 0
    cycles: NonNegativeInteger = 0
    understood: str = ""


class Interval(Specification):
    """A fitted number with its 90 % interval.

    Attributes
    ----------
    name : str
        Name of the quantity.
    value, low, high : float
    unit : str
    field : str
        Field of the device that holds it, such as "response.dw_min_std"; empty if no single field does.
    """

    name: str
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    unit: str = ""
    field: str = ""


class StepModel(Specification):
    """The fitted steps with their covariance, from which further devices compatible with the data can be drawn.

    Attributes
    ----------
    family : str
        Name of the family; empty if no steps were fitted.
    parameters : tuple of float
        Parameters of the family; see `devices.calibration.families`.
    covariance : tuple of tuple of float
        Lower triangle of the covariance matrix, row by row.
    low_bound, high_bound : float
        Hard bounds in units of place; infinite if there are none.
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
    """A measured curve for plots.

    Attributes
    ----------
    pulses : tuple of int
        Numbers of pulses since the first reading.
    upward : tuple of bool
        Direction of the pulses before each reading.
    siemens : tuple of float
    begins : tuple of int
        Indices at which a series begins.
    """

    pulses: tuple[int, ...] = ()
    upward: tuple[bool, ...] = ()
    siemens: tuple[FiniteFloat, ...] = ()
    begins: tuple[int, ...] = ()


class Provenance(Specification):
    """Sources and uncertainty of a fitted device.

    Attributes
    ----------
    sources : tuple of Source
    intervals : tuple of Interval
    assumptions : tuple of str
        Properties that were not measured, with the assumed values.
    remarks : tuple of str
        Caveats about the device.
    verdict : str
        "passed", or the objections to a fit that was accepted nevertheless.
    step_model : StepModel
    measured : Curve
        Part of the measured pulse series.
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
        """Whether the device was fitted to measurements."""
        return bool(self.sources)
