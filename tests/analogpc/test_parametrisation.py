"""Gains, and the NTK and muPC parametrisations: exact equivalences, published laws, and a closed form."""

import math

import numpy as np
import pytest
from scipy import stats

import analogpc as apc
from analogpc.blocks import Conv2d, Dense
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.dynamics.relaxation import Relaxation
from analogpc.kernels.random.streams import Key
from analogpc.networks import MLP
from analogpc.networks.network import Network

CONVENTIONS = ("f(Wx)", "Wf(x)")
every_convention = pytest.mark.parametrize("convention", CONVENTIONS)


def weights(network):
    return [matrix.weights() for name, matrix in network.matrices().items() if name.endswith("weight")]


def give(network, values):
    """Make the weight matrices of a digital network hold these values, to the bit."""
    matrices = [matrix for name, matrix in network.matrices().items() if name.endswith("weight")]
    for matrix, value in zip(matrices, values, strict=True):
        hold(matrix, value)


def hold(matrix, value):
    matrix.increment(-matrix.weights())
    matrix.increment(value)


def build(spec, shape):
    return spec.build(shape, lambda role, shape, draw: DigitalMatrix(draw()), Key(3), np.dtype(np.float64))


@pytest.mark.parametrize(("spec", "shape"), [(Dense(features=4), (5,)), (Conv2d(channels=4), (5, 6, 2))])
def test_a_gain_is_a_scaled_weight_and_leaves_the_bias_alone(spec, shape):
    """Bit for bit, for a power of two: function, feedback, and what W learns, which carries the gain once more."""
    block, plain = build(spec.but(gain=0.25), shape), build(spec, shape)
    hold(plain.matrices["weight"], 0.25 * block.matrices["weight"].weights())
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(3, *shape)), rng.normal(size=(3, *block.output_shape))
    (y, tape), (expected, plain_tape) = block.forward(x), plain.forward(x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(block.vjp(tape, g), plain.vjp(plain_tape, g))
    learnt, plainly = list(block.products(tape, g)), list(plain.products(plain_tape, g))
    np.testing.assert_array_equal(learnt[0][2], 0.25 * plainly[0][2])
    np.testing.assert_array_equal(learnt[1][2], plainly[1][2])
    for (_, pre, _), (_, same, _) in zip(learnt, plainly, strict=True):
        np.testing.assert_array_equal(pre, same)


@every_convention
@pytest.mark.parametrize("parametrisation", ["ntk", "mupc"])
@pytest.mark.parametrize("skips", [False, True])
def test_a_parametrisation_is_a_standard_network_with_scaled_weights(convention, parametrisation, skips):
    """Function and gradients of all states, for random states."""
    fields = {"activation": "tanh", "convention": convention, "skips": skips, "dtype": "float64"}
    network = apc.mlp([5, 7, 7, 7, 3], parametrisation=parametrisation, **fields)
    standard = apc.mlp([5, 7, 7, 7, 3], **fields)
    gains = network.architecture.gains()
    give(standard, [gain * w for gain, w in zip(gains, weights(network), strict=True)])
    for name, matrix in standard.matrices().items():
        if name.endswith("bias"):
            matrix.increment(-matrix.weights())
    rng = np.random.default_rng(1)
    x, target = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    np.testing.assert_allclose(network.predict(x), standard.predict(x), rtol=1e-12, atol=1e-14)
    one, two = (Relaxation(n.layers, x, target) for n in (network, standard))
    for number in range(1, 4):
        state = rng.normal(size=(4, 7))
        one.place(number, state)
        two.place(number, state)
    for relaxation in (one, two):
        relaxation.differentiate([1.0] * 4)
    for ours, theirs in zip(one.gradients[1:-1], two.gradients[1:-1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_gains_are_those_of_the_reference_code():
    """a_1 = 1/sqrt(D), a_l = 1/sqrt(N), with skips 1/sqrt(N L), a_L = 1/N (muPC) or 1/sqrt(N) (NTK), over gamma."""
    widths, depth = (9, 16, 16, 16, 2), 4
    assert MLP(widths=widths, parametrisation="mupc").gains() == pytest.approx([1 / 3, 1 / 4, 1 / 4, 1 / 16])
    assert MLP(widths=widths, parametrisation="ntk", gamma=2).gains() == pytest.approx([1 / 3, 1 / 4, 1 / 4, 1 / 8])
    skipped = MLP(widths=widths, parametrisation="mupc", skips=True, gamma=0.5)
    assert skipped.gains() == pytest.approx([1 / 3, 1 / math.sqrt(16 * depth), 1 / math.sqrt(16 * depth), 1 / 8])
    assert MLP(widths=(9, 16, 16, 4, 2), parametrisation="ntk", skips=True).gains()[1:3] == pytest.approx([1 / 8, 1 / 4])
    assert MLP(widths=widths).gains() == [1.0] * depth


def test_parametrisations_survive_toml_and_refuse_other_initialisations():
    spec = MLP(widths=(4, 6, 6, 2), parametrisation="mupc", skips=True, gamma=2)
    assert spec.init == "normal"
    assert MLP.from_toml(spec.to_toml()) == spec
    with pytest.raises(ValueError, match="init = 'kaiming-uniform' cannot be used with parametrisation = 'mupc'"):
        MLP(widths=(4, 6, 2), init="kaiming-uniform").but(parametrisation="mupc")
    assert MLP(widths=(4, 6, 2)).but(parametrisation="mupc").init == "normal"
    with pytest.raises(ValueError, match="skips need two hidden states of equal sizes"):
        MLP(widths=(4, 6, 5, 2), skips=True)


@every_convention
def test_skips_add_the_state_between_equal_hidden_layers(convention):
    network = apc.mlp([4, 6, 6, 5, 5, 3], activation="tanh", convention=convention, skips=True, bias=False, dtype="float64")
    x = np.random.default_rng(0).normal(size=(3, 4))
    w1, w2, w3, w4, w5 = weights(network)
    if convention == "f(Wx)":
        h = np.tanh(x @ w1.T)
        h = h + np.tanh(h @ w2.T)
        h = np.tanh(h @ w3.T)
        expected = (h + np.tanh(h @ w4.T)) @ w5.T
    else:
        h = x @ w1.T
        h = h + np.tanh(h) @ w2.T
        h = np.tanh(h) @ w3.T
        expected = np.tanh(h + np.tanh(h) @ w4.T) @ w5.T
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-12)


def mean_squares(parametrisation, width, hidden, seed, x):
    """Mean square of every hidden state of a linear network with skips, unless there is but one."""
    widths = [x.shape[1], *[width] * hidden, 1]
    fields = {"activation": "identity", "bias": False, "skips": hidden > 1, "dtype": "float64"}
    network = apc.mlp(widths, parametrisation=parametrisation, seed=seed, **fields)
    values, state = [], x
    for layer in network.layers:
        state, _ = layer.forward(state)
        values.append(float(np.mean(state**2)))
    return np.array(values)


@pytest.mark.parametrize("width", [16, 64])
@pytest.mark.parametrize("hidden", [2, 16])
def test_mupc_keeps_the_size_of_hidden_states_at_any_width_and_depth(width, hidden):
    """E ||h_l||^2 / N = (||x||^2 / D) (1 + 1/L)^(l - 1), which stays below e; exactly, for linear networks of any width.

    The mean over 60 seeds must lie within 4.9 standard errors of the law: a false-alarm rate of 1e-6 for each of the states looked at
    (the first, and the last hidden one).
    """
    x = np.random.default_rng(5).normal(size=(1, 12))
    depth = hidden + 1
    drawn = np.array([mean_squares("mupc", width, hidden, seed, x) for seed in range(60)])
    for layer in (0, hidden - 1):
        law = np.mean(x**2) * (1 + 1 / depth) ** layer
        assert law < math.e * np.mean(x**2)
        error = drawn[:, layer].std(ddof=1) / math.sqrt(len(drawn))
        assert abs(drawn[:, layer].mean() - law) < 4.9 * error
        assert error < 0.15 * law


@pytest.mark.parametrize("width", [32, 128])
def test_outputs_of_mupc_shrink_with_width_and_those_of_ntk_do_not(width):
    """Of one hidden layer: E y^2 = (||x||^2 / D) times 1 / N (muPC) or 1 (NTK); 4.9 standard errors, 400 seeds."""
    x = np.random.default_rng(6).normal(size=(1, 12))
    for parametrisation, factor in (("mupc", 1 / width), ("ntk", 1.0)):
        squares = np.array([mean_squares(parametrisation, width, 1, seed, x)[-1] for seed in range(400)])
        error = squares.std(ddof=1) / math.sqrt(len(squares))
        assert abs(squares.mean() - factor * np.mean(x**2)) < 4.9 * error


def test_the_standard_parametrisation_is_not_stable_in_depth():
    """What muPC is for: with the default initialisation, whose weights have variance 1/(3 N), squares fall threefold in every layer."""
    widths = [12, *[64] * 9, 1]
    network = apc.mlp(widths, activation="identity", bias=False, dtype="float64")
    state, squares = np.random.default_rng(5).normal(size=(200, 12)), []
    for layer in network.layers[:-1]:
        state, _ = layer.forward(state)
        squares.append(np.mean(state**2))
    assert squares[-1] / squares[0] == pytest.approx(3.0**-8, rel=0.9)
    assert squares[-1] < squares[0] / 100


@every_convention
@pytest.mark.parametrize("gamma", [1.0, 0.25])
def test_energy_at_equilibrium_of_a_linear_network_with_one_hidden_layer(convention, gamma):
    """[5] F* = r^2 / (2 s), s = 1/precision + ||w||^2 / (gamma N)^2; s = (1 + ||w||^2 / N) / (gamma^2 N) at precision gamma^2 N.

    That is the form of JPC, s = (1 + ||w||^2 / N) / (gamma^2 N L), with its gamma**2 L being our gamma**2.
    """
    size, n = 24, 3
    network = apc.mlp(
        [6, size, 1], activation="identity", convention=convention, parametrisation="mupc", gamma=gamma, dtype="float64"
    )
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(n, 6)), rng.normal(size=(n, 1))
    _, w = weights(network)
    precision = gamma**2 * size
    s = (1 + np.sum(w**2) / size) / precision
    residuals = y - network.predict(x)
    relaxation = Relaxation(network.layers, x, y)
    for _ in range(200):
        relaxation.step([1.0, precision], 0.3)
    relaxation.differentiate([1.0, precision])
    assert relaxation.residual() < 1e-12
    assert relaxation.energy([1.0, precision]) == pytest.approx(np.sum(residuals**2) / (2 * s * n), rel=1e-12)


def test_weights_of_unit_variance():
    """Kolmogorov-Smirnov at a false-alarm rate of 1e-5; biases start at zero."""
    network = Network(MLP(widths=(80, 90, 70), parametrisation="ntk", dtype="float64"))
    for matrix in weights(network):
        assert stats.kstest(matrix.reshape(-1), stats.norm(0, 1).cdf).pvalue > 1e-5
    assert all((m.weights() == 0).all() for name, m in network.matrices().items() if name.endswith("bias"))


def test_a_mupc_network_learns():
    data = apc.load_data("digits")
    network = apc.mlp([64, 64, 64, 64, 10], parametrisation="mupc", skips=True, activation="tanh")
    run = apc.fit(network, apc.ZIL(), data, epochs=3, optimiser=apc.AdamW(learning_rate=0.02), progress=False)
    assert run.history["test_accuracy"][-1] > 0.85
