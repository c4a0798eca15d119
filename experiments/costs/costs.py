"""Costs of learning on hardware: every figure, table and number of docs/costs.md.

    python experiments/costs/costs.py [--again]

Trains the runs of rules.toml and steps.toml, writes results/costs.json, draws the figures and inserts the tables into the page.
Runs that are already in costs.json are skipped unless --again is given.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analogpc.data import load_data
from analogpc.devices.costs.bill import bill
from analogpc.devices.costs.hardware import Hardware
from analogpc.devices.costs.technology import Bits, technology
from analogpc.devices.names import in_unit
from analogpc.studies.plan import read_plan
from analogpc.studies.search import study_of
from analogpc.training.fit import begin
from analogpc.training.run import Run

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "costs.md"
RECORD = HERE / "results" / "costs.json"
TECHNOLOGIES = ("isaac-32nm", "neurosim-22nm")
WANTED = 0.9
"""Test accuracy at which costs are compared."""
COLOURS = {"bp": "#1f4e79", "pc": "#c55a11", "s+f": "#548235", "ipc": "#7f3f98", "zil": "#b8860b", "ep": "#444444"}
SHARING, BITS = (1, 2, 4, 8, 16, 32, 64, 128), (4, 5, 6, 7, 8, 9, 10)


def summary(run: Run) -> dict[str, Any]:
    """Collect the numbers of a run that the page needs."""
    matrices = run.network.matrices()
    hardware = {name: Hardware.of(matrix) for name, matrix in matrices.items()}
    tally = run.ledger.total()
    kept: dict[str, Any] = {"test_accuracy": run.history["test_accuracy"], "samples": tally.samples}
    for name in TECHNOLOGIES:
        one = technology(name)
        epochs = range(1, len(run.history["epoch"]) + 1)
        kept[name] = {
            "bill": run.bill(one).to_dict(),
            "twin": run.bill(one, twin=True).to_dict(),
            "epochs": [_point(run, one, epoch, False) for epoch in epochs],
            "twin_epochs": [_point(run, one, epoch, True) for epoch in epochs],
            "sharing": [_total(bill(tally, hardware, technology(one, **{"array.columns_per_adc": n}))) for n in SHARING],
            "bits": [
                _total(
                    bill(
                        tally, {n: h if h.digital else replace(h, bits=Bits(h.bits.inputs, b)) for n, h in hardware.items()}, one
                    )
                )
                for b in BITS
            ],
        }
    return kept


def _point(run: Run, one: Any, epoch: int, twin: bool) -> list[float]:
    return _total(run.bill(one, epochs=epoch, twin=twin))


def _total(billed: Any) -> list[float]:
    return [billed.joules, billed.seconds]


def train(name: str, record: dict[str, Any], again: bool) -> None:
    """Train the runs of a study file that are not in the record."""
    plan, data = read_plan(HERE / f"{name}.toml"), load_data("digits")
    for setting in plan.settings:
        for seed in plan.seeds:
            key = " ".join([name, *map(str, {**setting.cells, **seed.cells}.values())])
            if key in record and not again:
                continue
            run = begin(study_of(plan, {**setting.changes, **seed.changes}), data).train(data, progress=False)
            record[key] = {"study": name, "cells": {**setting.cells, **seed.cells}, **summary(run)}
            print(f"{key}: {run.history['test_accuracy'][-1]:.2%}", flush=True)
            RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def rules(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of rules.toml, by rule."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in record.values():
        if one["study"] == "rules":
            found.setdefault(one["cells"]["rule"], []).append(one)
    return found


def mean(runs: list[dict[str, Any]], *path: Any) -> Any:
    """Return the mean over the seeds of the entry at this path of each run."""
    values = []
    for run in runs:
        for step in path:
            run = run[step]
        values.append(run)
    return np.mean(values, axis=0)


def draw_accuracy(record: dict[str, Any]) -> None:
    """Draw accuracy against energy and against latency, one point per epoch, with the digital twins."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    for row, name in zip(figure.subplots(2, 2), TECHNOLOGIES, strict=True):
        for axis, place, unit in zip(row, (0, 1), ("energy (J)", "latency (s)"), strict=True):
            for rule, runs in rules(record).items():
                accuracy = mean(runs, "test_accuracy")
                axis.plot(mean(runs, name, "epochs")[:, place], accuracy, "o-", color=COLOURS[rule], label=rule, markersize=4)
                twin = mean(runs, name, "twin_epochs")[:, place]
                axis.plot(twin, accuracy, ":", color=COLOURS[rule], linewidth=1)
            axis.set(xscale="log", xlabel=unit, ylabel="test accuracy", title=f"{name} (dotted: digital twin)")
            axis.grid(alpha=0.3)
            axis.legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "results" / "accuracy.png", dpi=110)


