"""Analysis of networks: each number against a direct computation, and networks are not modified."""

import copy

import numpy as np
import pytest
from small_networks import batch, hopfield, linear, network_of

import analogpc as apc
from analogpc.analysis import (
    Residual,
    directions,
    energy_profile,
    gradient_alignment,
    residual,
    state_hessian_extremes,
    undisturbed,
)
from analogpc.devices.nonidealities.programming import Levels
from analogpc.devices.presets import preset
from analogpc.kernels.random.streams import Key
from analogpc.rules.equilibrium import EquilibriumPropagation
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP

NOISY = apc.Analog(device="reram-sb")


# Energies.


def test_energies_and_errors_are_those_of_a_direct_descent():
    network = network_of(5, 6, 7, 3)
    x, target = batch(network)
    record = energy_profile(network, apc.PredictiveCoding(steps=4, step_size=0.2), x, target)
    layers, states = network.layers, [x]
    for layer in layers:
        states.append(layer.forward(states[-1])[0])
    states[-1] = target
    for row in range(5):
        reads = [layer.forward(state) for layer, state in zip(layers, states[:-1], strict=True)]
        errors = [after - mu for after, (mu, _) in zip(states[1:], reads, strict=True)]
        np.testing.assert_allclose(record.energies[row], [0.5 * np.sum(e**2) / len(x) for e in errors], rtol=1e-12, atol=1e-30)
        np.testing.assert_allclose(record.error_norms[row], [np.linalg.norm(e, axis=1).mean() for e in errors], atol=1e-14)
        for j in (1, 2):
            states[j] = states[j] - 0.2 * (errors[j - 1] - layers[j].vjp(reads[j][1], errors[j]))
    assert record.steps == 4
    np.testing.assert_array_equal(record.learnt_from, record.energies[-1])
    np.testing.assert_array_equal(record.arrivals, [2, 1, 0])
    np.testing.assert_allclose(record.shares.sum(axis=1), 1)
    np.testing.assert_array_equal(record.shares[0], [0, 0, 1])


@pytest.mark.parametrize("precision", ["standard", "spiking", "decay-paper", "decay-code"])
@pytest.mark.parametrize("update", ["standard", "forward"])
def test_watching_changes_nothing_and_sees_what_is_learnt_from(precision, update):
    network = network_of(5, 6, 7, 6, 3)
    x, target = batch(network)
    rule = apc.PredictiveCoding(steps="layers", step_size=0.5, precision=precision, update=update, momentum=0.2)
    plain, watched = [], []
    one = rule.train_step(network, x, target, lambda products, gain: plain.extend(list(products)))
    other = rule.train_step(network, x, target, lambda products, gain: watched.extend(list(products)), lambda *_: None)
    np.testing.assert_array_equal(one.energies, other.energies)
    for (_, pre, post), (_, own_pre, own_post) in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(pre, own_pre)
        np.testing.assert_array_equal(post, own_post)
    record = energy_profile(network, rule, x, target)
    np.testing.assert_array_equal(record.learnt_from, one.energies)
    np.testing.assert_array_equal(record.arrivals, [3, 2, 1, 0])
    assert (record.learnt_from == record.energies[-1]).all() == (update == "standard")


def test_incremental_pc_under_weights_that_stand_still_is_predictive_coding():
    network = network_of(5, 6, 7, 3)
    x, target = batch(network)
    incremental = energy_profile(network, apc.IncrementalPC(steps=5, step_size=0.3), x, target)
    plain = energy_profile(network, apc.PredictiveCoding(steps=5, step_size=0.3), x, target)
    np.testing.assert_allclose(incremental.energies, plain.energies, rtol=1e-12)
    np.testing.assert_allclose(incremental.learnt_from, plain.energies[4], rtol=1e-12)


def test_the_first_errors_of_error_based_pc_are_those_of_backprop():
    network = network_of(5, 6, 7, 3)
    x, target = batch(network)
    record = energy_profile(network, apc.ErrorBasedPC(steps=1, step_size=0.25), x, target)
    reference = apc.Backprop().train_step(network, x, target, lambda *_: None).energies
    np.testing.assert_allclose(record.energies[1][:-1], 0.25**2 * reference[:-1], rtol=1e-12)
    np.testing.assert_array_equal(record.arrivals, [1, 1, 0])


def test_a_relaxation_that_stops_early_has_fewer_rows():
    network = linear(5, 6, 3)
    x, target = batch(network)
    for rule in (apc.PredictiveCoding(steps=500, step_size=0.3, tolerance=1e-3), apc.ErrorBasedPC(steps=500, tolerance=1e-3)):
        record = energy_profile(network, rule, x, target)
        assert 3 < record.steps < 400
        assert len(record.error_norms) == record.steps + 1
        assert residual(network, rule, x, target)["relaxed"].largest <= 1e-3
        assert residual(network, rule.but(steps=record.steps - 1), x, target)["relaxed"].largest > 1e-3


