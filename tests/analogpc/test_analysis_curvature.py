"""Increments of equilibrium propagation, and the curvature of the energy, against closed forms and whole matrices."""

import numpy as np
import pytest
from scipy.sparse.linalg import ArpackNoConvergence
from small_networks import batch, hopfield, linear, network_of

import analogpc as apc
from analogpc.analysis import IncrementComparison, directions, ep_against_bptt, residual, state_hessian_extremes
from analogpc.dynamics.relaxation import Relaxation
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP

NOISY = apc.Analog(device="reram-sb")


# Increments.


def test_distances_of_increments():
    """Nothing apart, one side missing, opposite signs: 0, 1 and 2; weights that nothing moves do not count."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(6, 3, 4))
    steps[:, 0, 0] = 0
    for factor, distance, wrong in ((1, 0, 0), (0, 1, 1), (-1, 2, 1), (0.5, 0.5, 0)):
        found = IncrementComparison({"w": factor * steps}, {"w": steps})
        assert found.relative_rmse["w"] == pytest.approx(distance)
        assert found.sign_errors()["w"] == wrong
    compared = IncrementComparison({"w": steps}, {"w": 2 * steps})
    one, other = compared.weight_curves("w", 1, 2)
    np.testing.assert_array_equal(one, steps[:, 1, 2])
    np.testing.assert_array_equal(other, 2 * steps[:, 1, 2])
    ep, bptt = compared.curves("w")
    np.testing.assert_allclose(2 * ep, bptt)
    assert ep[-1] == pytest.approx(np.linalg.norm(steps.sum(axis=0)))


def test_the_sum_of_the_increments_of_bptt_is_its_gradient():
    network = hopfield()
    x, target = batch(network)
    found = ep_against_bptt(network, x, target, 0.01, 12)
    whole = directions(network, apc.BackpropThroughTime(steps=12), x, target)
    ep = directions(network, HopfieldEP(beta=0.01, steps=12), x, target)
    for name in found.bptt:
        np.testing.assert_allclose(found.bptt[name].sum(axis=0), whole[name], rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(found.ep[name].sum(axis=0), ep[name], rtol=1e-6, atol=1e-9)


def test_a_softmax_read_out_is_left_out_and_too_many_steps_are_refused():
    network = hopfield(readout="softmax", steps=20)
    x, target = batch(network)
    found = ep_against_bptt(network, x, target, 0.01, 5, output="cross-entropy")
    assert list(found.ep) == [name for name in network.matrices() if not name.startswith("layer3")]
    with pytest.raises(ValueError, match="steps = 30 is more than the 20 steps of the free relaxation"):
        ep_against_bptt(network, x, target, 0.01, 30, output="cross-entropy")


# Curvature.


def closed_form(network, precisions):
    """H of a linear network: P_l I + P_{l+1} W_{l+1}^T W_{l+1} on the diagonal, -P_{l+1} W_{l+1}^T beside it."""
    w = [matrix.weights() for matrix in network.matrices().values()]
    sizes = [m.shape[0] for m in w[:-1]]
    ends = np.cumsum([0, *sizes])
    h = np.zeros((ends[-1], ends[-1]))
    for i in range(len(sizes)):
        here = slice(ends[i], ends[i + 1])
        h[here, here] = precisions[i] * np.eye(sizes[i]) + precisions[i + 1] * w[i + 1].T @ w[i + 1]
        if i + 1 < len(sizes):
            above = slice(ends[i + 1], ends[i + 2])
            h[here, above] = -precisions[i + 1] * w[i + 1].T
            h[above, here] = h[here, above].T
    return h


@pytest.mark.parametrize("widths", [(5, 6, 7, 3), (20, 30, 40, 25, 10)])
@pytest.mark.parametrize("precisions", [None, (0.5, 2.0, 0.3, 1.5)])
def test_extremes_of_a_linear_network_are_those_of_the_closed_form(widths, precisions):
    """[6] Formed as a whole where it is small, and by Lanczos iteration."""
    network = linear(*widths)
    precisions = None if precisions is None else precisions[: len(widths) - 1]
    found = state_hessian_extremes(network, *batch(network, n=2), precisions=precisions)
    values = np.linalg.eigvalsh(closed_form(network, [1.0] * 4 if precisions is None else precisions))
    assert found.smallest == pytest.approx(values[0], rel=1e-6)
    assert found.largest == pytest.approx(values[-1], rel=1e-7)
    assert found.condition == pytest.approx(values[-1] / values[0], rel=1e-6)


def test_lanczos_iteration_finds_the_ends_of_a_nonlinear_hessian():
    """Against the whole matrix, also where a nonlinear energy curves downwards; cross-entropy included."""
    network = network_of(10, 30, 30, 4, init="kaiming-normal")
    x, _ = batch(network, n=2)
    y = np.eye(4)[[0, 3]]
    rng = np.random.default_rng(1)
    states = [3 * rng.normal(size=(2, 30)) for _ in range(2)]
    found = state_hessian_extremes(network, x, y, states=states, output="cross-entropy")
    relaxation = Relaxation(network.layers, x, y, "cross-entropy")

    def gradient(flat):
        for number, part in enumerate(np.split(flat, 2), start=1):
            relaxation.place(number, part.reshape(2, 30))
        relaxation.differentiate([1.0] * 3)
        return np.concatenate([g.ravel() for g in relaxation.gradients[1:-1]])

    start = np.concatenate([state.ravel() for state in states])
    h = np.stack([(gradient(start + 1e-5 * unit) - gradient(start - 1e-5 * unit)) / 2e-5 for unit in np.eye(120)])
    np.testing.assert_allclose(h, h.T, atol=1e-8)
    values = np.linalg.eigvalsh(h)
    assert (found.smallest, found.largest) == (pytest.approx(values[0], abs=1e-6), pytest.approx(values[-1], rel=1e-6))
    assert values[0] < -0.1
    assert found.condition == np.inf


@pytest.mark.parametrize("momentum", [(0.0, False), (0.6, False), (0.6, True), (0.95, True)])
def test_the_stable_step_size_is_the_border_from_both_sides(momentum):
    network = linear(5, 8, 7, 6, 3)
    x, target = batch(network)
    bound = state_hessian_extremes(network, x, target).stable_step_size(*momentum)
    settled, wild = (
        residual(
            network,
            apc.PredictiveCoding(steps=2500, step_size=side * bound, momentum=momentum[0], nesterov=momentum[1]),
            x,
            target,
        )["relaxed"].largest
        for side in (0.99, 1.01)
    )
    assert settled < 1e-6
    assert wild > 1e3


def test_the_hessian_is_that_of_the_weights_that_devices_hold():
    crossbar = network_of(8, 40, 40, 3, dtype="float32", activation="leaky_relu", substrate=NOISY)
    x, target = batch(crossbar)
    digital = network_of(8, 40, 40, 3, activation="leaky_relu")
    for own, theirs in zip(digital.matrices().values(), crossbar.matrices().values(), strict=True):
        own.increment(theirs.weights().astype(np.float64) - own.weights())
    one, other = (state_hessian_extremes(network, x, target) for network in (crossbar, digital))
    assert one.largest == pytest.approx(other.largest, rel=1e-6)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"precisions": [1.0]}, "precisions must be 3 numbers, one for each layer, not 1"),
        ({"states": [np.zeros((5, 6))]}, r"states must be the hidden states, of shapes \[\(5, 6\), \(5, 7\)\], not \[\(5, 6\)\]"),
    ],
)
def test_a_hessian_that_does_not_fit_is_refused(wrong, sentence):
    network = network_of(5, 6, 7, 3)
    with pytest.raises(ValueError, match=sentence):
        state_hessian_extremes(network, *batch(network), **wrong)
    with pytest.raises(ValueError, match="no hidden state"):
        state_hessian_extremes(network_of(5, 3), *batch(network))
    with pytest.raises(ValueError, match="not for the architecture 'hopfield'"):
        state_hessian_extremes(hopfield(), *batch(hopfield()))
    with pytest.raises(ValueError, match=r"momentum = 1 is not allowed"):
        state_hessian_extremes(network, *batch(network)).stable_step_size(1.0)


def test_an_iteration_that_does_not_settle_says_so(monkeypatch):
    def eigsh(*_, **__):
        raise ArpackNoConvergence("no convergence", np.zeros(0), np.zeros((0, 0)))

    monkeypatch.setattr("analogpc.analysis.curvature.eigsh", eigsh)
    network = network_of(5, 60, 3)
    with pytest.raises(ArithmeticError, match="the extremes of a state Hessian of 300 values did not converge: ARPACK"):
        state_hessian_extremes(network, *batch(network))
