"""Every substrate on every backend: the same devices, reads, updates and counts as on the CPU.

They are bit-identical if products are computed on the CPU. On a GPU products, sums and functions such as exp round differently, which can
move a value to the next code of a converter: there, reads agree within two such steps, and nearly everywhere much better.
"""

from __future__ import annotations

import importlib.util
import sys

import emulated_gpu
import numpy as np
import pytest
from matrix_pairs import BATCH, N_IN, N_OUT, PROGRAMMED, SOFT, TILES, agree, inputs, made, pair, same_counts, same_state

from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.costs.meter import Meter, count
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.mappings import BitSliced, DeviceVector, DifferentialPair, OffsetColumn, OneSidedPair
from analogpc.devices.matrix import Matrix, ReadStream, TwoPhases
from analogpc.devices.nonidealities import (
    ConstantExponent,
    ConstantNoise,
    Endurance,
    Faults,
    Flicker,
    Levels,
    MiloRRAM,
    PowerLawDrift,
    RelativeNoise,
    Retention,
    Sinh,
    Telegraph,
    Thermal,
    UniformSpread,
)
from analogpc.devices.responses import ConstantStep, MeasuredSteps
from analogpc.devices.schemes import IdealUpdate
from analogpc.devices.substrate import Analog
from analogpc.devices.wires.wired_array import Wires
from analogpc.kernels.gpu.arrays import GpuError, in_tree, to_host
from analogpc.kernels.random.streams import Key

UNEVEN = {"offset_lsb": 0.4, "gain_error": 0.03, "dnl_lsb": 0.3, "inl_lsb": 0.5}
LEAKING = SOFT.but(
    lifetime=50.0, lifetime_dtod=0.2, diffusion=0.01, diffusion_dtod=0.1, reset=0.1, reset_dtod=0.02, write_noise_std=0.5
)
MEASURED = MeasuredSteps(
    dw_min=0.01,
    dw_min_dtod=0.2,
    chances=(0.0, 0.1, 0.6, 1.0),
    quantiles_up=((-0.5, 0.5, 1.5, 4.0), (-1.0, 0.2, 0.8, 1.5)),
    quantiles_down=((-1.0, 0.3, 0.9, 2.0), (-0.2, 0.6, 1.2, 3.0)),
)
UNIPOLAR = ConstantStep(dw_min=0.05, w_min=0.0)