def draw_parts(record: dict[str, Any]) -> None:
    """Draw the energy of a sample by part."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    found = rules(record)
    for axis, name in zip(figure.subplots(1, 2), TECHNOLOGIES, strict=True):
        parts = {
            part: np.array([mean(runs, name, "bill", "joules_by_part", part) for runs in found.values()])
            for part in _parts(record)
        }
        samples, bottom = next(iter(found.values()))[0]["samples"], np.zeros(len(found))
        for number, (part, joules) in enumerate(sorted(parts.items(), key=lambda item: -item[1].sum())):
            if joules.sum() > 0.002 * sum(all_of_it.sum() for all_of_it in parts.values()):
                axis.bar(list(found), joules / samples * 1e9, bottom=bottom, label=part, color=f"C{number}")
                bottom += joules / samples * 1e9
        axis.set(ylabel="energy for each sample (nJ)", title=name)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "results" / "parts.png", dpi=110)


def _parts(record: dict[str, Any]) -> list[str]:
    return list(next(iter(record.values()))[TECHNOLOGIES[0]]["bill"]["joules_by_part"])


def draw_changes(record: dict[str, Any]) -> None:
    """Draw the costs of predictive coding relative to backprop, by relaxation steps, columns per converter, and bits."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    steps_axis, sharing_axis, bits_axis = figure.subplots(1, 3)
    found = rules(record)
    for name, style in zip(TECHNOLOGIES, ("o-", "s--"), strict=True):
        by_steps = sorted((one for one in record.values() if one["study"] == "steps"), key=lambda one: one["cells"]["rule.steps"])
        counts = [one["cells"]["rule.steps"] for one in by_steps]
        backprop = mean(found["bp"], name, "epochs")[0]
        for place, what in enumerate(("energy", "latency")):
            costs = np.array([one[name]["epochs"][0][place] for one in by_steps]) / backprop[place]
            steps_axis.loglog(counts, costs, style, color=f"C{place}", label=f"{what}, {name}", markersize=4)
            for axis, values, kept in ((sharing_axis, SHARING, "sharing"), (bits_axis, BITS, "bits")):
                ratio = mean(found["pc"], name, kept)[:, place] / mean(found["bp"], name, kept)[:, place]
                axis.plot(values, ratio, style, color=f"C{place}", label=f"{what}, {name}", markersize=4)
    steps_axis.set(xlabel="relaxation steps T", ylabel="cost of PC over that of BP")
    sharing_axis.set(xlabel="columns that share a converter", xscale="log")
    bits_axis.set(xlabel="bits of a conversion")
    for axis in (steps_axis, sharing_axis, bits_axis):
        axis.axhline(1, color="0.4", linewidth=1)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=7)
    figure.savefig(HERE / "results" / "changes.png", dpi=110)


def reached(runs: list[dict[str, Any]], name: str, kind: str) -> str:
    """Return the cost up to the first epoch with the wanted accuracy, as a mean over the seeds."""
    costs = []
    for run in runs:
        ready = [epoch for epoch, accuracy in enumerate(run["test_accuracy"]) if accuracy >= WANTED]
        if not ready:
            return "not reached by every seed"
        costs.append(run[name][kind][ready[0]])
    joules, seconds = np.mean(costs, axis=0)
    return f"{in_unit(joules, 'J')}, {in_unit(seconds, 's')}"


