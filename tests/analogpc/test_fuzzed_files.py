"""Files with a valid checksum and invalid content give one sentence or a run that resumes: no traceback, crash, hang or excess memory.

``--fuzz N`` reads N files of each kind below instead of a few.
"""

import json

import h5py
import numpy as np
import pytest
from fresh_processes import run
from fuzzed_files import show

import analogpc as apc

SUBSTRATES = {
    "digital": apc.Digital(),
    "crossbars": apc.Analog(
        device="pcm", scheme={"kind": "agad"}, mapping={"kind": "differential-pair", "minus": "active"}, rows=40, wire_ohms=1.0
    ),
}
MORE_SUBSTRATES = {
    "drift": apc.Analog(device="pcm-inference", scheme={"kind": "ideal"}, rows=24, columns=24, drift_compensation=True),
    "tiki-taka": apc.Analog(device="idealized", scheme={"kind": "tiki-taka", "gamma": 0.5}, rows=24),
    "bit slices": apc.Analog(device="reram-wan", mapping={"kind": "bit-sliced", "slices": 2}),
    "spread": apc.Analog(device=apc.preset("reram-sb").but(faults={"stuck_low": 0.02}), mapping={"spare_columns": 2}, rows=40),
}
"""For a long test only."""
FEW = 10
SMALL = 32 * 2**20
"""Bytes of working memory that no file is blamed for."""


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("substrate", [*SUBSTRATES, *MORE_SUBSTRATES])
def test_wrong_content_gives_a_sentence(substrate, tmp_path, request):
    count = request.config.getoption("--fuzz")
    if substrate in MORE_SUBSTRATES and count <= FEW:
        pytest.skip(f"--fuzz more than {FEW} reads such files, too")
    base = tmp_path / "run.h5"
    network = apc.mlp([64, 12, 10], substrate=(SUBSTRATES | MORE_SUBSTRATES)[substrate])
    apc.fit(network, apc.PredictiveCoding(steps=2), apc.load_data("digits"), epochs=3, batches=14, progress=False).save(base)
    assert any(one["found"] != "went on" for one in outcomes("run", base, count))


@pytest.mark.timeout(7200)
def test_wrong_devices_give_a_sentence(tmp_path, request):
    base = tmp_path / "device.toml"
    base.write_text(apc.preset("pcm-inference").to_toml())
    outcomes("device", base, request.config.getoption("--fuzz"))


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["data.npz", "data.h5"])
def test_wrong_data_give_a_sentence(name, tmp_path, request):
    base, rng = tmp_path / name, np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6)), np.arange(20) % 3
    if base.suffix == ".npz":
        np.savez(base, x_train=x, y_train=y, x_test=x, y_test=y)
    else:
        with h5py.File(base, "w") as file:
            for name, value in (("train/x", x), ("train/y", y), ("test/x", x), ("test/y", y)):
                file[name] = value
    outcomes("data", base, request.config.getoption("--fuzz"))


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["sweep.json", "sweep.db", "study.toml"])
def test_wrong_files_of_a_sweep_give_a_sentence(name, tmp_path, request):
    pytest.importorskip("optuna")
    study = tmp_path / "study.toml"
    study.write_text(SWEPT)
    apc.sweep(study, out=tmp_path / "sweep", workers=0, progress=False)
    count = request.config.getoption("--fuzz")
    outcomes("sweep", tmp_path / "sweep" / name, 2 if count <= FEW else count)


SWEPT = """
rule = "bp"
epochs = 1
network = "64-10"
train_images = 32
test_images = 16

[axes]
batch_size = [8, 16]
"""


def outcomes(kind, base, count):
    """Return the outcomes of the given number of invalid files; each must end in a sentence or resume."""
    status, out, told = run(show, kind, str(base), 0, count, folder=base.parent, seconds=7000)
    reported = [json.loads(line) for line in out.splitlines()]
    assert len(reported) == count, f"file {len(reported)} ended the process with {status}: {told[-2000:]}"
    for one in reported:
        assert not one["traceback"], one
        assert not one["accepted"], f"an array that was changed was taken over without a word: {one}"
        assert "\n" not in one["found"], one
        assert one["grown"] < SMALL + 2 * base.stat().st_size, one
    return reported
