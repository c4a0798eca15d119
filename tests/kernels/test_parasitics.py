"""Wire resistance against nodal analysis, closed forms, reciprocity, monotonicity and finite differences."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from analogpc.kernels.wires.effective import (
    device_voltages,
    effective_conductance,
    node_voltages,
    nonlinear_currents,
    sensitivity,
)
from analogpc.kernels.wires.line_model import estimated_conductance

ENDS = list(itertools.product(("left", "right", "both"), ("bottom", "top", "both")))


def chain(nodes, port, ohms, end, last, resistance):
    """Segments of one line as (node, node, ohms), from the caller's picture: ohms has one more entry if both ends have ports."""
    path = [*nodes, port] if end == last else [port, *nodes, port] if end == "both" else [port, *nodes]
    values = np.array(ohms, float)
    if end != last:
        values[0] += resistance
    if end in (last, "both"):
        values[-1] += resistance
    return list(zip(path[:-1], path[1:], values, strict=True))


def nodal(g, row, column, driver=0.0, sense=0.0, drive_end="left", sense_end="bottom", transposed=False):
    """Sparse nodal analysis of the same circuit: the matrix of currents into the sensed ports per driven voltage."""
    rows, columns = g.shape
    row = np.broadcast_to(row, (rows, columns + (drive_end == "both")))
    column = np.broadcast_to(column, (rows + (sense_end == "both"), columns))
    at_row, at_column = (sense, driver) if transposed else (driver, sense)
    word = np.arange(g.size).reshape(g.shape)
    bit, ports = word + g.size, np.arange(rows + columns) + 2 * g.size
    edges = [(word[i, j], bit[i, j], 1 / g[i, j]) for i, j in np.ndindex(g.shape) if g[i, j] > 0]
    for i in range(rows):
        edges += chain(word[i], ports[i], row[i], drive_end, "right", at_row)
    for j in range(columns):
        edges += chain(bit[:, j], ports[rows + j], column[:, j], sense_end, "bottom", at_column)
    edges = [edge for edge in edges if np.isfinite(edge[2])]
    first, second, ohms = (np.array(values) for values in zip(*edges, strict=True))
    size = 2 * g.size + rows + columns

    def together(chosen):
        """Nodes that the chosen edges connect."""
        graph = sparse.coo_matrix((np.ones(chosen.sum()), (first[chosen], second[chosen])), (size, size))
        return connected_components(graph, directed=False)

    # Nodes without resistance between them are one; what hangs on no port is left out.
    count, label = together(ohms == 0)
    components, component = together(ohms >= 0)
    held = np.zeros(components, bool)
    held[component[ports]] = True
    resistive = ohms > 0
    a, b, siemens = label[first[resistive]], label[second[resistive]], 1 / ohms[resistive]
    matrix = sparse.coo_matrix(
        (np.r_[siemens, siemens, -siemens, -siemens], (np.r_[a, b, a, b], np.r_[a, b, b, a])), (count, count)
    )
    matrix = matrix.tocsc()
    fixed = label[ports]
    free = np.zeros(count, bool)
    free[label[held[component]]] = True
    free[fixed] = False
    driven = slice(rows, None) if transposed else slice(0, rows)
    ladder = matrix[fixed][:, fixed].toarray()
    if free.any():
        ordering = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
        inner = splu(matrix[free][:, free].tocsc(), **ordering).solve(matrix[free][:, fixed[driven]].toarray())
        ladder[:, driven] -= matrix[fixed][:, free] @ inner
    return -ladder[:rows, driven] if transposed else -ladder[rows:, driven]


def random_array(rng, shape, zeros=True):
    """Conductances over a range of fifty, some devices open, some stuck far above it."""
    g = rng.uniform(1e-6, 5e-5, shape)
    if zeros:
        g[rng.random(shape) < 0.1] = 0.0
        g[rng.random(shape) < 0.05] = 1e-2
    return g


