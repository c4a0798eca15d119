"""Reports on runs of language models: perplexity, energies of the nodes, generated text and costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analogpc.report.page import Part, TablePart
from analogpc.report.page_pictures import Picture, canvas, legend, picture, style
from analogpc.report.run_pictures import conductances, tile_maps

if TYPE_CHECKING:
    from analogpc.data.text import TextData
    from analogpc.training.language import LanguageRun

Runs = Mapping[str, "LanguageRun"]
Texts = Mapping[str, "TextData"]
SAMPLES, TOKENS, SHOWN = 3, 40, 5
"""Number of texts generated without a prompt, their most tokens, and number of validation sentences that a masked model fills in."""


def texts_of(runs: Runs, data_dir: str | Path | None) -> tuple[dict[str, TextData], dict[str, str]]:
    """Return the texts of the runs, and the reasons for missing ones.

    A text is looked for where the run read it, and under its file name in ``data_dir``.
    """
    from analogpc.training.language_study import text_of

    found, missing = {}, {}
    for name, run in runs.items():
        study = run.study
        if data_dir is not None and not Path(study.text).exists():
            study = study.but(text=str(Path(data_dir) / Path(study.text).name))
        try:
            data = text_of(study)
        except (ValueError, OSError) as error:
            missing[name] = str(error)
            continue
        if data.fingerprint == run.fingerprint:
            found[name] = data
        else:
            missing[name] = f"'{study.text}' is not the text of the run: the fingerprints differ"
    return found, missing


def run_table(runs: Runs, names: tuple[Callable[[Any], str], Callable[[Any], str]]) -> TablePart:
    """Return the table of results; ``names`` give the names of rule and substrate of a study."""
    rows = []
    for name, run in runs.items():
        history, best = run.history, run.best
        assert best is not None
        at = history["batch"].index(best[0])
        rows.append(
            {
                "run": name,
                "task": run.study.network.task,
                "rule": names[0](run.study),
                "substrate": names[1](run.study),
                "text": Path(run.study.text).name,
                "seed": run.study.seed,
                "batches": run.batch,
                "best batch": best[0],
                "validation perplexity": best[1],
                "bits per character": history["validation_bits_per_character"][at],
                "last training perplexity": history["train_perplexity"][-1],
                "pulses": sum(history["pulses"]),
                "seconds": sum(history["seconds"]),
            }
        )
    columns = [name for name in rows[0] if name != "pulses" or any(row["pulses"] for row in rows)]
    return TablePart("Runs", rows, columns)


def language_pictures(runs: Runs, texts: Texts) -> list[Picture]:
    """Return all figures of some runs."""
    return [*_curves(runs, texts), *_energies(runs), *_pulses(runs), *conductances(runs), *tile_maps(runs)]


def _curves(runs: Runs, texts: Texts) -> list[Picture]:
    """Plot perplexity and loss, of validation (markers) and training (thin lines)."""
    figure, panels = canvas(2)
    whole = all(name in texts for name in runs)
    for number, (name, run) in enumerate(runs.items()):
        history = run.history
        places = np.array(history["batch"], float)
        if whole:
            places *= run.study.batch_size / len(texts[name].train)
        for part, look in (("validation", {}), ("train", {"marker": "", "linewidth": 0.8})):
            values, label = np.array(history[f"{part}_perplexity"]), name if part == "validation" else None
            for axes, shown in zip(panels, (values, np.log(values)), strict=True):
                axes.plot(places, shown, **{**style(number), "markersize": 4, "linewidth": 1.4, **look}, label=label)
    for axes, label, scale in zip(panels, ("perplexity", "loss per token (nats)"), ("log", "linear"), strict=True):
        axes.set(xlabel="epoch" if whole else "batch", ylabel=label, yscale=scale)
        axes.grid(alpha=0.3)
        legend(axes, len(runs))
    best = "; ".join(f"{name}: {run.best[1]:.1f} after {run.best[0]} batches" for name, run in runs.items() if run.best)
    caption = (
        "Validation values have marks, training values thin lines: means over the batches since the previous evaluation, at their last "
        f"weight update. Best validation perplexity: {best}."
    )
    return [picture(figure, "learning-curves", "Perplexity and loss", caption, f"Lines of perplexity and loss. {best}")]


def _energies(runs: Runs) -> list[Picture]:
    """Plot the energy of every value node over training, one panel per run."""
    figure, panels = canvas(len(runs))
    for axes, (name, run) in zip(panels, runs.items(), strict=True):
        table = np.array(run.history["energy"], float)
        labels = [*(node.name for node in run.network.nodes), "output"][-table.shape[1] :]
        for place, label in enumerate(labels):
            if not (table[:, place] > 0).any():
                continue
            values = np.where(table[:, place] > 0, table[:, place], np.nan)
            axes.plot(run.history["batch"], values, **style(place), markersize=3, linewidth=1.2, label=label)
        axes.set(xlabel="batch", ylabel="energy", title=name, yscale="log")
        axes.grid(alpha=0.3)
        legend(axes, len(labels))
    caption = "Energies at the last sweep of the evaluated batches: of nodes per instance, of the output per target. Zeros are not shown."
    return [picture(figure, "energies", "Energies of the value nodes", caption, "Lines of energy by batch, one for each node")]


def _pulses(runs: Runs) -> list[Picture]:
    """Plot the pulses per batch of the runs that send any."""
    shown = {name: run for name, run in runs.items() if sum(run.history["pulses"])}
    if not shown:
        return []
    figure, (axes,) = canvas()
    for number, (name, run) in enumerate(shown.items()):
        batches = np.diff([0, *run.history["batch"]])
        axes.plot(run.history["batch"], np.array(run.history["pulses"]) / batches, **style(number), markersize=3.5, label=name)
    axes.set(xlabel="batch", ylabel="pulses per batch")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    legend(axes, len(shown))
    total = "; ".join(f"{name}: {sum(run.history['pulses']):,}" for name, run in shown.items())
    return [picture(figure, "pulses", "Pulses", f"All pulses of training: {total}.", f"Lines of pulses by batch. {total}")]


def samples(runs: Runs, texts: Texts, missing: Mapping[str, str]) -> Part:
    """Return texts that the best networks generate, or fill in."""
    said, notes = {}, []
    for name, run in runs.items():
        network = run.speaking
        if run.study.network.task == "conditional":
            lines = [network.generate("", tokens=TOKENS, seed=seed) or "(ends at once)" for seed in range(SAMPLES)]
            said[f"{name}: generated without a prompt, seeds 0 to {SAMPLES - 1}"] = "\n\n".join(lines)
        elif name in texts:
            said[f"{name}: validation sentences, masked and filled in"] = "\n\n".join(_filled(run, texts[name]))
        else:
            notes.append(f"No filled-in sentences of {name}: {missing[name]}")
    return Part("samples", "Samples of text", notes, listings=said)


def _filled(run: LanguageRun, data: TextData) -> list[str]:
    """Return validation sentences with masked tokens, each followed by what the best network fills in."""
    from analogpc.data.tokeniser import END, MASK, PAD, SPECIAL
    from analogpc.kernels.random.streams import Key
    from analogpc.training.generation import filled

    network, tokeniser = run.speaking, run.tokeniser
    ids, _ = data.batch("validation", np.arange(min(SHOWN, len(data.validation))), "masked", Key(0), 0)
    lines = []
    for row in ids:
        known = [int(one) for one in row if one not in (PAD, END)]
        parts: list[list[int]] = [[]]
        for one in known[1:]:
            if one == MASK:
                parts.append([])
            else:
                parts[-1].append(one)
        shown = f" {SPECIAL[MASK]} ".join(tokeniser.decode(part) for part in parts).strip()
        lines.append(f"{shown}\n→ {filled(network, tokeniser, known)}")
    return lines
