"""Shared code of the study scripts: the record of a sweep, Markdown tables, and the command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analogpc.networks import CNN
from analogpc.networks.base import ArchitectureBase
from analogpc.networks.network import Network
from analogpc.report.report import read_record
from analogpc.studies.axes import SEEDS
from analogpc.studies.comparison import Setting, difference, mean_interval, settings
from analogpc.training.study import Study


@dataclass(frozen=True)
class Swept:
    """Results of a sweep.

    Attributes
    ----------
    path : str
        Path of the study file below ``experiments``, without suffix.
    record : dict
        Contents of ``sweep.json``.
    settings : list of Setting
        Combinations of the axes, in the order of the study file.
    prepare : str
        Command that must precede the sweep, if any.
    folder : Path
        Folder of the sweep.
    """

    path: str
    record: dict[str, Any]
    settings: list[Setting]
    prepare: str = ""
    folder: Path = Path()

    def where(self, **cells: Any) -> list[Setting]:
        """Return the settings with the given column values."""
        return [one for one in self.settings if all(one.cells.get(name) == value for name, value in cells.items())]

    def values(self, column: str) -> list[Any]:
        """Return the distinct values of a column, in the order of the study file."""
        return list(dict.fromkeys(one.cells[column] for one in self.settings))

    def study(self, one: Setting) -> Study | None:
        """Return the study of the first trial of a setting, or None if there is none."""
        text = self.record["studies"].get(str(one.numbers[0]))
        return Study.from_toml(text) if text else None

    def selected(self, searched: str = "optimiser.learning_rate") -> Swept:
        """Return the settings that a search selected by validation data, with their accuracies on the test data.

        Parameters
        ----------
        searched : str
            Column of the searched field. The selected value is the one with all seeds; of values with equally many, the one with the
            best validation accuracy.
        """
        tested = settings(self.record["rows"], "test_accuracy", self.record["varied"])
        found: dict[tuple[Any, ...], tuple[tuple[int, float], Setting]] = {}
        for validated, one in zip(self.settings, tested, strict=True):
            group = tuple(value for name, value in one.cells.items() if name != searched)
            rank = (len(one.values), next(iter(validated.values.values()), -1.0))
            if group not in found or rank > found[group][0]:
                found[group] = (rank, one)
        return Swept(self.path, self.record, [one for _, one in found.values()], self.prepare, self.folder)

    @property
    def name(self) -> str:
        """Name of the study file without suffix."""
        return Path(self.path).name

    @property
    def said(self) -> str:
        """Date, version, seeds and command, for the end of a page."""
        seeds = sorted({row[name] for row in self.record["rows"] for name in self.record["varied"] if name in SEEDS})
        first = f"{self.prepare} && " if self.prepare else ""
        command = f"{first}analogpc sweep experiments/{self.path}.toml && python experiments/{self.path}.py"
        return dated(self.record["analogpc"], seeds, command)


def dated(version: str, seeds: Sequence[Any], command: str) -> str:
    """Return date, version, seeds and command, for the end of a page."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, analogpc {version}, seeds {', '.join(map(str, seeds)) or 'that of the study'}. "
        f"Command: `{command}`."
    )


def main(
    file: str,
    page: Callable[[Swept], Sequence[str]],
    figure: Callable[[Swept], Figure] | None = None,
    store: Callable[[Swept], None] | None = None,
    prepare: str = "",
    further: Mapping[str, Callable[[Swept], Figure]] = MappingProxyType({}),
) -> None:
    """Command line of a study script: write the page and the figure of a sweep.

    Parameters
    ----------
    file : str
        ``__file__`` of the script; the study file has the same name.
    page : function
        Maps the sweep to lines of Markdown.
    figure : function, optional
        Maps the sweep to a figure.
    store : function, optional
        Writes what the package keeps of the sweep; not called if ``--out`` names another place for the page.
    prepare : str
        Command that must precede the sweep, if any.
    further : dict of functions
        Further figures, by what their file name has after that of the page and a hyphen.
    """
    here = Path(file).resolve()
    path = here.relative_to(Path(__file__).resolve().parent).with_suffix("").as_posix()
    parser = argparse.ArgumentParser(description=f"Write the page of experiments/{path}.toml.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(f"{here.stem}-sweep"), help="folder of the sweep")
    usual = here.parent / "results" / here.stem
    parser.add_argument("--out", type=Path, default=usual, help="path of the page, without suffix")
    chosen = parser.parse_args()
    record = read_record(chosen.folder)
    swept = Swept(path, record, settings(record["rows"], record["metric"], record["varied"]), prepare, chosen.folder)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [*page(swept), "", swept.said]
    chosen.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    chosen.out.with_suffix(".csv").write_bytes((chosen.folder / "table.csv").read_bytes())
    if figure is not None:
        figure(swept).savefig(chosen.out.with_suffix(".png"), dpi=110)
    for name, draw in further.items():
        draw(swept).savefig(chosen.out.with_name(f"{chosen.out.name}-{name}.png"), dpi=110)
    if store is not None and chosen.out.resolve() == usual:
        store(swept)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *(f"| {' | '.join(row)} |" for row in rows)]