def test_rules_that_cannot_be_watched_are_refused():
    network = network_of(4, 3)
    with pytest.raises(TypeError, match="the rule 'backprop' cannot be recorded"):
        energy_profile(network, apc.Backprop(), *batch(network))


# Alignment.


@pytest.mark.parametrize("convention", ["f(Wx)", "Wf(x)"])
def test_spiking_precision_is_aligned_with_backprop_and_shrinks_as_said(convention):
    network = network_of(5, 6, 7, 6, 3, convention=convention)
    x, target = batch(network)
    rule = apc.PredictiveCoding(steps="layers", step_size=0.5, precision="spiking", update="forward", base_precision=0.0)
    found = gradient_alignment(network, rule, x, target)
    assert found.names == tuple(name for name in network.matrices() if name.endswith("weight"))
    np.testing.assert_allclose(found.cosine, 1, atol=1e-12)
    np.testing.assert_allclose(found.norm_ratio, [0.5 * 0.5**3, 0.5 * 0.5**2, 0.5 * 0.5, 1], rtol=1e-12)
    np.testing.assert_allclose(found.degrees, 0, atol=1e-4)


def test_what_is_taught_nothing_has_no_direction():
    network = network_of(5, 6, 7, 3)
    found = gradient_alignment(network, apc.PredictiveCoding(steps=1), *batch(network))
    np.testing.assert_array_equal(np.isnan(found.cosine), [True, False, False])
    np.testing.assert_array_equal(found.norm_ratio == 0, [True, False, False])


def test_turning_the_target_round_turns_the_gradient_round():
    """In a linear network of one layer the gradient is (y - Wx) x^T: that of 2 Wx - y is its negative."""
    network = linear(5, 4)
    x, target = batch(network)
    turned = 2 * network.predict(x) - target
    one, other = (directions(network, apc.Backprop(), x, y)["layer1.0.weight"] for y in (target, turned))
    np.testing.assert_allclose(one, (target - network.predict(x)).T @ x, rtol=1e-12)
    np.testing.assert_allclose(other, -one, rtol=1e-12)


@pytest.mark.parametrize("readout", ["linear", "softmax"])
def test_equilibrium_propagation_is_aligned_with_recurrent_backprop(readout):
    network = hopfield(readout=readout)
    x, _ = batch(network)
    output = "cross-entropy" if readout == "softmax" else "squared-error"
    found = gradient_alignment(network, HopfieldEP(beta=1e-3, steps=100, output=output), x, np.eye(4)[[0, 1, 2, 3, 0]])
    assert len(found.names) == 3
    np.testing.assert_allclose(found.cosine, 1, atol=1e-5)
    np.testing.assert_allclose(found.norm_ratio, 1, atol=1e-3)


def test_on_crossbars_the_reference_is_that_of_the_weights_they_hold():
    """Devices that do not take their weights exactly, read exactly: backprop on them is the gradient at what they hold."""
    network = network_of(8, 7, 6, 3, dtype="float32")
    substrate = apc.Analog.ideal(device=preset("idealized").but(levels=Levels(count=9)))
    crossbar = network.on(substrate)
    apart = [
        np.abs(a.weights() - b.weights()).max()
        for a, b in zip(*(n.matrices().values() for n in (network, crossbar)), strict=True)
    ]
    assert max(apart) > 1e-3
    x, target = batch(network)
    held = gradient_alignment(crossbar, apc.Backprop(), x, target)
    np.testing.assert_allclose(held.cosine, 1, atol=1e-6)
    np.testing.assert_allclose(held.norm_ratio, 1, rtol=1e-5)
    wanted = directions(network, apc.Backprop(), x, target)
    got = directions(crossbar, apc.Backprop(), x, target)
    assert any(np.abs(wanted[name] - got[name]).max() > 1e-3 * np.abs(wanted[name]).max() for name in held.names)


def test_noisy_networks_are_left_as_they_were():
    network = network_of(8, 7, 6, 3, dtype="float32", substrate=NOISY)
    network.key_streams(Key(7))
    x, target = batch(network)
    before = copy.deepcopy(network.snapshot())
    twin = network.copy()
    rule = apc.PredictiveCoding(steps=4, step_size=0.3)
    first = gradient_alignment(network, rule, x, target, key=Key(1))
    energy_profile(network, rule, x, target)
    residual(network, rule, x, target)
    state_hessian_extremes(network, x, target)
    again = gradient_alignment(network, rule, x, target, key=Key(1))
    other = gradient_alignment(network, rule, x, target, key=Key(2))
    np.testing.assert_array_equal(first.cosine, again.cosine)
    assert (first.cosine != other.cosine).all()
    assert first.cosine[-1] > 0.5
    assert (first.cosine < 0.99999).all()
    _same(before, network.snapshot())
    np.testing.assert_array_equal(network.predict(x.astype("float32")), twin.predict(x.astype("float32")))


