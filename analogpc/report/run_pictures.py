"""Figures of runs: training, device states and ageing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.substrate import Analog
from analogpc.report.page_pictures import LINES, PALETTE, Picture, canvas, legend, picture, style

if TYPE_CHECKING:
    from analogpc.training.language import LanguageRun
    from analogpc.training.run import Run

Runs = Mapping[str, "Run"]
_TIMES = (1.0, 3600.0, 86400.0, 2592000.0, 31557600.0)
_MOST_TILES = 4
_PARTS: dict[str, dict[str, Any]] = {
    "test": {},
    "validation": {"linestyle": ":"},
    "train": {"marker": "", "linewidth": 0.8},
}
"""Line styles of the data splits."""


def learning_curves(runs: Runs) -> list[Picture]:
    """Plot accuracy and loss by epoch, of the test part (markers) and of training (thin lines)."""
    kinds = [kind for kind in ("accuracy", "loss") if any(f"test_{kind}" in run.history for run in runs.values())]
    if not kinds:
        return []
    figure, panels = canvas(len(kinds))
    for axes, kind in zip(panels, kinds, strict=True):
        for number, (name, run) in enumerate(runs.items()):
            epochs = run.history.get("epoch", [])
            for part, look in _PARTS.items():
                if values := run.history.get(f"{part}_{kind}"):
                    label = name if part == "test" else None
                    axes.plot(epochs, values, **{**style(number), "markersize": 4, "linewidth": 1.4, **look}, label=label)
        axes.set(xlabel="epoch", ylabel=kind)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        legend(axes, len(runs))
    last = "; ".join(
        f"{name}: {run.history['test_accuracy'][-1]:.2%}" for name, run in runs.items() if "test_accuracy" in run.history
    )
    caption = f"Test values have marks, validation values dotted lines, training values thin lines. Last test accuracy: {last}."
    return [picture(figure, "learning-curves", "Learning curves", caption, f"Lines of accuracy and loss by epoch. {last}")]


def costs(runs: Runs) -> list[Picture]:
    """Plot test accuracy against energy and time of the hardware, one point per epoch, for runs with a technology."""
    shown = {name: run for name, run in runs.items() if {"joules", "test_accuracy"} <= set(run.history)}
    if not shown:
        return []
    figure, panels = canvas(2)
    for axes, (column, label) in zip(panels, {"joules": "energy (J)", "latency_seconds": "latency (s)"}.items(), strict=True):
        for number, (name, run) in enumerate(shown.items()):
            look = {**style(number), "markersize": 4, "linewidth": 1.4}
            axes.plot(run.history[column], run.history["test_accuracy"], **look, label=name)
        axes.set(xlabel=label, ylabel="accuracy", xscale="log")
        axes.grid(alpha=0.3)
        legend(axes, len(shown))
    named = ", ".join(dict.fromkeys(run.study.technology for run in shown.values()))
    last = "; ".join(f"{name}: {run.history['joules'][-1]:.3g} J" for name, run in shown.items())
    caption = f"Prices of {named}; `analogpc bill` itemises them. All training: {last}."
    return [
        picture(figure, "costs", "Accuracy against energy and latency", caption, f"Accuracy by energy and by latency. {last}")
    ]


def energies(runs: Runs) -> list[Picture]:
    """Plot the energy of every layer over training, one panel per run."""
    shown = {name: run for name, run in runs.items() if run.history.get("energy")}
    if not shown:
        return []
    figure, panels = canvas(len(shown))
    for axes, (name, run) in zip(panels, shown.items(), strict=True):
        table = np.array(run.history["energy"], float)
        for layer in range(table.shape[1]):
            values = np.where(table[:, layer] > 0, table[:, layer], np.nan)
            axes.plot(run.history["epoch"], values, **style(layer), markersize=3, linewidth=1.2, label=f"layer {layer + 1}")
        axes.set(xlabel="epoch", ylabel="energy per sample", title=name, yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        legend(axes, table.shape[1])
    caption = "Squared prediction errors over two (for the output layer: the loss), at the weight update. Layers without energy are gaps."
    return [
        picture(figure, "energies", "Energies by layer over training", caption, "Lines of energy by epoch, one for each layer")
    ]


def conductances(runs: Mapping[str, Run] | Mapping[str, LanguageRun]) -> list[Picture]:
    """Plot histograms of all conductances before and after training, one panel per run on crossbars."""
    shown = {name: run for name, run in runs.items() if _crossbars(run)}
    if not shown:
        return []
    figure, panels = canvas(len(shown))
    caption = []
    for axes, (name, run) in zip(panels, shown.items(), strict=True):
        device = _device(run)
        before, after = _all_conductances(_initial(run)), _all_conductances(run.network)
        edges = np.linspace(min(before.min(), after.min()), max(before.max(), after.max()), 81) * 1e6
        axes.hist(before * 1e6, list(edges), histtype="stepfilled", color="0.6", label="before")
        axes.hist(after * 1e6, list(edges), histtype="step", color=PALETTE[0], label="after", linewidth=1.3)
        for end in (device.g_min_siemens, device.g_max_siemens):
            axes.axvline(end * 1e6, color="0.3", linestyle=":", linewidth=1)
        axes.set(xlabel="conductance (µS)", ylabel="devices", title=name, yscale="log")
        legend(axes, 2)
        caption.append(
            f"{name}: {after.size:,} devices, {100 * _at_ends(after, device):.1f} % within 1 % of an end of their range"
        )
    return [
        picture(
            figure,
            "conductances",
            "Conductances before and after training",
            f"Dotted lines: the ends of the range. {'; '.join(caption)}.",
            f"Histograms of conductances. {'; '.join(caption)}",
        )
    ]


def tile_maps(runs: Mapping[str, Run] | Mapping[str, LanguageRun]) -> list[Picture]:
    """Plot conductances, faults and saturation of the first tiles of each run on crossbars."""
    return [made for name, run in runs.items() if _crossbars(run) for made in _tile_maps(name, run)]


def _tile_maps(name: str, run: Run | LanguageRun) -> list[Picture]:
    device = _device(run)
    tiles = [(matrix_name, n, tile) for matrix_name, m in _crossbars(run).items() for n, tile in enumerate(m.tiles())]
    chosen = tiles[:_MOST_TILES]
    figure, panels = canvas(len(chosen), width=3.3, height=3.3)
    stuck = full = count = 0
    for axes, (matrix_name, n, tile) in zip(panels, chosen, strict=True):
        first = next(iter(tile.conductances.values()))
        other = list(tile.conductances.values())[1:]
        shown = (first - other[0] if other else first) * 1e6
        top = max(float(np.abs(shown).max()), 1e-12)
        mesh = axes.imshow(shown, aspect="auto", cmap="PuOr" if other else "viridis", vmin=-top if other else None, vmax=top)
        rows, columns = np.nonzero(tile.stuck)
        axes.plot(columns, rows, "x", color="black", markersize=2.5, markeredgewidth=0.7)
        axes.set(title=f"{matrix_name}, tile {n}", xlabel="bit line", ylabel="word line")
        axes.title.set_fontsize(8)
        figure.colorbar(mesh, ax=axes, label="difference of the pair (µS)" if other else "conductance (µS)", shrink=0.8)
    for _, _, tile in tiles:
        stuck += int(tile.stuck.sum())
        for values in tile.conductances.values():
            full, count = full + round(_at_ends(values, device) * values.size), count + values.size
    left = f" (of {len(tiles)} tiles the first {len(chosen)})" if len(tiles) > len(chosen) else ""
    near = f"{100 * full / count:.1f} % of all devices within 1 % of an end of their range"
    caption = f"{name}{left}: {stuck} stuck weights (crosses), {near}."
    return [
        picture(
            figure, f"tiles-{_file(name)}", f"Tile maps, {name}", caption, f"Maps of conductances by word and bit line. {caption}"
        )
    ]


def pulses(runs: Runs) -> list[Picture]:
    """Plot pulses per weight and saturated conversions, by epoch."""
    shown = {
        name: run
        for name, run in runs.items()
        if sum(run.history.get("pulses", [0])) or sum(run.history.get("conversions_out", [0]))
    }
    if not shown:
        return []
    figure, panels = canvas(3)
    for number, (name, run) in enumerate(shown.items()):
        history, weights = run.history, sum(m.shape[0] * m.shape[1] for m in _crossbars(run).values()) or 1
        conversions = np.maximum(np.array(history["conversions_out"], float), 1)
        steps = (
            np.array(history["pulses"], float) / weights,
            100 * np.array(history["saturated_out"], float) / conversions,
            100 * np.array(history["clipped_probabilities"], float) / np.maximum(np.array(history["pulse_slots"], float), 1),
        )
        for axes, values in zip(panels, steps, strict=True):
            axes.plot(history["epoch"], values, **style(number), markersize=3.5, linewidth=1.2, label=name)
    for axes, label in zip(
        panels, ("pulses per weight", "ADC conversions saturated (%)", "clipped per pulse slot (%)"), strict=True
    ):
        axes.set(xlabel="epoch", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    legend(panels[0], len(shown))
    caption = "; ".join(f"{name}: {sum(run.history['pulses']):,} pulses" for name, run in shown.items())
    return [
        picture(figure, "pulses", "Pulses and saturation", f"By epoch. In all, {caption}.", f"Lines by epoch. In all, {caption}")
    ]


def drift(runs: Runs, data: Mapping[str, Any], samples: int = 3) -> list[Picture]:
    """Plot accuracy against time after the last pulse, with and without global drift compensation.

    Parameters
    ----------
    runs : dict of Run
    data : dict of Dataset
        Data of the runs, where available.
    samples : int
        Number of evaluations with independent noise.
    """
    from analogpc.analysis.conditions import evaluate_conditions

    shown = {name: run for name, run in runs.items() if _crossbars(run) and name in data and _ages(run)}
    if not shown:
        return []
    figure, (axes,) = canvas()
    caption = []
    for number, (name, run) in enumerate(shown.items()):
        found = evaluate_conditions(run, data[name], after=_TIMES, compensation=(False, True), samples=samples)
        measure = "accuracy" if "accuracy" in found[0].values else "loss"
        for compensated in (False, True):
            mine = [one for one in found if one.compensated == compensated]
            look = {**style(number), "linestyle": LINES[compensated]}
            label = f"{name}, {'compensated' if compensated else 'as it is'}"
            axes.plot([one.after_seconds for one in mine], [one.mean(measure) for one in mine], **look, markersize=4, label=label)
            caption.append(f"{label}: {mine[0].mean(measure):.4g} at first, {mine[-1].mean(measure):.4g} after a year")
    axes.set(xscale="log", xlabel="time after training (s)", ylabel=f"test {measure}")
    for seconds, word in zip(_TIMES, ("1 s", "1 h", "1 d", "30 d", "1 y"), strict=True):
        axes.axvline(seconds, color="0.85", linewidth=0.8, zorder=0)
        axes.annotate(word, (seconds, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=6.5, color="0.35")
    legend(axes, 2 * len(shown))
    axes.grid(alpha=0.3, axis="y")
    text = "; ".join(caption)
    return [
        picture(
            figure, "drift", "Drift", f"Test {measure} by time, mean of {samples} read-outs. {text}.", f"Lines by time. {text}"
        )
    ]


def run_pictures(runs: Runs, data: Mapping[str, Any]) -> list[Picture]:
    """Return all figures of some runs."""
    made: list[Picture] = []
    for draw in (learning_curves, costs, energies, conductances, tile_maps, pulses):
        made += draw(runs)
    return made + drift(runs, data)


def _crossbars(run: Run | LanguageRun) -> dict[str, CrossbarMatrix]:
    return {name: m for name, m in run.network.matrices().items() if isinstance(m, CrossbarMatrix)}


def _device(run: Run | LanguageRun) -> Any:
    """Return the device of a run on crossbars."""
    substrate = run.study.substrate
    assert isinstance(substrate, Analog)
    return substrate.device


def _initial(run: Run | LanguageRun) -> Any:
    """Return the network before training: the same devices with the initial weights."""
    from analogpc.networks.network import Network

    return Network(run.study.network, run.study.substrate, run.study.network_seed)


def _all_conductances(network: Any) -> np.ndarray:
    found = [m for m in network.matrices().values() if isinstance(m, CrossbarMatrix)]
    return np.concatenate([g.ravel() for m in found for tile in m.tiles() for g in tile.conductances.values()])


def _at_ends(values: np.ndarray, device: Any) -> float:
    """Return the share of conductances within 1 % of an end of their range."""
    low, high = device.g_min_siemens, device.g_max_siemens
    margin = 0.01 * (high - low)
    return float(np.mean((values <= low + margin) | (values >= high - margin)))


def _ages(run: Run) -> bool:
    """Return whether the devices drift."""
    return _device(run).drift.kind != "none"


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name).strip("-").lower()