def mean(one: Setting) -> str:
    """Format the mean over the seeds, in percent."""
    return f"{one.mean:.2%}" if one.values else "refused" if one.other else "–"


def within(one: Setting) -> str:
    """Format the mean over the seeds and half the width of its 95 % interval (Student), in percent."""
    if len(one.values) < 2:
        return mean(one)
    low, high = mean_interval(one.values.values())
    return f"{100 * one.mean:.2f} ± {50 * (high - low):.1f} %"


def plus_minus(values: Sequence[float], form: str = ".3f") -> str:
    """Format the mean of values and half the width of its 95 % interval (Student)."""
    low, high = mean_interval(values)
    half = "" if np.isnan(low) else f" ± {(high - low) / 2:{form}}"
    return f"{np.mean(values):{form}}{half}"


def against(one: Setting, other: Setting) -> str:
    """Format the mean difference to another setting, paired by seed, with its 95 % interval (Student), in points."""
    found = difference(one, other)
    if found.pairs < 2:
        return "–"
    return f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def every(one: Setting) -> str:
    """Format the value of every seed, in percent, or the reason why there is none."""
    return ", ".join(f"{value:.2%}" for value in one.values.values()) or "; ".join(dict.fromkeys(one.other))


def pulses_per_weight(swept: Swept, one: Setting) -> float:
    """Return the mean number of pulses received per weight on crossbars; 0 for digital runs."""
    study, pulses = swept.study(one), one.mean_of("pulses")
    if study is None or not pulses > 0:
        return 0.0
    return pulses / _weights(study.network)


@lru_cache
def _weights(network: ArchitectureBase) -> int:
    """Return the number of weights of a network, without biases."""
    return sum(math.prod(matrix.shape) for name, matrix in Network(network).matrices().items() if name.endswith(".weight"))


def convolutions(network: CNN) -> str:
    """Describe a small convolutional network."""
    sizes = " and ".join(map(str, network.channels))
    hidden = f", dense layers of {' and '.join(map(str, network.dense))}" if network.dense else ""
    return f"convolutions of {sizes} channels{hidden} and an output layer"


def trained(study: Study) -> str:
    """Describe data, network and duration of a study."""
    images = round(study.train_images * (1 - study.holdout))
    widths = getattr(study.network, "widths", ())
    network = (
        f"{'-'.join(map(str, widths))}, "
        if widths
        else f"{convolutions(study.network)}, "
        if isinstance(study.network, CNN)
        else ""
    )
    epochs = "1 epoch" if study.epochs == 1 else f"{study.epochs} epochs"
    name = study.dataset.capitalize().replace("mnist", "MNIST").replace("Mnist", "MNIST").replace("Cifar", "CIFAR-")
    return f"{name}, {images} training images, {network}{epochs}, batches of {study.batch_size}"


def selection(swept: Swept, study: Study, searched: str = "optimiser.learning_rate") -> str:
    """Describe how the search selected the learning rate of every setting."""
    images = study.train_images - round(study.train_images * (1 - study.holdout))
    rates = ", ".join(map(str, swept.values(searched)))
    return f"The learning rate of every setting is selected from {rates} with the first seed on {images} validation images."


def layer_energies(swept: Swept, one: Setting) -> np.ndarray:
    """Return the energy of every layer in the last epoch, per sample, as the mean over the seeds; shape (layers,)."""
    histories = [swept.record["histories"][str(row["trial"])] for row in one.rows if row["status"] == "finished"]
    return np.mean([history["energy"][-1] for history in histories], axis=0)


def saturated(one: Setting) -> str:
    """Format the fraction of clipped ADC conversions, in percent."""
    conversions = one.mean_of("conversions_out")
    return f"{one.mean_of('saturated_out') / conversions:.2%}" if conversions > 0 else "–"
