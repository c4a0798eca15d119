"""Time of the effective conductance matrix of a wired array, compared with a sparse direct solve of the same circuit for 128 vectors.

    python experiments/benchmarks/wire_resistance.py [--sizes 33 128 33x256 ...] [--repeats 7] [--out RESULT.json]

All methods alternate in the same process; the results are medians, and the currents of the two methods are compared. The sparse solve is
nodal analysis with SuperLU, in the ordering and mode that was fastest in a first round, without the time to assemble its matrix.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from analogpc.kernels.wires.effective import device_voltages, effective_conductance
from analogpc.kernels.wires.line_model import estimated_conductance

ORDERINGS: dict[str, dict] = {
    "COLAMD": {"permc_spec": "COLAMD"},
    "MMD_AT_PLUS_A": {"permc_spec": "MMD_AT_PLUS_A"},
    "MMD_AT_PLUS_A, symmetric": {
        "permc_spec": "MMD_AT_PLUS_A",
        "diag_pivot_thresh": 0.0,
        "options": {"SymmetricMode": True},
    },
}
WIRE_OHMS, DRIVER_OHMS, SENSE_OHMS, VECTORS = 1.0, 20.0, 10.0, 128
SIZES = ["33", "64", "128", "256", "33x256", "256x33", "8x512", "512x8"]


def nodal_matrix(g: np.ndarray) -> tuple[sparse.csc_matrix, np.ndarray, np.ndarray]:
    """Return the conductance matrix of all nodes, and the indices of the driven word-line and sensed bit-line nodes."""
    word, bit = np.arange(g.size).reshape(g.shape), np.arange(g.size).reshape(g.shape) + g.size
    pairs = [(word, bit, g), (word[:, 1:], word[:, :-1], 1 / WIRE_OHMS), (bit[1:], bit[:-1], 1 / WIRE_OHMS)]
    first, second, siemens = (
        np.concatenate([np.broadcast_to(pair[k], pair[0].shape).ravel() for pair in pairs]) for k in range(3)
    )
    diagonal = np.zeros(2 * g.size)
    np.add.at(diagonal, first, siemens)
    np.add.at(diagonal, second, siemens)
    diagonal[word[:, 0]] += 1 / (WIRE_OHMS + DRIVER_OHMS)
    diagonal[bit[-1]] += 1 / (WIRE_OHMS + SENSE_OHMS)
    own = np.arange(2 * g.size)
    entries = np.concatenate([-siemens, -siemens, diagonal])
    places = np.concatenate([first, second, own]), np.concatenate([second, first, own])
    return sparse.csc_matrix((entries, places)), word[:, 0], bit[-1]


def sparse_currents(
    matrix: sparse.csc_matrix, driven: np.ndarray, sensed: np.ndarray, volts: np.ndarray, ordering: str
) -> np.ndarray:
    """Solve the circuit: bit-line currents (n, columns) for word-line voltages (n, rows)."""
    factors = splu(matrix, **ORDERINGS[ordering])
    injected = np.zeros((matrix.shape[0], len(volts)))
    injected[driven] = volts.T / (WIRE_OHMS + DRIVER_OHMS)
    return factors.solve(injected)[sensed].T / (WIRE_OHMS + SENSE_OHMS)


def alternated(calls: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Measure the calls alternately; return the median time of each in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def measured(rows: int, columns: int, repeats: int) -> dict[str, int | float | str]:
    """Measure one array; return times in milliseconds, ratios, and the deviation between the methods."""
    rng = np.random.default_rng(rows)
    g, volts = rng.uniform(1e-6, 5e-5, (rows, columns)), rng.uniform(-0.2, 0.2, (VECTORS, rows))
    wires = {"wire_ohms": WIRE_OHMS, "driver_ohms": DRIVER_OHMS, "sense_ohms": SENSE_OHMS}
    circuit = nodal_matrix(g)
    first = alternated({name: functools.partial(sparse_currents, *circuit, volts, name) for name in ORDERINGS}, 2)
    ordering = min(first, key=lambda name: first[name])
    times = alternated(
        {
            "effective_matrix_ms": lambda: volts @ effective_conductance(g, **wires).T,
            "sparse_ms": lambda: sparse_currents(*circuit, volts, ordering),
            "line_model_ms": lambda: estimated_conductance(g, **wires),
            "device_voltages_ms": lambda: device_voltages(g, volts, **wires),
        },
        repeats,
    )
    ours, theirs = volts @ effective_conductance(g, **wires).T, sparse_currents(*circuit, volts, ordering)
    deviation = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    faster = times["sparse_ms"] / times["effective_matrix_ms"]
    return {
        "rows": rows,
        "columns": columns,
        **times,
        "times_faster": faster,
        "deviation": deviation,
        "sparse_ordering": ordering,
    }


def main() -> None:
    """Measure; print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "wire_resistance.json")
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="N for N x N devices, or ROWSxCOLUMNS")
    parser.add_argument("--repeats", type=int, default=7)
    chosen = parser.parse_args()
    shapes = [[int(lines) for lines in size.split("x")] for size in chosen.sizes]
    results = [measured(shape[0], shape[-1], chosen.repeats) for shape in shapes]
    print(f"{'size':>8} {'matrix':>10} {'sparse':>10} {'faster':>7} {'line model':>11} {'voltages':>10} {'deviation':>10}   (ms)")
    for r in results:
        print(
            f"{r['rows']:>4}x{r['columns']:<3} {r['effective_matrix_ms']:10.2f} {r['sparse_ms']:10.2f} {r['times_faster']:7.1f} "
            f"{r['line_model_ms']:11.2f} {r['device_voltages_ms']:10.2f} {r['deviation']:10.1e}"
        )
    circuit = {"wire_ohms": WIRE_OHMS, "driver_ohms": DRIVER_OHMS, "sense_ohms": SENSE_OHMS, "vectors": VECTORS}
    versions = {"numpy": np.__version__, "scipy": scipy.__version__}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"circuit": circuit, "repeats": chosen.repeats, "versions": versions, "results": results}
    chosen.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