SUBSTRATES: dict[str, Analog] = {
    "idealized": Analog(**TILES),
    "ideal": Analog.ideal(),
    "reram-sb": Analog(device="reram-sb", **TILES, mapping=OffsetColumn()),
    "reram-es": Analog(device="reram-es", **TILES, mapping=DifferentialPair(subtraction="digital", scaling="column")),
    "array-om": Analog(device="reram-array-om", **TILES, dac=DAC(encoding="bit-serial", bits=5)),
    "pcm": Analog(device="pcm", **TILES, read_noise=0.01),
    "pcm-inference": Analog(device="pcm-inference", **TILES, drift_compensation=True),
    "reram-wan": Analog(device="reram-wan", **TILES, mapping=BitSliced(slices=2, bits=3)),
    "sonos": Analog(device="sonos", **TILES, mapping=BitSliced(accumulation="analog")),
    "leaking": Analog(device=made(LEAKING), **TILES, mapping=DifferentialPair(scaling="tile", headroom=1.5)),
    "uneven": Analog(
        device=made(),
        **TILES,
        dac=DAC(bits=6, scaling="average", noise_lsb=0.2, **UNEVEN),
        adc=ADC(bits=7, bound=3.0, calibration="gain-offset", noise_lsb=0.3, **UNEVEN),
        mapping=DifferentialPair(scaling="column"),
    ),
    "weight-noise": Analog(device=made(read_noise=RelativeNoise(relative=0.1)), **TILES, mapping=OffsetColumn(scaling="tile")),
    "curved": Analog(device=made(conduction=Sinh(scale_volts=0.3)), **TILES, mapping=DifferentialPair(minus="reference")),
    "milo": Analog(device=made(conduction=MiloRRAM()), **TILES, dac=DAC(encoding="pulse-width")),
    "iterative": Analog(device=made(), **TILES, adc=ADC(bound=0.8, bound_management="iterative")),
    "percentile": Analog(device=made(), **TILES, dac=DAC(scaling="percentile", scaling_value=80.0)),
    "vector": Analog(device=made(), **TILES, mapping=DeviceVector(gammas=(0.6, 0.4), policy="random")),
    "one-sided": Analog(
        device=made(UNIPOLAR.but(reset_std=0.01)), mapping=OneSidedPair(refresh_above=0.3, partner_above=0.1), **TILES
    ),
    "faulty": Analog(
        device=made(faults=Faults(stuck_low=0.05, stuck_random=0.05, open_devices=0.05, dead_rows=0.1)),
        **TILES,
        mapping=DifferentialPair(spare_rows=1, compensate=True),
    ),
    "wearing": Analog(
        device=made(endurance=Endurance(stuck_low_pulses=30.0, stuck_high_pulses=60.0, stuck_high_shape=2.0)),
        **TILES,
    ),
    "measured-steps": Analog(device=made(MEASURED), **TILES),
    "old": Analog(
        device=made(
            drift=Retention(lifetime_seconds=1e4, lifetime_dtod=0.3, rest_siemens=1e-6),
            flicker=Flicker(amplitude=0.01),
            telegraph=Telegraph(probability=0.5, amplitude_dtod=0.3, times_dtod=1.0),
            thermal=Thermal(activation_ev=0.05, activation_ev_dtod=0.01),
            read_noise=ConstantNoise(std_siemens=1e-7),
        ),
        **TILES,
        temperature_kelvin=350.0,
    ),
    "drifting": Analog(
        device=made(drift=PowerLawDrift(exponent=ConstantExponent(mean=0.05, std=0.01)), flicker=Flicker(amplitude=0.01)), **TILES
    ),
    "levels": Analog(
        device=made(PROGRAMMED, levels=Levels(positions=(0.0, 0.1, 0.3, 0.7, 1.0)), programming=UniformSpread(half_width_siemens=5e-7)),
        **TILES,
    ),
    "counted": Analog(device=made(PROGRAMMED, levels=Levels(count=17)), **TILES, scheme=IdealUpdate()),
    "wires": Analog(device=made(read_noise=RelativeNoise(relative=0.1)), **TILES, wire_ohms=50.0),
    "wired-column": Analog(device=made(), **TILES, wires=Wires(row_ohms=30.0, sense_ohms=10.0, refresh=0.01), mapping=OffsetColumn()),
}  # fmt: skip

ROUNDED = ("levels",)
"""Substrates with a function that rounds differently even on the emulated GPU: erf."""
CASES = [(name, np.float32) for name in SUBSTRATES] + [
    (name, np.float64) for name in ("ideal", "reram-sb", "uneven", "one-sided", "old", "wires")
]
"""Every substrate in one type; one for each path of a matrix in the other, in which the kernels are tested on their own."""


pytestmark = pytest.mark.usefixtures("no_shortcuts", "whole_products")


def lived(here: CrossbarMatrix, there: CrossbarMatrix, kind: type, exact: bool) -> None:
    """Apply the same reads, updates, ageing and programming to both."""
    like = there.anchor
    for turn in range(3):
        x, g = inputs(kind, turn)
        x_there, g_there = np.asarray(x, like=like), np.asarray(g, like=like)
        agree(there.forward(x_there), here.forward(x), exact)
        agree(there.backward(g_there), here.backward(g), exact)
        rate = (0.02, -0.01, 0.05)[turn]
        here.learn([(x, g)], rate)
        there.learn([(x_there, g_there)], rate)
        agree(there.weights(), here.weights(), exact, 2e-2)
    for matrix in (here, there):
        matrix.elapse(1234.5)
    agree(there.weights(), here.weights(), exact, 2e-2)
    agree(there.forward(x_there), here.forward(x), exact)
    for matrix in (here, there):
        matrix.key_streams(Key(8))
        matrix.elapse(1e6)
    agree(there.forward(x_there), here.forward(x), exact)
    here.program((g.T @ x) * kind(0.05))
    there.program(np.asarray((g.T @ x) * kind(0.05), like=like))
    agree(there.weights(), here.weights(), exact, 2e-2)
    agree(there.backward(g_there), here.backward(g), exact)
    assert bool(there.all_finite())
    same_state(in_tree(to_host, there.snapshot()), here.snapshot(), exact)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_matrix_lives_as_on_the_cpu(exact, name, kind) -> None:
    here, there = pair(SUBSTRATES[name], kind)
    exact = exact and name not in ROUNDED
    lived(here, there, kind, exact)


