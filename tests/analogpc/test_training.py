"""Training: learning, exact resuming, and stopping conditions."""

import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.converters.specification import DAC
from analogpc.devices.mappings import DifferentialPair
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
