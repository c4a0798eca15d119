"""Intermediate signals in runs: teachers in files, resumption, refusals, crossbars."""

import shutil

import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.specification import SpecificationError
from analogpc.networks import MLP, Hopfield
from analogpc.networks.network import Network
from analogpc.rules.hopfield import teacher as hopfield_teacher
from analogpc.rules.hopfield.intermediate import Distillation, LocalError, WeightedDistillation
from analogpc.rules.hopfield.signals import Cosine, Linear, SignalsEP
from analogpc.rules.hopfield.teacher import Teacher, TeacherError, fingerprint
from analogpc.training.fit import begin
from analogpc.training.run import Run
from analogpc.training.study import Study
from analogpc.training.study_fields import assemble


def taught(tmp_path, data):
    """A study whose teacher is a short run of backpropagation in a file."""
    teaching = Study(rule="bp", network=MLP(widths=(64, 24, 16, 10)), epochs=1, batch_size=64)
    file = tmp_path / "teacher.h5"
    begin(teaching, data).train(data, progress=False, checkpoint=file)
    signals = WeightedDistillation(states=(1, 2), teacher=Teacher.of(file), teacher_states=(1, 2))
    return Study(
        rule=SignalsEP(signals=signals, gamma=Cosine(start=0.8, epochs=4), steps=6, nudging="random"),
        network=Hopfield(widths=(64, 24, 16, 10), steps=12, heads=(1, 2), head_features=(24, 16)),
        optimiser=apc.SGD(learning_rate=0.05),
        epochs=4,
        batch_size=250,
    )


def weights(run):
    return {name: matrix.weights() for name, matrix in run.network.matrices().items()}


def test_a_stopped_run_goes_on_to_the_same_bits_even_from_a_teacher_that_was_not_loaded(tmp_path):
    data = apc.load_data("digits")
    study = taught(tmp_path, data)
    assert Study.from_toml(study.to_toml()) == study
    whole = begin(study, data).train(data, progress=False, batches=14)
    begin(study, data).train(data, progress=False, batches=8, checkpoint=tmp_path / "student.h5")
    hopfield_teacher._KNOWN.clear()
    resumed = Run.load(tmp_path / "student.h5").train(data, progress=False, batches=6)
    before = begin(study, data)
    for name, learnt in weights(whole).items():
        np.testing.assert_array_equal(weights(resumed)[name], learnt)
        assert not np.array_equal(weights(before)[name], learnt)


def test_a_missing_or_another_teacher_is_told_in_one_sentence(tmp_path):
    data = apc.load_data("digits")
    study = taught(tmp_path, data)
    file = tmp_path / "teacher.h5"
    for case in ("missing", "other", "elsewhere"):
        hopfield_teacher._KNOWN.clear()
        run = begin(study, data)
        if case == "missing":
            file.rename(tmp_path / "moved.h5")
            with pytest.raises(
                TeacherError, match=r"cannot be loaded: .*teacher\.h5 does not exist; put its run file there, or pass"
            ):
                run.train(data, progress=False, batches=1)
        elif case == "other":
            other = Study(rule="bp", network=MLP(widths=(64, 24, 16, 10)), epochs=1, seed=5, batch_size=512)
            begin(other, data).train(data, progress=False, batches=1, checkpoint=file)
            with pytest.raises(TeacherError, match=r"teacher\.h5 holds another network \(.*\) than the teacher that was chosen"):
                run.train(data, progress=False, batches=1)
        else:
            assert Teacher.of(tmp_path / "moved.h5").fingerprint == study.rule.signals.teacher.fingerprint
            run.train(data, progress=False, batches=1)
    hopfield_teacher._KNOWN.clear()
    shutil.copy(tmp_path / "moved.h5", file)
    begin(study, data).train(data, progress=False, batches=1)


