"""Compile time of every kernel at its first use, and time of the demo with an empty cache.

    python experiments/benchmarks/first_use.py [--out experiments/benchmarks/results/first_use.json]

Every measurement runs in a new process with an empty kernel cache. The time of a kernel includes that of the kernels it calls, if they are
not compiled yet; a kernel compiled for several device models or types is listed several times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOUR = """
import json
import time

from numba.core import event

spent = []
depth = []

class Listener(event.Listener):
    def on_start(self, event):
        depth.append((event.data["dispatcher"].py_func, time.perf_counter()))

    def on_end(self, event):
        function, began = depth.pop()
        if not depth:
            spent.append((time.perf_counter() - began, f"{function.__module__}.{function.__name__}"))

event.register("numba:compile", Listener())
import numpy as np
import analogpc as apc

data = apc.load_data("digits")
for device in ("idealized", "reram-sb", "reram-es", "ecram", "pcm", "capacitor"):
    apc.fit(apc.mlp([64, 16, 10], substrate=apc.Analog(device=device)), apc.PredictiveCoding(), data, batches=3, progress=False)
apc.fit(apc.mlp([64, 16, 10], activation="gelu"), apc.PredictiveCoding(momentum=0.5), data, batches=3, progress=False)
convolutional = apc.Layers(
    input_shape=(8, 8, 1),
    blocks=(
        apc.Chain(blocks=(apc.Conv2d(channels=4), apc.BatchNorm(), apc.Activation(function="relu"), apc.MaxPool())),
        apc.Chain(blocks=(apc.Conv2d(channels=4), apc.LayerNorm(), apc.Activation(function="tanh"), apc.AvgPool())),
        apc.Chain(blocks=(apc.Flatten(), apc.Dense(features=10))),
    ),
)
network = apc.Network(convolutional, apc.Analog(device="idealized", wire_ohms=1.0, rows=64, columns=64))
apc.fit(network, apc.PredictiveCoding(), data, batches=2, progress=False)
print(json.dumps(spent))
"""


def fresh(command: list[str], folder: str) -> tuple[float, str]:
    """Return the seconds and the standard output of a process with an empty cache."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=folder)
    return time.perf_counter() - began, done.stdout


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "first_use.json")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _, printed = fresh([sys.executable, "-c", TOUR], folder)
    kernels = sorted(json.loads(printed.splitlines()[-1]), reverse=True)
    with tempfile.TemporaryDirectory() as folder:
        cold, _ = fresh([sys.executable, "-m", "analogpc", "demo", "--out", f"{folder}/demo"], folder)
        warm, _ = fresh([sys.executable, "-m", "analogpc", "demo", "--out", f"{folder}/again"], folder)
    for seconds, name in kernels[:12]:
        print(f"{seconds:6.2f} s  {name}")
    print(
        f"demo cold {cold:.1f} s, warm {warm:.1f} s; {len(kernels)} kernels, {sum(seconds for seconds, _ in kernels):.1f} s in all"
    )
    record = {"kernels_s": kernels, "demo_cold_s": cold, "demo_warm_s": warm}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