def rule_table(record: dict[str, Any], name: str) -> list[str]:
    """Return a table with one row per rule."""
    lines = [
        f"| {name} | energy for each sample | latency for each sample | twin: energy, latency | to {WANTED:.0%}: energy, latency | "
        "twin to the same | accuracy, every seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for rule, runs in rules(record).items():
        own, twin = (
            [mean(runs, name, kind, f"{what}_per_sample") for what in ("joules", "seconds")] for kind in ("bill", "twin")
        )
        seeds = ", ".join(f"{run['test_accuracy'][-1]:.2%}" for run in runs)
        lines.append(
            f"| {rule} | {in_unit(own[0], 'J')} | {in_unit(own[1], 's')} | {in_unit(twin[0], 'J')}, {in_unit(twin[1], 's')} | "
            f"{reached(runs, name, 'epochs')} | {reached(runs, name, 'twin_epochs')} | {seeds} |"
        )
    return lines


def part_table(record: dict[str, Any], name: str) -> list[str]:
    """Return the shares of the parts, with one row per rule."""
    found = rules(record)
    shares = {
        rule: {part: mean(runs, name, "bill", "joules_by_part", part) for part in _parts(record)} for rule, runs in found.items()
    }
    shown = [part for part in _parts(record) if max(one[part] / sum(one.values()) for one in shares.values()) >= 0.005]
    lines = [f"| {name} | {' | '.join(shown)} |", "|---|" + "---|" * len(shown)]
    for rule, one in shares.items():
        lines.append(f"| {rule} | {' | '.join(f'{one[part] / sum(one.values()):.1%}' for part in shown)} |")
    return lines


READING = ("arrays", "lines", "drivers", "converters", "sums")
"""Parts of a read."""


def read_table(record: dict[str, Any], name: str) -> list[str]:
    """Return the energy of a sample without pulses, and its composition."""
    lines = [
        f"| {name} | energy for each sample without pulses | over that of bp | reads | of them converters | states | buffers |",
        "|---|---|---|---|---|---|---|",
    ]
    found = rules(record)
    kept = {
        rule: {part: mean(runs, name, "bill", "joules_by_part", part) for part in _parts(record)} for rule, runs in found.items()
    }
    rest = {rule: sum(one.values()) - one["pulses"] for rule, one in kept.items()}
    for rule, one in kept.items():
        reads = sum(one[part] for part in READING)
        shares = [reads / rest[rule], one["converters"] / reads, one["states"] / rest[rule], one["buffers"] / rest[rule]]
        shown_shares = " | ".join(f"{share:.0%}" for share in shares)
        each = in_unit(rest[rule] / found[rule][0]["samples"], "J")
        lines.append(f"| {rule} | {each} | {rest[rule] / rest['bp']:.2f} | {shown_shares} |")
    return lines


def change_table(record: dict[str, Any]) -> list[str]:
    """Return the cost of predictive coding relative to backprop."""
    found = rules(record)
    lines = ["| what changes | technology | energy, PC over BP | latency, PC over BP |", "|---|---|---|---|"]
    by_steps = sorted((one for one in record.values() if one["study"] == "steps"), key=lambda one: one["cells"]["rule.steps"])
    for name in TECHNOLOGIES:
        backprop = mean(found["bp"], name, "epochs")[0]
        for one in by_steps:
            joules, seconds = np.array(one[name]["epochs"][0]) / backprop
            lines.append(f"| T = {one['cells']['rule.steps']} | {name} | {joules:.2f} | {seconds:.2f} |")
        for values, kept, words in ((SHARING, "sharing", "columns share a converter"), (BITS, "bits", "bits of a conversion")):
            pc, bp = mean(found["pc"], name, kept), mean(found["bp"], name, kept)
            for place in (0, len(values) // 2, len(values) - 1):
                joules, seconds = pc[place] / bp[place]
                lines.append(f"| {values[place]} {words} | {name} | {joules:.2f} | {seconds:.2f} |")
    return lines


def write_page(record: dict[str, Any]) -> None:
    """Insert the tables between the markers of the page."""
    text = PAGE.read_text(encoding="utf-8")
    tables = {"changes": change_table(record)}
    for kind, table in (("rules", rule_table), ("parts", part_table), ("reads", read_table)):
        tables[kind] = [line for name in TECHNOLOGIES for line in ["", *table(record, name)]][1:]
    for mark, lines in tables.items():
        head, rest = text.split(f"<!-- {mark} -->\n", 1)
        tail = rest.split(f"<!-- end of {mark} -->", 1)[1]
        text = f"{head}<!-- {mark} -->\n" + "\n".join(lines) + f"\n<!-- end of {mark} -->{tail}"
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    """Train the runs; write the figures and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="train all runs again")
    arguments = parser.parse_args()
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name in ("rules", "steps"):
        train(name, record, arguments.again)
    draw_accuracy(record)
    draw_parts(record)
    draw_changes(record)
    write_page(record)


if __name__ == "__main__":
    main()