def deviation(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize(("drive_end", "sense_end"), ENDS)
@pytest.mark.parametrize("transposed", [False, True])
def test_every_choice_of_ends_agrees_with_nodal_analysis(rng, drive_end, sense_end, transposed):
    for shape in ((1, 1), (1, 5), (4, 1), (7, 5), (10, 23)):
        g = random_array(rng, shape, zeros=shape != (1, 1))
        row = rng.uniform(1, 50, (shape[0], shape[1] + (drive_end == "both")))
        column = rng.uniform(1, 50, (shape[0] + (sense_end == "both"), shape[1]))
        ends = {"drive_end": drive_end, "sense_end": sense_end, "transposed": transposed}
        expected = nodal(g, row, column, 80.0, 30.0, **ends)
        got = effective_conductance(g, row_ohms=row, column_ohms=column, driver_ohms=80.0, sense_ohms=30.0, **ends)
        assert deviation(got, expected) < 1e-11


@pytest.mark.parametrize(("shape", "transposed"), [((128, 128), False), ((100, 37), True), ((33, 70), False), ((33, 128), True)])
def test_large_arrays_agree_with_nodal_analysis(rng, shape, transposed):
    g = random_array(rng, shape)
    row, column = np.full(shape, 2.0), np.full(shape, 1.0)
    row[11, 20] = column[17, 5] = np.inf
    expected = nodal(g, row, column, 20.0, 10.0, transposed=transposed)
    wires = {"row_ohms": row, "column_ohms": column, "driver_ohms": 20.0, "sense_ohms": 10.0, "transposed": transposed}
    got = effective_conductance(g, **wires)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12 * expected.max())
    volts = rng.uniform(-0.2, 0.2, (2, expected.shape[1]))
    currents = (g * device_voltages(g, volts, **wires)).sum(axis=2 if transposed else 1) * (-1 if transposed else 1)
    assert deviation(currents, volts @ expected.T) < 1e-10


@pytest.mark.parametrize(("drive_end", "sense_end"), ENDS)
@pytest.mark.parametrize("share", [0.05, 0.4, 1.0])
def test_open_and_resistanceless_segments_anywhere(rng, drive_end, sense_end, share):
    """Pieces of lines that devices alone hold, pieces that nothing holds, and wires without resistance beside others with much."""
    for _ in range(3):
        g = random_array(rng, (11, 12))
        row = rng.choice([0.0, 1.0, 300.0], (11, 12 + (drive_end == "both")))
        column = rng.choice([0.0, 1.0, 300.0], (11 + (sense_end == "both"), 12))
        row[rng.random(row.shape) < share] = np.inf
        column[rng.random(column.shape) < share / 2] = np.inf
        ends = {"drive_end": drive_end, "sense_end": sense_end}
        expected = nodal(g, row, column, 5.0, 0.0, **ends)
        wires = {"row_ohms": row, "column_ohms": column, "driver_ohms": 5.0, **ends}
        got = effective_conductance(g, **wires)
        scale = g.max()
        assert np.abs(got - expected).max() < 1e-10 * scale
        volts = rng.uniform(-0.2, 0.2, (2, 11))
        currents = (g * device_voltages(g, volts, **wires)).sum(axis=1)
        assert np.abs(currents - volts @ expected.T).max() < 1e-9 * scale


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_wire_resistance_the_conductances_remain(rng, dtype):
    g = random_array(rng, (9, 14)).astype(dtype)
    for drive_end, sense_end in ENDS:
        np.testing.assert_array_equal(effective_conductance(g, drive_end=drive_end, sense_end=sense_end), g.T)
        np.testing.assert_array_equal(effective_conductance(g, transposed=True, drive_end=drive_end, sense_end=sense_end), g)
    assert effective_conductance(g, 3.0).dtype == dtype
    word, bit = node_voltages(g, np.ones((2, 9)))
    np.testing.assert_array_equal(word, np.ones((2, 9, 14), dtype))
    np.testing.assert_array_equal(bit, np.zeros((2, 9, 14), dtype))


def test_resistance_in_one_place_only_has_closed_forms(rng):
    """With ideal wires but a driver (or sense) resistance, each word line (bit line) is a divider."""
    g = random_array(rng, (6, 8))
    np.testing.assert_allclose(
        effective_conductance(g, driver_ohms=200.0), (g / (1 + 200 * g.sum(1, keepdims=True))).T, rtol=1e-11
    )
    np.testing.assert_allclose(effective_conductance(g, sense_ohms=200.0), (g / (1 + 200 * g.sum(0))).T, rtol=1e-11)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1)])
