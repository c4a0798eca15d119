"""Training: learning, exact resuming, and stopping conditions."""

import json

import numpy as np
import pytest
from matrix_pairs import same_counts

import analogpc as apc
from analogpc import analysis
from analogpc.commands.app import main
from analogpc.data.augmentation import Augmentation
from analogpc.devices.converters.specification import DAC
from analogpc.devices.mappings import DifferentialPair
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.random.streams import Key
from analogpc.rules import named_rule
from analogpc.training.fit import begin
from analogpc.training.run import DivergenceError, ResumeError
from analogpc.training.study import Study

PULSED = apc.Analog(device="reram-sb", mapping=DifferentialPair(minus="active"), rows=40)
SPIKING = apc.PredictiveCoding(steps="layers", step_size=0.5, precision="spiking", update="forward", gain="closed-form")


@pytest.fixture(scope="module")
def digits():
    return apc.load_data("digits")


@pytest.fixture(scope="module")
def few(digits):
    return digits.take(200, 100)


def quiet(network, rule, data, **options):
    return apc.fit(network, rule, data, **{"epochs": 2, "batch_size": 32, "progress": False, **options})


def same(one, two, *, but=("seconds",)):
    """Compare two runs bit by bit, except for their timings."""
    for (name, a), b in zip(one.network.matrices().items(), two.network.matrices().values(), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights(), err_msg=name)
        assert a.meter == b.meter
    histories = [{name: values for name, values in run.history.items() if name not in but} for run in (one, two)]
    assert histories[0] == histories[1]


def test_every_rule_learns_digits_on_both_substrates(digits):
    """Beyond 95 % digital in 15 epochs, and beyond 90 % on fine-grained devices in 6, for backprop, PC and S+F."""
    for name in ("bp", "pc", "s+f"):
        digital = quiet(apc.mlp([64, 64, 10]), named_rule(name), digits, epochs=15, optimiser=apc.AdamW(learning_rate=1e-3))
        assert digital.history["test_accuracy"][-1] > 0.95, name
        network = apc.mlp([64, 64, 10], substrate=apc.Analog(device="idealized"))
        crossbar = quiet(network, named_rule(name), digits, epochs=6, optimiser=apc.SGD(learning_rate=0.2))
        assert crossbar.history["test_accuracy"][-1] > 0.9, name


def test_a_crossbar_without_nonidealities_trains_to_the_digital_bits(few):
    """One array per matrix: the same operations in the same order, through five hundred reads and updates."""
    network = apc.mlp([64, 32, 10], seed=1)
    ideal = apc.Analog.ideal()
    for optimiser in (apc.SGD(learning_rate=0.1), apc.AdamW(learning_rate=1e-3)):
        runs = [quiet(n, SPIKING, few, optimiser=optimiser, epochs=5) for n in (network, network.on(ideal))]
        for a, b in zip(*(run.network.matrices().values() for run in runs), strict=True):
            np.testing.assert_array_equal(a.weights(), b.weights())
        assert runs[0].history["test_accuracy"] == runs[1].history["test_accuracy"]


def test_fit_leaves_the_given_network_alone(few):
    network = apc.mlp([64, 16, 10], substrate=PULSED)
    before = [matrix.weights() for matrix in network.matrices().values()]
    run = quiet(network, SPIKING, few)
    for matrix, weights, trained in zip(network.matrices().values(), before, run.network.matrices().values(), strict=True):
        np.testing.assert_array_equal(matrix.weights(), weights)
        assert not np.array_equal(trained.weights(), weights)
    same(run, quiet(network, SPIKING, few))


def test_seeds_matter(few):
    network = apc.mlp([64, 16, 10], substrate=PULSED)
    one, two = (quiet(network, SPIKING, few, seed=seed, epochs=1) for seed in (1, 2))
    assert not np.array_equal(*(run.network.matrices()["layer1.0.weight"].weights() for run in (one, two)))


def test_kernel_threads_change_nothing(with_threads, few):
    network = apc.mlp([64, 48, 10], substrate=PULSED)
    same(*with_threads(lambda: quiet(network, SPIKING, few)))


