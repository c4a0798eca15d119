"""Wires against badcrossbar, converters against CrossSim, reads against aihwkit: currents and outputs in float64."""

import math

import numpy as np
import pytest
from peer_numbers import numbers

import analogpc as apc
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.mappings import BitSliced
from analogpc.devices.presets import preset
from analogpc.kernels.parasitics import effective_conductance
from analogpc.kernels.random.streams import Key


@pytest.mark.parametrize(
    ("name", "resistances", "wires"),
    [
        ("b33", "R", {"wire_ohms": 3.3}),
        ("bx", "R", {"row_ohms": 0.7, "column_ohms": 9.1}),
        ("b0", "R", {"row_ohms": 0.0, "column_ohms": 9.1}),
        ("bi", "R2", {"wire_ohms": 3.3}),
    ],
)
def test_wires_of_badcrossbar(name, resistances, wires):
    """Equal and unequal segments, lines without resistance, open devices."""
    theirs = numbers("badcrossbar")
    with np.errstate(divide="ignore"):
        conductance = 1 / theirs[resistances]
    currents = (effective_conductance(conductance, **wires) @ theirs["V"]).T
    assert np.abs(currents - theirs[f"{name}/out"]).max() < 1e-11 * np.abs(theirs[f"{name}/out"]).max()


DAC, ADC = {"bound": 1.0, "scaling": "none"}, {"bound": 4.0}
CASES = {
    "plain": ({}, {}),
    "dac7sm": ({"bits": 7, **DAC}, {}),
    "adc8sm": ({}, {"bits": 8, **ADC}),
    "both": ({"bits": 6, **DAC}, {"bits": 7, **ADC}),
    "inbits": ({"bits": 7, **DAC, "encoding": "bit-serial"}, {}),
    "inbits_adc": ({"bits": 5, **DAC, "encoding": "bit-serial"}, {"bits": 6, **ADC}),
}


def crosssim(substrate):
    """The product of CrossSim's matrix and inputs, both scaled to the ranges of the converters."""
    theirs = numbers("crosssim_converters")
    most = np.abs(theirs["W"]).max()
    return make_matrix(substrate, theirs["W"] / most, Key(3)).forward(theirs["X"].T / 2).T * most * 2


@pytest.mark.parametrize("name", CASES)
def test_converters_of_crosssim(name):
    dac, adc = CASES[name]
    ideal = {"bits": math.inf, "bound": math.inf}
    substrate = apc.Analog(
        device="ideal", read_noise=0.0, dac=apc.DAC(**(dac or {**ideal, "scaling": "none"})), adc=apc.ADC(**(adc or ideal))
    )
    theirs = numbers("crosssim_converters")[name]
    # Where its outputs are not converted, CrossSim itself is 2e-8 off its plain product.
    tolerance = 1e-12 if adc else 1e-7
    assert np.abs(crosssim(substrate) - theirs).max() < tolerance * np.abs(theirs).max()


@pytest.mark.parametrize(("name", "slices", "bits"), [("bs2_7", 2, 3), ("bs3_7", 3, 2), ("bs2_9", 2, 4)])
def test_bit_slices_of_crosssim(name, slices, bits):
    device = preset("pcm-inference").but(programming={"kind": "exact"}, drift={"kind": "none"}, flicker={"amplitude": 0.0})
    ideal = {"bits": math.inf, "bound": math.inf}
    mapping = BitSliced(slices=slices, bits=bits)
    substrate = apc.Analog(
        device=device, read_noise=0.0, dac=apc.DAC(**ideal, scaling="none"), adc=apc.ADC(**ideal), mapping=mapping
    )
    theirs = numbers("crosssim_converters")[name]
    assert np.abs(crosssim(substrate) - theirs).max() < 1e-12 * np.abs(theirs).max()


@pytest.mark.parametrize(
    ("name", "weights", "inputs", "fields"),
    [
        ("det", "W", "X", {}),
        ("det_iter", "big", "XB", {"adc": apc.ADC(bound_management="iterative")}),
        ("det_none", "big", "XB", {}),
        ("det_nonm", "W", "X", {"dac": apc.DAC(scaling="none")}),
    ],
)
def test_reads_of_aihwkit(name, weights, inputs, fields):
    """Noise management, quantisation, saturation, and reading again where an output saturates after rounding."""
    theirs = numbers("aihwkit_reads")
    matrix = make_matrix(apc.Analog(device="ideal", read_noise=0.0, **fields), theirs[weights].astype(np.float64), Key(3))
    np.testing.assert_allclose(matrix.forward(theirs[inputs].astype(np.float64)), theirs[name], rtol=1e-12, atol=1e-11)
