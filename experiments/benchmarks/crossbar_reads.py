"""Time of one crossbar read by a batch of vectors, forward and transposed, relative to the float32 matrix product of the same shape.

    python experiments/benchmarks/crossbar_reads.py [--sizes 128 256 512 1024] [--tiles 512 128] [--batch 128] [--turns 200]
                                                    [--threads 1 2] [--out RESULT.json]

The cases add one feature at a time: a digital matrix, crossbars without nonidealities, a 7-bit DAC and a 9-bit ADC, output noise, and
new noise of every device for every vector (which needs at least two products: 2 x GEMM). All cases and their parts are measured
alternately in one process. The tables give the median and the fastest time, and their ratios to those of NumPy's plain product. With one
thread, processor time is measured, which hardly depends on other load; with several, wall time, which needs an idle machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.nonidealities.noise import RelativeNoise
from analogpc.devices.presets import preset
from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.converters.shared import adc, dac
from analogpc.kernels.random.streams import Key, normals

DAC_BITS, ADC_BITS, BOUND, READ_NOISE, RELATIVE_NOISE = 7, 9, 12.0, 0.06, 0.03

Timings = dict[str, dict[str, float]]


def substrates(tile: int) -> dict[str, Digital | Analog]:
    """Substrates of the cases, by name."""
    devices = {"rows": tile, "columns": tile}
    converters = {"dac": DAC(bits=DAC_BITS), "adc": ADC(bits=ADC_BITS, bound=BOUND)}
    restless = preset("idealized").model_copy(update={"read_noise": RelativeNoise(relative=RELATIVE_NOISE)})
    return {
        "digital": Digital(),
        "ideal crossbar": Analog.ideal(**devices),
        "+ converters": Analog.ideal(**devices, **converters),
        "+ output noise": Analog.ideal(**devices, **converters, read_noise=READ_NOISE),
        "+ weight noise": Analog.ideal(**devices, **converters, read_noise=READ_NOISE, device=restless),
    }


def parts(x: np.ndarray, y: np.ndarray) -> dict[str, Callable]:
    """Parts of a read of one tile besides products: a pass over the vectors and a pass over the sums."""
    total, ones, key = np.empty_like(y), np.ones(len(y), y.dtype), Key(0)

    def converted(noise: float, bits: float, bound: float) -> np.ndarray:
        return adc(y, total, ones, noise, bits, bound, key, 0, fresh=True)

    return {
        "DAC": lambda: dac(x, DAC_BITS, 1.0, True),
        "copy of the sums": lambda: converted(0.0, math.inf, math.inf),
        "ADC": lambda: converted(0.0, ADC_BITS, BOUND),
        "ADC and noise": lambda: converted(READ_NOISE, ADC_BITS, BOUND),
        "normals": lambda: normals(key, 0, y.shape),
        "squared vectors": lambda: np.square(x),
    }


def alternated(calls: dict[str, Callable], turns: int, clock: Callable[[], float]) -> Timings:
    """Measure the calls alternately, three at a time; return median and fastest time of each in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(turns):
        for name, call in calls.items():
            for _ in range(3):
                start = clock()
                call()
                times[name].append(1e3 * (clock() - start))
    return {name: {"median_ms": statistics.median(taken), "fastest_ms": min(taken)} for name, taken in times.items()}


def measured(size: int, tile: int, batch: int, turns: int, clock: Callable[[], float]) -> Timings:
    """Measure all cases and parts for a matrix of ``size`` x ``size``; return times and ratios to the product."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, size)).astype(np.float32)
    weights = (rng.normal(size=(size, size)) / math.sqrt(size)).clip(-0.2, 0.2).astype(np.float32)
    stored = np.ascontiguousarray(weights.T)
    calls: dict[str, Callable] = {"GEMM": lambda: x @ stored, "GEMM, transposed": lambda: x @ stored.T}
    for name, substrate in substrates(tile).items():
        matrix = make_matrix(substrate, weights, Key(0))
        calls[name] = lambda matrix=matrix: matrix.forward(x)
        calls[f"{name}, transposed"] = lambda matrix=matrix: matrix.backward(x)
    times = alternated(calls | parts(x, x @ stored), turns, clock)
    floor = times["GEMM"]
    for taken in times.values():
        taken["median_ratio"] = taken["median_ms"] / floor["median_ms"]
        taken["fastest_ratio"] = taken["fastest_ms"] / floor["fastest_ms"]
        taken["ns_per_output"] = 1e6 * taken["fastest_ms"] / (batch * size)
    return times


def show(times: Timings) -> None:
    """Print the table of one matrix."""
    print(f"{'':<32} {'median':>9} {'fastest':>9} {'ratio of medians':>17} {'of fastest':>11} {'ns per output':>14}   (ms)")
    for name, taken in times.items():
        print(
            f"{name:<32} {taken['median_ms']:9.3f} {taken['fastest_ms']:9.3f} {taken['median_ratio']:17.2f} "
            f"{taken['fastest_ratio']:11.2f} {taken['ns_per_output']:14.2f}",
            flush=True,
        )


def main() -> None:
    """Measure; print the tables and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "crossbar_reads.json")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--tiles", type=int, nargs="+", default=[512, 128], help="lines of a physical array")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    results = []
    matrices = dict.fromkeys((size, min(size, tile)) for size, tile in itertools.product(chosen.sizes, chosen.tiles))
    for threads, (size, tile) in itertools.product(chosen.threads, matrices):
        numba.set_num_threads(threads)
        clock = time.thread_time if threads == 1 else time.perf_counter
        with threadpool_limits(threads, "blas"):
            load = os.getloadavg()[0]
            times = measured(size, tile, chosen.batch, chosen.turns, clock)
        print(f"\n{size} x {size}, arrays of {tile} x {tile}, batch {chosen.batch}, threads {threads}; load {load:.1f}")
        show(times)
        results.append({"threads": threads, "size": size, "tile": tile, "load_average": load, "times": times})
    settings = {"dac_bits": DAC_BITS, "adc_bits": ADC_BITS, "read_noise": READ_NOISE, "relative_weight_noise": RELATIVE_NOISE}
    shape = {"batch": chosen.batch, "turns": chosen.turns, "dtype": "float32", "processors": os.cpu_count()}
    versions = {"numpy": np.__version__, "numba": numba.__version__}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"shape": shape, "settings": settings, "versions": versions, "results": results}
    chosen.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