def test_cutting_the_outputs_changes_nothing(few):
    """Tiles along the sensed side share inputs and noise; here the transposed reads are made exact, since they are cut there."""
    runs = []
    for columns in (512, 10):
        substrate = apc.Analog(
            device="reram-sb", columns=columns, read_noise=0.0, dac=DAC(bits=None, bound=np.inf), adc={"bits": np.inf}
        )
        network = apc.mlp([64, 10], substrate=substrate)
        runs.append(quiet(network, apc.PredictiveCoding(steps=0), few))
    for a, b in zip(*(run.network.matrices().values() for run in runs), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())


CASES = {
    "digital, AdamW, schedule": (apc.Digital(), apc.AdamW(schedule=apc.WarmupCosine()), named_rule("pc")),
    "digital, momentum": (apc.Digital(), apc.SGD(momentum=0.9, weight_decay=1e-3), apc.Backprop()),
    "crossbar, pulses": (PULSED, apc.SGD(learning_rate=0.1), SPIKING),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stops", [(1,), (7, 9), (13,)])
def test_a_stopped_and_resumed_run_is_the_uninterrupted_one(case, stops, few, tmp_path):
    """Stopped at arbitrary batches (7 batches an epoch), written to a file, read back, gone on with."""
    substrate, optimiser, rule = CASES[case]
    network = apc.mlp([64, 16, 10], substrate=substrate)
    options = {"optimiser": optimiser, "epochs": 3, "holdout": 0.1, "batch_size": 26}
    whole = quiet(network, rule, few, **options)
    path = tmp_path / "run.h5"
    run = quiet(network, rule, few, batches=stops[0], **options)
    for batches in (*np.diff(stops), None):
        run.save(path)
        run = apc.Run.load(path).train(few, batches=batches, progress=False)
    assert run.finished
    same(whole, run)
    assert run.study == whole.study


def test_resuming_on_other_data_is_refused(digits, few):
    run = quiet(apc.mlp([64, 10]), apc.Backprop(), few, batches=1)
    with pytest.raises(ResumeError, match="is not the data set with which the run started"):
        run.train(digits, progress=False)


def test_divergence_names_the_place_and_the_checkpoint(few, tmp_path):
    network = apc.mlp([64, 16, 10])
    with pytest.raises(DivergenceError, match=r"epoch \d+, batch \d+ \(step \d+\): .*(layer|energy).*; there is no checkpoint"):
        quiet(network, apc.Backprop(), few, optimiser=apc.SGD(learning_rate=1e30))
    path = tmp_path / "run.h5"
    run = quiet(network, apc.Backprop(), few, epochs=1, checkpoint=path)
    run.study = run.study.but(epochs=2, optimiser=apc.SGD(learning_rate=1e30))
    run.learner.optimiser = run.study.optimiser
    with pytest.raises(DivergenceError, match=r"epoch 2, .*the last good checkpoint is .*run\.h5"):
        run.train(few, checkpoint=path, progress=False)
    good = apc.load(path)
    assert all(matrix.all_finite() for matrix in good.matrices().values())


def test_a_relaxation_that_explodes_is_noticed(few):
    rule = apc.PredictiveCoding(steps=200, step_size=50.0)
    with pytest.raises(DivergenceError, match=r"the energy of layer \d is (inf|nan)"):
        quiet(apc.mlp([64, 16, 16, 10], activation="identity"), rule, few)


def test_early_stopping_waits_for_its_patience(few):
    """A learning rate too small to change any prediction: the first epoch stays the best."""
    run = quiet(apc.mlp([64, 16, 10]), apc.Backprop(), few, optimiser=apc.SGD(learning_rate=1e-12), epochs=50, patience=3)
    assert len(run.history["epoch"]) == 4
    assert run.finished


def test_history_counts_what_the_meters_counted(few):
    run = quiet(apc.mlp([64, 16, 10], substrate=PULSED), SPIKING, few, epochs=3)
    meters = [matrix.meter for matrix in run.network.matrices().values()]
    for name in ("pulses", "updates", "conversions_out", "forward_reads"):
        assert sum(run.history[name]) == sum(getattr(meter, name) for meter in meters) > 0
    assert run.history["updates"] == [2 * 2 * 200] * 3
    assert np.array(run.history["energy"]).shape == (3, 2)


def test_evaluation_counts_right_answers_and_leaves_no_trace(few):
    network = apc.mlp([64, 10], substrate=apc.Analog(device="idealized"))
    with network.isolated_reads(Key(0)):
        expected = np.mean(network.predict(few.inputs("test", np.arange(100))).argmax(1) == few.test_labels)
    assert apc.evaluate(network, few) == expected
    assert apc.evaluate(network, few) == expected
    assert network.matrices()["layer1.0.weight"].meter.forward_reads == 0


def test_a_network_of_another_size_is_refused(few):
    with pytest.raises(ValueError, match="10 classes"):
        quiet(apc.mlp([64, 7]), apc.Backprop(), few)
    with pytest.raises(ValueError, match="takes samples of shape"):
        quiet(apc.mlp([63, 10]), apc.Backprop(), few)


def test_studies_fill_in_what_is_usual_and_survive_toml(few):
    study = Study(rule="s+f", substrate="reram-sb", dataset="fashion-mnist", seed=7)
    assert study.network.widths == (784, 256, 256, 10)
    assert study.optimiser.kind == "sgd"
    assert study.network_seed == 7
    assert Study(rule="pc", dataset="cifar10").optimiser.kind == "adamw"
    assert Study.from_toml(study.to_toml()) == study
    run = quiet(apc.mlp([64, 10], seed=3), apc.Backprop(), few, epochs=1)
    again = begin(run.study, few).train(few, progress=False)
    same(run, again)


@pytest.fixture
def fresh():
    """A new data set for every test, because its arrays on one GPU are invalid on another."""
    return apc.load_data("digits").take(200, 100)


def run_of(network, data, rule="pc", **options):
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
def test_a_run_is_that_of_the_cpu(exact, fresh, optimiser) -> None:
    network = apc.mlp([64, 24, 10], seed=1)
    here = run_of(network, fresh, optimiser=optimiser)
    there = run_of(network, fresh, optimiser=optimiser, backend="gpu")
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


def test_a_run_goes_on_to_the_same_bits(device, fresh, tmp_path) -> None:
    network = apc.mlp([64, 24, 10], seed=1)
    options = {"optimiser": apc.AdamW(learning_rate=1e-3), "backend": "gpu"}
    whole = run_of(network, fresh, **options)
    part = run_of(network, fresh, batches=5, checkpoint=tmp_path / "run.h5", **options)
    assert not part.finished
    resumed = apc.Run.load(tmp_path / "run.h5", backend="gpu").train(fresh, progress=False)
    assert resumed.network.backend == "gpu"
    alike(resumed, whole, True)


def test_a_run_moves_between_backends(exact, fresh, tmp_path) -> None:
    network = apc.mlp([64, 24, 10], seed=1)
    options = {"optimiser": apc.AdamW(learning_rate=1e-3)}
    whole = run_of(network, fresh, **options)
    run_of(network, fresh, batches=5, checkpoint=tmp_path / "run.h5", backend="gpu", **options)
    alike(apc.Run.load(tmp_path / "run.h5").train(fresh, progress=False), whole, exact)


def test_predictions_and_moves(device, fresh) -> None:
    network = apc.mlp([64, 24, 10], seed=1)
    there = network.to("gpu")
    assert there.to("gpu") is there
    x = fresh.inputs("test", range(20))
    answers = there.predict(x)
    assert on_gpu(answers)
    np.testing.assert_allclose(answers.get(), network.predict(x), rtol=2e-2, atol=2e-3)
    back = there.to("cpu")
    for one, other in zip(back.matrices().values(), network.matrices().values(), strict=True):
        np.testing.assert_array_equal(one.weights(), other.weights())
    np.testing.assert_array_equal(back.predict(x), network.predict(x))
    assert there.on(apc.Digital()).backend == "gpu"


def test_divergence_is_told(device, fresh) -> None:
    with pytest.raises(DivergenceError, match=r"training diverged in epoch 1, batch \d+ \(step \d+\)"):
        run_of(apc.mlp([64, 24, 10], activation="relu"), fresh, rule="bp", optimiser=apc.SGD(learning_rate=1e4), backend="gpu")


def test_the_command_line_trains_there(device, fresh, tmp_path, capsys, monkeypatch) -> None:
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


def test_what_is_asked_about_a_network_is_answered_wherever_it_is(device, fresh, tmp_path) -> None:
    network = apc.mlp([64, 24, 10], substrate=apc.Analog(device="idealized"), seed=1)
    there = network.to("gpu")
    x, target = fresh.inputs("test", range(9)), np.eye(10, dtype=np.float32)[fresh.test_labels[:9]]
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
    assert abs(analysis.reliability(there, fresh).error - analysis.reliability(network, fresh).error) < 0.05
