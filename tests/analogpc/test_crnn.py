"""The published convolutional Hopfield-type networks: shapes and initial values against the papers' code, and training."""

import numpy as np
import pytest

import analogpc as apc
from analogpc.networks import Hopfield
from analogpc.networks.crnn import hopfield_cnn
from analogpc.networks.network import Network
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.references import RecurrentBackprop

CRNNS = {"crnn-vgg7": (5, 2), "crnn-vgg10": (8, 2), "crnn-vgg11": (8, 3), "crnn-vgg12": (10, 2), "crnn-vgg13": (10, 3)}


def kinds(block):
    return [own.kind for own in block.blocks]


@pytest.mark.parametrize(
    ("plan", "states", "pairs"),
    [
        # "--channels 128 256 512 512 --kernels 3 3 3 3 --pools 'mmmm' --paddings 1 1 1 0 --fc 10"
        ("laborieux", [(16, 16, 128), (8, 8, 256), (4, 4, 512), (1, 1, 512), (10,)], 512 * 10),
        # ConvHopfieldEnergy32
        ("scellier", [(16, 16, 128), (8, 8, 256), (4, 4, 512), (2, 2, 512), (10,)], 4 * 512 * 10),
    ],
)
def test_networks_have_the_shapes_of_the_reference_code(plan, states, pairs):
    network = Network(hopfield_cnn(plan))
    assert [layer.output_shape for layer in network.layers] == states
    weights = sum(np.prod(m.shape) for name, m in network.matrices().items() if name.endswith("weight"))
    assert weights == 9 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 512) + pairs


def test_weights_start_as_in_the_reference_code():
    """Within the bounds, and at 10 000 draws or more from the bounds by no more than a thousandth (a false alarm of e^-10)."""
    gains = (0.4, 0.7, 0.6, 0.3, 0.4)
    for plan, given, bias in (("laborieux", (1,), 1), ("scellier", (0.5,), 0.5), ("scellier", gains, 0.5)):
        network = Network(hopfield_cnn(plan, init_gains=given if given != (1,) else ()))
        for layer, gain in zip(network.layers, given if len(given) > 1 else given * 5, strict=True):
            weight, offset = (matrix.weights() for matrix in layer.matrices.values())
            bound = 1 / np.sqrt(weight.shape[1])
            assert np.abs(weight).max() <= gain * bound * (1 + 1e-6)
            assert np.abs(offset).max() <= bias * bound * (1 + 1e-6)
            if weight.size > 1e4:
                assert np.abs(weight).max() > 0.999 * gain * bound
            assert np.abs(offset).max() > 0.4 * bias * bound


@pytest.mark.parametrize("plan", CRNNS)
def test_deep_networks_have_so_many_convolutions_and_dense_layers(plan):
    network = hopfield_cnn(plan, classes=100)
    convolutions, dense = CRNNS[plan]
    found = [kind for block in network.blocks for kind in kinds(block)]
    assert (found.count("conv2d"), found.count("dense"), found.count("max-pool")) == (convolutions, dense, 5)
    assert network.readout == "softmax"
    assert network.blocks[-1].blocks[-1].features == 100
    gains = {own.init_gain for block in network.blocks for own in block.blocks if own.kind in ("conv2d", "dense")}
    assert gains == {0.5 if plan in ("crnn-vgg11", "crnn-vgg12", "crnn-vgg13") else 1.0}
    assert network.start == ("uniform" if plan in ("crnn-vgg10", "crnn-vgg12") else "zeros")
    assert network.activations == (("relu",) * 10 + ("hard_sigmoid",) if plan == "crnn-vgg12" else ())
    linear = hopfield_cnn(plan, readout="linear")
    assert len(linear.activations) in (0, len(linear.blocks))
    assert hopfield_cnn(plan, activation="tanh").activations == ()


def test_width_pooling_and_fields_may_be_chosen():
    for pooling, kind in (("max", "max-pool"), ("average", "avg-pool"), ("soft", "soft-pool")):
        network = hopfield_cnn("crnn-vgg7", width=0.125, pooling=pooling, steps=3, feedback="separate")
        assert [kinds(block)[:2] for block in network.blocks[:5]] == [["conv2d", kind]] * 5
        assert [block.blocks[0].channels for block in network.blocks[:5]] == [8, 16, 32, 64, 64]
        assert network.blocks[5].blocks[-1].features == 64
        assert (network.steps, network.feedback) == (3, "separate")
        assert Hopfield.from_toml(network.to_toml()) == network


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: hopfield_cnn("vgg"), "there is no plan 'vgg'"),
        (lambda: hopfield_cnn("scellier", pooling="mean"), "pooling = 'mean' is not allowed: it is one of max, average, soft"),
        (lambda: hopfield_cnn("laborieux", input_shape=(28, 28, 1)), "input_shape = .* is too small for the plan 'laborieux'"),
        (lambda: hopfield_cnn("scellier", init_gains=(0.5, 0.4)), "one number, or one for each of the 5 layers"),
    ],
)
def test_what_cannot_be_built_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("pooling", ["max", "average", "soft"])
@pytest.mark.parametrize(("plan", "output"), [("laborieux", "cross-entropy"), ("scellier", "squared-error")])
def test_narrow_ones_learn_their_gradient(plan, output, pooling):
    """Centered equilibrium propagation against recurrent backprop, all matrices, with a smooth activation in float64."""
    fields = {"activation": "soft_half_sigmoid", "steps": 60, "dtype": "float64"}
    architecture = hopfield_cnn(plan, width=0.03, pooling=pooling, init_gains=(0.5,), **fields)
    network = Network(architecture, apc.Digital())
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(2, 32, 32, 3)), np.eye(10)[[3, 7]]
    learnt = {}
    for rule in (HopfieldEP(beta=1e-3, steps=60, output=output), RecurrentBackprop(steps=60, output=output)):
        sums = learnt[rule.kind] = {}

        def apply(products, gain, sums=sums):
            for matrix, pre, post in products:
                sums[id(matrix)] = sums.get(id(matrix), 0) + gain * post.T @ pre

        rule.train_step(network, x, target, apply)
    for matrix in network.matrices().values():
        one, other = (sums[id(matrix)] for sums in learnt.values())
        assert np.abs(one - other).max() < 1e-3 * np.abs(other).max()
        assert np.abs(other).max() > 0
