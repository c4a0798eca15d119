"""Runs and exports in files: complete round trips, and reading with other programs."""

import h5py
import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.converters.specification import ADC
from analogpc.devices.mappings import DifferentialPair
from analogpc.files.export import ExportError
from analogpc.files.storage import StorageError, read_file, write_file


@pytest.fixture(scope="module")
def data():
    return apc.load_data("digits").take(200, 50)


def short_run(data, substrate, **fields):
    network = apc.mlp([64, 12, 10], substrate=substrate, **fields)
    return apc.fit(network, apc.Backprop(), data, epochs=1, progress=False)


SUBSTRATES = [
    apc.Digital(),
    apc.Analog(device="idealized"),
    apc.Analog(device="reram-sb", mapping=DifferentialPair(minus="active"), rows=30, columns=7, adc=ADC(bits=6)),
    apc.Analog.ideal(),
    apc.Analog(device="idealized", rows=20, scheme={"kind": "tiki-taka", "gamma": 0.5}),
]


@pytest.mark.parametrize("substrate", SUBSTRATES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_comes_back_whole(substrate, dtype, data, tmp_path):
    run = short_run(data, substrate, dtype=dtype)
    run.save(tmp_path / "run.h5")
    back = apc.Run.load(tmp_path / "run.h5")
    assert back.study == run.study
    assert back.history == run.history
    assert back.environment == run.environment
    network = apc.load(tmp_path / "run.h5")
    for a, b in zip(run.network.matrices().values(), network.matrices().values(), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())
        assert a.weights().dtype == b.weights().dtype == dtype
    x = data.inputs("test", np.arange(5), dtype=dtype)
    np.testing.assert_array_equal(run.network.predict(x), network.predict(x))


def test_saving_again_gives_the_same_file(data, tmp_path):
    run = short_run(data, SUBSTRATES[2])
    run.save(tmp_path / "a.h5")
    apc.Run.load(tmp_path / "a.h5").save(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def rebuilt(path, name):
    """The recipe of docs/files.md, with plain h5py."""
    with h5py.File(path) as f:
        matrix = f["matrices"][name]
        factors = matrix["factors"].attrs
        weights = np.zeros((matrix.attrs["n_out"], matrix.attrs["n_in"]))
        for tile in matrix["tiles"].values():
            assert all(g.attrs["unit"] == "S" for g in tile["conductances"].values())
            i, j = tile.attrs["first_output"], tile.attrs["first_input"]
            difference = sum(factors[name] * g[...].astype(float) for name, g in tile["conductances"].items())
            assert difference.shape[0] <= matrix.attrs["rows_per_array"]
            assert difference.shape[1] <= matrix.attrs["columns_per_array"]
            scaled = difference * tile["weight_per_siemens"][...]
            weights[i : i + scaled.shape[1], j : j + scaled.shape[0]] = scaled.T
    return weights


@pytest.mark.parametrize("substrate", SUBSTRATES[1:])
def test_exported_conductances_are_the_weights(substrate, data, tmp_path):
    run = short_run(data, substrate, dtype="float64")
    path = tmp_path / "crossbars.h5"
    apc.export_crossbars(run.network, path)
    device = substrate.device
    for name, matrix in run.network.matrices().items():
        if name.endswith("bias"):
            with h5py.File(path) as f:
                np.testing.assert_array_equal(f["digital"][name][...], matrix.weights())
            continue
        np.testing.assert_allclose(rebuilt(path, name), matrix.weights(), rtol=1e-9, atol=1e-9 * np.abs(matrix.weights()).max())
        with h5py.File(path) as f:
            for tile in f["matrices"][name]["tiles"].values():
                for g in tile["conductances"].values():
                    g = g[...]
                    assert g.min() >= device.g_min_siemens * (1 - 1e-9)
                    assert g.max() <= device.g_max_siemens * (1 + 1e-9)
    tree = read_file(path, "crossbars")
    assert apc.Analog.from_toml(tree["substrate"]) == substrate


def test_fast_cells_that_reads_see_can_be_a_netlist(data, tmp_path):
    network = short_run(data, SUBSTRATES[4]).network
    assert apc.export_netlist(network, tmp_path / "x.cir", "layer1.0.weight/1/fast.plus") == "layer1.0.weight/1/fast.plus"
    g = list(network.matrices()["layer1.0.weight"].tiles())[1].conductances["fast.plus"]
    assert (tmp_path / "x.cir").read_text().count("\nRd") == np.count_nonzero(g)
    assert np.ptp(g) > 0


def test_digital_networks_have_no_conductances(tmp_path):
    with pytest.raises(ExportError, match=r"put it on crossbars first, with net\.on"):
        apc.export_crossbars(apc.mlp([4, 2]), tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def test_what_is_not_a_run_is_refused(data, tmp_path):
    apc.export_crossbars(short_run(data, SUBSTRATES[1]).network, tmp_path / "crossbars.h5")
    with pytest.raises(StorageError, match="run"):
        apc.load(tmp_path / "crossbars.h5")
    write_file(tmp_path / "odd.h5", "run", {"study": "epochs = -1"})
    with pytest.raises(StorageError, match="is not compatible with this version of analogpc"):
        apc.load(tmp_path / "odd.h5")


def test_an_array_is_exported_as_a_netlist(tmp_path):
    """The netlist holds the conductances of the tile and the wires; what it computes is tested against ngspice elsewhere."""
    network = apc.mlp([6, 4], substrate=apc.Analog(device="reram-wan", rows=4, columns=3, wire_ohms=2.5))
    assert apc.export_netlist(network, tmp_path / "a.cir") == "layer1.0.weight/0/plus"
    assert apc.export_netlist(network, tmp_path / "b.cir", "layer1.0.weight/3/minus", volts=0.1) == "layer1.0.weight/3/minus"
    tiles = list(network.matrices()["layer1.0.weight"].tiles())
    for name, tile, devices, volts in (("a", 0, "plus", 0.2), ("b", 3, "minus", 0.1)):
        text = (tmp_path / f"{name}.cir").read_text()
        g = tiles[tile].conductances[devices]
        written = [float(line.split()[3]) for line in text.splitlines() if line.startswith("Rd")]
        np.testing.assert_allclose(sorted(written), sorted(1 / g[g > 0].astype(float)), rtol=1e-9)
        assert text.count(" 2.5\n") == 2 * g.size
        assert text.count(f"DC {volts!r}\n") == len(g)


@pytest.mark.parametrize(
    ("substrate", "array", "sentence"),
    [
        (apc.Digital(), "", "has no arrays"),
        (apc.Analog(device="reram-wan"), "layer1.0.weight/1/plus", "there is no array 'layer1.0.weight/1/plus'; there are 2"),
        (apc.Analog(device="rram-milo"), "", "not the conduction 'milo-rram'"),
    ],
)
def test_what_cannot_be_a_netlist_is_refused(substrate, array, sentence, tmp_path):
    with pytest.raises(ExportError, match=sentence):
        apc.export_netlist(apc.mlp([4, 2], substrate=substrate), tmp_path / "x.cir", array)
    assert not (tmp_path / "x.cir").exists()
