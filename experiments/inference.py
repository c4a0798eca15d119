"""Inference: weights trained digitally, programmed onto devices and read after a second to a year; hardware-aware training beside it.

    python experiments/inference.py [--short] [--out experiments/results/inference]

Writes OUT.json (every evaluation), OUT.md and OUT.png.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tables import markdown

import analogpc as apc
from analogpc.analysis.conditions import evaluate_conditions
from analogpc.data import Dataset
from analogpc.devices.device import Device
from analogpc.devices.nonidealities.noise import ConstantNoise
from analogpc.devices.presets import preset
from analogpc.devices.responses import Programmable
from analogpc.report.page_pictures import style
from analogpc.studies.comparison import mean_interval
from analogpc.training.run import Run

DEVICES = ("pcm-inference", "pcm-joshi", "reram-wan", "reram-wan-cubic", "rram-milo")
TIMES = {"1 s": 1.0, "1 hour": 3600.0, "1 day": 86400.0, "1 month": 2629800.0, "1 year": 31557600.0}
RULES = ("bp", "pc", "s+f", "ep")
DIGITAL, AWARE = "digital", "hardware-aware"
NOISE = 0.04
"""Standard deviation of the read noise in hardware-aware training, of the range: about the programming errors of the presets."""
WIDTHS = (784, 16, 16, 16, 10)
Row = dict[str, Any]


def aware() -> apc.Analog:
    """Crossbars for hardware-aware training: exact writing, default converters, new noise of every device at every read."""
    low, high = 0.0, 25e-6
    noise = ConstantNoise(std_siemens=NOISE * (high - low))
    device = Device(name="aware", response=Programmable(), g_min_siemens=low, g_max_siemens=high, read_noise=noise)
    return apc.Analog(device=device)


def trained(rule: str, seed: int, data: Dataset, epochs: int) -> dict[str, Run]:
    """Train digitally for ``epochs``, and continue for as long once digitally and once hardware-aware, from the same weights."""
    net = apc.mlp(WIDTHS, activation="leaky_relu", seed=seed)
    half = apc.fit(net, rule, data, epochs=epochs, seed=seed, progress=False)
    how = {"epochs": epochs, "seed": seed + 100, "optimiser": half.study.optimiser, "progress": False}
    start = half.network.copy(trained=True)
    return {DIGITAL: apc.fit(start, rule, data, **how), AWARE: apc.fit(start.on(aware()), rule, data, **how)}


def evaluated(run: Run, data: Dataset, device: str, seed: int, samples: int) -> list[tuple[float, bool, float]]:
    """Mean accuracy over ``samples`` programmings, for every time, without and with drift compensation where the device drifts."""
    made = preset(device)
    found = evaluate_conditions(
        run,
        data,
        after=list(TIMES.values()) if made.ages else [0.0],
        compensation=(False, True) if made.drift.kind != "none" else (False,),
        substrate=apc.Analog(device=made),
        samples=samples,
        seed=1000 * seed,
    )
    return [(one.after_seconds, one.compensated, one.mean("accuracy")) for one in found]


def measure(chosen: argparse.Namespace) -> list[Row]:
    """Train and evaluate everything."""
    data, rows = apc.load_data("fashion-mnist", data_dir=chosen.data_dir).take(chosen.images, chosen.test_images), []
    for rule in chosen.rules:
        for seed in range(chosen.seeds):
            runs = trained(rule, seed, data, chosen.epochs)
            reference = runs[DIGITAL].history["test_accuracy"][-1]
            for training, run in runs.items():
                for device in DEVICES:
                    for seconds, compensated, accuracy in evaluated(run, data, device, seed, chosen.samples):
                        rows.append(
                            {
                                "rule": rule,
                                "seed": seed,
                                "training": training,
                                "device": device,
                                "seconds": seconds,
                                "compensated": compensated,
                                "accuracy": round(accuracy, 6),
                                "digital": reference,
                            }
                        )
            print(f"{rule}, seed {seed}: digital {reference:.2%}", flush=True)
    return rows


def relative(rows: list[Row], **where: Any) -> np.ndarray:
    """Return the accuracies over the digital ones of the same seed."""
    return np.array(
        [row["accuracy"] / row["digital"] for row in rows if all(row[name] == value for name, value in where.items())]
    )


def said(values: np.ndarray) -> str:
    """Format mean, 95 % interval and every seed, in percent."""
    if not len(values):
        return "–"
    low, high = mean_interval(list(values))
    half = f" ± {100 * (high - values.mean()):.0f}" if np.isfinite(low) else ""
    return f"{100 * values.mean():.0f}{half} ({', '.join(f'{100 * one:.0f}' for one in values)})"


def page(rows: list[Row], chosen: argparse.Namespace) -> list[str]:
    """Lines of the page."""
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    lines = [
        "# Inference on programmed devices",
        "",
        f"Fashion-MNIST, {chosen.images} training images, {'-'.join(map(str, WIDTHS))}, {2 * chosen.epochs} epochs of AdamW with the "
        "default rate of the rule, which was selected on validation data of digits. Hardware-aware training is digital for the first "
        f"half; in the second half every read of every device has new noise of {NOISE:.0%} of the range, and weights are written "
        "exactly; one network serves all devices. The trained weights are programmed onto "
        f"{chosen.samples} sets of devices, whose mean is one value. The table shows the accuracy on {chosen.test_images} test images, in "
        "percent of the digital network with the same seed: mean ± half of the 95 % interval (Student's t; every seed). Nothing "
        "was selected on these images. With compensation, outputs are scaled by the mean loss of conductance, measured by a test "
        "read. Times of `pcm-inference` count from 20 s after programming; the drift of `reram-wan` was measured for two days, and is "
        "extrapolated.",
        "",
        "## Digital networks",
        "",
    ]
    firsts = {(row["rule"], row["seed"]): row["digital"] for row in rows}
    lines += markdown(
        ["rule", "test accuracy"],
        [[rule, ", ".join(f"{value:.2%}" for (name, _), value in firsts.items() if name == rule)] for rule in rules],
    )
    lines += ["", "## Gain by hardware-aware training", "", *_gains(rows, rules)]
    for device in dict.fromkeys(row["device"] for row in rows):
        own = [row for row in rows if row["device"] == device]
        times = list(dict.fromkeys(row["seconds"] for row in own))
        names = {seconds: name for name, seconds in TIMES.items()} | {0.0: "at once"}
        table = [
            [rule, training, "yes" if compensated else "no"]
            + [said(relative(own, rule=rule, training=training, compensated=compensated, seconds=seconds)) for seconds in times]
            for rule in rules
            for training in (DIGITAL, AWARE)
            for compensated in dict.fromkeys(row["compensated"] for row in own)
        ]
        lines += ["", f"## {device}", "", *markdown(["rule", "training", "compensated", *(names[one] for one in times)], table)]
    short = " --short" if chosen.short else ""
    return [
        *lines,
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, analogpc {apc.__version__}, seeds {', '.join(map(str, range(chosen.seeds)))}. "
        f"Command: `python experiments/inference.py{short}`.",
    ]


def _gains(rows: list[Row], rules: list[str]) -> list[str]:
    """Paired differences at the last time of every device, with compensation where it drifts."""
    table = []
    for device in dict.fromkeys(row["device"] for row in rows):
        own = [row for row in rows if row["device"] == device]
        where = {"device": device, "seconds": own[-1]["seconds"], "compensated": own[-1]["compensated"]}
        cells = []
        for rule in rules:
            ends = [relative(rows, rule=rule, training=training, **where) for training in (AWARE, DIGITAL)]
            gain = 100 * (ends[0] - ends[1])
            low, high = mean_interval(list(gain))
            cells.append(f"{gain.mean():+.1f} [{low:+.1f}, {high:+.1f}]")
        table.append([device, "after a year" if own[-1]["seconds"] else "at once", *cells])
    return [
        "Points of % of the digital accuracy, paired by seed, with the 95 % interval; with compensation where the device drifts.",
        "",
        *markdown(["device", "when", *rules], table),
    ]


def figure(rows: list[Row]) -> Figure:
    """Relative accuracy against time, for every ageing device (rows) and rule (columns)."""
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    devices = [name for name in DEVICES if any(row["device"] == name and row["seconds"] > 0 for row in rows)]
    drawn = Figure(figsize=(1.4 + 2.6 * len(rules), 1.0 + 2.3 * len(devices)), layout="constrained")
    panels = drawn.subplots(len(devices), len(rules), sharex=True, sharey=True, squeeze=False)
    for line, device in enumerate(devices):
        for column, rule in enumerate(rules):
            _panel(panels[line, column], [row for row in rows if row["device"] == device and row["rule"] == rule])
            panels[0, column].set_title(rule, fontsize=11)
        panels[line, 0].set_ylabel(f"{device}\n% of digital")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9)
    return drawn


def _panel(panel: Any, rows: list[Row]) -> None:
    times = list(dict.fromkeys(row["seconds"] for row in rows))
    cases = [(training, compensated) for compensated in (True, False) for training in (DIGITAL, AWARE)]
    for number, (training, compensated) in enumerate(cases):
        values = [100 * relative(rows, training=training, compensated=compensated, seconds=one) for one in times]
        means = np.array([one.mean() for one in values])
        ends = [means - [one.min() for one in values], [one.max() for one in values] - means]
        look = style(number) | {"linestyle": "-" if compensated else ":"}
        label = f"{training} training{', compensated' if compensated else ''}"
        panel.errorbar(times, means, ends, label=label, markersize=4, linewidth=1.2, **look)
    panel.set_xscale("log")
    panel.set_xticks(list(TIMES.values()), list(TIMES), rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    panel.minorticks_off()
    panel.set_ylim(0, 105)
    panel.grid(alpha=0.3)


def main() -> None:
    """Measure, and write the results, the page and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a test of seconds, whose numbers mean nothing")
    parser.add_argument("--data-dir", help="folder with the published files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "inference", help="path without suffix")
    chosen = parser.parse_args()
    chosen.rules, chosen.seeds = (("bp",), 2) if chosen.short else (RULES, 3)
    chosen.images, chosen.test_images, chosen.epochs, chosen.samples = (64, 40, 1, 1) if chosen.short else (2000, 1000, 10, 3)
    rows = measure(chosen)
    chosen.out.with_suffix(".json").write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    chosen.out.with_suffix(".md").write_text("\n".join(page(rows, chosen)) + "\n", encoding="utf-8")
    figure(rows).savefig(chosen.out.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