def test_a_teacher_may_be_named_by_its_run_file_alone(tmp_path):
    """The run writes down which network that was; the command line names it in the same way."""
    data = apc.load_data("digits")
    study = taught(tmp_path, data)
    file = tmp_path / "teacher.h5"
    by_path = assemble(None, {}, [f"rule.signals.teacher={file}", *_settings(study)])
    assert by_path.rule.signals.teacher == Teacher(path=str(file))
    assert Study.from_toml(by_path.to_toml()) == by_path
    run = begin(by_path, data)
    assert run.study.rule.signals.teacher == study.rule.signals.teacher
    run.train(data, progress=False, batches=2)
    for name, learnt in weights(begin(study, data).train(data, progress=False, batches=2)).items():
        np.testing.assert_array_equal(weights(run)[name], learnt)
    x = data.inputs("test", np.arange(3))
    for ours, theirs in zip(Teacher(path=str(file)).vectors(x, (1,)), Teacher.of(file).vectors(x, (1,)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(TeacherError, match=r"cannot be loaded: .*none\.h5 does not exist"):
        begin(by_path.but(rule=by_path.rule.but(signals=by_path.rule.signals.but(teacher=str(tmp_path / "none.h5")))), data)
    with pytest.raises(SpecificationError, match="a teacher needs the path of a run file"):
        Teacher()


def _settings(study):
    """Return the other fields of a study as command-line options."""
    return [
        "rule.kind=hopfield-ep-signals",
        "rule.signals.kind=weighted-distillation",
        "rule.signals.states=[1, 2]",
        "rule.signals.teacher_states=[1, 2]",
        "rule.gamma={kind='cosine', start=0.8, epochs=4}",
        "rule.steps=6",
        "rule.nudging=random",
        "network={kind='hopfield', widths=[64, 24, 16, 10], steps=12, heads=[1, 2], head_features=[24, 16]}",
        "optimiser={kind='sgd', learning_rate=0.05}",
        "dataset=digits",
        "epochs=4",
        "batch_size=250",
    ]


def test_local_errors_aim_at_the_label_or_at_the_output():
    assert LocalError().target == "label"
    with pytest.raises(SpecificationError, match=r"smoothing = 0\.1 applies to labels"):
        LocalError(target="output", smoothing=0.1)
    network = Network(Hopfield(widths=(6, 5, 4), heads=(1,), dtype="float64"))
    target = np.eye(4)[:2]
    free = network.architecture.free(network.layers, np.ones((2, 6)))
    (label,), (smooth,), (output,) = (
        LocalError(**fields).of(network, free, target) for fields in ({}, {"smoothing": 0.2}, {"target": "output"})
    )
    np.testing.assert_array_equal(label.wanted, target)
    np.testing.assert_allclose(smooth.wanted, 0.8 * target + 0.05, rtol=1e-12)
    np.testing.assert_allclose(output.wanted.sum(1), 1, rtol=1e-12)
    assert np.abs(output.wanted - target).max() > 0.5


def test_a_teacher_is_the_network_as_it_was_given():
    network = Network(MLP(widths=(5, 6, 3)), seed=2)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    teacher = Teacher.of(network)
    expected = network.layers[0].infer(x)
    assert teacher.path == ""
    assert Teacher.of(network.copy()) == teacher
    network.layers[0].matrices["0.weight" if "0.weight" in network.layers[0].matrices else "weight"].increment(
        np.ones((6, 5), "float32")
    )
    assert fingerprint(network) != teacher.fingerprint
    np.testing.assert_array_equal(teacher.vectors(x, (1,))[0], expected)
    hopfield_teacher._KNOWN.clear()
    with pytest.raises(TeacherError, match="was given as a network and is not known to this process"):
        teacher.vectors(x, (1,))


def test_a_teacher_on_crossbars_answers_with_the_weights_of_its_devices():
    network = Network(MLP(widths=(5, 6, 3)), apc.Analog(device="reram-sb"), seed=2)
    teacher = Teacher.of(network)
    read = next(iter(network.matrices().values())).weights()
    np.testing.assert_array_equal(next(iter(teacher.network().matrices().values())).weights(), read)
    before = {name: matrix.meter.as_dict() for name, matrix in network.matrices().items()}
    teacher.vectors(np.ones((2, 5), "float32"), (2,))
    assert {name: matrix.meter.as_dict() for name, matrix in network.matrices().items()} == before


def refusal(fields, **signals):
    network = Network(Hopfield(**{"widths": (6, 9, 8, 7, 4), **fields}))
    kind = signals.pop("made", LocalError)
    rule = SignalsEP(signals=kind(**signals))
    return lambda: rule.train_step(network, np.ones((2, 6), "float32"), np.ones((2, 4), "float32"), lambda products, gain: None)


def test_refusals_are_one_sentence():
    with pytest.raises(SpecificationError, match=r"heads = \(1, 4\) must be numbers of different hidden states, from 1 to 3"):
        Hopfield(widths=(6, 9, 8, 7, 4), heads=(1, 4))
    with pytest.raises(SpecificationError, match=r"heads = \(2, 2\)"):
        Hopfield(widths=(6, 9, 8, 7, 4), heads=(2, 2))
    with pytest.raises(
        SpecificationError, match=r"head_features = \(5,\) must be empty or have one number for each of the 2 heads"
    ):
        Hopfield(widths=(6, 9, 8, 7, 4), heads=(1, 2), head_features=(5,))
    with pytest.raises(SpecificationError, match="heads need head_features"):
        Hopfield(input_shape=(4, 4, 1), blocks=(apc.Conv2d(channels=2), apc.Conv2d(channels=2)), heads=(1,))
    with pytest.raises(SpecificationError, match="drive = 'clamp' cannot be used with intermediate signals"):
        SignalsEP(drive="clamp")
    with pytest.raises(SpecificationError, match=r"states = \(1, 1\) contains a state twice"):
        LocalError(states=(1, 1))
    teacher = Teacher.of(Network(MLP(widths=(6, 9, 8, 4)), seed=11))
    with pytest.raises(SpecificationError, match=r"states = \(1, 2\) and teacher_states = \(1,\) must have equal lengths"):
        Distillation(states=(1, 2), teacher=teacher, teacher_states=(1,))
    with pytest.raises(SpecificationError, match="fingerprint"):
        Teacher(fingerprint="abc")
    with pytest.raises(TeacherError, match="a teacher is a predictive network, not one of the architecture 'hopfield'"):
        Teacher.of(Network(Hopfield(widths=(4, 3, 2))))
    distil = {"made": Distillation, "teacher": teacher, "teacher_states": (1,)}
    weighted = {**distil, "made": WeightedDistillation}
    for call, sentence in (
        (refusal({}), "local errors need a network with heads"),
        (
            refusal({"heads": (1,)}, states=(2,)),
            r"state 2 has no head: construct the network with one, for example by Hopfield\(..., heads=\(2,\)\)",
        ),
        (
            refusal({"heads": (1,), "head_features": (5,)}),
            "the head of state 1 has 5 values, but there are 4 outputs: set head_features",
        ),
        (refusal({}, states=(2,), **distil), "state 2 has 8 channels but the teacher state 9"),
        (refusal({}, states=(4,), **distil), r"states = \(4,\) must be numbers of hidden states, from 1 to 3"),
        (
            refusal({}, states=(1,), **{**distil, "teacher_states": (4,)}),
            r"teacher_states = \(4,\) must be numbers of layers of the teacher",
        ),
        (refusal({}, states=(1,), **weighted), "state 1 has no head"),
        (
            refusal({"heads": (1,)}, states=(1,), **weighted),
            "the head of state 1 has 4 values, but there are 9 channels of the teacher",
        ),
    ):
        with pytest.raises(ValueError, match=sentence) as reported:
            call()
        assert "\n" not in str(reported.value)
    with pytest.raises(SpecificationError, match="trains networks of the architecture 'hopfield', not 'mlp'"):
        Study(rule=SignalsEP(), network=MLP(widths=(64, 10)))


@pytest.mark.parametrize("signal", [LocalError, Distillation, WeightedDistillation])
def test_it_learns_on_crossbars_of_idealized_devices(signal):
    """All weights, those of heads too, are crossbars; three epochs bring far more than chance, 10 %, as on the digital substrate."""
    data = apc.load_data("digits")
    distils = signal is not LocalError
    if distils:
        taught = apc.fit(Network(MLP(widths=(64, 32, 10)), seed=3), apc.Backprop(), data, epochs=2, progress=False)
        signals = signal(states=(1,), teacher=Teacher.of(taught.network), teacher_states=(1,))
    else:
        signals = signal()
    heads = {"heads": (1,), "head_features": (32,) if distils else ()} if signal is not Distillation else {}
    study = Study(
        rule=SignalsEP(signals=signals, gamma=Linear(start=0.5, epochs=3)),
        network=Hopfield(widths=(64, 32, 10), steps=12, **heads),
        substrate={"kind": "analog", "device": "idealized"},
        optimiser=apc.SGD(learning_rate=0.1),
        epochs=3,
        batch_size=32,
    )
    analog, digital = (
        begin(study.but(substrate=one), data).train(data, progress=False) for one in (study.substrate, apc.Digital())
    )
    crossbars = [matrix for name, matrix in analog.network.matrices().items() if name.endswith("weight")]
    assert len(crossbars) == 2 + len(heads.get("heads", ()))
    assert all(matrix.meter.pulses > 0 for matrix in crossbars)
    assert analog.history["test_accuracy"][-1] > 0.7
    assert abs(analog.history["test_accuracy"][-1] - digital.history["test_accuracy"][-1]) < 0.1
