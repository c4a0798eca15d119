"""What residual networks with delay states must be by mathematics (numbers of the oracle list in brackets)."""

import math

import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.substrate import Analog
from analogpc.dynamics.relaxation import Relaxation
from analogpc.networks import ResNet
from analogpc.networks.network import Network

FIELDS = {"input_shape": (6, 5, 2), "classes": 3, "activation": "tanh", "width": 1 / 32, "dtype": "float64"}


def resnet(depth=10, seed=0, **fields):
    return Network(ResNet(depth=depth, **{**FIELDS, **fields}), seed=seed)


def weights(network):
    return [matrix.weights() for matrix in network.matrices().values()]


def convolution(x, weight, stride):
    """Cross-correlation of images (n, rows, columns, channels), straight from its definition; square kernels, padded to keep sizes."""
    kernel = math.isqrt(weight.shape[1] // x.shape[3])
    pad = kernel // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nrcikl,okli->nrco", windows, weight.reshape(len(weight), kernel, kernel, x.shape[3]))


def plain_residual_function(x, values, blocks_per_group):
    """conv, then blocks x <- conv2(tanh(conv1(tanh(x)))) + skip(x), then the mean over pixels of tanh, and the dense layer."""
    values = iter(values)
    x = convolution(x, next(values), 1)
    for group in range(4):
        for number in range(blocks_per_group):
            stride = 2 if group and not number else 1
            h = convolution(np.tanh(x), next(values), stride)
            skip = convolution(x, next(values), stride) if stride == 2 else x
            x = convolution(np.tanh(h), next(values), 1) + skip
    return np.tanh(x).mean(axis=(1, 2)) @ next(values).T + next(values)[:, 0]


@pytest.mark.parametrize("depth", [10, 18])
def test_the_feed_forward_pass_is_that_of_the_plain_residual_network(depth):
    network = resnet(depth)
    x = np.random.default_rng(0).normal(size=(3, 6, 5, 2))
    expected = plain_residual_function(x, weights(network), {10: 1, 18: 2}[depth])
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-10, atol=1e-12)
    assert len(network.layers) == depth


def without_delays(network):
    """The same function with one layer for each residual block, holding the same weights."""
    twin = Network(network.architecture.but(delay=False), seed=1)
    values, order = weights(network), []
    index = 1
    for group in range(4):
        # Beside the second convolution, the projection is made first with delays, and last without.
        order += [index, index + 2, index + 1] if group else [index, index + 1]
        index += 3 if group else 2
    order = [0, *order, index, index + 1]
    for matrix, place in zip(twin.matrices().values(), order, strict=True):
        matrix.increment(-matrix.weights())
        matrix.increment(values[place])
    return twin, order


def directions(rule, network, x, target):
    """What a rule makes every matrix learn, in the order of the network."""
    sums = {id(matrix): 0.0 for matrix in network.matrices().values()}

    def apply(products, gain):
        for matrix, pre, post in products:
            sums[id(matrix)] = sums[id(matrix)] + gain * post.T @ pre

    rule.train_step(network, x, target, apply)
    return list(sums.values())


def batch(network, n=4, seed=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *network.input_shape)), rng.normal(size=(n, *network.output_shape))


