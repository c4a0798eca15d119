"""Networks: architectures, substrates, copies and reads that leave no trace."""

import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.crossbar_matrix import CrossbarMatrix
from analogpc.devices.mappings import DifferentialPair
from analogpc.kernels.streams import Key


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
    with network.aside(Key(5)) as meters:
        first = network.predict(x)
    with network.aside(Key(5)):
        np.testing.assert_array_equal(network.predict(x), first)
    assert meters["layer1.0.weight"].forward_reads == 3
    assert network.matrices()["layer1.0.weight"].meter.forward_reads == 0
    np.testing.assert_array_equal(network.predict(x), undisturbed)


def test_state_and_restore_are_inverse():
    substrate = apc.Analog(device="reram-sb", mapping=DifferentialPair(minus="active"))
    one, two = (apc.mlp([6, 4, 2], substrate=substrate, seed=s) for s in (1, 2))
    two.restore(one.state())
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    np.testing.assert_array_equal(one.predict(x), two.predict(x))
