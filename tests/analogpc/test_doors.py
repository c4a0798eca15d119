"""Input validation of networks and training: invalid arguments are refused with one sentence, before any weight changes."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analogpc as apc
from analogpc.devices.specification import SpecificationError
from analogpc.kernels import checks
from analogpc.kernels.checks import TooLargeError
from analogpc.kernels.parasitics import effective_conductance

IMAGES = (4, 3, 2)


@given(st.permutations(range(3)), st.booleans())
@settings(max_examples=20, deadline=None)
def test_images_in_another_layout_are_refused(order, flat):
    net = apc.Network(apc.Layers(input_shape=IMAGES, blocks=(apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=2))),)))
    turned = np.zeros((5, *(IMAGES[axis] for axis in order)), np.float32)
    if flat or list(order) == [0, 1, 2]:
        assert net.predict(turned.reshape(5, -1) if flat else turned).shape == (5, 2)
        return
    with pytest.raises(ValueError, match=re.escape(f"the network takes samples of shape {IMAGES}")):
        net.predict(turned)


SAMPLES = [
    (np.ma.masked_all((1, 4)), "samples are a masked array"),
    ([[0.0, 0.0, 0.0, np.nan]], "samples must be finite numbers"),
    (np.full((1, 4), 1e300), "samples must be finite numbers in float32"),
    (np.ones((1, 4), complex), "samples must be real numbers, not complex128"),
    ([["1"] * 4], "samples must be real numbers"),
    (None, "samples must be real numbers, not object"),
    (np.ones(4), "the network takes samples of shape (4,)"),
    (3.0, "the network takes samples of shape (4,)"),
]


@pytest.mark.parametrize(("samples", "sentence"), SAMPLES)
def test_samples_are_finite_real_numbers_of_the_shape_of_the_network(samples, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        apc.mlp([4, 3]).predict(samples)
    assert apc.mlp([4, 3]).predict([[0, 1, 2, 3]]).shape == (1, 3)


@pytest.mark.parametrize("seed", [None, 1.0, True, -1, 2**63, "1"])
def test_what_is_no_seed_of_a_network_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed = .* is not allowed|a seed is a whole number"):
        apc.mlp([4, 3], seed=seed)
    assert apc.mlp([4, 3], seed=np.uint8(7)).seed == 7


def test_substrates_go_by_their_short_names():
    net = apc.mlp([4, 3], substrate="reram-sb")
    assert net.substrate == net.on("digital").on("reram-sb").substrate == apc.Analog(device="reram-sb")
    with pytest.raises(SpecificationError, match="substrate = 3 is not allowed"):
        net.on(3)
    with pytest.raises(SpecificationError, match="architecture = 'mlp' is not allowed"):
        apc.Network("mlp")


@pytest.mark.parametrize("widths", ["64", 64, None, [64, True], [64, 1.5], [64, 0]])
def test_what_are_no_sizes_of_layers_is_refused(widths):
    with pytest.raises(SpecificationError, match=r"MLP: widths.* is not allowed"):
        apc.mlp(widths)


def test_networks_that_no_machine_holds_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(checks, "memory_bytes", lambda: 2.0**20)
    with pytest.raises(
        TooLargeError, match=r"a matrix of 1000 x 1000 weights would take 7\.63 MiB of memory, and this machine has 1 MiB"
    ):
        apc.mlp([1000, 1000])


COUNTS = [
    {"batches": 1.5},
    {"batches": -1},
    {"batches": True},
    {"checkpoint_batches": -1},
    {"checkpoint_batches": 0.5},
    {"epochs": True},
    {"epochs": 1.5},
    {"batch_size": 0},
    {"seed": 1.5},
]


@pytest.mark.parametrize("options", COUNTS)
def test_counts_of_training_are_whole_numbers(options):
    learnt = []
    with pytest.raises(ValueError, match=f"{next(iter(options))} = .* is not allowed"):
        apc.fit(
            apc.mlp([64, 10]),
            "bp",
            apc.load_data("digits").take(64, 16),
            callbacks=[lambda run: learnt.append(run)],
            progress=False,
            **{"epochs": 1, **options},
        )
    assert not learnt


@pytest.mark.parametrize(("samples", "size"), [(129, 128), (3, 1), (65, 16), (1, 8)])
@pytest.mark.parametrize("inside", [False, True])
def test_batch_normalisation_of_a_last_batch_of_one_is_refused_at_the_start(samples, size, inside):
    norm = (apc.Dense(features=5), apc.BatchNorm())
    blocks = (apc.Residual(body=apc.Chain(blocks=norm), shortcut=apc.Dense(features=5)),) if inside else norm
    net = apc.Network(apc.Layers(input_shape=(64,), blocks=(apc.Chain(blocks=blocks), apc.Dense(features=10))))
    learnt = []
    with pytest.raises(ValueError, match=f"batch_size = {size} leaves a last batch of 1 of {samples} samples, and layer 1"):
        apc.fit(
            net,
            "bp",
            apc.load_data("digits").take(samples, 16),
            epochs=1,
            batch_size=size,
            callbacks=[lambda run: learnt.append(run)],
            progress=False,
        )
    assert not learnt


def test_time_passes_forwards_on_every_substrate():
    for substrate in ("digital", "pcm"):
        for seconds, sentence in ((-1, "time passes forwards"), (1e300, "longer than the age of the universe")):
            with pytest.raises(ValueError, match=sentence):
                apc.mlp([4, 3], substrate=substrate).elapse(seconds)


DIGITS = apc.load_data("digits").take(64, 16)


def begun(network=None, rule="bp", data=DIGITS, **options):
    return apc.fit(network or apc.mlp([64, 10]), rule, data, epochs=1, batches=1, progress=False, **options)


def test_what_stands_for_a_thing_is_taken_for_it():
    """A description for its network, one for a list of one, a name for data."""
    seen = []
    run = begun(apc.MLP(widths=(64, 10)), callbacks=lambda run: seen.append(1), metrics="balanced-accuracy", batch_size=64)
    assert seen
    assert "test_balanced-accuracy" in run.history
    assert apc.evaluate(apc.MLP(widths=(64, 10)), "digits") == apc.evaluate(apc.mlp([64, 10]), apc.load_data("digits"))


REFUSED = [
    (lambda: begun(3), "architecture = 3 is not allowed"),
    (lambda: begun(callbacks=3), "callbacks are functions of the run"),
    (lambda: begun(metrics="f1"), "there is no metric 'f1'"),
    (lambda: apc.preset("pcm").but(drift={"kind": {}}), "kind"),
    (lambda: apc.Study(rule={"kind": []}), "kind"),
    (lambda: apc.Analog(device="pcm", temperature_kelvin=1e300), "temperature_kelvin = 1e+300 is not allowed"),
    (lambda: apc.Analog(device="pcm", read_volts=1e300), "read_volts = 1e+300 is not allowed"),
    (lambda: apc.Analog(device="pcm", read_seconds=1e300), "read_seconds = 1e+300 is not allowed"),
    (lambda: effective_conductance(np.eye(3), wire_ohms=np.ones(2)), "give a finite nonnegative resistance in ohms"),
    (lambda: apc.export_crossbars(apc.mlp([4, 3], substrate="pcm"), None), "None is not the name of a file"),
    (lambda: apc.Crossbar(np.eye(3)).elapse(1e300), "longer than the age of the universe"),
    (lambda: begun(backend="tpu"), "backend = 'tpu' is not allowed: give 'cpu' or 'gpu'"),
    (lambda: apc.mlp([64, 10]).to("cuda"), "backend = 'cuda' is not allowed"),
    (lambda: begun(checkpoint=""), "'' cannot be written: it is not the name of a file"),
    (lambda: begun(checkpoint=3), "3 cannot be written: it is not the name of a file"),
    (lambda: begun(learning_rate=np.array([0.1, 0.2])), "optimiser.learning_rate = array([0.1, 0.2]) is not allowed"),
    (lambda: begun().evaluate(np.zeros((0, 64)), np.zeros(0, int)), "there are no samples"),
    (lambda: apc.load(0), "0 is not the name of a file"),
    (lambda: apc.load(None), "None is not the name of a file"),
    (lambda: apc.load_data(3), "there is no data set '3'"),
    (lambda: apc.preset(3), "there is no device preset '3'"),
    (lambda: apc.export_crossbars("run.h5", "x.h5"), "network = 'run.h5' is not allowed"),
    (lambda: apc.export_netlist(apc.mlp([4, 3], substrate="pcm"), "x.cir", volts="1"), "volts = '1' is not allowed"),
    (lambda: apc.Dataset.from_arrays(np.eye(3), [0, 1, 2], classes=10**12), "classes = 1000000000000 is not allowed"),
    (lambda: apc.Dataset.from_arrays(np.eye(3), [0, 1, 2], classes=True), "classes = True is not allowed"),
    (lambda: apc.Dataset.from_arrays(np.eye(3), ["a", "b", "c"], classes="abc"), "classes = 'abc' is not allowed"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_does_not_is_refused_in_a_sentence(number):
    act, sentence = REFUSED[number]
    with pytest.raises(ValueError, match=re.escape(sentence)) as refusal:
        act()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("rule", ["pc", "bp", "ipc", "zil", "epc", "ep", "fixed"])
@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (3,), (5, 3, 1)])
def test_targets_are_not_repeated_for_all_samples(rule, shape):
    from analogpc.rules import as_rule

    with pytest.raises(ValueError, match=re.escape("the target must have the shape of the output, (5, 3)")):
        as_rule(rule).train_step(apc.mlp([4, 6, 3]), np.ones((5, 4), np.float32), np.ones(shape, np.float32), lambda *_: None)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (np.full((5, 3), np.nan), "targets must be finite numbers"),
        (np.ma.masked_all((5, 3)), "targets are a masked array"),
        (np.ones((5, 2)), "target must hold one row of shape (3,) for each of the 5 samples"),
    ],
)
def test_analyses_take_samples_and_targets_like_training(target, sentence):
    x, net = np.ones((5, 4)), apc.mlp([4, 6, 3])
    for analyse in (
        lambda: apc.analysis.gradient_alignment(net, apc.PredictiveCoding(), x, target),
        lambda: apc.analysis.state_hessian_extremes(net, x, target),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            analyse()
    with pytest.raises(ValueError, match="there are no samples"):
        apc.analysis.gradient_alignment(net, apc.PredictiveCoding(), x[:0], np.ones((0, 3)))
