"""Extreme numbers: many bits, unbounded devices, windows and steps below floating-point resolution, largest weights."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices import Crossbar
from analogpc.devices.converters.specification import DAC
from analogpc.devices.crossbars.resolution import ResolutionError
from analogpc.devices.mappings import BitSliced, DifferentialPair
from analogpc.devices.nonidealities.programming import Levels
from analogpc.devices.presets import preset
from analogpc.devices.specification import SpecificationError
from analogpc.devices.substrate import Analog

CLEAN = {"dac_bits": None, "adc_bits": None, "read_noise": 0.0}
types = st.sampled_from([np.float32, np.float64])


@given(
    weights=st.lists(st.floats(-1, 1), min_size=1, max_size=6),
    slices=st.integers(2, 16),
    bits=st.integers(1, 12),
    device=st.sampled_from(["ideal", "reram-wan"]),
    kind=types,
)
@settings(max_examples=60, deadline=None)
def test_bit_slices_of_any_number_hold_weights_to_their_resolution(weights, slices, bits, device, kind):
    mapping, made = BitSliced(slices=slices, bits=bits), preset(device)
    full = mapping.range(made)
    wanted = (np.array([[*weights, 1.0, -1.0]]) * full).astype(kind)
    held = mapping.difference(mapping.split(wanted, made), 0.0)
    step = full / (2.0 ** (slices * bits) - 1)
    assert np.abs(held - wanted).max() <= 0.51 * step + 8 * np.finfo(kind).eps * full
    np.testing.assert_allclose(held[0, -2:], [full, -full], rtol=1e-6)


@given(
    size=st.floats(1e-30, 1e30),
    slices=st.integers(2, 4),
    accumulation=st.sampled_from(["digital", "analog"]),
    spare=st.integers(0, 2),
)
@settings(max_examples=20, deadline=None)
def test_slices_of_ideal_devices_are_scaled_to_the_weights(size, slices, accumulation, spare):
    weights = size * np.array([[23.0, -7.0], [3.0, 0.5]])
    mapping = {"kind": "bit-sliced", "slices": slices, "accumulation": accumulation, "spare_rows": spare, "spare_columns": spare}
    crossbar = Crossbar(weights, "ideal", mapping=mapping, **CLEAN)
    np.testing.assert_allclose(crossbar.weights(), weights, atol=0.51 * 23 * size / (16.0**slices - 1))
    np.testing.assert_allclose(crossbar @ np.eye(2), crossbar.weights(), rtol=1e-9)


@pytest.mark.parametrize("mapping", ["differential-pair", "offset-column", "device-vector"])
def test_ideal_devices_work_with_spare_lines(mapping):
    fields = {"kind": mapping, "spare_rows": 1, "spare_columns": 2}
    weights = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    np.testing.assert_allclose(Crossbar(weights, "ideal", mapping=fields, **CLEAN) @ np.eye(3), weights, rtol=1e-12, atol=1e-12)


@given(bits=st.integers(2, 53), kind=types, values=st.lists(st.floats(-1, 1), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_bit_serial_inputs_of_any_number_of_bits_add_up_to_the_input(bits, kind, values):
    dac = DAC(bits=bits, encoding="bit-serial", scaling="none")
    vector = np.array([*values, 1.0, -1.0]).astype(kind)
    crossbar = Crossbar(np.eye(len(vector), dtype=kind), "ideal", dac=dac, adc_bits=None, read_noise=0.0)
    error = np.abs(crossbar @ vector - vector)
    assert error.max() <= 0.51 / (2.0 ** (bits - 1) - 1) + 64 * np.finfo(kind).eps


def test_bit_serial_inputs_of_many_bits_on_the_gpu(device):
    from analogpc.kernels.converters.per_line import bit_plane

    driven, most = np.array([[1.0, -1.0, 0.5]], np.float32), 2**25 - 1
    for place in (0, 24):
        here = bit_plane(driven, 1 / most, place, 1.0, most)
        there = bit_plane(device.asarray(driven), 1 / most, place, 1.0, most).get()
        np.testing.assert_array_equal(here, there)
        assert abs(here[0, 0]) == 1


@pytest.mark.parametrize("bits", [65, 1025, 10**9, 1e300])
def test_more_bits_than_anything_has_are_refused(bits):
    with pytest.raises(SpecificationError, match=r"adc\.bits = .* at most 64 bits, or inf"):
        Analog(adc_bits=bits)
    assert Analog(adc_bits=math.inf, dac_bits=64).adc.bits == math.inf


@given(count=st.floats(2, 2.0**63).map(math.floor), kind=types)
@settings(max_examples=60, deadline=None)
def test_levels_of_any_number_are_near_what_is_wanted(count, kind):
    low, high = 1e-6, 4e-5
    wanted = np.linspace(0.5 * low, 1.1 * high, 50).astype(kind)
    found = Levels(count=count).nearest(wanted, low, high)
    assert found.dtype == kind
    inside = np.clip(wanted, kind(low), kind(high))
    assert np.abs(found - inside).max() <= 0.51 * (high - low) / (count - 1) + 4 * np.finfo(kind).eps * high


@given(
    mean=st.floats(-100, 100),
    spread=st.just(0.0) | st.floats(1e-3, 1),
    limit=st.floats(0.5, 5),
    kind=types,
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_weights_are_clipped_about_their_mean(mean, spread, limit, kind, seed):
    weights = (mean + spread * np.random.default_rng(seed).normal(size=(5, 8))).astype(kind)
    cut = DifferentialPair(clip_deviations=limit).clipped(weights)
    exact = weights.astype(np.float64)
    centre, reach = exact.mean(), limit * exact.std()
    assert cut.dtype == kind
    np.testing.assert_allclose(cut, np.clip(exact, centre - reach, centre + reach), rtol=1e-5, atol=1e-5 * spread)
    outside = np.abs(exact - centre) > reach * (1 + 1e-6)
    np.testing.assert_array_equal(
        cut[~outside & (np.abs(exact - centre) < reach)], weights[~outside & (np.abs(exact - centre) < reach)]
    )


def test_the_largest_numbers_are_clipped_to_finite_ones():
    for kind in (np.float32, np.float64):
        weights = np.array([[1.0, -0.2, 0.3, 0.6]], kind) * np.finfo(kind).max
        cut = DifferentialPair(clip_deviations=1.0).clipped(weights)
        assert np.isfinite(cut).all()
        assert cut[0, 0] < weights[0, 0]
        np.testing.assert_array_equal(cut[0, 2:3], weights[0, 2:3])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_weights_beyond_the_normal_numbers_are_refused_or_held(kind):
    info = np.finfo(kind)
    weights = np.array([[1.0, -0.25]], kind)
    held = Crossbar(weights * kind(info.max / 8), "ideal", **CLEAN).weights()
    np.testing.assert_allclose(held, weights * kind(info.max / 8), rtol=1e-6)
    for size in (info.max, info.tiny / 64):
        with pytest.raises(ResolutionError, match="go beyond the normal numbers of float"):
            Crossbar(weights * kind(size), "reram-sb", mapping={"headroom": 8.0}, **CLEAN)


def test_devices_that_a_type_cannot_resolve_are_refused():
    narrow = preset("reram-sb").but(g_min_siemens=1e-6, g_max_siemens=1e-6 * (1 + 1e-9))
    fine = preset("idealized").but({"response.dw_min": 1e-9})
    for device, sentence in (
        (narrow, "holds fewer than 1000 numbers of float32; use float64"),
        (fine, "is lost in float32 next to"),
    ):
        with pytest.raises(ResolutionError, match=sentence):
            Crossbar(np.eye(2, dtype=np.float32), device)
        Crossbar(np.eye(2), device)
