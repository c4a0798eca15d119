"""Display of networks, runs, data, devices and crossbars in notebooks: short tables, and text."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analogpc.data import Dataset
    from analogpc.devices.crossbars.crossbar import Crossbar
    from analogpc.networks.network import Network
    from analogpc.training.run import Run


def table(title: str, rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """Return an HTML table with a title; everything is escaped."""
    top = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div><b>{html.escape(title)}</b><table>{f'<tr>{top}</tr>' if top else ''}{body}</table></div>"


def where(substrate: Any) -> str:
    """Describe a substrate in a few words."""
    if substrate.kind == "digital":
        return "digital"
    bits = f"DAC {substrate.dac.bits:g} bits, ADC {substrate.adc.bits:g} bits"
    wires = ", wires" if substrate.wires.present else ""
    return (
        f"crossbars of {substrate.device.name} ({substrate.rows} x {substrate.columns}, {bits}{wires}, {substrate.scheme.kind})"
    )


def layer_rows(network: Network) -> list[tuple[str, str, str, str]]:
    """Return (layer, blocks, output shape, parameters) of every layer."""
    rows = []
    shapes = [layer.output_shape for layer in network.layers]
    for number, (specification, layer, shape) in enumerate(
        zip(network.architecture.layers(), network.layers, shapes, strict=True), 1
    ):
        count = sum(math.prod(matrix.shape) for matrix in layer.matrices.values())
        rows.append((str(number), blocks_of(specification), " x ".join(map(str, shape)), f"{count:,}"))
    return rows


def blocks_of(specification: Any) -> str:
    """Describe the blocks of a layer in a few words."""
    inner = getattr(specification, "blocks", None) or getattr(specification, "branches", None)
    if inner:
        return ", ".join(map(blocks_of, inner))
    if specification.kind == "residual":
        return f"skip({blocks_of(specification.body)})"
    return getattr(specification, "function", None) or specification.kind


def parameters(network: Network) -> int:
    """Return the number of parameters of a network."""
    return sum(math.prod(matrix.shape) for matrix in network.matrices().values())


def network_text(network: Network) -> str:
    """Describe a network in one line."""
    inputs, outputs = (" x ".join(map(str, shape)) for shape in (network.input_shape, network.output_shape))
    size = f"{len(network.layers)} layers, {parameters(network):,} parameters"
    return f"Network({network.architecture.kind}, {inputs} -> {outputs}, {size}, {where(network.substrate)})"


def network_html(network: Network) -> str:
    """Return a network as an HTML table of its layers."""
    return table(network_text(network), layer_rows(network), ("layer", "blocks", "output", "parameters"))


def reached(run: Run) -> list[tuple[str, str]]:
    """Return the last accuracies and losses, by column."""
    parts = ("train_", "validation_", "test_")
    return [
        (name.replace("_", " "), f"{values[-1]:.2%}" if "accuracy" in name or "top-" in name else f"{values[-1]:.4g}")
        for name, values in run.history.items()
        if name.startswith(parts) and values
    ]


def run_text(run: Run) -> str:
    """Describe a run in one line."""
    from analogpc.plot.shared import rule_of

    done, planned = len(run.history.get("epoch", [])), run.study.epochs
    found = dict(reached(run))
    shown = [
        name for name in ("test accuracy", "validation accuracy", "train accuracy", "test loss", "train loss") if name in found
    ][:1]
    result = "".join(f", {name} {found[name]}" for name in shown)
    changed = f", changed by {', '.join(run.changed_by)}" if run.changed_by else ""
    place = where(run.study.substrate).split(" (")[0]
    return f"Run({run.data.name}, rule {rule_of(run)}, {place}, {done} of {planned} epochs{result}{changed})"


def run_html(run: Run) -> str:
    """Return a run as an HTML table of its settings and results."""
    optimiser = run.study.optimiser
    rows = [
        ("network", network_text(run.network)),
        ("optimiser", f"{optimiser.kind}, learning rate {optimiser.learning_rate:g}, {optimiser.schedule.kind}"),
        ("batch size, seed", f"{run.study.batch_size}, {run.study.seed}"),
        *reached(run),
    ]
    if run.position.stop_reason:
        rows.append(("stopped", run.position.stop_reason))
    return table(run_text(run), rows)


def data_text(data: Dataset) -> str:
    """Describe a data set in one line."""
    sizes = ", ".join(f"{len(data.labels_of(split)):,} {split}" for split in data.splits)
    shape = " x ".join(map(str, data.input_shape))
    what = f"{data.n_classes} classes" if data.classes else f"{data.target_kind.outputs} regression targets"
    scale = "" if data.normalisation == "given" else f", normalisation {data.normalisation}"
    return f"Dataset({data.name}, samples of {shape}, {sizes}, {what}{scale})"


def data_html(data: Dataset) -> str:
    """Return a data set as an HTML table of its classes."""
    if not data.classes or data.n_classes > 50:
        return table(data_text(data), [])
    import numpy as np

    counts = {split: np.bincount(data.labels_of(split), minlength=data.n_classes) for split in data.splits}
    rows = [(name, *(int(counts[split][number]) for split in data.splits)) for number, name in enumerate(data.classes)]
    return table(data_text(data), rows, ("class", *data.splits))


def crossbar_html(crossbar: Crossbar) -> str:
    """Return a crossbar as an HTML table."""
    substrate = crossbar.matrix.substrate
    stuck = crossbar.stuck()
    rows = [
        ("device", repr(substrate.device)),
        ("mapping", f"{substrate.mapping.kind}, headroom {substrate.mapping.headroom:g}"),
        ("largest weight", f"{abs(crossbar.weights()).max():.4g}"),
        ("stuck weights", f"{int(stuck.sum()):,} of {stuck.size:,}"),
        ("vectors read", f"{crossbar.meter.forward_reads + crossbar.meter.backward_reads:,}"),
    ]
    return table(repr(crossbar), rows)
