"""Time of one pulsed update of 512 x 512 devices by 128 products, relative to the float32 outer-product GEMM of the same shape.

    python experiments/benchmarks/pulse_updates.py [--size 512] [--batch 128] [--turns 15] [--threads 1 2] [--out RESULT.json]

Trains of 31 slots, with update management, from normally distributed vectors. The load is the number of steps for the largest element of a
product: 1 (a learning rate at the limit of the granularity), 10, and 31 (dense: half of the crosspoints or more fire in every product).
All calls alternate in the same process, and the fastest time of each counts, to reduce the effect of other load: processor time with one
thread, wall time with several (which needs an idle machine). The benchmark times the trains, the update by `apply_batch`, the slow update
pulse by pulse, and pre.T @ post; the ratio is that of trains and update together to the GEMM.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import scipy
from threadpoolctl import threadpool_limits

from analogpc.devices.arrays.population import population
from analogpc.devices.presets import TRAINING
from analogpc.devices.responses import SoftBounds
from analogpc.kernels.pulses.batches import apply_batch
from analogpc.kernels.pulses.trains import trains
from analogpc.kernels.pulses.updates import apply_pulses
from analogpc.kernels.random.streams import Key
from analogpc.kernels.words import MAX_LENGTH

LOADS = (1.0, 10.0, 31.0)


def devices() -> dict:
    """Devices by name: constant steps, coarse and fine; soft bounds with multiplicative and with additive noise."""
    presets = {device.name: device for device in TRAINING}
    soft = SoftBounds(dw_min=0.002, dw_min_dtod=0.3, w_max_dtod=0.3, w_min_dtod=0.3, dw_min_std=0.3)
    return {
        "constant step (gokmen-vlasov)": presets["gokmen-vlasov"],
        "constant step (idealized)": presets["idealized"],
        "soft bounds, multiplicative noise": presets["gokmen-vlasov"].model_copy(update={"response": soft}),
        "soft bounds, additive noise (reram-sb)": presets["reram-sb"],
    }


def alternated(calls: dict[str, Callable], turns: int, clock: Callable[[], float]) -> dict[str, float]:
    """Measure the calls alternately, for 20 ms or one call each; return the fastest time of each in milliseconds."""
    times = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(turns):
        for name, call in calls.items():
            # The threads of the previous call (BLAS has its own) spin for a while.
            time.sleep(0.005)
            end = clock() + 0.02
            while True:
                start = clock()
                call()
                times[name] = min(times[name], 1e3 * (clock() - start))
                if clock() > end:
                    break
    return times


def measured(
    name: str, load: float, size: int, batch: int, turns: int, slow: bool, clock: Callable[[], float]
) -> dict[str, float | str]:
    """Measure one device at one load; return times in milliseconds and the number of pulses."""
    device, key, rng = devices()[name], Key(0), np.random.default_rng(0)
    pre, post = rng.normal(size=(2, batch, size)).astype(np.float32)
    # Update management: the largest pre and the largest post get the same probability, and their product is load / slots.
    gain_pre, gain_post = (np.sqrt(load / MAX_LENGTH) / np.abs(x).max(axis=1).astype(np.float64) for x in (pre, post))
    length = np.full(batch, MAX_LENGTH)
    parameters = population(device, (size, size), key, np.dtype(np.float32))
    law, touched = device.response.law, np.zeros((size, size), bool)
    start = np.clip(rng.normal(0, 0.1, (size, size)).astype(np.float32), parameters["low"], parameters["high"])

    def pulses() -> tuple[np.ndarray, np.ndarray]:
        return trains(pre, gain_pre, length, key, 0)[0], trains(post, gain_post, length, key, 1)[0]

    rows, columns = pulses()

    def update(apply: Callable) -> int:
        return apply(start.copy(), rows, columns, parameters, law, False, key, 0, touched)

    calls = {"trains_ms": pulses, "update_ms": lambda: update(apply_batch), "gemm_ms": lambda: pre.T @ post}
    times = alternated(calls, turns, clock)
    if slow:
        times |= alternated({"slow_update_ms": lambda: update(apply_pulses)}, 1, clock)
    count = update(apply_batch)
    return {
        "device": name,
        "load": load,
        "pulses_per_crosspoint_and_product": count / size**2 / batch,
        **times,
        "ratio": (times["trains_ms"] + times["update_ms"]) / times["gemm_ms"],
        "ns_per_pulse": 1e6 * times["update_ms"] / count,
    }


def main() -> None:
    """Measure; print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pulse_updates.json")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--no-slow", action="store_true", help="skip the update pulse by pulse, which takes seconds")
    chosen = parser.parse_args()
    print(
        f"{'device':<40} {'threads':>7} {'load':>5} {'pulses':>7} {'trains':>7} {'update':>8} {'slow':>8} {'GEMM':>6} {'ratio':>7}   (ms)"
    )
    results = []
    for threads, name, load in itertools.product(chosen.threads, devices(), LOADS):
        numba.set_num_threads(threads)
        clock = time.thread_time if threads == 1 else time.perf_counter
        with threadpool_limits(threads, "blas"):
            r = measured(name, load, chosen.size, chosen.batch, chosen.turns, not chosen.no_slow, clock)
        results.append({"threads": threads, **r})
        print(
            f"{name:<40} {threads:8d} {load:8.0f} {r['pulses_per_crosspoint_and_product']:8.3f} {r['trains_ms']:8.2f} "
            f"{r['update_ms']:8.2f} {r.get('slow_update_ms', float('nan')):8.1f} {r['gemm_ms']:8.3f} {r['ratio']:8.1f}",
            flush=True,
        )
    machine = {"processors": os.cpu_count(), "load_average": os.getloadavg()[0]}
    shape = {"size": chosen.size, "batch": chosen.batch, "train_length": MAX_LENGTH, "turns": chosen.turns}
    versions = {"numpy": np.__version__, "scipy": scipy.__version__, "numba": numba.__version__}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"shape": shape, "machine": machine, "versions": versions, "results": results}
    chosen.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
