"""Every door of networks and of training: what is of the wrong kind is refused in a sentence, before anything is learnt."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analogpc as apc
from analogpc.devices.specification import SpecificationError
from analogpc.kernels import checks
from analogpc.kernels.checks import TooLargeError

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
        with pytest.raises(ValueError, match="time passes forwards"):
            apc.mlp([4, 3], substrate=substrate).elapse(-1)
