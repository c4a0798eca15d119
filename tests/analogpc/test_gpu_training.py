"""Training on the GPU, including data, relaxation, learning and evaluation: the same run as on the CPU, resumed, saved and loaded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gpu_pairs import same_counts

import analogpc as apc
from analogpc import analysis
from analogpc.commands.app import main
from analogpc.data.augmentation import Augmentation
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.random.streams import Key
from analogpc.rules import named_rule
from analogpc.training.run import DivergenceError


@pytest.fixture
def few():
    """A new data set for every test, because its arrays on one GPU are invalid on another."""
    return apc.load_data("digits").take(200, 100)


def quiet(network, data, rule="pc", **options):
    return apc.fit(network, named_rule(rule), data, **{"epochs": 2, "batch_size": 32, "progress": False, **options})


def alike(one, two, exact):
    """Compare two runs bit by bit, or within the rounding of products accumulated over a dozen updates."""
    for (name, a), b in zip(one.network.snapshot().items(), two.network.snapshot().values(), strict=True):
        np.testing.assert_allclose(a["weights"], b["weights"], rtol=0, atol=0 if exact else 2e-3, err_msg=name)
        same_counts(a["meter"], b["meter"])
    for name in ("train_accuracy", "test_accuracy"):
        np.testing.assert_allclose(one.history[name], two.history[name], rtol=0, atol=0 if exact else 0.03)
    np.testing.assert_allclose(one.history["energy"], two.history["energy"], rtol=1e-5 if exact else 1e-2, atol=1e-9)


@pytest.mark.parametrize("optimiser", [apc.SGD(learning_rate=0.1, schedule=apc.WarmupCosine()), apc.AdamW(learning_rate=1e-3)])
def test_a_run_is_that_of_the_cpu(exact, few, optimiser) -> None:
    network = apc.mlp([64, 24, 10], seed=1)
    here = quiet(network, few, optimiser=optimiser)
    there = quiet(network, few, optimiser=optimiser, backend="gpu")
    assert there.network.backend == "gpu"
    assert there.environment["backend"] == "gpu"
    assert there.environment["gpu_precision"] == "float32"
    alike(there, here, exact)


def test_data_are_augmented_and_normalised_there_to_the_bit(device, rng) -> None:
    images = rng.integers(0, 256, (40, 9, 8, 3)).astype(np.uint8)
    labels = rng.integers(0, 4, 40)
    for mode in ("constant", "edge"):
        augmentation = Augmentation(crop_padding=2, padding_mode=mode, flip=True)
        data = apc.Dataset(
            "noise", images, labels, images, labels, tuple("abcd"), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), augmentation=augmentation
        )
        chosen = rng.permutation(40)[:17]
        for kind in ("float32", "float64"):
            given = {"dtype": kind, "augment_key": Key(4), "epoch": 3}
            found = data.inputs("train", chosen, **given, backend="gpu")
            assert on_gpu(found)
            np.testing.assert_array_equal(found.get(), data.inputs("train", chosen, **given))
        np.testing.assert_array_equal(data.labels("test", chosen, backend="gpu").get(), labels[chosen])


def test_a_run_goes_on_to_the_same_bits(device, few, tmp_path) -> None:
    network = apc.mlp([64, 24, 10], seed=1)
    options = {"optimiser": apc.AdamW(learning_rate=1e-3), "backend": "gpu"}
    whole = quiet(network, few, **options)
    part = quiet(network, few, batches=5, checkpoint=tmp_path / "run.h5", **options)
    assert not part.finished
    resumed = apc.Run.load(tmp_path / "run.h5", backend="gpu").train(few, progress=False)
    assert resumed.network.backend == "gpu"
    alike(resumed, whole, True)


def test_a_run_moves_between_backends(exact, few, tmp_path) -> None:
    network = apc.mlp([64, 24, 10], seed=1)
    options = {"optimiser": apc.AdamW(learning_rate=1e-3)}
    whole = quiet(network, few, **options)
    quiet(network, few, batches=5, checkpoint=tmp_path / "run.h5", backend="gpu", **options)
    alike(apc.Run.load(tmp_path / "run.h5").train(few, progress=False), whole, exact)


def test_predictions_and_moves(device, few) -> None:
    network = apc.mlp([64, 24, 10], seed=1)
    there = network.to("gpu")
    assert there.to("gpu") is there
    x = few.inputs("test", range(20))
    answers = there.predict(x)
    assert on_gpu(answers)
    np.testing.assert_allclose(answers.get(), network.predict(x), rtol=2e-2, atol=2e-3)
    back = there.to("cpu")
    for one, other in zip(back.matrices().values(), network.matrices().values(), strict=True):
        np.testing.assert_array_equal(one.weights(), other.weights())
    np.testing.assert_array_equal(back.predict(x), network.predict(x))
    assert there.on(apc.Digital()).backend == "gpu"


def test_divergence_is_told(device, few) -> None:
    with pytest.raises(DivergenceError, match=r"training diverged in epoch 1, batch \d+ \(step \d+\)"):
        quiet(apc.mlp([64, 24, 10], activation="relu"), few, rule="bp", optimiser=apc.SGD(learning_rate=1e4), backend="gpu")


def test_the_command_line_trains_there(device, few, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(
            ["train", "--rule", "s+f", "--epochs", "1", "--out", "run.h5", "--backend", "gpu", "--precision", "float32", "--json"]
        )
    assert done.value.code == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["command"] == "train"
    run = apc.Run.load("run.h5")
    assert (run.environment["backend"], run.environment["gpu_precision"]) == ("gpu", "float32")


def test_without_a_gpu_the_command_line_says_so(tmp_path, capsys, monkeypatch) -> None:
    pytest.importorskip("numpy")
    try:
        from analogpc.kernels.gpu import arrays as gpu

        gpu.cupy()
    except gpu.GpuError:
        pass
    else:
        pytest.skip("there is a GPU here")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["train", "--epochs", "1", "--out", "run.h5", "--backend", "gpu"])
    assert done.value.code == 1
    reported = capsys.readouterr().err
    assert reported.startswith("analogpc: the backend 'gpu' ")
    assert reported.count("\n") == 1
    with pytest.raises(SystemExit) as done:
        main(["train", "--backend", "tpu"])
    assert done.value.code == 2


def test_what_is_asked_about_a_network_is_answered_wherever_it_is(device, few, tmp_path) -> None:
    network = apc.mlp([64, 24, 10], substrate=apc.Analog(device="idealized"), seed=1)
    there = network.to("gpu")
    x, target = few.inputs("test", range(9)), np.eye(10, dtype=np.float32)[few.test_labels[:9]]
    rule = named_rule("pc")
    for one, other in zip(
        analysis.directions(there, rule, x, target).values(), analysis.directions(network, rule, x, target).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        analysis.energy_profile(there, rule, x, target).energies, analysis.energy_profile(network, rule, x, target).energies
    )
    for name, of in (("here", network), ("there", there)):
        apc.export_crossbars(of, tmp_path / name)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    assert abs(analysis.reliability(there, few).error - analysis.reliability(network, few).error) < 0.05