def test_with_and_without_delays_backpropagation_is_the_same():
    network = resnet()
    twin, order = without_delays(network)
    x, target = batch(network)
    np.testing.assert_allclose(twin.predict(x), network.predict(x), rtol=1e-12)
    ours, theirs = directions(apc.Backprop(), network, x, target), directions(apc.Backprop(), twin, x, target)
    for place, value in zip(order, theirs, strict=True):
        np.testing.assert_allclose(ours[place], value, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("depth", [10, 18])
def test_zil_is_backpropagation(depth, delay, batch_norm):
    """[2] In every matrix, to 1e-12 of its largest value, in float64."""
    network = resnet(depth, delay=delay, batch_norm=batch_norm)
    x, target = batch(network)
    for sweep in ("front", "all"):
        learnt = directions(apc.ZIL(sweep=sweep), network, x, target)
        for ours, theirs in zip(learnt, directions(apc.Backprop(), network, x, target), strict=True):
            assert np.abs(theirs).max() > 0
            assert np.abs(ours - theirs).max() < 1e-12 * np.abs(theirs).max()


def test_without_unit_steps_zil_is_not_backpropagation():
    network = resnet()
    x, target = batch(network)
    learnt = directions(apc.ZIL(step_size=0.9), network, x, target)
    reference = directions(apc.Backprop(), network, x, target)
    assert np.abs(learnt[0] - reference[0]).max() > 0.1 * np.abs(reference[0]).max()


def parts(values):
    """The main part and the carried part of a state that holds both, as images in a flat row each."""
    return np.split(values, 2, axis=1)


def total_energy(network, states, delay_precision):
    """1/2 sum ||x - mu||^2 over main paths and delay states, the latter weighted unless a projection predicts them."""
    total = 0.0
    for number, (layer, before, after) in enumerate(zip(network.layers, states[:-1], states[1:], strict=True)):
        error = after - layer.forward(before)[0]
        if error.ndim == 2 and number < len(network.layers) - 1:
            main, carried = parts(error)
            # In ResNet10 layers 3, 5 and 7 (from 0) begin with a projection, and layers 1 to 8 hold two parts.
            weight = 1.0 if number in (3, 5, 7) else delay_precision
            total += 0.5 * np.sum(main**2) + 0.5 * weight * np.sum(carried**2)
        else:
            total += 0.5 * np.sum(error**2)
    return total


@pytest.mark.parametrize(("delay_precision", "batch_norm"), [(1.0, False), (2.5, False), (2.5, True)])
def test_states_follow_the_negative_gradient_of_the_energy_with_delay_states(delay_precision, batch_norm):
    """[1] Central differences at random states, 12 places in each; and the reported energies are those of the sum."""
    network = resnet(delay_precision=delay_precision, batch_norm=batch_norm)
    rng = np.random.default_rng(3)
    x, target = batch(network, n=3)
    relaxation = Relaxation(network.layers, x, target)
    for number in range(1, 10):
        relaxation.place(number, rng.normal(size=relaxation.states[number].shape))
    ones = [1.0] * 10
    relaxation.differentiate(ones)
    states = [state.copy() for state in relaxation.states]
    assert relaxation.energy(ones) == pytest.approx(total_energy(network, states, delay_precision) / 3, rel=1e-12)
    for number in range(1, 10):
        for _ in range(12):
            place = tuple(rng.integers(size) for size in states[number].shape)
            kept, values = states[number][place], []
            for shift in (1e-5, -1e-5):
                states[number][place] = kept + shift
                values.append(total_energy(network, states, delay_precision))
            states[number][place] = kept
            expected = (values[0] - values[1]) / 2e-5
            assert relaxation.gradients[number][place] == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("depth", [10, 18])
def test_the_wave_front_arrives_on_both_ways_at_the_same_step(depth):
    """[7] Errors of main and carried parts are exactly zero before step L - l, and nonzero from then on."""
    network = resnet(depth)
    x, target = batch(network)
    relaxation = Relaxation(network.layers, x, target)
    for t in range(depth):
        relaxation.differentiate([1.0] * depth)
        for index in range(depth):
            error = relaxation.unweighted(index)
            both = parts(error) if error.ndim == 2 and index < depth - 1 else [error]
            for part in both:
                assert np.any(part != 0) == (index >= depth - 1 - t), (t, index)
        relaxation.descend(0.3)


def test_delay_states_pass_arriving_errors_on_undiminished_if_their_precision_is_the_inverse_step_size():
    """x(t + 1) = mu(t) + s e(t) with the carried error e of the layer above; weighted by 1 / s, what arrives is e itself."""
    step_size, depth, layer = 0.4, 18, 3
    network = resnet(depth, delay_precision=1 / step_size)
    x, target = batch(network)
    relaxation = Relaxation(network.layers, x, target)
    # Layers 3 and 4 (from 0) are the second block of the first group: both of their carried parts are handed on.
    arrivals, arriving = 0, np.zeros(0)
    for t in range(depth):
        relaxation.differentiate([1.0] * depth)
        here, above = relaxation.errors[layer], relaxation.errors[layer + 1]
        prediction = parts(relaxation.predictions[layer])[1].copy()
        if t == depth - 1 - layer:
            np.testing.assert_allclose(parts(here)[1], arriving, rtol=1e-9)
            arrivals += 1
        relaxation.descend(step_size)
        if above is not None:
            arriving = parts(above)[1].copy()
            moved = parts(relaxation.states[layer + 1])[1]
            np.testing.assert_allclose(moved, prediction + step_size * arriving, rtol=1e-12, atol=1e-14)
    assert arrivals == 1


def test_ideal_crossbars_give_the_same_residual_network():
    network = resnet(dtype="float32")
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 2)).astype("float32")
    np.testing.assert_array_equal(network.on(Analog.ideal(rows=10**4, columns=10**4)).predict(x), network.predict(x))


def test_a_skip_without_states_of_its_own_has_no_precision():
    with pytest.raises(ValueError, match="delay_precision = 2 needs delay = true"):
        ResNet(delay=False, delay_precision=2)
