"""Operands of reads of a grid of devices: state differences, nonlinear currents, wires, and white noise of the devices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from analogpc.devices.arrays.sums import Curve, MatrixOperand, Operand
from analogpc.devices.arrays.wired_grid import CurvedOperand, Wiring
from analogpc.kernels.gpu.arrays import backend_of, copied, to_host

if TYPE_CHECKING:
    from analogpc.devices.arrays.array import Array
    from analogpc.devices.arrays.cells import Cells

Parts = list[tuple[str, float, np.ndarray]]
"""Names of the legs of a group and of what is subtracted from them, their factors, and the states (n_in, n_out) that a read finds."""


def form_operands(cells: Cells, transposed: bool) -> list[Operand]:
    """Return one operand per group of legs: (n_in, n_out), or (n_out, n_in) if ``transposed``.

    White noise of devices behind wires is attenuated like their currents, crosspoint by crosspoint. This is an approximation, since
    noise of one device also reaches other lines.
    """
    substrate, mapping = cells.substrate, cells.substrate.mapping
    conduction, wired = substrate.device.conduction, substrate.wires.present
    operands: list[Operand] = []
    for group, weight in enumerate(mapping.group_weights):
        legs = [(leg, array) for leg, array in zip(mapping.legs, cells.arrays, strict=True) if leg.group == group]
        parts = [(leg.name, leg.factor, array.apparent) for leg, array in legs]
        if mapping.subtracts != "nothing":
            parts.append(("subtracted", -1.0, cells.subtracted_grid()))
        noise = device_noise(cells, [(leg.factor, array) for leg, array in legs])
        if wired and not conduction.linear:
            legs_behind = _in_siemens(cells, parts)
            unit = substrate.device.siemens_per_state
            operands.append(CurvedOperand(legs_behind, conduction, unit, transposed, weight, slice(None)))
        elif wired:
            matrix, attenuation = _wired(cells, parts, transposed)
            noise = None if noise is None else (noise.T if transposed else noise) * np.square(attenuation)
            operands.append(MatrixOperand([(matrix, None)], noise, weight))
        else:
            operand = MatrixOperand(_terms(cells, parts), noise, weight)
            operands.append(operand.transposed if transposed else operand)
    return [_with_reference_noise(cells, operand, transposed) for operand in operands]


def _with_reference_noise(cells: Cells, operand: Operand, transposed: bool) -> Operand:
    """Return the operand with the white noise of the reference columns, if any; it is not attenuated by wires."""
    deviation = None if cells.shared is None else cells.shared.read_deviation(cells.substrate.read_seconds)
    if deviation is None or not isinstance(operand, MatrixOperand):
        return operand
    column_of = np.arange(cells.shape[1], like=deviation) // cells.substrate.columns
    assert cells.shared is not None
    column_noise = np.square(deviation) + np.zeros_like(cells.shared.state)
    return replace(operand, column_noise=column_noise, column_of=column_of, turned=transposed)


def _in_siemens(cells: Cells, parts: Parts) -> list[tuple[float, np.ndarray, Wiring]]:
    """Return factor, conductances and wires of every part."""
    device = cells.substrate.device
    wiring = [cells.wiring.setdefault(name, Wiring(cells.substrate, cells.shape)) for name, _, _ in parts]
    return [(factor, device.conductance(states), own) for (_, factor, states), own in zip(parts, wiring, strict=True)]


def _wired(cells: Cells, parts: Parts, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the state differences seen through the wires, and the fraction of each current that the wires leave.

    Wire networks are solved on the CPU, so that the states of devices on a GPU are copied in both directions for each update.
    """
    device, kind, backend = cells.substrate.device, cells.dtype.type, backend_of(parts[0][2])
    legs = _in_siemens(cells, [(name, factor, to_host(states)) for name, factor, states in parts])
    if cells.substrate.mapping.subtracts == "column":
        # The reference column is a line of the same arrays.
        (_, conductance, wiring), (_, reference, _) = legs
        beside = np.ascontiguousarray(reference[:, :: cells.substrate.columns])
        total = wiring.effective(conductance, beside, transposed)
    else:
        total = weighted_sum([(factor, wiring.effective(g, None, transposed)) for factor, g, wiring in legs])
    plain = weighted_sum([(factor, g) for factor, g, _ in legs])
    plain = plain.T if transposed else plain
    attenuation = np.divide(total, plain, out=np.ones_like(total), where=np.abs(plain) > 1e-3 * device.g_max_siemens)
    seen, left = total / kind(device.siemens_per_state), np.clip(attenuation, 0, 1)
    return (seen, left) if backend == "cpu" else (copied(seen, backend), copied(left, backend))


def _terms(cells: Cells, parts: Parts) -> list[tuple[np.ndarray, Curve | None]]:
    """Return the products that form the current of devices without wires, in units of state."""
    device, kind = cells.substrate.device, cells.dtype.type
    if device.conduction.linear and sum(factor for _, factor, _ in parts) == 0:
        return [(weighted_sum([(factor, states) for _, factor, states in parts]), None)]
    # Unless currents are subtracted from each other, a converter sees the conductances, not the states.
    unit = kind(device.siemens_per_state)
    curves = [(factor, device.conduction.terms(device.conductance(states))) for _, factor, states in parts]
    return [
        (
            weighted_sum([(factor, terms[number][0] / unit) for factor, terms in curves]),
            None if device.conduction.linear else curves[0][1][number][1],
        )
        for number in range(len(curves[0][1]))
    ]


def device_noise(cells: Cells, legs: list[tuple[float, Array]]) -> np.ndarray | None:
    """Variance of the white noise of every crosspoint, in states squared: (n_in, n_out), (1, 1) if equal, or None without noise."""
    variances = []
    for factor, array in legs:
        deviation = array.read_deviation(cells.substrate.read_seconds)
        if deviation is not None:
            variances.append((factor**2, np.square(deviation)))
    return weighted_sum(variances) if variances else None


def weighted_sum(parts: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Return the sum of arrays with factors; a single array with factor 1 is returned without a copy."""
    (factor, first), *others = parts
    total = first if factor == 1 else first * first.dtype.type(factor)
    for factor, part in others:
        total = total - part if factor == -1 else total + part * part.dtype.type(factor)
    return total
