"""Matrix multiplications per weight update, as written and as read: Table 4 of Salvatori et al., ICLR 2024 (oracle 12).

The table counts multiplications by a weight matrix (MM), and those that can be done one beside the other as one (SMM), for a network of
L layers and T relaxation steps: PC (2L - 1) T and 2T, Z-IL (2L - 1)(L - 1) and 2(L - 1), backprop 2L - 1 and 2L - 1, iPC 2L - 1 and 2. A
step of inference is 2L - 1 MM and 2 SMM: every layer predicts, and all but the first send back.

Two things make what is really read differ. The table leaves out the feed-forward pass, L reads. And here no layer is read again whose
input stands still, nor is an error sent back that is zero by construction, which saves the first layer's reads of the held input and
everything that the wave of errors has not reached yet. All numbers below are exact.
"""

import numpy as np
import pytest

import analogpc as apc
from analogpc.analysis import read_counts
from analogpc.dynamics.relaxation import Relaxation
from analogpc.networks.network import Network

DEPTHS = (2, 3, 5)


def case(depth, n=3):
    network = apc.mlp([*[4] * depth, 3], activation="tanh", dtype="float64")
    rng = np.random.default_rng(0)
    return network, rng.normal(size=(n, 4)), rng.normal(size=(n, 3))


def from_the_output(depth):
    """L - l for the layers l = 1, ..., L: the step at which the error reaches them."""
    return np.arange(depth)[::-1]


@pytest.mark.parametrize("depth", DEPTHS)
def test_one_step_of_inference_is_2l_minus_1_and_2_at_once(depth):
    """Where every state, and the input, has moved."""
    network, x, target = case(depth, n=1)
    relaxation = Relaxation(network.layers, x, target)
    weights = [matrix for matrix in network.matrices().values() if matrix.shape[1] > 1]
    before = np.array([m.meter.forward_reads + m.meter.backward_reads for m in weights])
    for index in range(depth):
        relaxation.place(index, relaxation.states[index])
    relaxation.step([1.0] * depth, 0.1)
    reads = np.array([m.meter.forward_reads + m.meter.backward_reads for m in weights]) - before
    assert reads.sum() == 2 * depth - 1
    assert reads.max() == 2


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("more", [-1, 0, 4])
def test_predictive_coding(depth, more):
    """Written (2L - 1) T; read less by T (the input is held) and by (L - 1)(L - 2) (the wave), more by L (the feed-forward pass)."""
    steps = depth + more
    reads = read_counts(*of(depth, apc.PredictiveCoding(steps=steps)))
    reached = steps - from_the_output(depth)
    np.testing.assert_array_equal(reads.backward[1:], reached[1:])
    np.testing.assert_array_equal(reads.forward[1:], 1 + reached[1:])
    assert (reads.forward[0], reads.backward[0]) == (1, 0)
    assert reads.total == (2 * depth - 1) * steps - steps - (depth - 1) * (depth - 2) + depth
    assert reads.busiest == 2 * steps + 1


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("more", [0, 3])
def test_spiking_precision_with_forward_updates(depth, more):
    """Nothing is read after the last move: one read fewer in every layer but the first. 2T at once, the feed-forward read included.

    As its reference code reads, the stored states once more, it is 2T + 1.
    """
    steps = depth + more
    rule = apc.PredictiveCoding(steps=steps, step_size=0.5, precision="spiking", update="forward")
    reads = read_counts(*of(depth, rule))
    standard = read_counts(*of(depth, apc.PredictiveCoding(steps=steps)))
    np.testing.assert_array_equal(reads.backward, standard.backward)
    np.testing.assert_array_equal(reads.forward, standard.forward - (np.arange(depth) > 0))
    assert reads.busiest == 2 * steps


@pytest.mark.parametrize("depth", DEPTHS)
def test_backprop_and_z_il_that_moves_the_front_alone(depth):
    """2L - 1, none of them at once: every read needs the result of the one before it."""
    for rule in (apc.Backprop(), apc.ZIL()):
        reads = read_counts(*of(depth, rule))
        np.testing.assert_array_equal(reads.forward, 1)
        np.testing.assert_array_equal(reads.backward, np.arange(depth) > 0)
        assert reads.total == 2 * depth - 1


@pytest.mark.parametrize("depth", DEPTHS)
def test_z_il_as_it_is_written(depth):
    """Written (2L - 1)(L - 1); read L + (L - 1)^2, of which L are the feed-forward pass. 2 (L - 1) at once, with that pass in it."""
    reads = read_counts(*of(depth, apc.ZIL(sweep="all")))
    layer = np.arange(1, depth + 1)
    np.testing.assert_array_equal(reads.forward, 1 + np.maximum(0, layer - 2))
    np.testing.assert_array_equal(reads.backward, layer - 1)
    assert reads.total == depth + (depth - 1) ** 2 <= (2 * depth - 1) * (depth - 1)
    assert reads.busiest == 2 * (depth - 1)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("more", [0, 1, 6])
def test_incremental_pc(depth, more):
    """2L - 1 for each of T updates of the weights, and 2 at once; less by (L - 1)^2 while the error is on its way for the first time."""
    steps = depth + more
    reads = read_counts(*of(depth, apc.IncrementalPC(steps=steps)))
    assert reads.total == (2 * depth - 1) * steps - (depth - 1) ** 2
    assert reads.busiest == 2 * steps
    longer = read_counts(*of(depth, apc.IncrementalPC(steps=steps + 1)))
    assert longer.total - reads.total == 2 * depth - 1
    assert longer.busiest - reads.busiest == 2


@pytest.mark.parametrize("nudging", ["positive", "centered"])
def test_equilibrium_propagation_of_hopfield_type(nudging):
    """T1 free and T2 nudged steps for each phase: a forward and a transposed read of each array that is no end of the network."""
    network = Network(apc.Hopfield(widths=(5, 6, 7, 4), order="synchronous", steps=6, dtype="float64"))
    rng = np.random.default_rng(0)
    rule = apc.HopfieldEP(steps=3, nudging=nudging)
    reads = read_counts(network, rule, rng.normal(size=(2, 5)), rng.normal(size=(2, 4)))
    steps = 6 + 3 * len(rule.signs())
    # The states at the end of a phase are read once more, to learn from; those of the free phase are read for all phases together.
    assert reads.forward[1] == steps + 1
    assert reads.backward[1] == steps
    assert (reads.forward[0], reads.backward[0]) == (1, 0)


def test_convolutions_count_a_read_for_each_position():
    blocks = (
        apc.Chain(blocks=(apc.Conv2d(channels=3), apc.Activation(function="tanh"))),
        apc.Chain(blocks=(apc.Conv2d(channels=4, kernel=2, stride=2, padding=0), apc.Flatten(), apc.Dense(features=3))),
    )
    network = Network(apc.Layers(input_shape=(6, 6, 2), blocks=blocks, dtype="float64"))
    rng = np.random.default_rng(0)
    reads = read_counts(network, apc.Backprop(), rng.normal(size=(2, 6, 6, 2)), rng.normal(size=(2, 3)))
    np.testing.assert_array_equal(reads.forward, [36, 9, 1])
    # The dense matrix is read back twice: for the layer below, and for what its own layer's convolution learns.
    np.testing.assert_array_equal(reads.backward, [0, 9, 2])


def test_counting_leaves_no_trace():
    network, x, target = case(3)
    read_counts(network, apc.IncrementalPC(), x, target)
    assert all(matrix.meter.forward_reads == matrix.meter.updates == 0 for matrix in network.matrices().values())


def of(depth, rule):
    network, x, target = case(depth)
    return network, rule, x, target
