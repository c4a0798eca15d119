"""Input validation of matrices: arrays of the wrong shape and non-finite numbers are refused, and the matrix is unchanged."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices import Crossbar
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.matrix import TwoPhases
from analogpc.devices.substrate import Analog, Digital, as_substrate
from analogpc.kernels.checks import TooLargeError
from analogpc.kernels.random.streams import Key

N_OUT, N_IN = 4, 3
PULSED = [
    {"kind": "stochastic-pulses"},
    {"kind": "stochastic-pulses", "trains": "deterministic"},
    {"kind": "sign-pulses"},
    {"kind": "mixed-precision"},
    {"kind": "tiki-taka"},
    {"kind": "tiki-taka-v2"},
    {"kind": "ideal"},
]


def matrices():
    """Return one matrix per update scheme."""
    zeros = np.zeros((N_OUT, N_IN), np.float32)
    return [DigitalMatrix(zeros), *(make_matrix(Analog(device="idealized", scheme=scheme), zeros, Key(0)) for scheme in PULSED)]


MATRICES = matrices()
lengths = st.integers(1, 6)


@pytest.mark.parametrize("number", range(len(MATRICES)))
@given(pre=st.tuples(lengths, lengths), post=st.tuples(lengths, lengths), way=st.sampled_from(["list", "generator", "phases"]))
@settings(max_examples=25, deadline=None)
def test_products_of_another_shape_are_refused(number, pre, post, way):
    if pre == (post[0], N_IN) and post[1] == N_OUT:
        return
    matrix, pair = MATRICES[number], (np.ones(pre, np.float32), np.ones(post, np.float32))
    before = matrix.weights()
    right = (np.ones((2, N_IN), np.float32), np.ones((2, N_OUT), np.float32))
    products = {"list": [pair], "generator": iter([pair]), "phases": TwoPhases([right], [pair])}[way]
    with pytest.raises(ValueError, match="must have the shape"):
        matrix.learn(products, 0.1)
    np.testing.assert_array_equal(matrix.weights(), before)


@pytest.mark.parametrize("number", range(len(MATRICES)))
@pytest.mark.parametrize("ids", [[0, 3], [-1, 0], [0.0, 1.0]])
def test_numbers_of_inputs_that_there_are_not_are_refused(number, ids):
    matrix, ids = MATRICES[number].copy(), np.array(ids)
    with pytest.raises(ValueError, match="input indices"):
        matrix.learn([(ids, np.ones((2, N_OUT), np.float32))], 0.1)
    with pytest.raises(ValueError, match="input indices"):
        matrix.look_up(ids)


@pytest.mark.parametrize("number", range(len(MATRICES)))
def test_inputs_and_changes_of_another_shape_are_refused(number):
    matrix = MATRICES[number].copy()
    for act, wrong in (
        (matrix.forward, np.ones((2, N_OUT), np.float32)),
        (matrix.forward, np.ones(N_IN, np.float32)),
        (matrix.backward, np.ones((2, N_IN), np.float32)),
        (matrix.increment, np.ones((N_IN, N_OUT), np.float32)),
        (matrix.increment, np.ones((1, N_IN), np.float32)),
    ):
        with pytest.raises(ValueError, match="must have the shape"):
            act(wrong)
    with pytest.raises(ValueError, match="time passes forwards"):
        matrix.elapse(-1.0)


WEIGHTS = [
    (np.full((N_OUT, N_IN), np.nan), "weights must be finite numbers"),
    (np.full((N_OUT, N_IN), np.inf), "weights must be finite numbers"),
    (np.full((N_OUT, N_IN), 1e300), "weights must be finite numbers in float32"),
    (np.ones((1, N_IN)), "weights must have the shape (4, 3), not (1, 3)"),
    (np.ones((N_OUT, 1)), "weights must have the shape (4, 3), not (4, 1)"),
    (np.ones(N_IN), "weights must have the shape (4, 3), not (3,)"),
    (np.ones((N_IN, N_OUT)), "weights must have the shape (4, 3), not (3, 4)"),
    (np.ma.masked_all((N_OUT, N_IN)), "weights are a masked array"),
    (np.ones((N_OUT, N_IN), complex), "weights must be real numbers, not complex128"),
]


@pytest.mark.parametrize(("weights", "sentence"), WEIGHTS)
def test_programming_takes_finite_weights_of_the_shape_of_the_matrix(weights, sentence):
    matrix = Crossbar(np.eye(N_OUT, N_IN, dtype=np.float32), "idealized").matrix
    before = matrix.weights()
    with pytest.raises(ValueError, match=re.escape(sentence)):
        matrix.program(weights)
    np.testing.assert_array_equal(matrix.weights(), before)


def test_a_crossbar_takes_no_masked_weights_or_inputs():
    masked = np.ma.array(np.eye(2), mask=[[0, 0], [0, 1]])
    crossbar = Crossbar(np.eye(2), "ideal")
    for act in (lambda: Crossbar(masked), lambda: crossbar @ masked, lambda: masked @ crossbar, lambda: crossbar @ [1.0, np.nan]):
        with pytest.raises(ValueError, match=r"masked array|finite numbers"):
            act()


def test_spare_lines_that_no_machine_holds_are_refused_before_they_are_made():
    with pytest.raises(TooLargeError, match=r"2 grids of 2 x 4000000000002 devices would take .* of memory"):
        Crossbar(np.eye(2), "idealized", mapping={"spare_columns": 4 * 10**12})


def test_substrates_in_short():
    assert as_substrate("digital") == Digital()
    assert as_substrate("pcm") == as_substrate({"device": "pcm"}) == Analog(device="pcm")
    assert as_substrate({"kind": "digital"}) == Digital()
    with pytest.raises(ValueError, match="substrate = 3 is not allowed"):
        as_substrate(3)
