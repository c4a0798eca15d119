"""The Tiki-Taka family: recursions against plain restatements, choppers, references and scalings."""

import numpy as np
import pytest

from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.mappings import DifferentialPair, OffsetColumn
from analogpc.devices.matrix import TwoPhases, UnsupportedUpdateError
from analogpc.devices.responses import ConstantStep, SoftBounds
from analogpc.devices.schemes import Agad, ChoppedTikiTaka, StochasticPulses, TikiTaka, TikiTakaV2
from analogpc.devices.substrate import Analog
from analogpc.kernels.random.streams import Key

STEP, N_IN, N_OUT = 2.0**-10, 7, 5


def crossbar(scheme, response=None, shape=(N_OUT, N_IN), minus="active", **fields):
    response = response or ConstantStep(dw_min=STEP, w_max=64, w_min=-64)
    device = Device(name="t", response=response, g_min_siemens=0, g_max_siemens=1e-5)
    substrate = Analog.ideal(device=device, scheme=scheme, mapping=DifferentialPair(minus=minus), **fields)
    matrix = make_matrix(substrate, np.zeros(shape), Key(7))
    matrix.scales[...] = 1.0
    matrix.program(np.zeros(shape))
    return matrix


def fast(matrix):
    return matrix.extra["fast"].difference() * matrix.scale_grid()


def slow(matrix):
    return matrix.cells.difference() * matrix.scale_grid()


def batches(rng, count, n=4):
    for _ in range(count):
        yield rng.normal(size=(n, N_IN)), rng.normal(size=(n, N_OUT))


def test_the_first_version_adds_what_it_reads(rng):
    """One word line after the other; deterministic trains write it to within their three roundings."""
    exact = StochasticPulses(trains="deterministic")
    scheme = TikiTaka(pulses=exact, transfer_pulses=exact, transfer_rate=0.2, every=2, lines=2, gamma=0.5)
    matrix = crossbar(scheme)
    granule, line = matrix.granularity, 0
    for number, (x, d) in enumerate(batches(rng, 12)):
        before, was = slow(matrix), fast(matrix)
        matrix.learn([(x, d)], 0.003)
        moved, wanted = slow(matrix) - before, np.zeros((N_IN, N_OUT))
        # The fast cells follow the products sample by sample, each rounded.
        assert np.abs(fast(matrix) - was - 0.003 * x.T @ d).max() < 4 * granule
        assert (fast(matrix) != was).any()
        if number % 2:
            lines = [line, (line + 1) % N_IN]
            line = (line + 2) % N_IN
            wanted[lines] = 0.2 * fast(matrix)[lines]
        assert np.abs(moved - wanted).max() <= 1.75 * granule
    np.testing.assert_allclose(matrix.weights().T, slow(matrix) + 0.5 * fast(matrix), atol=1e-12)
    x = rng.normal(size=(3, N_IN))
    np.testing.assert_allclose(matrix.forward(x), x @ matrix.weights().T, atol=1e-12)
    assert matrix.memory["sweeps"] == 12 // 7
    assert matrix.meter.forward_reads == 12 + 3


