"""Depth in float32: what the first layers of deep networks learn is what they learn in float64.

Errors of VGG15 without batch normalisation are some eight orders of magnitude smaller than its states, where a difference of two states
in float32 is noise.
"""

import numpy as np
import pytest

import analogpc as apc
from analogpc.analysis import directions, gradient_alignment
from analogpc.kernels.gpu.arrays import to_host
from analogpc.rules import named_rule

SPIKING = {"steps": "layers", "precision": "spiking", "update": "forward"}
RULES = {
    "s+f": apc.PredictiveCoding(**SPIKING, step_size=0.5),
    "s+f of DeepPCNs": apc.PredictiveCoding(**SPIKING, step_size=0.8038, momentum=0.1, nesterov=True),
    "d+f": named_rule("d+f"),
    "pc": apc.PredictiveCoding(steps=17, step_size=0.3),
    "zil": apc.ZIL(),
    "ep": apc.EquilibriumPropagation(),
    "ep clamped": apc.EquilibriumPropagation(drive="clamp", nudging="positive"),
}


def batch(network, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, *network.input_shape)), np.eye(10)[rng.integers(0, 10, 4)]


def cosines(rule, make, **substrate):
    single, double = (make(dtype) for dtype in ("float32", "float64"))
    x, y = batch(single)
    if substrate:
        single = single.on(apc.Analog.ideal(**substrate))
    ours, exact = directions(single, rule, x, y), directions(double, rule, x, y)
    found = []
    for name, matrix in double.matrices().items():
        if matrix.shape[1] > 1:
            a, b = ours[name].astype(np.float64).ravel(), exact[name].ravel()
            found.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return np.array(found)


def vgg15(dtype, activation="gelu"):
    return apc.vgg(15, width=1 / 32, dtype=dtype, activation=activation)


@pytest.mark.parametrize("name", RULES)
def test_every_layer_of_vgg15_learns_in_float32_what_it_learns_in_float64(name):
    found = cosines(RULES[name], vgg15)
    assert len(found) == 15
    assert found.min() > 0.9999


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
def test_other_activations(activation):
    for name in ("s+f", "ep"):
        assert cosines(RULES[name], lambda dtype: vgg15(dtype, activation)).min() > 0.9999


def test_crossbars_without_noise_keep_the_precision_too():
    def deep(dtype):
        return apc.mlp([20] + [12] * 14 + [10], activation="gelu", dtype=dtype)

    for name in ("s+f", "pc", "ep"):
        assert cosines(RULES[name], deep, rows=8, columns=8).min() > 0.9999


def test_s_f_is_backpropagation_at_any_depth():
    """The cosine with backprop that the analysis reports, in float32, is that of float64."""
    network = vgg15("float32")
    assert gradient_alignment(network, RULES["s+f"], *batch(network)).cosine.min() > 0.999


def test_the_gpu_keeps_the_precision_too(emulated):
    network = apc.mlp([20] + [12] * 11 + [10], activation="gelu", dtype="float32")
    x, y = batch(network)
    for name in ("s+f", "pc", "ep"):
        learnt = []
        for there in (network, network.to("gpu")):
            own = {id(matrix): place for place, matrix in enumerate(there.matrices().values())}
            sums = [0.0] * len(own)

            def apply(products, gain, own=own, sums=sums):
                for matrix, pre, post in products:
                    sums[own[id(matrix)]] = sums[own[id(matrix)]] + gain * to_host(post).T @ to_host(pre)

            RULES[name].train_step(there, there.inputs(x), there.brought(y), apply)
            learnt.append(sums)
        for here, other in zip(*learnt, strict=True):
            assert np.abs(here - other).max() < 1e-3 * np.abs(here).max()


def test_a_chip_s_memory_ends_the_precision_unless_it_holds_deviations():
    """16 bits for states leave the first layers of a deep network nothing to learn; 12 for deviations leave them the direction."""
    network = apc.mlp([20] + [16] * 9 + [10], activation="gelu", dtype="float64", seed=2)
    x, y = batch(network)
    rule = RULES["s+f"]

    def cosine(**fields):
        return gradient_alignment(network, rule.but(**fields), x, y).cosine

    assert cosine().min() > 0.999
    states, deviations = cosine(state_bits=12), cosine(state_bits=12, state_memory="deviations")
    assert deviations.min() > 0.999
    assert not states[0] > 0.9
    assert states[-1] > 0.999
    # Finer states see deeper.
    seen = [int((cosine(state_bits=bits) > 0.9).sum()) for bits in (8, 12, 16, 24)]
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]


def test_state_bits_say_what_they_take():
    with pytest.raises(ValueError, match="state_bits = 1 has only the level zero"):
        apc.PredictiveCoding(state_bits=1)
    with pytest.raises(ValueError, match="relaxes errors, not states"):
        apc.ErrorBasedPC(state_bits=8)
    rule = apc.PredictiveCoding(state_bits=8, state_memory="deviations")
    assert apc.PredictiveCoding.from_toml(rule.to_toml()) == rule
