"""Fits of device specifications to measurements.

Contains: readers of measured data, statistical models of it, and fits.
A new kind of measurement is one new module here.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analogpc.devices.calibration.fitting import Calibration, CalibrationError, RefusedFitError, calibrate

__all__ = ["Calibration", "CalibrationError", "RefusedFitError", "calibrate"]


def __getattr__(name: str) -> Any:
    # Imported on first use: device specifications do not need the fits.
    if name in __all__:
        from analogpc.devices.calibration import fitting

        return getattr(fitting, name)
    raise AttributeError(f"analogpc.devices.calibration has no '{name}'")