@pytest.mark.parametrize(
    "scheme",
    [
        TikiTakaV2(transfer_rate=0.3, every=3),
        TikiTakaV2(transfer_rate=0.3, lines=0, forget_buffer=False, momentum=0.25, most_pulses=4),
        TikiTakaV2(transfer_rate=40.0, transfer_scaling="rate", unit="product", every=3, lines=3, threshold=2.0),
        TikiTakaV2(transfer_rate=0.3, auto_granularity=5.0, lines=2, most_pulses=7),
    ],
    ids=lambda scheme: f"{scheme.unit} {scheme.every} {scheme.lines}",
)
def test_the_buffer_follows_its_recursion(scheme, rng):
    """Every transfer restated in plain NumPy, from the fast cells as they are; products one by one where those are counted."""
    matrix = crossbar(scheme)
    granule, rate = matrix.granularity, 0.004
    buffer, line, waited, written = np.zeros((N_IN, N_OUT)), 0, 0, 0
    epsilon = granule * scheme.threshold
    if scheme.auto_granularity:
        epsilon *= scheme.auto_granularity / (N_IN / scheme.lines * scheme.every)
    share = scheme.transfer_rate * (rate if scheme.transfer_scaling == "rate" else 1)
    for x, d in batches(rng, 60, 1):
        before = slow(matrix)
        matrix.learn([(x, d)], rate)
        expected = before.copy()
        waited += 1
        if waited == scheme.every:
            waited = 0
            for _ in range(scheme.lines or N_IN):
                buffer[line] += share * fast(matrix)[line]
                n = np.clip(np.trunc(buffer[line] / epsilon), -scheme.most_pulses, scheme.most_pulses)
                left = scheme.momentum * buffer[line]
                if not scheme.forget_buffer:
                    left = buffer[line] - (1 - scheme.momentum) * n * epsilon
                buffer[line] = np.where(n != 0, left, buffer[line])
                expected[line] += n * granule
                written += np.abs(n).sum()
                line = (line + 1) % N_IN
        np.testing.assert_allclose(slow(matrix), expected, atol=1e-12)
        np.testing.assert_allclose(matrix.memory["buffer"], buffer, atol=1e-12)
    assert written > 0
    # All pulses beside those of the slow cells went to the fast ones.
    assert sum(array.pulses for array in matrix.arrays) == 2 * written
    every = [*matrix.arrays, *matrix.extra["fast"].arrays]
    assert matrix.meter.pulses == sum(array.pulses for array in every)
    assert matrix.meter.forward_reads == (60 // scheme.every) * (scheme.lines or N_IN)
    assert matrix.meter.conversions_out == matrix.meter.forward_reads * N_OUT
    assert matrix.meter.conversions_in == matrix.meter.forward_reads * N_IN


@pytest.mark.parametrize("regular", [True, False])
def test_choppers_turn_the_gradient_round_and_back(regular, rng):
    """A gets c x, the buffer c times what A holds."""
    scheme = ChoppedTikiTaka(
        chop_probability=0.3,
        regular=regular,
        output_chop_probability=0.3,
        unit="batch",
        lines=3,
        fast_scaling="rate",
        fast_rate=1.0,
        transfer_scaling="absolute",
        transfer_rate=0.1,
    )
    matrix = crossbar(scheme)
    granule, buffer, line, turns = matrix.granularity, np.zeros((N_IN, N_OUT)), 0, []
    signs = []
    for x, d in batches(rng, 70, 6):
        before, was, chopped = slow(matrix), fast(matrix), matrix.memory["chopper"].copy()
        outputs = matrix.memory["output_chopper"].copy()
        matrix.learn([(x, d)], 0.02)
        wanted = 0.02 * (x * chopped).T @ (d * outputs)
        assert np.corrcoef((fast(matrix) - was).ravel(), wanted.ravel())[0, 1] > 0.8
        expected = before.copy()
        for _ in range(3):
            # The output choppers may turn in the middle, after a sweep.
            sign = chopped[line] * outputs
            buffer[line] += 0.1 * sign * fast(matrix)[line]
            n = np.clip(np.trunc(buffer[line] / granule), -1, 1)
            buffer[line] = np.where(n != 0, 0, buffer[line])
            expected[line] += n * granule
            line = (line + 1) % N_IN
            if line == 0:
                outputs = matrix.memory["output_chopper"].copy()
        np.testing.assert_allclose(slow(matrix), expected, atol=1e-12)
        np.testing.assert_allclose(matrix.memory["buffer"], buffer, atol=1e-12)
        turns.append((matrix.memory["chopper"] != chopped).sum())
        signs.append(matrix.memory["chopper"].copy())
    assert set(np.unique(signs)) == {-1.0, 1.0}
    sweeps = 70 * 3 // N_IN
    assert matrix.memory["sweeps"] == sweeps
    if regular:
        assert sum(turns) == N_IN * (sweeps // scheme.period) + (0 if sweeps % 4 != 3 else sum(turns) % N_IN)
    else:
        # Binomial: 210 reads at 0.3; 5 deviations.
        assert abs(sum(turns) - 63) < 5 * np.sqrt(210 * 0.3 * 0.7)


def test_agad_subtracts_what_was_there_before_the_turn(rng):
    """The recursion restated: mean, reference of the last period, buffer; nothing is written in the first period."""
    scheme = Agad(
        chop_probability=0.25,
        tail=2.0,
        unit="batch",
        lines=0,
        fast_scaling="rate",
        fast_rate=1.0,
        transfer_scaling="absolute",
        transfer_rate=0.1,
        most_pulses=3,
        forget_buffer=False,
    )
    matrix = crossbar(scheme)
    granule, sign = matrix.granularity, 1.0
    mean, past, buffer = (np.zeros((N_IN, N_OUT)) for _ in range(3))
    for sweep, (x, d) in enumerate(batches(rng, 30)):
        before = slow(matrix)
        np.testing.assert_array_equal(matrix.memory["chopper"], sign)
        matrix.learn([(x, d)], 0.02)
        found = fast(matrix)
        if sweep % 4 == 0:
            past = mean.copy()
        n = np.zeros_like(buffer)
        if sweep >= 4:
            buffer += 0.1 * sign * (found - past)
            n = np.clip(np.trunc(buffer / granule), -3, 3)
            buffer -= n * granule
        mean = 0.5 * mean + 0.5 * found
        if sweep % 4 == 3:
            sign = -sign
        np.testing.assert_allclose(slow(matrix), before + n * granule, atol=1e-12)
        np.testing.assert_allclose(matrix.memory["buffer"], buffer, atol=1e-12)
        np.testing.assert_allclose(matrix.memory["past"], past, atol=1e-12)
    assert matrix.weights().any()


def test_an_offset_of_the_fast_cells_cancels(rng):
    """Fast cells that stand still away from zero: v2 integrates them, choppers and the dynamic reference do not."""
    moved = {}
    settings = {"unit": "batch", "lines": 0, "fast_scaling": "rate", "transfer_scaling": "absolute", "transfer_rate": 0.1}
    for scheme in (
        TikiTakaV2(**settings),
        ChoppedTikiTaka(**settings, regular=True, chop_probability=0.1, forget_buffer=False),
        Agad(**settings, chop_probability=0.1, forget_buffer=False),
    ):
        matrix = crossbar(scheme)
        matrix.extra["fast"].program(np.full((N_IN, N_OUT), 20 * matrix.granularity))
        for _ in range(200):
            matrix.learn([(np.zeros((2, N_IN)), np.ones((2, N_OUT)))], 0.01)
        moved[scheme.kind] = np.abs(matrix.weights()).max() / matrix.granularity
    assert moved["tiki-taka-v2"] > 150
    # A chopped read returns after each pair of periods, up to what is in the buffer; within a period it moves by 20 granules.
    assert moved["chopped-tiki-taka"] <= 21
    # The running mean forgets where it started from within a few periods.
    assert moved["agad"] < 10


def test_fast_rates_and_transfer_rates(rng):
    """Automatic: the mean product fills fast_rate of a train; gradient: what C gets does not depend on the rate of A."""
    x, d = rng.normal(size=(8, N_IN)), rng.normal(size=(8, N_OUT))
    auto = TikiTakaV2(fast_scaling="auto", fast_rate=0.5, auto_momentum=0.5)
    matrix = crossbar(auto)
    largest = [np.abs(v).max(axis=1).mean() for v in (x, d)]
    matrix.learn([(x, d)], 0.123)
    expected = 0.5 * 31 * matrix.granularity / (largest[0] * largest[1])
    assert matrix.memory["fast_rate"] == pytest.approx(expected)
    matrix.learn([(3 * x, d)], 0.123)
    assert matrix.memory["largest_pre"] == pytest.approx(2 * largest[0])
    matrix.learn([(np.zeros_like(x), d)], 0.123)
    assert matrix.memory["largest_pre"] == pytest.approx(2 * largest[0])
    absolute = crossbar(TikiTakaV2(fast_scaling="absolute", fast_rate=0.005))
    absolute.learn([(x, d)], -0.123)
    assert absolute.memory["fast_rate"] == 0.005
    assert np.corrcoef(fast(absolute).ravel(), (x.T @ d).ravel())[0, 1] < -0.9
    moved = []
    for fast_rate in (0.001, 0.005):
        settings = {"fast_scaling": "absolute", "transfer_scaling": "gradient", "lines": 0, "most_pulses": 10**6}
        matrix = crossbar(TikiTakaV2(fast_rate=fast_rate, **settings), shape=(60, 80))
        x, d = np.tile(rng.normal(size=(1, 80)), (64, 1)), np.tile(rng.normal(size=(1, 60)), (64, 1))
        matrix.learn([(x, d)], 0.01)
        moved.append(np.polyfit((0.01 * d.T @ x).ravel(), matrix.weights().ravel(), 1)[0])
    assert moved == pytest.approx([1, 1], abs=0.1)
    idle = crossbar(auto)
    idle.learn([(x[:, :N_IN], d[:, :N_OUT])], 0.0)
    assert idle.meter.pulses == 0


@pytest.mark.parametrize("minus", ["active", "reference"])
def test_zero_shifting_finds_the_symmetry_point(minus):
    """Soft bounds rest where both steps are equal; the reads of cells that rest there are then zero."""
    response = SoftBounds(dw_min=0.01, up_down=0.2, up_down_dtod=0.1, w_max_dtod=0.1, w_min_dtod=0.1)
    matrix = crossbar(TikiTakaV2(zero_pulses=600), response=response, shape=(20, 30), minus=minus)
    points = []
    for array in matrix.extra["fast"].arrays:
        p = array.parameters
        points.append((p["up"] - p["down"]) / (p["up"] / p["high"] - p["down"] / p["low"]))
    wanted = points[0] - points[1] if minus == "active" else points[0]
    # After a pulse down a device is half a step below the middle of its cycle.
    np.testing.assert_allclose(matrix.memory["reference"], wanted, atol=0.02)
    assert np.abs(wanted).max() > 0.1
    assert np.abs(matrix.substrate.scheme._read(matrix, slice(0, 30))).max() < 0.01
    # Once when it was made, once when it was programmed anew.
    assert matrix.meter.device_reads == 2 * 600 * 300 * len(points)
    assert matrix.meter.pulses == 2 * 600 * 2 * 600 * len(points)
    assert not matrix.weights().any()


def test_the_error_of_the_reference_is_as_stated():
    matrix = crossbar(TikiTakaV2(reference_std=0.05), shape=(60, 70))
    error = matrix.memory["reference"]
    assert abs(error.std() / 0.05 - 1) < 5 / np.sqrt(2 * error.size)


def test_phases_of_the_fast_cells(rng):
    """Twins: each phase moves one leg of the fast cells; transfers count the batch once."""
    s = rng.uniform(0.1, 1, (3, 6))
    scheme = TikiTakaV2(pulses=StochasticPulses(phases="twin"))
    matrix = crossbar(scheme, shape=(6, 6))
    matrix.learn(TwoPhases([(s, s)], [(0.5 * s, 0.5 * s)]), 0.01)
    plus, minus = (array.state for array in matrix.extra["fast"].arrays)
    assert plus.mean() > 3 * minus.mean() > 0
    assert matrix.memory["line"] == 1
    assert matrix.meter.updates == 6


def test_refusals():
    for scheme in (TikiTaka(), TikiTakaV2(), ChoppedTikiTaka(), Agad()):
        with pytest.raises(ValueError, match="symmetry point"):
            Analog(device="pcm", scheme=scheme)
        with pytest.raises(ValueError, match="does not respond to pulses"):
            Analog.ideal(scheme=scheme)
        matrix = crossbar(scheme)
        assert not matrix.takes_increments
        with pytest.raises(UnsupportedUpdateError, match="plain SGD"):
            matrix.increment(np.ones((N_OUT, N_IN)))
    for scheme in (TikiTaka(gamma=0.1, zero_pulses=3), TikiTakaV2(gamma=0.1, reference_std=0.1)):
        with pytest.raises(ValueError, match="gamma"):
            Analog(device="idealized", scheme=scheme)
    Analog(device="idealized", mapping=OffsetColumn(), scheme=Agad())