@pytest.mark.parametrize("name", ["reram-sb", "old", "uneven"])
def test_states_go_to_and_fro(exact, name) -> None:
    """A state is taken over from either backend, and what follows is the same; copies are independent."""
    there = pair(SUBSTRATES[name])[1]
    (x, g), like = inputs(np.float32), there.anchor
    x_there, g_there = np.asarray(x, like=like), np.asarray(g, like=like)
    there.learn([(x_there, g_there)], 0.05)
    back, fresh = there.copy("cpu"), pair(SUBSTRATES[name])
    same_state(back.snapshot(), in_tree(to_host, there.snapshot()), True)
    for matrix in fresh:
        matrix.restore(there.snapshot())
        assert matrix.backend == ("cpu" if matrix is fresh[0] else "gpu")
        same_state(in_tree(to_host, matrix.snapshot()), in_tree(to_host, there.snapshot()), True)
    again, before = there.copy(), to_host(there.weights())
    expected = there.forward(x_there).get()
    agree(again.forward(x_there), expected, True)
    agree(fresh[1].forward(x_there), expected, True)
    for matrix in (back, fresh[0]):
        agree(np.asarray(matrix.forward(x), like=like), expected, exact)
    again.learn([(x_there, g_there)], 0.05)
    back.learn([(x, g)], 0.05)
    agree(there.weights(), before, True)
    agree(again.weights(), back.weights(), exact, 2e-2)


def test_reads_wait_for_nothing(emulated) -> None:
    """Counts of clipped values stay on the GPU until someone looks."""
    narrow = Analog(device=made(), dac=DAC(scaling="none"), adc=ADC(bound=0.5), **TILES)
    substrates = [narrow, *(SUBSTRATES[name] for name in ("idealized", "reram-sb", "uneven", "weight-noise", "old", "reram-wan"))]
    for substrate in substrates:
        here, there = pair(substrate)
        x, g = inputs(np.float32)
        x_there, g_there = emulated.array(x), emulated.array(g)
        before = emulated_gpu.MACHINE.waits
        for _ in range(3):
            there.forward(x_there), there.backward(g_there)
        assert emulated_gpu.MACHINE.waits == before
        for _ in range(3):
            here.forward(x), here.backward(g)
        same_counts(there.meter.as_dict(), here.meter.as_dict())
        assert emulated_gpu.MACHINE.waits > before
        if substrate is narrow:
            assert there.meter.saturated_out > 0
            assert there.meter.saturated_in > 0


