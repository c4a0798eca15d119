"""Updates repeated from recordings: the bits, counters and streams of the same updates done as written."""

import numpy as np
import pytest

from analogpc.devices.crossbars import update_repetition
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.mappings import DeviceVector, OffsetColumn, OneSidedPair
from analogpc.devices.matrix import TwoPhases
from analogpc.devices.responses import ConstantStep
from analogpc.devices.schemes import StochasticPulses, TikiTaka
from analogpc.devices.substrate import Analog
from analogpc.kernels.random.streams import Key

ONE_SIDED = Device(
    name="t", response=ConstantStep(dw_min=0.01, w_min=0.0, w_max=1.0, dw_min_std=0.3), g_min_siemens=1e-6, g_max_siemens=4e-5
)
CASES = {
    "pairs": ({"device": "idealized"}, True),
    "one-sided pairs": ({"device": ONE_SIDED, "mapping": OneSidedPair()}, True),
    "tiles": ({"device": "idealized", "rows": 16, "columns": 12}, True),
    "separate directions": ({"device": "idealized", "scheme": StochasticPulses(directions="separate")}, False),
    "both phases at once": ({"device": "idealized", "scheme": StochasticPulses(phases="twin")}, True),
    "several trains": ({"device": "idealized", "scheme": StochasticPulses(bound_management="repeat")}, True),
    "deterministic trains": ({"device": "idealized", "scheme": StochasticPulses(trains="deterministic")}, False),
    "offset column": ({"device": "idealized", "mapping": OffsetColumn()}, True),
    "several devices in turn": ({"device": "idealized", "mapping": DeviceVector(policy="in-turn")}, False),
    "extra cells": ({"device": "idealized", "scheme": TikiTaka(gamma=0.2, lines=2)}, True),
    "soft bounds": ({"device": "reram-sb"}, False),
}
"""Substrates, and whether some of their updates can be recorded."""


def matrix(fields, dtype=np.float32):
    return make_matrix(Analog(**fields), np.random.default_rng(1).normal(0, 0.3, (30, 40)).astype(dtype), Key(4))


def products(number, n, dtype=np.float32):
    rng = np.random.default_rng(number)
    return rng.normal(size=(n, 40)).astype(dtype), rng.normal(size=(n, 30)).astype(dtype)


def learn(found, number, dtype=np.float32, rate=0.3):
    """Learn a batch; every third one is smaller, and every fifth has a negative rate."""
    pairs = [products(10 * number + part, 5 if number % 3 else 3, dtype) for part in range(2)]
    given = TwoPhases([pairs[0]], [pairs[1]]) if number % 7 == 6 else pairs
    found.learn(given, -rate if number % 5 == 4 else rate)


def plain(fields, monkeypatch, batches, dtype=np.float32, rate=0.3):
    with monkeypatch.context() as patch:
        patch.setattr(update_repetition, "_PATIENCE", 10**9)
        expected = matrix(fields, dtype)
        for number in range(batches):
            learn(expected, number, dtype, rate)
    assert expected._writer.recordings == 0
    return expected


def assert_equal(found, expected):
    one, other = found.snapshot(), expected.snapshot()
    assert repr(one["meter"]) == repr(other["meter"])
    for leg, same in zip(found.arrays, expected.arrays, strict=True):
        np.testing.assert_array_equal(leg.state, same.state)
    np.testing.assert_array_equal(found.weights(), expected.weights())
    assert (one["products_done"], one["update_cycles"]) == (other["products_done"], other["update_cycles"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_recordings_change_nothing(case, dtype, with_threads, monkeypatch):
    fields, recordable = CASES[case]
    expected = plain(fields, monkeypatch, 30, dtype)

    def repeated():
        found = matrix(fields, dtype)
        for number in range(30):
            learn(found, number, dtype)
        return found

    for found in with_threads(repeated):
        assert_equal(found, expected)
        assert (found._writer.recordings > 0) == recordable


def test_devices_near_their_bounds_move_pulse_by_pulse_also_in_recordings(monkeypatch):
    """Large rates and steps: many devices are at a bound, where a draw for a whole batch is not allowed."""
    coarse = Device(name="t", response=ConstantStep(dw_min=0.1, dw_min_std=0.3), g_min_siemens=1e-6, g_max_siemens=4e-5)
    expected, found = plain({"device": coarse}, monkeypatch, 12, rate=20.0), matrix({"device": coarse})
    for number in range(12):
        learn(found, number, rate=20.0)
    at_bound = [np.isin(leg.state, [leg.parameters["low"], leg.parameters["high"]]).mean() for leg in found.arrays]
    assert min(at_bound) > 0.1
    assert found._writer.recordings > 0
    assert_equal(found, expected)


def test_one_vector_on_both_sides_is_told_from_two_equal_forms(monkeypatch):
    """In Hopfield networks both sides of a product are the same states, which may lie in one array or in two."""
    square = np.random.default_rng(2).normal(0, 0.3, (30, 30)).astype(np.float32)
    given = []
    for number in range(24):
        states = np.random.default_rng(number).normal(size=(4, 60)).astype(np.float32)
        # Ten pairs of views of one array, which overlap, then the same ones as arrays of their own, of which one is replaced.
        pre, post = (states[:, :30], states[:, 15:45]) if number % 2 == 0 else (states[:, 30:], states[:, :30])
        given.append((pre, post))

    def taught(patience):
        with monkeypatch.context() as patch:
            patch.setattr(update_repetition, "_PATIENCE", patience)
            found = make_matrix(Analog(device="idealized"), square, Key(4))
            for pair in given:
                found.learn([pair], 0.3)
        return found

    assert_equal(taught(4), taught(10**9))


def test_a_restored_matrix_goes_on_with_equal_bits(monkeypatch):
    fields = {"device": "idealized"}
    expected, found = plain(fields, monkeypatch, 20), matrix(fields)
    for number in range(10):
        learn(found, number)
    assert found._writer.recordings > 0
    copy = found.copy()
    for number in range(10, 20):
        learn(copy, number)
        if number < 15:
            learn(found, number)
    found.restore(copy.snapshot())
    assert_equal(found, expected)
    learn(found, 20)
    learn(expected, 20)
    assert_equal(found, expected)