def test_a_single_line_is_a_ladder(rng, shape):
    """One line by the recursion of continued fractions: y = g + y' / (1 + r y') from the far end, and the divider forwards."""
    g, r = rng.uniform(1e-6, 5e-4, 40), 25.0
    admittance = np.empty(40)
    beyond = 0.0
    for k in reversed(range(40)):
        admittance[k] = g[k] + beyond
        beyond = admittance[k] / (1 + r * admittance[k])
    volts = np.cumprod(1 / (1 + r * admittance))
    # As bit line, the order runs from the sense amplifier at the bottom, and currents divide as voltages did.
    if shape[0] == 1:
        got = effective_conductance(g.reshape(shape), row_ohms=r, column_ohms=0.0)[:, 0]
    else:
        got = effective_conductance(g[::-1].reshape(shape), row_ohms=0.0, column_ohms=r)[0, ::-1]
    np.testing.assert_allclose(got, g * volts, rtol=1e-12)


def test_reading_transposed_is_reciprocal(rng):
    """Driver and sense resistances change places, and with them exchanged the two matrices are transposes."""
    g = random_array(rng, (13, 9))
    forward = effective_conductance(g, 4.0, driver_ohms=70.0, sense_ohms=20.0)
    backward = effective_conductance(g, 4.0, driver_ohms=20.0, sense_ohms=70.0, transposed=True)
    np.testing.assert_allclose(backward, forward.T, rtol=1e-12)
    assert deviation(effective_conductance(g, 4.0, driver_ohms=70.0, sense_ohms=20.0, transposed=True), forward.T) > 1e-3


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    ohms=st.floats(0, 1e4),
    more=st.floats(0, 1e4),
    ends=st.sampled_from(ENDS),
)
def test_more_resistance_never_gives_more_current(rows, columns, seed, ohms, more, ends):
    """Rayleigh's monotonicity law for the current that equal voltages drive; and all transfer conductances are between 0 and that."""
    g = random_array(np.random.default_rng(seed), (rows, columns))
    wires = {"drive_end": ends[0], "sense_end": ends[1]}
    less, got = (effective_conductance(g, r, **wires) for r in (ohms, ohms + more))
    assert got.sum() <= less.sum() * (1 + 1e-11)
    assert less.sum() <= g.sum() * (1 + 1e-11)
    assert got.min() >= -1e-12 * g.max()


def test_node_voltages_obey_ohm_and_kirchhoff(rng):
    g, r, driver = random_array(rng, (8, 6)), 30.0, 100.0
    volts = rng.uniform(-0.2, 0.2, (3, 8))
    word, bit = node_voltages(g, volts, wire_ohms=r, driver_ohms=driver)
    carried = g * (word - bit)
    along = np.cumsum(carried[:, :, ::-1], axis=2)[:, :, ::-1]
    drops = -np.diff(word, axis=2, prepend=volts[:, :, None])
    np.testing.assert_allclose(drops[:, :, 1:], r * along[:, :, 1:], atol=1e-13)
    np.testing.assert_allclose(drops[:, :, 0], (r + driver) * along[:, :, 0], atol=1e-13)
    below = np.cumsum(carried, axis=1)
    np.testing.assert_allclose(-np.diff(bit, axis=1, append=0.0), r * below, atol=1e-13)


