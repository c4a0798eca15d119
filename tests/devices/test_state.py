"""The one protocol of states: copying, moving, loading and rolling back follow from `held`, without drawing anything."""

import numpy as np
import pytest

from analogpc.devices.arrays import array as arrays
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.crossbars.reading import Ports
from analogpc.devices.device import Device
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.matrix import TwoPhases
from analogpc.devices.nonidealities.endurance import Endurance
from analogpc.devices.presets import presets
from analogpc.devices.responses import SoftBounds
from analogpc.devices.state import Settled, StateError, copied_tree, fitted
from analogpc.devices.substrate import Analog
from analogpc.kernels.random.streams import Key

SUBSTRATES = {
    "pulses": Analog(device="reram-sb", rows=4, columns=5, adc_bits=8),
    "drift": Analog(device="pcm-inference", rows=4, columns=5),
    "memory": Analog(device="reram-sb", scheme={"kind": "mixed-precision"}),
    "extra cells": Analog(device="reram-sb", scheme={"kind": "tiki-taka"}),
    "offset column": Analog(device="idealized", mapping={"kind": "offset-column"}, rows=4, columns=3),
    "wires": Analog(device="idealized", wire_ohms=1.0, rows=4, columns=5),
}


def leaves(tree, place=""):
    for name, value in tree.items():
        yield from leaves(value, f"{place}/{name}") if isinstance(value, dict) else [(f"{place}/{name}", value)]


def same(one, other):
    left, right = dict(leaves(one)), dict(leaves(other))
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(right[name], value, err_msg=name)


def made(substrate, rng):
    return CrossbarMatrix(rng.normal(0, 0.3, (7, 9)).astype(np.float32), substrate, Key(3))


def used(matrix, rng):
    """A matrix after reads, updates and time."""
    x, g = rng.normal(size=(6, 9)).astype(np.float32), rng.normal(size=(6, 7)).astype(np.float32)
    matrix.forward(x)
    matrix.backward(g)
    matrix.learn([(x, g)], 0.05)
    matrix.elapse(3.0)
    matrix.forward(x)


@pytest.mark.parametrize("name", SUBSTRATES)
def test_copies_and_loaded_ones_go_on_alike_and_draw_nothing(name, rng, monkeypatch):
    matrix = made(SUBSTRATES[name], rng)
    used(matrix, rng)

    def refuse(*_, **__):
        raise AssertionError("a device or converter is drawn, or programmed")

    with monkeypatch.context() as patched:
        patched.setattr(arrays, "population", refuse)
        patched.setattr(CrossbarMatrix, "program", refuse)
        patched.setattr(Ports, "__init__", refuse)
        twin, kept = matrix.copy(), matrix.snapshot()
    specification = {"substrate": matrix.substrate, "shape": matrix.shape, "dtype": matrix.dtype}
    with monkeypatch.context() as patched:
        patched.setattr(arrays, "population", refuse)
        patched.setattr(CrossbarMatrix, "program", refuse)
        loaded = CrossbarMatrix.from_snapshot(specification, kept)
    for one in (twin, loaded):
        same(one.held(), matrix.held())
        used(one, np.random.default_rng(5))
    same(kept, matrix.held())
    used(matrix, np.random.default_rng(5))
    same(twin.held(), matrix.held())
    same(loaded.held(), matrix.held())
    matrix.restore(kept)
    same(kept, matrix.held())
    used(matrix, np.random.default_rng(5))
    same(twin.held(), matrix.held())


def test_a_snapshot_writes_over_an_earlier_one(rng):
    matrix = made(SUBSTRATES["memory"], rng)
    first = matrix.snapshot()
    former = {name: value for name, value in leaves(first) if isinstance(value, np.ndarray)}
    used(matrix, rng)
    second = matrix.snapshot(first)
    same(second, matrix.held())
    assert all(value is former[name] for name, value in leaves(second) if name in former)
    used(matrix, rng)
    assert any(not np.array_equal(value, dict(leaves(matrix.held()))[name]) for name, value in leaves(second))


@pytest.mark.parametrize("way", ["learn", "two phases", "increment"])
def test_a_snapshot_of_a_digital_matrix_shares_its_memory_until_the_next_update(way, rng):
    matrix, plain = (DigitalMatrix(rng.normal(size=(7, 9)).astype(np.float32)) for _ in range(2))
    plain.restore(matrix.held())
    x, g = rng.normal(size=(6, 9)).astype(np.float32), rng.normal(size=(6, 7)).astype(np.float32)

    def update(one):
        if way == "increment":
            one.increment(0.1 * g.T @ x)
        else:
            one.learn(TwoPhases([(x, g)], [(-x, g)]) if way == "two phases" else [(x, g), (x, g)], 0.1)

    for _ in range(2):
        before, kept = matrix.weights(), matrix.snapshot()
        assert np.shares_memory(kept["weights"], matrix.held()["weights"])
        for _ in range(2):
            update(matrix)
            update(plain)
            np.testing.assert_array_equal(kept["weights"], before)
            np.testing.assert_array_equal(matrix.weights(), plain.weights())
        now = matrix.weights()
        matrix.restore(kept)
        np.testing.assert_array_equal(matrix.weights(), before)
        update(matrix)
        np.testing.assert_array_equal(kept["weights"], before)
        matrix.restore({**kept, "weights": now})


def test_devices_that_wear_out_are_copied_and_others_shared(rng):
    response = SoftBounds(dw_min=0.01)
    lasting = Device(name="lasting", response=response, g_min_siemens=1e-6, g_max_siemens=1e-4)
    worn = lasting.but(name="worn", endurance=Endurance(stuck_low_pulses=3.0))
    for device, shared in ((lasting, True), (worn, False)):
        matrix = made(Analog(device=device), rng)
        kept = matrix.snapshot()
        parameters = kept["cells"]["0"]["parameters"]
        assert (parameters["low"] is matrix.arrays[0].parameters["low"]) == shared
        before = copied_tree(dict(parameters))
        used(matrix, rng)
        same(before, kept["cells"]["0"]["parameters"])
        matrix.restore(kept)
        same(before, matrix.held()["cells"]["0"]["parameters"])


def test_copies_of_trees_keep_shape_type_and_layout():
    turned = np.arange(6.0).reshape(2, 3).T
    tree = {"a": turned, "b": {"c": np.zeros(2, np.int32), "d": 3, "e": "f"}, "g": Settled(h=np.ones(2))}
    copy = copied_tree(tree)
    same(copy, tree)
    assert copy["a"] is not turned
    assert copy["a"].flags.f_contiguous
    assert copy["g"]["h"] is tree["g"]["h"]
    other = copied_tree({"a": turned.astype(np.float32), "b": {"c": np.zeros(3, np.int32)}}, copy)
    assert (other["a"].dtype, other["b"]["c"].shape) == (np.float32, (3,))


@pytest.mark.parametrize("name", [*SUBSTRATES, *presets()])
def test_a_template_follows_from_the_specification_alone(name, rng):
    scheme = {"scheme": {"kind": "ideal"}} if name not in SUBSTRATES else {}
    substrate = SUBSTRATES.get(name) or Analog(device=name, rows=4, columns=5, **scheme)
    matrix = made(substrate, rng)
    blank = CrossbarMatrix.blank({"substrate": substrate, "shape": matrix.shape, "dtype": matrix.dtype})
    same(fitted(matrix.held(), blank.template()), matrix.held())
    with pytest.raises(StateError, match="scales must have the shape"):
        fitted(matrix.held() | {"scales": np.ones((1, 1))}, blank.template())
