"""Wire resistance of crossbars: the public name of `analogpc.kernels.wires.effective`."""

from analogpc.kernels.wires.effective import (
    device_voltages,
    effective_conductance,
    node_voltages,
    nonlinear_currents,
    sensitivity,
)

__all__ = ["device_voltages", "effective_conductance", "node_voltages", "nonlinear_currents", "sensitivity"]
