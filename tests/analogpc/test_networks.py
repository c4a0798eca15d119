"""Networks: architectures, substrates, copies and isolated reads."""

from dataclasses import replace

import numpy as np
import pytest

import analogpc as apc
import analogpc.networks.zoo
from analogpc.blocks import Conv2d, Flatten, GlobalMean, Parallel, Sum, initialisation
from analogpc.devices.arrays import array as arrays
from analogpc.devices.arrays.population import population
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.mappings import DifferentialPair
from analogpc.kernels.random.streams import Key
from analogpc.networks import CNN, AlexNet
from analogpc.networks.plans import convolution_plan, remaining

SPLITS = ("train", "test")


def shapes(network):
    return [matrix.shape for name, matrix in network.matrices().items() if name.endswith("weight")]


def test_mlp_has_the_layers_it_was_asked_for():
    network = apc.mlp([7, 5, 3], activation="tanh")
    assert list(network.matrices()) == ["layer1.0.weight", "layer1.0.bias", "layer2.0.weight", "layer2.0.bias"]
    assert shapes(network) == [(5, 7), (3, 5)]
    x = np.random.default_rng(0).normal(size=(4, 7)).astype("float32")
    (w1, b1, w2, b2) = (matrix.weights() for matrix in network.matrices().values())
    np.testing.assert_allclose(network.predict(x), np.tanh(x @ w1.T + b1[:, 0]) @ w2.T + b2[:, 0], rtol=1e-5, atol=1e-6)


def test_the_other_convention_puts_the_activation_first():
    network = apc.mlp([7, 5, 3], activation="tanh", convention="Wf(x)", bias=False, dtype="float64")
    x = np.random.default_rng(0).normal(size=(4, 7))
    w1, w2 = (matrix.weights() for matrix in network.matrices().values())
    np.testing.assert_allclose(network.predict(x), np.tanh(x @ w1.T) @ w2.T, rtol=1e-12)


