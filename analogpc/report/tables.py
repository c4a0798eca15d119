"""Tables of runs, for the terminal and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from analogpc.report.text import visible

if TYPE_CHECKING:
    from analogpc.training.run import Run

_COUNTS = ("pulses", "clipped_probabilities", "saturated_in", "saturated_out", "conversions_in", "conversions_out")


def substrate_name(run: Run) -> str:
    """Return "digital" or the name of the device."""
    substrate = run.study.substrate
    return "digital" if substrate.kind == "digital" else visible(substrate.device.name)


def summary(run: Run) -> dict[str, Any]:
    """Return the results of a run as plain data: accuracies from 0 to 1, energies per layer, counts over all epochs, seconds."""
    history = run.history
    done = len(history.get("epoch", []))
    row: dict[str, Any] = {
        "substrate": substrate_name(run),
        "rule": run.study.rule.kind,
        "optimiser": run.study.optimiser.kind,
        "dataset": run.study.dataset,
        "seed": run.study.seed,
        "epochs": done,
        "finished": run.finished,
    }
    if done:
        row |= {name: values[-1] for name, values in history.items() if name.startswith(("train_", "validation_", "test_"))}
        if "test_accuracy" in history:
            row["test_accuracy_by_epoch"] = history["test_accuracy"]
        row["energy"] = history["energy"][-1]
        row |= {name: sum(history[name]) for name in _COUNTS}
        row["seconds"] = sum(history["seconds"])
    return row


def reached(row: dict[str, Any], part: str) -> str:
    """Format the accuracy on a split (for regression: the loss), or a dash if the split is missing."""
    if f"{part}_accuracy" in row:
        return f"{row[f'{part}_accuracy']:.2%}"
    return f"loss {row[f'{part}_loss']:.4g}" if f"{part}_loss" in row else "–"


def comparison(runs: list[Run]) -> Table:
    """Return a table of runs, one line each."""
    table = Table()
    for name in ("substrate", "epochs", "train", "test", "pulses", "ADC clipped", "seconds"):
        table.add_column(name, justify="left" if name == "substrate" else "right", no_wrap=True)
    for run in runs:
        row = summary(run)
        if not row["epochs"]:
            table.add_row(row["substrate"], "0", *["–"] * 5)
            continue
        saturated = row["saturated_out"] / row["conversions_out"] if row["conversions_out"] else None
        table.add_row(
            row["substrate"],
            str(row["epochs"]),
            reached(row, "train"),
            reached(row, "test" if "test_loss" in row else "validation"),
            f"{row['pulses']:,}" if row["substrate"] != "digital" else "–",
            f"{saturated:.3%}" if saturated is not None else "–",
            f"{row['seconds']:.1f}",
        )
    return table
