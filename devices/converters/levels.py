"""Errors of converter instances: gains, offsets and levels drawn from a specification."""

from __future__ import annotations

import math

import numpy as np

from analogpc.devices.converters.specification import ADC, DAC, Converter
from analogpc.kernels.random.streams import Key, bits, normals


def no_error(lines: int, dtype: str | type | np.dtype) -> np.ndarray:
    """Return gain 1 and offset 0 for every line, (2, lines)."""
    return np.repeat(np.array([[1], [0]], dtype), lines, axis=1)


def affine_errors(
    spec: Converter, key: Key, cut: int, lines: int, dtype: str | type | np.dtype, row: np.ndarray | None = None
) -> np.ndarray:
    """Draw gain and offset of every line, (2, lines); lines with the same ``row`` share their gain."""
    gain = 1 + spec.gain_error * normals(key.fold("gain"), cut, lines, np.float64)
    offset = spec.offset_lsb * spec.lsb * normals(key.fold("offset"), cut, lines, np.float64)
    return np.stack([gain if row is None else gain[row], offset]).astype(dtype)


def bow_signs(key: Key, cut: int, count: int) -> np.ndarray:
    """Draw a fair sign for each of ``count`` bows."""
    return np.where(bits(key.fold("bow"), cut, count) >> 31, -1.0, 1.0)


def output_levels(spec: DAC, lines: int, key: Key) -> np.ndarray:
    """Levels of ``lines`` DACs from the lowest to the highest code, before gain and offset, (lines, 2**bits - 1) float64."""
    most = 2 ** (int(spec.bits) - 1) - 1
    codes = np.arange(-most, most + 1)
    bow = spec.inl_lsb * (1 - (codes / most) ** 2)
    errors = spec.dnl_lsb / math.sqrt(2) * normals(key.fold("levels"), 0, (lines, len(codes)), np.float64)
    return spec.lsb * (codes + bow_signs(key, 0, lines)[:, None] * bow + errors)


def transition_levels(spec: ADC, key: Key, cut: int, count: int) -> np.ndarray:
    """Ascending thresholds of ``count`` converters or ramps, (count, 2**bits - 1) float64, the first -inf; see `ADC`."""
    places = int(spec.bits)
    most = 2 ** (places - 1) - 1
    reach = most - 0.5
    draws = normals(key.fold("levels"), cut, (count, 2 * most), np.float64)
    bow = (spec.inl_lsb * bow_signs(key, cut, count))[:, None]
    table = np.full((count, 2 * most + 1), -np.inf)
    if spec.architecture == "ramp":
        # Log-normal steps of mean 1 and standard deviation dnl_lsb; the bow warps the ramp, which stays monotonic.
        width = math.sqrt(math.log1p(spec.dnl_lsb**2))
        climbed = np.cumsum(np.exp(width * draws[:, 1:]), axis=1)
        ramp = np.concatenate([np.full((count, 1), -reach), 2 * reach * climbed / climbed[:, -1:] - reach], axis=1)
        table[:, 1:] = ramp + bow * (1 - (ramp / reach) ** 2)
        return spec.lsb * table
    nominal = np.arange(-most, most) + 0.5
    errors = bow * (1 - (nominal / reach) ** 2) + spec.dnl_lsb / math.sqrt(2) * draws
    if spec.architecture == "uniform":
        # The code is the number of comparators above threshold, so their order does not matter.
        table[:, 1:] = np.sort(nominal + errors, axis=1)
        return spec.lsb * table
    thresholds = capacitor_levels(places, spec.capacitor_mismatch, key.fold("capacitors"), cut, count)
    thresholds -= most + 1.5
    thresholds[:, 2:] += errors
    table[:, 1:] = search_transitions(thresholds)[:, 2:]
    return spec.lsb * table


def capacitor_levels(places: int, mismatch: float, key: Key, step: int, count: int) -> np.ndarray:
    """Levels of ``count`` binary-weighted capacitor arrays of ``places`` bits, (count, 2**places) float64, in LSB.

    2**places sum_p c_p C_p / C_total for the codes c, with C_p = 2**p (1 + mismatch xi_p / sqrt(2**p)) and one more unit
    capacitor that is never switched (Saberi et al., IEEE Trans. Circuits Syst. I 58:1736, 2011).
    """
    nominal = 2.0 ** np.append(np.arange(places), 0)
    capacitors = nominal + mismatch * np.sqrt(nominal) * normals(key, step, (count, places + 1), np.float64)
    switched = np.arange(2**places)[:, None] >> np.arange(places) & 1
    return capacitors[:, :places] @ switched.T * (2**places / capacitors.sum(1, keepdims=True))


def search_transitions(thresholds: np.ndarray) -> np.ndarray:
    """Inputs from which successive approximation returns at least code c: (converters, codes) -> same shape, ascending.

    At every bit, from the most significant, the input is compared with the threshold of the partial code plus that bit. Code c or
    more is reached by passing every trial that c passes, or by passing a trial that c fails; ``thresholds[:, 0]`` is never compared.
    """
    reached = np.full(thresholds.shape, -np.inf)
    for place in range(thresholds.shape[1].bit_length() - 1):
        halves = reached.reshape(len(reached), -1, 2, 2**place)
        trial = thresholds[:, 2**place :: 2 ** (place + 1), None]
        np.minimum(halves[:, :, 0], trial, out=halves[:, :, 0])
        np.maximum(halves[:, :, 1], trial, out=halves[:, :, 1])
    return reached


def calibration_line(spec: ADC, affine: np.ndarray, table: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Digital gain and offset after every converter, (2, lines): the least-squares line of the thresholds over their codes."""
    gain, offset = affine
    slope, start = np.ones(1), np.zeros(1)
    if table.size:
        most = 2 ** (int(spec.bits) - 1) - 1
        nominal = spec.lsb * (np.arange(-most, most) + 0.5)
        # The nominal transitions have mean zero.
        slope, start = table[:, 1:] @ nominal / (nominal @ nominal), table[:, 1:].mean(1)
        slope, start = slope[row], start[row]
    return np.stack([slope / gain, (start - offset) / gain])
