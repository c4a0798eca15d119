"""Properties of all update schemes: specifications, bit-identity, resuming, scales, counters, and learning networks."""

import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.mappings import DeviceVector, DifferentialPair, OffsetColumn
from analogpc.devices.matrix import UnsupportedUpdateError
from analogpc.devices.presets import preset
from analogpc.devices.responses import ConstantStep
from analogpc.devices.schemes import (
    Agad,
    ChoppedTikiTaka,
    IdealUpdate,
    MixedPrecision,
    ProgramVerify,
    SignPulses,
    StochasticPulses,
    TikiTaka,
    TikiTakaV2,
)
from analogpc.devices.substrate import Analog
from analogpc.kernels.random.streams import Key
from analogpc.training.optimisers import SGD, AdamW

SCHEMES = [
    IdealUpdate(),
    StochasticPulses(),
    StochasticPulses(trains="deterministic", directions="separate"),
    StochasticPulses(bound_management="repeat", phases="twin"),
    SignPulses(every=2),
    MixedPrecision(every=2, lines=3, pre_bins=7, post_bins=7),
    TikiTaka(gamma=0.2, lines=2),
    TikiTakaV2(zero_pulses=4, reference_std=0.01, transfer_rate=0.5),
    ChoppedTikiTaka(output_chop_probability=0.3),
    Agad(chop_probability=0.5, lines=0, every=2),
    ProgramVerify(budget=5, every=2),
]
IDS = [f"{number}-{scheme.kind}" for number, scheme in enumerate(SCHEMES)]


def products(seed, n_in=40, n_out=30):
    rng = np.random.default_rng(seed)
    return [tuple(rng.normal(size=(5, n)).astype(np.float32) for n in (n_in, n_out)) for _ in range(2)]


def crossbar(scheme, device="reram-sb", weights=None, mapping=None, **fields):
    substrate = Analog(device=device, scheme=scheme, mapping=mapping or DifferentialPair(), **fields)
    weights = np.random.default_rng(1).normal(size=(30, 40)).astype(np.float32) if weights is None else weights
    return make_matrix(substrate, weights, Key(4))


@pytest.mark.parametrize("scheme", SCHEMES, ids=IDS)
def test_specifications_survive_toml(scheme):
    substrate = Analog(device="reram-sb", scheme=scheme, mapping=DifferentialPair())
    assert Analog.from_toml(substrate.to_toml()) == substrate
    assert type(scheme).from_toml(scheme.to_toml()) == scheme


@pytest.mark.parametrize("scheme", SCHEMES, ids=IDS)
def test_threads_change_no_bit(scheme, with_threads):
    def trained():
        matrix = crossbar(scheme)
        for seed in range(4):
            matrix.learn(products(seed), 0.02)
        return matrix.weights(), matrix.meter.as_dict()

    (one, meter_one), (two, meter_two) = with_threads(trained)
    np.testing.assert_array_equal(one, two)
    assert meter_one == meter_two
    assert not np.array_equal(one, crossbar(scheme).weights())


@pytest.mark.parametrize("scheme", SCHEMES, ids=IDS)
def test_a_stop_in_between_changes_no_bit(scheme, tmp_path):
    """Through the very file format that runs use."""
    from analogpc.files.storage import read_file, write_file

    matrix = crossbar(scheme)
    for seed in range(3):
        matrix.learn(products(seed), 0.02)
    write_file(tmp_path / "state.h5", "run", {"matrix": matrix.snapshot()})
    other, twin = crossbar(scheme, weights=np.ones((30, 40), np.float32)), matrix.copy()
    other.restore(read_file(tmp_path / "state.h5", "run")["matrix"])
    for m in (matrix, other, twin):
        for seed in range(3, 6):
            m.learn(products(seed), 0.02)
    for m in (other, twin):
        np.testing.assert_array_equal(matrix.weights(), m.weights())
        assert m.meter == matrix.meter
        for array, same in zip(matrix.arrays, m.arrays, strict=True):
            assert array.pulses == same.pulses


@pytest.mark.parametrize("scheme", SCHEMES, ids=IDS)
def test_conductances_stay_within_their_limits_and_pulses_are_counted(scheme):
    matrix = crossbar(scheme, device="gokmen-vlasov")
    for seed in range(6):
        matrix.learn(products(seed), 5.0)
    arrays = [array for cells in (matrix.cells, *matrix.extra.values()) for array in cells.arrays]
    for array in arrays:
        assert (array.state >= array.parameters["low"]).all()
        assert (array.state <= array.parameters["high"]).all()
    assert matrix.meter.pulses == sum(array.pulses for array in arrays)
    assert matrix.meter.updates == 6 * 10
    assert (matrix.meter.pulses > 0) == (matrix.meter.programmed == 0)


TAKING = [IdealUpdate(), SignPulses(), MixedPrecision(), ProgramVerify()]


@pytest.mark.parametrize("scheme", SCHEMES, ids=IDS)
def test_increments_are_written_or_refused(scheme):
    matrix = crossbar(scheme)
    assert matrix.takes_increments == (type(scheme) in [type(one) for one in TAKING])
    if matrix.takes_increments:
        matrix.increment(np.zeros((30, 40), np.float32))
        assert matrix.update_cycles == 1
    else:
        with pytest.raises(UnsupportedUpdateError, match="plain SGD"):
            matrix.increment(np.zeros((30, 40), np.float32))


