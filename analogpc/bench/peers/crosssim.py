"""Reads of a core of CrossSim, and wire resistance, next to one matrix product of NumPy; needs a Python with CrossSim 3.

    PYTHON crosssim.py THREADS SECONDS [WORKLOAD ...]

Reads: `AnalogCore` times all 128 vectors at once, 512 x 512, float32; inputs within a fixed range in 7 bits, outputs in 9 bits. There is
no noise of the outputs in CrossSim, so that "read" has none. Without noise the core is balanced, its default and the fastest; with noise,
which it draws for every device and vector, it is the one of an offset, of one device for each weight, which takes half as long. Wires:
one device at each crosspoint again, segments of 1 ohm, 128 vectors at once, which its circuit solver iterates to its default tolerance
of 0.1 % of the voltages. The relaxation parameter is the one of 0.4, 0.7 and 1 with which it settles soonest at that size.
"""

from functools import partial

import _turns

numpy = _turns.library("numpy")
simulator = _turns.library("simulator")
core_parameters = _turns.library("simulator.parameters.core_parameters")

SIZE = 512
LOW, HIGH = 1e-6, 5e-5
"""Conductances of the devices, in siemens."""


def parameters(style):
    """Return the default parameters for a style of core and the device range."""
    made = simulator.CrossSimParameters()
    made.core.style = core_parameters.CoreStyle[style]
    made.xbar.device.Rmin, made.xbar.device.Rmax = 1 / HIGH, 1 / LOW
    return made


def inputs_within(made, largest):
    """Inputs are fractions of this value."""
    made.core.mapping.inputs.mvm.min, made.core.mapping.inputs.mvm.max = -largest, largest


def read(weight_noise=False):
    """Read all vectors together."""
    made = parameters("OFFSET" if weight_noise else "BALANCED")
    inputs_within(made, 4.0)
    dac, adc = made.xbar.dac.mvm, made.xbar.adc.mvm
    dac.model, dac.bits = "QuantizerDAC", 7
    adc.model = "QuantizerADC"
    # Naming its model replaces the converter object.
    adc = made.xbar.adc.mvm
    adc.bits, adc.calibrated_range = 9, [-8.0, 8.0]
    if weight_noise:
        noise = made.xbar.device.read_noise
        noise.enable, noise.model, noise.magnitude = True, "NormalIndependentDevice", 1e-7 / HIGH
    rng = numpy.random.default_rng(0)
    weights = (0.1 * rng.normal(size=(SIZE, SIZE))).astype("float32")
    x = rng.normal(size=(SIZE, _turns.BATCH)).astype("float32")
    core = simulator.AnalogCore(weights, params=made)
    return lambda: weights @ x, lambda: core @ x


def wires(size, gamma):
    """Read all vectors together through a new array."""
    made = parameters("OFFSET")
    inputs_within(made, 0.2)
    made.core.mapping.weights.percentile = None
    made.core.mapping.weights.min, made.core.mapping.weights.max = -1.0, 1.0
    parasitics = made.xbar.array.parasitics
    parasitics.enable, parasitics.Rp_row, parasitics.Rp_col = True, 1.0, 1.0
    made.simulation.relaxation_gamma, made.simulation.Niters_max_parasitics = gamma, 1000
    rng = numpy.random.default_rng(size)
    g = rng.uniform(LOW, HIGH, (size, size))
    v = rng.uniform(-0.2, 0.2, (size, _turns.BATCH))
    core = simulator.AnalogCore(2 * (g.T - LOW) / (HIGH - LOW) - 1, params=made)
    return lambda: g.T @ v, lambda: core @ v


WORKLOADS = {
    "read": read,
    "read-weight-noise": partial(read, True),
    "wires-128": partial(wires, 128, 0.7),
    "wires-256": partial(wires, 256, 0.4),
}

if __name__ == "__main__":
    _turns.measure(WORKLOADS)
