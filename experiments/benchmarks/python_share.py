"""Training steps of a convolutional network on batches of 128 images and of one: the latter bounds what Python costs.

    python experiments/benchmarks/python_share.py [--calls 12] [--out experiments/benchmarks/results/python_share.json]

The network and rule are those of the workloads vgg5-8-idealized and vgg5-4-idealized of `analogpc bench`; one thread. Python makes the
same calls for one image as for 128, and more only if their patches are processed in chunks. Times are the fastest of the calls.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numba

import analogpc as apc
from analogpc.bench.preparation import rule_step
from analogpc.networks.zoo import vgg
from analogpc.rules import PredictiveCoding
from analogpc.training.environment import describe_environment

WIDTHS, BATCHES, RATE = (1 / 8, 1 / 4), (128, 1), 0.05
SUBSTRATES: dict[str, apc.Digital | apc.Analog] = {
    "digital": apc.Digital(),
    "exact writing": apc.Analog(device="idealized", scheme={"kind": "ideal"}),
}


def milliseconds(width: float, substrate: apc.Digital | apc.Analog, batch: int, calls: int) -> float:
    """Return the time of the fastest of some training steps of S+F."""
    rule = PredictiveCoding(steps=5, step_size=0.8, momentum=0.1, nesterov=True, precision="spiking", update="forward")
    step, _ = rule_step(vgg(5, width=width, activation="gelu", substrate=substrate), rule, batch, RATE)
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=12)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    numba.set_num_threads(1)
    rows = []
    for width in WIDTHS:
        for name, substrate in SUBSTRATES.items():
            many, one = (milliseconds(width, substrate, batch, given.calls) for batch in BATCHES)
            rows.append({"width": width, "substrate": name, "batch 128": many, "batch 1": one})
            print(f"width {width:5} {name:14} {many:6.1f} ms, one image {one:5.2f} ms: at most {100 * one / many:.1f} %")
    if given.out:
        given.out.write_text(
            json.dumps({"environment": describe_environment(), "milliseconds": rows}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