@pytest.mark.parametrize(
    ("scheme", "exact"),
    [
        (StochasticPulses(), False),
        (MixedPrecision(), True),
        (ProgramVerify(budget=10**5), True),
        (TikiTaka(lines=0, transfer_rate=1.0), False),
        (TikiTakaV2(lines=0, transfer_rate=1.0, most_pulses=2**20, momentum=0.0), True),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
@pytest.mark.parametrize("scaling", ["column", "tile"])
def test_scales_that_differ_change_no_update(scheme, exact, scaling):
    """Columns of very different weights in small arrays: the update is the product all the same."""
    response = ConstantStep(dw_min=1e-3, w_max=1.5, w_min=-1.5)
    device = Device(name="t", response=response, g_min_siemens=0, g_max_siemens=1e-5)
    weights = np.random.default_rng(0).normal(size=(30, 40)) * np.geomspace(0.5, 2, 30)[:, None]
    mapping = DifferentialPair(scaling=scaling)
    matrix = make_matrix(Analog.ideal(device=device, scheme=scheme, mapping=mapping, rows=16, columns=12), weights, Key(0))
    assert len(np.unique(matrix.scales)) > 5
    before = matrix.weights()
    rng = np.random.default_rng(5)
    x, d = np.tile(rng.normal(size=(1, 40)), (30, 1)), np.tile(rng.normal(size=(1, 30)), (30, 1))
    rate = 5e-4
    if isinstance(scheme, TikiTaka | TikiTakaV2):
        # What reached the fast cells was carried over whole.
        matrix.learn([(x, d)], rate)
        wanted = matrix.extra["fast"].difference().T * matrix.scale_grid().T
        assert np.corrcoef(wanted.ravel(), (d.T @ x).ravel())[0, 1] > 0.85
    else:
        matrix.learn([(x, d)], rate)
        wanted = rate * d.T @ x
    moved = matrix.weights() - before
    granules = np.broadcast_to(matrix.granules(), (40, 30)).T
    if exact:
        assert (np.abs(moved - wanted) < granules * 1.001).all()
    else:
        # 1200 binomial numbers along 70 lines.
        assert abs((moved * wanted).sum() / (wanted**2).sum() - 1) < 0.1


@pytest.mark.parametrize("name", ["gokmen-vlasov", "ecram", "reram-es", "capacitor", "reram-array-om", "pcm", "reram-sb"])
@pytest.mark.parametrize("scheme", [one for one in SCHEMES if one.kind != "stochastic-pulses"], ids=lambda one: one.kind)
def test_every_preset_that_learns_runs_with_every_scheme(scheme, name):
    if preset(name).response.unipolar and hasattr(scheme, "pulses") and not isinstance(scheme, SignPulses):
        with pytest.raises(ValueError, match="symmetry point"):
            Analog(device=name, scheme=scheme)
        return
    matrix = make_matrix(Analog(device=name, scheme=scheme), np.full((6, 8), 0.2, np.float32), Key(1))
    before = matrix.weights()
    for seed in range(4):
        matrix.learn(products(seed, 8, 6), 0.5)
    assert matrix.all_finite()
    assert not np.array_equal(matrix.weights(), before)


@pytest.mark.parametrize("mapping", [OffsetColumn(), DeviceVector(policy="in-turn"), DifferentialPair(subtraction="digital")])
@pytest.mark.parametrize("scheme", [MixedPrecision(), TikiTakaV2(gamma=0.1), ProgramVerify(), SignPulses()], ids=lambda s: s.kind)
def test_other_mappings(scheme, mapping):
    matrix = crossbar(scheme, device="idealized", mapping=mapping)
    before = matrix.weights()
    for seed in range(4):
        matrix.learn(products(seed), 0.1)
    wanted = sum(0.1 * d.T @ x for seed in range(4) for x, d in products(seed))
    moved = matrix.weights() - before
    assert np.corrcoef(moved.ravel(), wanted.ravel())[0, 1] > (0.3 if scheme.kind == "tiki-taka-v2" else 0.7)


FEW = {"lines": 0, "unit": "batch", "most_pulses": 100}
TRAINED = [
    (MixedPrecision(), SGD(learning_rate=0.1), 10, 0.85),
    (MixedPrecision(), AdamW(learning_rate=3e-3), 3, 0.85),
    (TikiTakaV2(lines=0, transfer_rate=0.05, most_pulses=20), SGD(learning_rate=0.1), 10, 0.8),
    (TikiTaka(lines=0, transfer_rate=0.05), SGD(learning_rate=0.1), 3, 0.4),
    (ChoppedTikiTaka(**FEW, chop_probability=0.02, fast_rate=0.5), SGD(learning_rate=0.1), 2, 0.4),
    (Agad(**FEW), SGD(learning_rate=0.1), 3, 0.25),
    (SignPulses(pulses=20), SGD(learning_rate=0.1), 3, 0.5),
    (ProgramVerify(every=4), SGD(learning_rate=0.1), 3, 0.5),
    (StochasticPulses(trains="deterministic"), SGD(learning_rate=0.1), 3, 0.5),
]


@pytest.mark.parametrize(("scheme", "optimiser", "epochs", "floor"), TRAINED, ids=lambda value: getattr(value, "kind", ""))
def test_networks_learn(scheme, optimiser, epochs, floor):
    net = apc.mlp([64, 32, 10], activation="leaky_relu", substrate=apc.Analog(device="idealized", scheme=scheme))
    rule = apc.PredictiveCoding(steps=4, step_size=0.8, precision="spiking", update="forward")
    run = apc.fit(net, rule, apc.load_data("digits"), epochs=epochs, batch_size=64, seed=0, optimiser=optimiser, progress=False)
    assert run.history["test_accuracy"][-1] > floor
    assert sum(run.history["pulses"]) > 0
