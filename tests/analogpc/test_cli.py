"""The command line: what it prints, what it writes, and how it refuses."""

import json
import subprocess
import sys

import pytest

import analogpc as apc
from analogpc.commands.app import main
from analogpc.devices.presets import PRESETS


@pytest.fixture
def call(capsys):
    """Run the command line; return exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small run on a crossbar, made by the command itself."""
    folder = tmp_path_factory.mktemp("cli")
    study = folder / "study.toml"
    study.write_text('rule = "s+f"\nsubstrate = "idealized"\nepochs = 2\n[network]\nkind = "mlp"\nwidths = [64, 16, 10]\n')
    path = folder / "run.h5"
    with pytest.raises(SystemExit) as end:
        main(["train", str(study), "--set", "substrate.rows=40", "--seed", "3", "--out", str(path), "--json"])
    assert not end.value.code
    return path


def test_train_writes_the_run_that_was_asked_for(trained):
    run = apc.Run.load(trained)
    assert run.finished
    assert run.study.seed == run.study.network_seed == 3
    assert run.study.substrate.rows == 40
    assert run.study.network.widths == (64, 16, 10)
    assert run.study.optimiser.kind == "sgd"


def test_train_prints_one_json_object(call, tmp_path):
    status, out, _ = call("train", "--rule", "bp", "--device", "digital", "--epochs", 1, "--out", tmp_path / "run.h5", "--json")
    assert status == 0
    answer = json.loads(out)
    assert answer["run"]["substrate"] == "digital"
    assert answer["run"]["epochs"] == 1
    assert 0 <= answer["run"]["test_accuracy"] <= 1


def test_train_resumes(call, tmp_path):
    path = tmp_path / "run.h5"
    run = apc.fit(apc.mlp([64, 10]), apc.Backprop(), apc.load_data(), epochs=2, batches=15, progress=False)
    run.save(path)
    status, out, _ = call("train", "--resume", path, "--json")
    assert status == 0
    assert json.loads(out)["run"]["finished"]
    whole = apc.fit(apc.mlp([64, 10]), apc.Backprop(), apc.load_data(), epochs=2, progress=False)
    assert apc.Run.load(path).history["test_accuracy"] == whole.history["test_accuracy"]


def test_export_and_inspect(call, trained, tmp_path):
    out = tmp_path / "crossbars.h5"
    status, text, _ = call("export", trained, out, "--json")
    assert status == 0
    # 64 inputs on 40 rows: two tiles for the first matrix, one for the second.
    assert len(json.loads(text)["tiles"]) == 3
    for file, kind in ((trained, "run"), (out, "crossbars")):
        status, text, _ = call("inspect", file, "--json")
        assert status == 0
        answer = json.loads(text)
        assert answer["header"]["kind"] == kind
        status, text, _ = call("inspect", file)
        assert status == 0
        assert "checksum good" in " ".join(text.split())


def test_devices_are_listed_and_told(call):
    status, text, _ = call("devices")
    assert status == 0
    assert "reram-sb" in text
    status, text, _ = call("devices", "reram-sb", "--json")
    assert json.loads(text)["device"]["response"]["dw_min"] == 0.002
    status, text, _ = call("devices", "reram-sb")
    assert apc.Device.from_toml(text).name == "reram-sb"


