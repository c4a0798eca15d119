"""What limits S+F on the reram-sb crossbar: one nonideality taken away at a time.

    python experiments/first_limits.py [--seeds 0 1 2] [--out experiments/results/first_limits]

The first 20,000 training images of Fashion-MNIST, two epochs, everything else as in first_results.py. Writes OUT.md.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from first_results import CASES

from analogpc.data import load_data
from analogpc.devices.presets import preset
from analogpc.devices.responses import ConstantStep
from analogpc.devices.substrate import Analog, Digital
from analogpc.training.fit import begin
from analogpc.training.study import Study

DEVICE = preset("reram-sb")
BASE = Analog.from_dict({**CASES["S+F, reram-sb"]["substrate"]})
IDEAL_READ = {"dac": {"bits": math.inf, "bound": math.inf}, "adc": {"bits": math.inf, "bound": math.inf}, "read_noise": 0.0}


def without(**changes: float) -> Analog:
    """The substrate with some parameters of the response changed."""
    return BASE.but(device=DEVICE.but(response=DEVICE.response.but(**changes)))


CALM = without(write_noise_std=0.0, dw_min_std=0.0, dw_min_dtod=0.0, up_down_dtod=0.0, w_max_dtod=0.0, w_min_dtod=0.0).but(
    **IDEAL_READ
)
STEP = ConstantStep(dw_min=DEVICE.response.dw_min, w_max=DEVICE.response.w_max, w_min=DEVICE.response.w_min)

SUBSTRATES = {
    "reram-sb as it is": BASE,
    "no write noise": without(write_noise_std=0.0),
    "no cycle-to-cycle noise": without(dw_min_std=0.0),
    "no device-to-device spread": without(dw_min_dtod=0.0, up_down_dtod=0.0, w_max_dtod=0.0, w_min_dtod=0.0),
    "ideal converters, no read noise": BASE.but(**IDEAL_READ),
    "none of these four": CALM,
    "nor soft bounds: a constant step of the same size": CALM.but(device=DEVICE.but(response=STEP)),
    "digital, same rule and optimiser": Digital(),
}


def main() -> None:
    """Run all substrates and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/first_limits"))
    arguments = parser.parse_args()
    data = load_data("fashion-mnist").take(20_000, 10_000)
    lines = [
        "# What limits S+F on reram-sb",
        "",
        "Fashion-MNIST, the first 20,000 training images, two epochs, 784-256-256-10; test accuracy on all 10,000 test images, "
        f"seeds {', '.join(map(str, arguments.seeds))}. Command: `python experiments/first_limits.py`.",
        "",
        "| substrate | mean | every seed |",
        "|---|---|---|",
    ]
    for name, substrate in SUBSTRATES.items():
        accuracies = []
        for seed in arguments.seeds:
            fields = {**CASES["S+F, reram-sb"], "substrate": substrate}
            study = Study(dataset="fashion-mnist", epochs=2, seed=seed, **fields)
            accuracies.append(begin(study, data).train(data).history["test_accuracy"][-1])
            print(f"{name}, seed {seed}: {accuracies[-1]:.2%}", flush=True)
        lines.append(f"| {name} | {np.mean(accuracies):.2%} | {', '.join(f'{a:.2%}' for a in accuracies)} |")
    arguments.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