@pytest.mark.parametrize("transposed", [False, True])
def test_sensitivities_are_the_derivatives(rng, transposed):
    g = rng.uniform(1e-6, 5e-5, (5, 4))
    wires = {"wire_ohms": 300.0, "driver_ohms": 500.0, "sense_ohms": 90.0, "transposed": transposed, "drive_end": "right"}
    volts = rng.uniform(-0.2, 0.2, 4 if transposed else 5)
    got = sensitivity(g, volts, **wires)
    for i, j in np.ndindex(g.shape):
        step = np.zeros_like(g)
        step[i, j] = 1e-9
        expected = (effective_conductance(g + step, **wires) - effective_conductance(g - step, **wires)) @ volts / 2e-9
        np.testing.assert_allclose(got[:, i, j], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("transposed", [False, True])
def test_nonlinear_devices_against_a_general_solver(rng, transposed):
    """Unknown device currents x: x = G s(V(x)), V from the wires; scipy finds the root from the linear network's response."""
    g = rng.uniform(1e-6, 5e-5, (4, 3))
    g[1, 1] = 0.0
    wires = {"wire_ohms": 800.0, "driver_ohms": 300.0, "transposed": transposed}
    volts = rng.uniform(-0.6, 0.6, (2, 3 if transposed else 4))
    scale = 0.15
    got = nonlinear_currents(g, volts, scale, **wires)
    pair = (lambda v: scale * np.sinh(v / scale)), (lambda v: np.cosh(v / scale))
    np.testing.assert_allclose(nonlinear_currents(g, volts, pair, **wires), got, rtol=1e-12)
    for one, currents in zip(volts, got, strict=True):

        def replaced(ratio, one=one):
            """Conductances that carry at these voltages what the law demands; consistent where the voltages come out again."""
            across = device_voltages(g * ratio.reshape(g.shape), one[None], **wires)[0]
            x = across / scale
            return ratio - np.divide(np.sinh(x), x, out=np.ones_like(x), where=x != 0).ravel()

        found = scipy.optimize.root(replaced, np.ones(g.size), tol=1e-13)
        expected = effective_conductance(g * found.x.reshape(g.shape), **wires) @ one
        np.testing.assert_allclose(currents, expected, rtol=1e-8)
    linear = effective_conductance(g, **wires) @ volts[0]
    assert deviation(got[0], linear) > 0.05


def test_a_law_that_is_linear_changes_nothing(rng):
    g, volts = random_array(rng, (20, 30)), rng.uniform(-0.2, 0.2, (4, 20))
    law = (lambda v: v), np.ones_like
    expected = volts @ effective_conductance(g, 5.0).T
    np.testing.assert_allclose(nonlinear_currents(g, volts, law, wire_ohms=5.0), expected, rtol=1e-9)


def test_a_law_that_cannot_be_met_is_reported():
    """A law that jumps has no voltage at which the current fits."""
    law = (lambda v: np.where(v > 0.05, 10.0, 0.1) * v), (lambda v: np.where(v > 0.05, 10.0, 0.1))
    with pytest.raises(ArithmeticError, match="did not converge"):
        nonlinear_currents(np.full((1, 1), 1e-3), np.array([[0.1]]), law, wire_ohms=1000.0)


def test_the_line_model_is_exact_for_single_lines_and_near_otherwise(rng):
    for shape in ((1, 12), (12, 1)):
        g = random_array(rng, shape)
        wires = {"wire_ohms": 40.0, "driver_ohms": 10.0, "drive_end": "both", "sense_end": "top"}
        np.testing.assert_allclose(estimated_conductance(g, **wires), effective_conductance(g, **wires), rtol=1e-12)
    g = rng.uniform(1e-6, 5e-5, (32, 32))
    exact = effective_conductance(g, 1.0)
    assert deviation(estimated_conductance(g, wire_ohms=1.0), exact) < 0.05 * deviation(g.T, exact)


def test_the_number_of_threads_changes_no_bit(rng, with_threads):
    g = random_array(rng, (40, 50))
    one, two = with_threads(lambda: effective_conductance(g, 2.0))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("conductance", "wires", "message"),
    [
        (np.ones(3), {}, r"conductance must be a matrix"),
        (np.ones((2, 2), int), {}, r"of int64"),
        (-np.ones((2, 2)), {}, r"finite and not negative"),
        (np.full((2, 2), np.nan), {}, r"finite and not negative"),
        (np.ones((2, 2)), {"wire_ohms": -1.0}, r"wire_ohms = -1.0 is not allowed"),
        (np.ones((2, 2)), {"wire_ohms": np.nan}, r"wire_ohms = nan is not allowed"),
        (np.ones((2, 2)), {"driver_ohms": np.inf}, r"driver_ohms = inf is not allowed"),
        (np.ones((2, 2)), {"row_ohms": np.ones((2, 3))}, r"row_ohms has the shape \(2, 3\)"),
        (np.ones((2, 2)), {"column_ohms": np.array([[1.0, np.nan], [1, 1]])}, r"column_ohms must be resistances"),
        (np.ones((2, 2)), {"drive_end": "top"}, r"drive_end = 'top' is not allowed: give one of left, right, both"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(conductance, wires, message):
    with pytest.raises(ValueError, match=message):
        effective_conductance(conductance, **wires)


def test_bad_voltages_and_laws_are_refused():
    g = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        node_voltages(g, np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"law = 0.0 is not allowed"):
        nonlinear_currents(g, np.ones((1, 2)), 0.0)
    with pytest.raises(TypeError, match=r"wires have no 'ohm'"):
        node_voltages(g, np.ones((4, 2)), ohm=1.0)