def test_digital_matrices_wait_for_nothing(emulated, rng) -> None:
    weights, (x, g) = rng.normal(size=(N_OUT, N_IN)), inputs(np.float64)
    here: Matrix = DigitalMatrix(weights)
    there, before = here.copy("gpu"), emulated_gpu.MACHINE.waits
    x_there, g_there = emulated.array(x), emulated.array(g)
    found = there.forward(x_there), there.backward(g_there)
    for products in ([(x, g)], TwoPhases([(x, g)], [(x + 1, g)])):
        here.learn(products, 0.1)
    for products in ([(x_there, g_there)], TwoPhases([(x_there, g_there)], [(x_there + 1, g_there)])):
        there.learn(products, 0.1)
    there.increment(emulated.array(weights))
    here.increment(weights)
    finite = there.all_finite()
    assert emulated_gpu.MACHINE.waits == before
    assert bool(finite)
    assert there.meter.updates == here.meter.updates == 3 * BATCH
    np.testing.assert_array_equal(found[0].get(), x @ weights.T)
    np.testing.assert_array_equal(found[1].get(), g @ weights)
    np.testing.assert_array_equal(there.weights().get(), here.weights())
    twin = there.copy("cpu")
    np.testing.assert_array_equal(twin.weights(), here.weights())
    twin.restore(there.snapshot())
    there.restore(here.snapshot())
    assert (twin.backend, there.backend) == ("cpu", "gpu")
    np.testing.assert_array_equal(there.weights().get(), twin.weights())


def test_an_evaluation_in_between_leaves_no_trace(exact) -> None:
    here, there = pair(SUBSTRATES["reram-sb"])
    x, meter = inputs(np.float32)[0], Meter()
    x_there = np.asarray(x, like=there.anchor)
    former = there.swap_session(ReadStream(Key(9)), meter)
    there.forward(x_there)
    assert there.swap_session(*former)[1] is meter
    agree(there.forward(x_there), here.forward(x), exact)
    assert (meter.forward_reads, there.meter.forward_reads) == (BATCH, BATCH)


def test_tiles_are_in_main_memory(device) -> None:
    here, there = pair(SUBSTRATES["faulty"])
    for tile, other in zip(there.tiles(), here.tiles(), strict=True):
        assert (tile.rows, tile.columns) == (other.rows, other.columns)
        for found, expected in ((tile.conductances[name], other.conductances[name]) for name in other.conductances):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(tile.stuck, other.stuck)
        np.testing.assert_array_equal(tile.scale, other.scale)


def test_currents_of_an_array(exact, rng) -> None:
    array, there = (matrix.arrays[0] for matrix in pair(SUBSTRATES["curved"], np.float64))
    volts = rng.normal(size=(4, N_IN))
    agree(there.read(np.asarray(volts, like=there.state)), array.read(volts), exact)
    agree(
        there.read_transposed(np.asarray(volts[:, :N_OUT].copy(), like=there.state)),
        array.read_transposed(volts[:, :N_OUT]),
        exact,
    )


def test_what_the_gpu_cannot_do_is_refused_in_one_sentence(device) -> None:
    curved = made(conduction=Sinh(scale_volts=0.3))
    matrix = make_matrix(Analog(device=curved, wire_ohms=10.0, **TILES), np.zeros((2, 3)), Key(1))
    with pytest.raises(
        ValueError, match="the backend 'gpu' cannot hold this matrix: wires with the conduction 'sinh' are solved on the CPU only"
    ):
        matrix.copy("gpu")
    assert matrix.copy("cpu").backend == "cpu"


def test_counts_are_ints_to_whoever_looks(device) -> None:
    meter, amount = Meter(saturated_in=3), device.array(np.array([2, 5])).sum()
    count(meter, saturated_in=amount, pulses=amount)
    count(meter, saturated_in=amount, pulses=4)
    whole = Meter(pulses=1)
    whole.add(meter)
    assert (meter.saturated_in, meter.pulses, whole.pulses) == (17, 11, 12)
    fractions = {"read_siemens", "charged_rows", "charged_columns", "half_selected_siemens", "pulsed_siemens"}
    assert all(type(value) is (float if name in fractions else int) for name, value in meter.as_dict().items())
    assert Meter(**meter.as_dict()) == meter
    count(meter, pulses=amount)
    meter.pulses = 2
    assert meter.pulses == 2


def test_without_a_gpu_it_is_said() -> None:
    if "cupy" in sys.modules or importlib.util.find_spec("cupy"):
        pytest.skip("CuPy is installed here")
    with pytest.raises(GpuError, match=r"^the backend 'gpu' needs CuPy"):
        make_matrix(Analog.ideal(), np.eye(2), Key(1)).copy("gpu")