def _same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            _same(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            _same(a, b)
    else:
        np.testing.assert_array_equal(one, other)


def test_what_blocks_keep_is_put_back():
    network = network_of(5, 6, 3)
    network.layers[0].blocks[0].buffers["mean"] = np.arange(6.0)
    network.layers[0] = type(network.layers[0])(network.layers[0].blocks)
    with undisturbed(network, Key(0)):
        network.buffers()["layer1.0.mean"] += 1
    np.testing.assert_array_equal(network.buffers()["layer1.0.mean"], np.arange(6.0))


def test_batches_that_do_not_fit_are_refused():
    network = network_of(5, 6, 3)
    x, target = batch(network)
    with pytest.raises(ValueError, match=r"one row of shape \(3,\) for each of the 5 samples, not \(4, 3\)"):
        directions(network, apc.Backprop(), x, target[:4])


# Residuals.


def test_the_residual_of_predictive_coding_is_the_gradient_of_its_energy():
    """In a linear network, before any step: W_3^T (y - u) alone, with respect to the last hidden state."""
    network = linear(5, 6, 7, 3)
    x, target = batch(network)
    found = residual(network, apc.PredictiveCoding(steps=0), x, target)["relaxed"]
    gradient = (target - network.predict(x)) @ network.matrices()["layer3.0.weight"].weights()
    assert found.largest == pytest.approx(np.abs(gradient).max(), rel=1e-12)
    assert found.rms == pytest.approx(np.sqrt(np.sum(gradient**2) / (5 * (6 + 7))), rel=1e-12)
    np.testing.assert_allclose(found.states, [0, np.abs(gradient).max()], rtol=1e-12)
    for rule in (apc.PredictiveCoding(steps=3000, step_size=0.1), apc.ErrorBasedPC(steps=3000)):
        assert residual(network, rule, x, target)["relaxed"].largest < 1e-12
    assert Residual.of([]) == Residual(0.0, 0.0, pytest.approx(np.zeros(0)))


@pytest.mark.parametrize("nudging", ["positive", "centered"])
def test_the_residual_of_nudged_states_is_a_unit_step(nudging):
    """In a linear network without bounds: minus the gradient of F, which vanishes after enough sweeps."""
    network = linear(5, 6, 7, 3)
    for matrix in network.matrices().values():
        matrix.increment(-0.4 * matrix.weights())
    x, target = batch(network)
    rule = EquilibriumPropagation(beta=0.2, nudging=nudging, iterations=1)
    found = residual(network, rule, x, target)
    assert list(found) == (["nudged +", "nudged -"] if nudging == "centered" else ["nudged +"])
    w = [matrix.weights() for matrix in network.matrices().values()]
    h = rule.relax(rule.free(network, x), target, 0.2).states
    e = [after - before @ m.T for before, after, m in zip(h[:-1], h[1:], w, strict=True)]
    steps = [e[1] @ w[1] - e[0], e[2] @ w[2] - e[1], -e[2] - 0.2 * (h[3] - target)]
    np.testing.assert_allclose(found["nudged +"].states, [np.abs(step).max() for step in steps], rtol=1e-12, atol=1e-15)
    settled = residual(network, rule.but(iterations=400), x, target)
    assert max(one.largest for one in settled.values()) < 1e-12 < found["nudged +"].largest


def test_the_residual_of_hopfield_networks_is_the_distance_from_the_drive():
    network = hopfield(steps=3, bias=False)
    x, target = batch(network)
    rule = HopfieldEP(beta=0.1, steps=2)
    found = residual(network, rule, x, target)
    w1, w2, w3 = (matrix.weights() for matrix in network.matrices().values())
    free = rule.begin(network, x, target)
    s1, s2, s3 = free.states[1:]
    drift = [np.tanh(x @ w1.T + s2 @ w2) - s1, np.tanh(s1 @ w2.T + s3 @ w3) - s2, s2 @ w3.T - s3]
    np.testing.assert_allclose(found["free"].states, [np.abs(part).max() for part in drift], rtol=1e-12)
    assert list(found) == ["free", "nudged +", "nudged -"]
    assert min(one.largest for one in found.values()) > 1e-3
    settled = residual(hopfield(bias=False), rule.but(steps=200), x, target)
    assert max(one.largest for one in settled.values()) < 1e-12


def test_other_rules_have_no_residual():
    network = network_of(4, 3)
    with pytest.raises(TypeError, match="the rule 'backprop' has no residual; rules with one"):
        residual(network, apc.Backprop(), *batch(network))
