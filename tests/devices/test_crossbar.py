"""The analog matrix: NumPy products where physics allows them, and errors where it does not."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices import Crossbar
from analogpc.devices.crossbars import crossbar

IDEAL = {"device": "ideal", "dac": {"bits": np.inf, "bound": np.inf}, "adc": {"bits": np.inf, "bound": np.inf}, "read_noise": 0.0}


@given(n_out=st.integers(1, 20), n_in=st.integers(1, 20), k=st.integers(1, 5), rows=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_without_nonidealities_it_is_the_numpy_matrix(n_out, n_in, k, rows, seed):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n_out, n_in))
    a = Crossbar(w, rows=rows, columns=7, **IDEAL)
    assert a.shape == w.shape
    assert a.T.shape == w.T.shape
    for x in (rng.normal(size=n_in), rng.normal(size=(n_in, k))):
        np.testing.assert_allclose(a @ x, w @ x, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(x.T @ a.T, x.T @ w.T, rtol=1e-12, atol=1e-12)
    for y in (rng.normal(size=n_out), rng.normal(size=(n_out, k))):
        np.testing.assert_allclose(a.T @ y, w.T @ y, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(y.T @ a, y.T @ w, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(a.T.weights(), a.weights().T)


def test_both_sides_read_the_same_devices(rng):
    """On noisy devices the transpose is that of what the devices hold, not of what was asked for."""
    w = rng.normal(size=(30, 40))
    a = Crossbar(w, device="reram-sb", **{name: value for name, value in IDEAL.items() if name != "device"})
    assert not np.allclose(a.weights(), w, atol=0.05)
    np.testing.assert_allclose(a @ np.eye(40), a.weights(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(a.T @ np.eye(30), a.weights().T, rtol=1e-9, atol=1e-12)


def test_types_are_kept_and_seeds_choose_the_devices(rng):
    w = rng.normal(size=(3, 4))
    assert (Crossbar(w.astype("float32")) @ np.ones(4)).dtype == np.float32
    assert Crossbar(w).dtype == np.float64
    assert Crossbar(np.eye(3, dtype=int)).dtype == np.float32
    one, same, other = (Crossbar(w, device="reram-sb", seed=s).weights() for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_reads_are_counted_on_both_sides():
    a = Crossbar(np.eye(3))
    _ = a @ np.ones((3, 5))
    _ = np.ones(3) @ a
    assert (a.meter.forward_reads, a.T.meter.backward_reads) == (5, 1)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (lambda a: a @ np.ones(3), r"needs x of shape \(4,\) or \(4, k\), not \(3,\)"),
        (lambda a: np.ones(4) @ a, r"needs x of shape \(3,\) or \(k, 3\), not \(4,\)"),
        (lambda a: a @ np.ones((2, 4, 1)), "needs x of shape"),
        (lambda a: a @ (1j * np.ones(4)), "must be real numbers, not complex128"),
        (lambda _: Crossbar(np.ones(3)), r"must have the shape \(n, m\), not \(3,\)"),
        (lambda _: Crossbar(np.full((2, 2), np.nan)), "finite"),
        (lambda _: Crossbar(np.eye(2), device="wood"), "there is no device preset 'wood'"),
        (lambda _: Crossbar(np.eye(2), adc_bitz=3), "has no field 'adc_bitz'"),
    ],
)
def test_what_a_crossbar_cannot_do_is_refused(action, sentence):
    with pytest.raises(ValueError, match=sentence):
        action(Crossbar(np.ones((3, 4))))


def test_arithmetic_that_no_crossbar_does_is_refused():
    with pytest.raises(TypeError):
        _ = Crossbar(np.eye(2)) + 1
    with pytest.raises(TypeError):
        _ = np.eye(2) * Crossbar(np.eye(2))


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(crossbar).failed == 0