REFUSALS = [
    (("train", "--device", "reram"), "there is no device preset 'reram'"),
    (("train", "--rule", "hebb"), "there is no rule 'hebb'; the rules are bp, "),
    (("train", "--epochs", "0"), "greater than or equal to 1"),
    (("train", "--epoch", "3"), "No such option: --epoch"),
    (("train", "--set", "substrate.adc.bits=1", "--device", "reram-sb"), "substrate.adc.bits = 1 is not allowed"),
    (("train", "--set", "substrate.adcs.bits=1"), "Study has no field 'substrate.adcs'"),
    (("train", "--set", "epochs=true"), "epochs = True is not allowed"),
    (("train", "--set", "seed=4", "--seed", "3"), "seed is given two values, 3 and 4; give one"),
    (("train", "--set", "substrate=digital", "--set", "substrate.rows=4"), "Study has no field 'substrate.rows'"),
    (("train", "--set", "epochs"), "is not of the form FIELD=VALUE"),
    (("train", "nothing.toml"), "nothing.toml"),
    (("train", "--dataset", "emnist"), "emnist"),
    (("train", "--device", "reram-sb", "--set", "optimiser={kind='adamw'}"), "computes its changes digitally"),
    (("train", "--resume", "nothing.h5"), "nothing.h5"),
    (("train", "--resume", "nothing.h5", "--epochs", "3"), "--resume cannot be combined with a study file or study options"),
    (("export", "nothing.h5", "out.h5"), "nothing.h5"),
    (("inspect", "nothing.h5"), "nothing.h5"),
    (("devices", "unobtainium"), "there is no device preset 'unobtainium'"),
    (("swim",), "No such command 'swim'"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS)
def test_bad_input_gets_one_sentence(call, arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(*arguments)
    assert status != 0
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("analogpc: ")
    assert sentence in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_an_array_goes_out_as_a_netlist(call, trained, tmp_path):
    """What ngspice computes from such netlists is tested in the oracles; here the file, its array and the refusals."""
    out, circuit = tmp_path / "x.h5", tmp_path / "x.cir"
    status, text, _ = call(
        "export", trained, out, "--spice", circuit, "--array", "layer1.0.weight/0/minus", "--volts", 0.1, "--json"
    )
    assert status == 0
    assert json.loads(text)["array"] == "layer1.0.weight/0/minus"
    assert circuit.read_text().count("DC 0.1\n") == 40
    for arguments, sentence in (
        (("--spice", circuit), "exists"),
        (("--volts", 0.1), "need --spice"),
        (("--spice", tmp_path / "y.cir", "--array", "layer9"), "there is no array 'layer9'"),
    ):
        status, _, err = call("export", trained, tmp_path / f"{len(sentence)}.h5", *arguments)
        assert status != 0
        assert sentence in err
        assert "\n" not in err.strip()
        assert len(list(tmp_path.iterdir())) == 2


def test_a_digital_run_needs_a_device_to_be_exported(call, tmp_path):
    path = tmp_path / "run.h5"
    apc.fit(apc.mlp([64, 10]), apc.Backprop(), apc.load_data(), batches=1, progress=False).save(path)
    status, _, err = call("export", path, tmp_path / "x.h5")
    assert status == 1
    assert "is digital and has no conductances" in err
    status, _, _ = call("export", path, tmp_path / "x.h5", "--device", "idealized")
    assert status == 0


def test_no_file_is_replaced_without_leave(call, trained, tmp_path):
    out = tmp_path / "x.h5"
    out.write_text("precious")
    for arguments in (("train", "--epochs", 1, "--device", "digital", "--out", out), ("export", trained, out)):
        status, _, err = call(*arguments)
        assert status == 1
        assert "exists: name another file, or add --overwrite to replace it" in err
        assert out.read_text() == "precious"
    assert call("export", trained, out, "--overwrite")[0] == 0


def test_demo_learns_twice_and_leaves_its_files(call, tmp_path):
    status, out, _err = call("demo", "--epochs", 2, "--device", "idealized", "--out", tmp_path, "--json")
    assert status == 0
    answer = json.loads(out)
    assert [run["substrate"] for run in answer["runs"]] == ["digital", "idealized"]
    assert apc.Run.load(tmp_path / "run.h5").finished
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_the_module_runs_as_a_program():
    done = subprocess.run([sys.executable, "-m", "analogpc", "devices", "--json"], capture_output=True, text=True, check=True)
    assert {device["name"] for device in json.loads(done.stdout)["devices"]} == set(PRESETS)