@pytest.mark.parametrize(
    ("depth", "channels", "flat"),
    [
        # Convolutions of the reference code at 32 x 32, and the width of the flattened last map.
        (5, [128, 256, 512, 512], 512 * 4),
        (7, [128, 128, 256, 256, 512, 512], 512),
        (10, [64, 128, 128, 128, 256, 256, 256, 256, 512], 512 * 4),
        (15, [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512], 512),
    ],
)
def test_vgg_has_the_layers_of_the_reference_code(depth, channels, flat):
    width = 1 / 64
    network = apc.vgg(depth, width=width, activation="relu")
    thin = [max(1, int(c * width)) for c in channels]
    expected = [(out, 9 * inp) for out, inp in zip(thin, [3, *thin], strict=False)]
    dense = [(4096, max(1, flat // 64)), (10, 4096)] if depth == 15 else [(10, max(1, flat // 64))]
    assert shapes(network) == expected + dense
    assert len(network.layers) == depth
    assert network.predict(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 10)


CRNN_CHANNELS = {
    # Convolutions in each of five blocks, all pooled, of 64, 128, 256, 512 and 512 channels; hidden dense layers of 512.
    7: ((1, 1, 1, 1, 1), 1),
    10: ((1, 1, 2, 2, 2), 1),
    11: ((1, 1, 2, 2, 2), 2),
    12: ((2, 2, 2, 2, 2), 1),
    13: ((2, 2, 2, 2, 2), 2),
}


@pytest.mark.parametrize("depth", CRNN_CHANNELS)
def test_vgg_of_the_crnn_paper(depth):
    counts, dense = CRNN_CHANNELS[depth]
    channels = [c // 64 for count, c in zip(counts, (64, 128, 256, 512, 512), strict=True) for _ in range(count)]
    network = apc.vgg(depth, family="crnn", width=1 / 64)
    sizes = [8, *[512] * dense, 10]
    expected = [(out, 9 * inp) for out, inp in zip(channels, [3, *channels], strict=False)]
    assert shapes(network) == expected + list(zip(sizes[1:], sizes, strict=False))
    assert len(network.layers) == depth
    pools = [any(isinstance(b, apc.MaxPool) for b in layer.blocks) for layer in network.architecture.layers()]
    ends = np.cumsum(counts) - 1
    assert [index for index, pooled in enumerate(pools) if pooled] == list(ends)


@pytest.mark.parametrize(
    ("depth", "channels", "pools", "flat"),
    [
        # The further networks in the code of Qi et al., which have no pooling behind the last convolution.
        (9, [64, 128, 128, 256, 256, 512, 512, 512], [0, 2, 4, 6], 512 * 4),
        (11, [64, 128, 128, 128, 256, 256, 256, 256, 512, 512], [2, 4, 6, 8], 512 * 4),
        (13, [128, 128, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512], [2, 4, 6, 8, 10], 512),
    ],
)
def test_further_vgg_of_the_reference_code(depth, channels, pools, flat):
    network = apc.vgg(depth, family="pc", width=1 / 64)
    thin = [c // 64 for c in channels]
    expected = [(out, 9 * inp) for out, inp in zip(thin, [3, *thin], strict=False)]
    assert shapes(network) == [*expected, (10, flat // 64)]
    layers = network.architecture.layers()
    assert [n for n, layer in enumerate(layers) if any(isinstance(b, apc.MaxPool) for b in layer.blocks)] == pools


def test_vgg_of_kerjan_has_six_weight_layers_and_does_not_pool_the_first():
    network = apc.vgg(5, family="kerjan", width=1 / 64)
    assert shapes(network) == [(2, 27), (4, 18), (8, 36), (8, 72), (8, 72), (10, 32)]
    assert network.layers[0].output_shape == (32, 32, 2)


def test_vgg10_of_kerjan_has_the_layers_of_its_table():
    network = apc.VGG(depth=10, family="kerjan", input_shape=(224, 224, 3), classes=1000, init="kaiming-uniform-fan-out")
    layers = network.layers()
    convolutions = [layer.blocks[0] for layer in layers[:8]]
    assert [one.channels for one in convolutions] == [64, 128, 256, 256, 512, 512, 512, 512]
    assert [isinstance(layer.blocks[-1], apc.MaxPool) for layer in layers[:8]] == [
        True,
        True,
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    assert [layers[8].blocks[1].features, layers[9].blocks[0].features] == [2048, 1000]
    assert {one.init for one in convolutions} == {"kaiming-uniform-fan-out"}
    assert {layers[8].blocks[1].init, layers[9].blocks[0].init} == {"kaiming-uniform"}


def test_a_family_has_its_depths_and_tiny_imagenet_its_sizes():
    assert [apc.VGG(depth=d).family for d in (5, 7, 9, 10, 11, 12, 13, 15)] == ["pc"] * 4 + ["crnn"] * 3 + ["pc"]
    with pytest.raises(ValueError, match="depth = 12 is not in the family 'pc', which has 5, 7, 9, 10, 11, 13, 15"):
        apc.VGG(depth=12, family="pc")
    for depth, side in ((5, 56), (7, 56), (10, 64), (15, 64)):
        network = apc.vgg(depth, input_shape=(side, side, 3), classes=200, width=1 / 64)
        assert network.predict(np.zeros((1, side, side, 3), "float32")).shape == (1, 200)


def test_further_plans():
    """Laborieux: paddings 1, 1, 1, 0; Scellier: all 1; every convolution pooled."""
    assert convolution_plan("laborieux") == ((128, 1), "P", (256, 1), "P", (512, 1), "P", (512, 0), "P")
    assert convolution_plan("scellier", 0.5) == ((64, 1), "P", (128, 1), "P", (256, 1), "P", (256, 1), "P")
    assert [remaining(convolution_plan(name), 32) for name in ("laborieux", "scellier")] == [1, 2]
    assert remaining(convolution_plan("laborieux"), 16) == 0
    with pytest.raises(ValueError, match="there is no plan 'vgg6'; the plans are pc-vgg5, "):
        convolution_plan("vgg6")


@pytest.mark.parametrize("width", [1, 3])
def test_cnn_of_the_width_study(width):
    network = analogpc.networks.zoo.cnn(width=width)
    w = width
    assert shapes(network) == [(8 * w, 27), (16 * w, 72 * w), (8 * w, 144 * w), (128, 128 * w), (10, 128)]
    x = np.zeros((2, 32, 32, 3), "float32")
    assert network.predict(x).shape == (2, 10)
    assert [layer.output_shape[0] for layer in network.layers[:3]] == [16, 8, 4]


def test_cnn_of_any_form():
    network = analogpc.networks.zoo.cnn(
        [4, 6], kernel=5, padding=0, pooled=False, dense=(7, 5), width=2, widen_dense=True, input_shape=(12, 11, 1)
    )
    assert shapes(network) == [(8, 25), (12, 200), (14, 4 * 3 * 12), (10, 14), (10, 10)]
    assert CNN.from_toml(network.architecture.to_toml()) == network.architecture
    with pytest.raises(ValueError, match="kernel = 4 has no padding that preserves the image size"):
        CNN(kernel=4)
    with pytest.raises(ValueError, match="too small for CNN"):
        CNN(input_shape=(4, 4, 1))


def test_alexnet_has_the_layers_of_public_code():
    architecture = AlexNet()
    full = [layer.blocks for layer in architecture.layers()]
    assert [blocks[0].channels for blocks in full[:5]] == [64, 192, 384, 256, 256]
    assert [blocks[0].stride for blocks in full[:5]] == [2, 1, 1, 1, 1]
    thin = apc.Network(architecture.but(width=1 / 32))
    assert shapes(thin)[5:] == [(128, 32), (128, 128), (10, 128)]
    assert [layer.output_shape[:2] for layer in thin.layers[:5]] == [(8, 8), (4, 4), (4, 4), (4, 4), (2, 2)]
    assert apc.Network(architecture.but(width=1 / 32, first_stride=1)).layers[4].output_shape == (4, 4, 8)
    assert analogpc.networks.zoo.alexnet(width=1 / 64, classes=5).output_shape == (5,)


def test_initial_weights_of_convolutional_networks():
    plain, half = apc.vgg(5, width=1 / 64), apc.vgg(5, width=1 / 64, init_gain=0.5, output_init_gain=0.2)
    *inner, output = [
        (a.weights(), b.weights()) for a, b in zip(plain.matrices().values(), half.matrices().values(), strict=True)
    ][::2]
    for before, after in inner:
        np.testing.assert_array_equal(after, 0.5 * before)
    np.testing.assert_allclose(output[1], 0.1 * output[0], rtol=1e-6)


def test_architectures_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="is too small for VGG5"):
        apc.vgg(5, input_shape=(8, 8, 1))
    with pytest.raises(ValueError, match="widths"):
        apc.mlp([3])
    with pytest.raises(ValueError, match=r"takes samples of shape \(4,\), not \(5,\)"):
        apc.mlp([4, 2]).predict(np.zeros((1, 5)))


def test_the_same_seed_gives_the_same_network_in_both_types():
    one, two, other = (apc.mlp([6, 4, 2], seed=s, dtype=d) for s, d in ((1, "float32"), (1, "float64"), (2, "float32")))
    for a, b, c in zip(*(n.matrices().values() for n in (one, two, other)), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights().astype("float32"))
        assert not np.array_equal(a.weights(), c.weights())


def test_biases_stay_digital():
    network = apc.mlp([6, 4, 2], substrate=apc.Analog(device="reram-sb"))
    for name, matrix in network.matrices().items():
        assert isinstance(matrix, CrossbarMatrix) == name.endswith("weight")


def test_a_fresh_network_starts_from_its_initial_weights_on_every_substrate():
    """However badly the devices hold them."""
    digital = apc.mlp([6, 4, 2], seed=3)
    crossbar = digital.on(apc.Analog(device="reram-sb"))
    back = crossbar.on(apc.Digital())
    for a, b, c in zip(*(n.matrices().values() for n in (digital, crossbar, back)), strict=True):
        np.testing.assert_array_equal(a.weights(), c.weights())
        if isinstance(b, CrossbarMatrix):
            assert not np.allclose(a.weights(), b.weights(), atol=1e-3)


def test_a_trained_network_takes_the_weights_of_its_devices_along():
    crossbar = apc.mlp([6, 4, 2], substrate=apc.Analog(device="idealized")).copy(trained=True)
    for a, b in zip(crossbar.matrices().values(), crossbar.on(apc.Digital()).matrices().values(), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights())


def test_without_nonidealities_predictions_are_equal_bit_for_bit():
    network = apc.vgg(5, input_shape=(16, 16, 1), width=1 / 32, activation="tanh")
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 1)).astype("float32")
    np.testing.assert_array_equal(network.on(apc.Analog.ideal(rows=10**4, columns=10**4)).predict(x), network.predict(x))


def test_reading_aside_leaves_no_trace():
    network = apc.mlp([6, 4, 2], substrate=apc.Analog(device="idealized"))
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    undisturbed = network.copy().predict(x)
    with network.isolated_reads(Key(5)) as meters:
        first = network.predict(x)
    with network.isolated_reads(Key(5)):
        np.testing.assert_array_equal(network.predict(x), first)
    assert meters["layer1.0.weight"].forward_reads == 3
    assert network.matrices()["layer1.0.weight"].meter.forward_reads == 0
    np.testing.assert_array_equal(network.predict(x), undisturbed)


def test_state_and_restore_are_inverse():
    substrate = apc.Analog(device="reram-sb", mapping=DifferentialPair(minus="active"))
    one, two = (apc.mlp([6, 4, 2], substrate=substrate, seed=s) for s in (1, 2))
    two.restore(one.snapshot())
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    np.testing.assert_array_equal(one.predict(x), two.predict(x))


@pytest.mark.parametrize("substrate", ["digital", "reram-sb", "pcm-inference"])
def test_loading_a_network_draws_no_weights_and_programs_no_devices(substrate, monkeypatch):
    network = apc.vgg(5, width=0.05, substrate=substrate, seed=4)
    kept = network.snapshot()

    def refuse(*_, **__):
        raise AssertionError("weights are drawn, or devices programmed")

    def population_of_one(device, shape, *rest):
        assert shape == (1, 1)
        return population(device, shape, *rest)

    monkeypatch.setattr(initialisation, "initial_weights", refuse)
    monkeypatch.setattr(CrossbarMatrix, "program", refuse)
    monkeypatch.setattr(arrays, "population", population_of_one)
    loaded = apc.Network.from_snapshot(network.specification, kept)
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(loaded.predict(x), network.predict(x))


def test_parallel_blocks_refuse_what_does_not_fit():
    def build(spec, shape):
        return apc.Network(apc.Layers(input_shape=shape, blocks=(spec,)))

    two = (Conv2d(channels=2), Flatten())
    with pytest.raises(ValueError, match=r"shapes = \(\(4, 4, 1\),\) must be empty or one for each of the 2 branches"):
        Parallel(branches=two, shapes=((4, 4, 1),))
    with pytest.raises(ValueError, match="branches"):
        Parallel(branches=two[:1])
    with pytest.raises(ValueError, match=r"takes samples of shape \(32,\), not \(31,\)$"):
        build(Parallel(branches=two, shapes=((4, 4, 1),) * 2), (31,))
    with pytest.raises(ValueError, match=r"^branch 0: Conv2d takes samples of shape \(height, width, channels\), not \(9,\)$"):
        build(Parallel(branches=two), (9,))
    with pytest.raises(ValueError, match="branch 0 has matrices, but a precision of 2;"):
        build(Parallel(branches=two, precisions=(2, 1)), (4, 4, 1))
    with pytest.raises(ValueError, match=r"takes flat samples of a multiple of 6 values, not \(9,\)"):
        build(Sum(shape=(2, 3)), (9,))
    with pytest.raises(ValueError, match=r"GlobalMean takes samples of shape \(height, width, channels\), not \(9,\)"):
        build(GlobalMean(), (9,))


def test_residual_networks_by_one_call():
    network = analogpc.networks.zoo.resnet(18, width=1 / 64, input_shape=(8, 8, 1), substrate=apc.Analog(device="idealized"))
    assert len(network.layers) == 18
    assert network.predict(np.zeros((2, 8, 8, 1), "float32")).shape == (2, 10)
    assert network.architecture.from_toml(network.architecture.to_toml()) == network.architecture


def kinds(layer):
    return [block.kind for block in layer.blocks]


def test_batch_normalisation_stands_between_convolution_and_activation():
    layers = apc.VGG(depth=7, batch_norm=True).layers()
    assert kinds(layers[0]) == ["conv2d", "batch-norm", "activation", "max-pool"]
    assert kinds(layers[1]) == ["conv2d", "batch-norm", "activation"]
    assert kinds(layers[6]) == ["flatten", "dense"]
    assert kinds(AlexNet(batch_norm=True).layers()[5]) == ["flatten", "dense", "activation"]
    assert [apc.VGG(batch_norm=True, freezing=f).layers()[0].blocks[1].freezing for f in (True, False)] == [True, False]


@pytest.mark.parametrize(
    "network",
    [
        apc.vgg(5, input_shape=(16, 16, 1), width=1 / 32, activation="relu", batch_norm=True),
        analogpc.networks.zoo.resnet(10, input_shape=(8, 8, 1), width=1 / 16, activation="relu", batch_norm=True),
    ],
    ids=["vgg", "resnet"],
)
def test_networks_with_batch_normalisation_learn(network):
    """Digits: running statistics move, and predictions come from them, sample by sample; chance is a tenth."""
    data, size = apc.load_data("digits"), network.input_shape[0]
    data = replace(
        data,
        **{f"{split}_images": getattr(data, f"{split}_images").repeat(size // 8, 1).repeat(size // 8, 2) for split in SPLITS},
    )
    run = apc.fit(network, apc.ZIL(), data, epochs=1, batch_size=64, optimiser=apc.AdamW(learning_rate=0.01), progress=False)
    assert run.history["test_accuracy"][-1] > 0.3
    before, after = network.buffers(), run.network.buffers()
    assert len(after) == (8 if size == 16 else 16)
    assert all(not np.array_equal(after[name], before[name]) for name in after)
    x = np.random.default_rng(0).normal(size=(5, size, size, 1)).astype("float32")
    np.testing.assert_allclose(run.network.predict(x)[:1], run.network.predict(x[:1]), rtol=1e-4, atol=1e-5)
