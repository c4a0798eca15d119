"""Peak memory of a training step relative to the sizes of weights and states; each case runs in a separate process.

    python experiments/benchmarks/memory.py [--out experiments/benchmarks/results/memory.json]

The peak is that of the resident set, minus its size before the network was built.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

CASES = {
    "VGG10, batch 128, PC, T = 1, digital": (10, 128, 1, "digital"),
    "VGG10, batch 128, PC, T = 10, digital": (10, 128, 10, "digital"),
    "VGG10, batch 128, PC, T = 20, digital": (10, 128, 20, "digital"),
    "VGG10, batch 16, PC, T = 10, digital": (10, 16, 10, "digital"),
    "VGG10, batch 16, PC, T = 10, crossbars": (10, 16, 10, "idealized"),
}


def resident() -> int:
    """Return the peak resident set of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def case(depth: int, batch: int, steps: int, where: str) -> dict[str, float]:
    """Build a network, train on one batch, and return the memory in bytes."""
    from analogpc.bench.preparation import rule_step
    from analogpc.devices.substrate import Analog, Digital
    from analogpc.networks.zoo import mlp, vgg
    from analogpc.rules import PredictiveCoding

    substrate = Digital() if where == "digital" else Analog(device=where)
    small = rule_step(mlp([8, 8, 8], substrate=substrate), PredictiveCoding(steps=2), 4)[0]
    small()
    before = resident()
    network = vgg(depth, substrate=substrate)
    built = resident()
    rng = np.random.default_rng(0)
    x = rng.random((batch, *network.input_shape), np.float32)
    target = np.eye(10, dtype=np.float32)[rng.integers(0, 10, batch)]
    weights = network.matrices()

    def apply(products, gain):
        for matrix, pre, post in products:
            matrix.learn([(pre, post)], 1e-6)

    PredictiveCoding(steps=steps, step_size=0.01, momentum=0.3).train_step(network, x, target, apply)
    parameters = sum(int(np.prod(matrix.shape)) for matrix in weights.values())
    states = sum(int(np.prod(layer.output_shape)) for layer in network.layers)
    return {
        "parameters": parameters,
        "network_bytes_per_parameter": (built - before) / parameters,
        "values_of_states_per_sample": states,
        "peak_bytes": resident() - before,
        "relaxation_bytes_per_state_value": (resident() - built) / states / batch,
    }


def main() -> None:
    """Run every case in a separate process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    parser.add_argument("--case", choices=list(CASES), help="run only this case, in this process, and print JSON")
    chosen = parser.parse_args()
    if chosen.case:
        print(json.dumps(case(*CASES[chosen.case])))
        return
    found = {}
    for name in CASES:
        done = subprocess.run([sys.executable, __file__, "--case", name], capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        numbers = found[name]
        print(
            f"{name:42} peak {numbers['peak_bytes'] / 2**30:5.2f} GiB, network {numbers['network_bytes_per_parameter']:5.1f} B/parameter, "
            f"relaxation {numbers['relaxation_bytes_per_state_value']:6.1f} B/value of a state",
            flush=True,
        )
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
