"""`analogpc devices` and `analogpc calibrate`, and the page of the documentation that shows the presets."""

import importlib.util
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

import analogpc as apc
from analogpc.commands.app import main
from analogpc.devices.arrays.array import Array
from analogpc.devices.device import Device
from analogpc.devices.device_numbers import device_numbers
from analogpc.devices.presets import PRESETS, preset
from analogpc.devices.responses import PulseResponse, SoftBounds
from analogpc.kernels.random.streams import Key
from analogpc.report.device_table import cells

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = Path(__file__).parents[2] / "experiments" / "device_library.py"


@pytest.fixture
def call(capsys):
    """Run the command line; return exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return run


def test_the_list_fits_and_says_what_is_computed(call):
    status, out, err = call("devices")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(len(line) for line in lines) <= 120
    for device in PRESETS.values():
        (line,) = [line for line in lines if line.split()[0] == device.name]
        reported = cells(device_numbers(device))
        for column in ("response", "states", "asymmetry", "d2d", "c2c", "write", "drift", "µS"):
            assert reported[column] in line
    for column in ("states:", "asymmetry:", "d2d, c2c:", "write:", "drift:", "µS:"):
        assert column in " ".join(lines[-6:])


def test_json_is_strict_and_rebuilds_the_devices(call):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    answer = json.loads(call("devices", "--json")[1], parse_constant=refuse)
    assert [Device.from_dict(fields) for fields in answer["devices"]] == list(PRESETS.values())
    assert answer["derived"]["idealized"]["states"] == pytest.approx(10_000)
    assert answer["derived"]["ideal"]["states"] == "inf"
    one = json.loads(call("devices", "pcm", "--json")[1], parse_constant=refuse)
    assert Device.from_dict(one["device"]) == PRESETS["pcm"]
    assert one["derived"] == answer["derived"]["pcm"]
    assert one["derived"]["asymmetry"] is None


def test_one_device_is_told_and_drawn(call, tmp_path):
    picture = tmp_path / "sonos.png"
    status, out, err = call("devices", "sonos", "--plot", picture, "--seed", 7)
    assert status == 0
    assert Device.from_toml(out) == PRESETS["sonos"]
    assert err == f"Figure: {picture}.\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    file = tmp_path / "own.toml"
    file.write_text(PRESETS["rram-milo"].but(name="own").to_toml())
    status, out, _ = call("devices", file, "--plot", tmp_path / "own.svg", "--json")
    assert status == 0
    answer = json.loads(out)
    assert answer["device"]["name"] == "own"
    assert answer["files"] == {"plot": str(tmp_path / "own.svg")}
    picture.write_text("precious")
    status, out, err = call("devices", "sonos", "--plot", picture)
    assert (status, out) == (1, "")
    assert "add --overwrite to replace it" in err
    assert picture.read_text() == "precious"
    assert call("devices", "ideal", "--plot", picture, "--overwrite")[0] == 0


def measured(path, pulses=150, devices=3):
    """Readings of simulated devices that stay clear of hard bounds, with their directions."""
    response = SoftBounds(dw_min=0.012, dw_min_std=0.2, write_noise_std=0.5)
    device = Device(name="truth", response=response, g_min_siemens=1e-6, g_max_siemens=9e-6)
    array = Array(device, (1, devices), Key(11), np.dtype(np.float64))
    array.program(np.full((1, devices), -1.0))
    rows = [f"{k},0,up,{array.conductance()[0, k] * 1e6:.6g}" for k in range(devices)]
    for pulse in range(1, 2 * pulses + 1):
        up = pulse <= pulses
        array.pulse_each(np.full((1, devices), 1 if up else -1, np.int32), Key(12), pulse)
        word = "up" if up else "down"
        rows += [f"{k},{pulse},{word},{array.conductance()[0, k] * 1e6:.6g}" for k in range(devices)]
    path.write_text("# simulated\ndevice,pulse,direction,conductance_us\n" + "\n".join(rows) + "\n")
    return device


def test_measured_data_become_a_device_that_trains(call, tmp_path):
    truth, table, file = measured(tmp_path / "data.csv"), tmp_path / "data.csv", tmp_path / "mine.toml"
    status, out, err = call("calibrate", table, "--out", file, "--plot", tmp_path / "fit.png", "--json")
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert answer["files"] == {"device": str(file), "plot": str(tmp_path / "fit.png")}
    assert answer["readings"] == 903
    assert answer["r_squared"] > 0.99
    device = preset(str(file))
    assert device == Device.from_dict(answer["device"])
    assert device.name == "mine"
    # The steps of the truth in siemens, at the nodes of the fit away from the ends, within their standard errors.
    g = np.array(answer["node_siemens"])[2:-2]
    state, unit = truth.state(g), truth.siemens_per_state
    for word, sign in (("up", 1), ("down", -1)):
        exact = sign * truth.response.dw_min * (1 - sign * state) * unit
        error = np.array(answer[f"step_{word}_error_siemens"])[2:-2]
        assert (np.abs(np.array(answer[f"step_{word}_siemens"])[2:-2] - exact) < 5 * error).all()
    low, high = answer["cycle_noise_interval"]
    assert 2 * low - answer["cycle_noise"] <= 0.2 <= 2 * high - answer["cycle_noise"]
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    # The device is as good as a preset.
    assert call("devices", file, "--plot", tmp_path / "mine.png")[0] == 0
    study = tmp_path / "study.toml"
    study.write_text('rule = "bp"\n[network]\nkind = "mlp"\nwidths = [64, 10]\n')
    run = tmp_path / "run.h5"
    status, out, err = call("train", study, "--device", file, "--epochs", 1, "--out", run, "--json")
    assert status == 0, err
    assert json.loads(out)["run"]["substrate"] == "mine"
    assert apc.Run.load(run).study.substrate.device == device


def test_the_fit_is_told_in_a_table(call, tmp_path):
    measured(tmp_path / "data.csv", devices=1)
    file = tmp_path / "mine.toml"
    status, out, _ = call("calibrate", tmp_path / "data.csv", "--out", file, "--name", "gong", "--nodes", 9)
    assert status == 0
    assert preset(str(file)).name == "gong"
    assert len(preset(str(file)).response.nodes_up) == 9
    assert re.search(r"R²\s+0\.\d{4}", out)
    assert re.search(r"step up, middle \(nS\)\s+\S+\s+\S+ to \S+", out)
    assert "note: one device tells nothing about the spread from device to device" in out
    assert f"analogpc train --device {file}" in out
    before = file.read_text()
    status, out, err = call("calibrate", tmp_path / "data.csv", "--out", file)
    assert (status, out) == (1, "")
    assert "exists: name another file" in err
    assert file.read_text() == before
    assert call("calibrate", tmp_path / "data.csv", "--out", file, "--overwrite")[0] == 0
    assert preset(str(file)).name == "mine"


FLAT = "pulse,conductance,direction\n" + "".join(f"{i},1e-6,{'up' if i < 20 else 'down'}\n" for i in range(40))
BAD = [
    ("", (), "is empty"),
    ("pulse,current\n1,2\n2,3\n", (), "currents need the voltage"),
    ("lot,colour\n1,red\n2,blue\n", (), "no column of readings is recognised"),
    ("pulse,conductance\n0,1e-6\n1,high\n", (), "'high' is not a number"),
    ("pulse,conductance\n0,1e-6\n1,nan\n", (), "is not finite"),
    ("pulse,conductance\n0,1e-6\n1\n", (), "data row 2 has 1 cells and the header 2"),
    ("pulse,conductance,direction\n0,1e-6,up\n1,2e-6,left\n", (), "'left' is not allowed"),
    ("pulse,conductance,direction\n0,1e-6,up\n1,2e-6,up\n", (), "at least 8 in each direction are needed"),
    (FLAT, (), "no pulse series can be recognised"),
    (FLAT, ("--nodes", "4"), "an odd whole number from 3 to 257"),
    (FLAT, ("--out", "device.txt"), "a device file ends in .toml"),
    (FLAT, ("--out", "nowhere/device.toml"), "there is no folder nowhere"),
    (FLAT, ("--plot", "fit.jpeg"), "one of .png, .pdf, .svg"),
    (None, (), "data.csv"),
]


@pytest.mark.parametrize(("text", "options", "sentence"), BAD)
def test_bad_data_get_one_sentence_and_leave_nothing(call, tmp_path, monkeypatch, text, options, sentence):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("data.csv").write_text(text)
    before = sorted(tmp_path.iterdir())
    out = () if "--out" in options else ("--out", "device.toml")
    status, printed, err = call("calibrate", "data.csv", *out, *options)
    assert (status, printed) == (1, "")
    assert err.startswith("analogpc: ")
    assert len(err.splitlines()) == 1
    assert sentence in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("devices", "--plot", "x.png"), "--plot needs the name of one device"),
        (("devices", "sonos", "--plot", "x.bmp"), "the file name must end in"),
        (("devices", "sonos", "--plot", "no/x.png"), "there is no folder no"),
        (("devices", "none.toml", "--plot", "x.png"), "none.toml cannot be read"),
        (("calibrate", "data.csv"), "--out is missing"),
    ],
)
def test_refusals(call, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(*arguments)
    assert status != 0
    assert out == ""
    assert len(err.splitlines()) == 1
    assert sentence in err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def library():
    """The script that writes the page."""
    specification = importlib.util.spec_from_file_location("device_library", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(library):
    text = (DOCS / "devices.md").read_text(encoding="utf-8")
    assert library.page(text) == text, "run: python experiments/device_library.py"
    with pytest.raises(ValueError, match="needs the lines"):
        library.page("nothing")


@pytest.mark.parametrize("device", PRESETS.values(), ids=PRESETS)
def test_every_preset_has_its_row_its_source_and_its_picture(device):
    text = (DOCS / "devices.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| \[{device.name}\]\(#{device.name}\) \|.*$", text, re.M)
    values = [cell.strip() for cell in row.strip("|").split("|")]
    assert values[1] == device.response.kind
    if isinstance(device.response, PulseResponse) and device.response.w_min < 0 and device.response.kind != "exponential-step":
        states = (device.response.w_max - device.response.w_min) / device.response.dw_min
        assert float(values[2].replace(",", "")) == pytest.approx(states, rel=5e-3)
    assert f"### {device.name}\n\n{device.source}\n\n![" in text
    picture = (DOCS / "devices" / f"{device.name}.png").read_bytes()
    assert struct.unpack(">I", picture[16:20]) == (1000,)
    assert len(picture) < 60_000


def test_no_picture_is_left_of_a_preset_that_is_gone():
    assert {path.stem for path in (DOCS / "devices").iterdir()} == set(PRESETS)
