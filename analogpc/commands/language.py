"""``analogpc train`` on texts: a language model is trained, evaluated, saved, and says something."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from analogpc.commands.output import print_json, show, spare

TEXT = "text:"
"""What the name of a text begins with, before its path."""


def holds_language_model(path: Path) -> bool:
    """Whether a file is the run of a language model."""
    from analogpc.files.storage import read_header

    return bool(read_header(path)["kind"] == "language-run")


def train_text(
    options: dict[str, Any],
    settings: list[str],
    *,
    task: str | None,
    network: str | None,
    prompt: str | None,
    resume: Path | None,
    out: Path | None,
    overwrite: bool,
    backend: Any,
    precision: Any,
    as_json: bool,
) -> None:
    """Train a language model, or go on with one; see `analogpc.commands.app.train`.

    Parameters
    ----------
    options : dict
        Of the command line, by the names of fields; None where not given. "dataset" is "text:PATH".
    settings : list of str
        FIELD=VALUE for fields of `LanguageStudy`.
    task : "masked" or "conditional"
    network : str
        "transformer", the only architecture that learns texts.
    prompt : str
        What the model goes on with, or fills in.
    """
    from analogpc.kernels.gpu.blas import use_precision
    from analogpc.training.language import LanguageRun, begin_text
    from analogpc.training.language_study import text_of
    from analogpc.training.perplexity import perplexity

    if network not in (None, "transformer"):
        raise ValueError(f"--network {network} does not learn texts: transformer does")
    if task not in (None, "masked", "conditional"):
        raise ValueError(f"--task {task} is not allowed: masked or conditional")
    if resume is not None:
        if settings or precision or task or network or any(value is not None for value in options.values()):
            raise ValueError(
                "--resume cannot be combined with a study file or study options: the run keeps its study and its precision"
            )
        run, out = LanguageRun.load(resume, backend=backend), resume if out is None else out
        data = text_of(run.study)
    else:
        study = _study(options, settings, task or "conditional")
        out = Path("run.h5") if out is None else out
        spare(out, overwrite)
        data = text_of(study)
        if options.get("epochs"):
            study = study.but(batches=max(1, options["epochs"] * len(data.train) // study.batch_size))
        with use_precision(precision or "tf32"):
            run = begin_text(study, data, backend=backend)
    run.train(data, checkpoint=out, report=lambda line: print(line, file=sys.stderr))
    found = perplexity(run.best_network, data, "test")
    said = None if prompt is None else (run.generate(prompt) if run.study.network.task == "conditional" else run.fill(prompt))
    told = {
        "text": data.name,
        "task": run.study.network.task,
        "rule": run.study.rule.kind,
        "batches": run.batch,
        "instances": len(data.train),
        "test_perplexity": found.value,
        "test_bits_per_character": found.bits_per_character,
        "validation_perplexity": run.history["validation_perplexity"],
        "pulses": sum(run.history["pulses"]),
        "seconds": sum(run.history["seconds"]),
    }
    if as_json:
        print_json({"command": "train", "run": told | ({} if said is None else {"said": said}), "files": {"run": str(out)}})
        return
    show(
        f"{told['rule']}, {told['task']}, {run.batch} batches: test perplexity {found.value:.1f}, "
        f"{found.bits_per_character:.3f} bits per character" + (f", {told['pulses']:,} pulses" if told["pulses"] else "")
    )
    if said is not None:
        print(said)
    show(f"Saved in {out}.")


def _study(options: dict[str, Any], settings: list[str], task: str) -> Any:
    """What the options say, over what a language model is without a word."""
    from analogpc.devices.fields import lay
    from analogpc.training.assembly import setting
    from analogpc.training.language_study import LanguageStudy

    names = {"device": "substrate"}
    changes = {names.get(name, name): value for name, value in options.items() if value is not None and name != "epochs"}
    path = str(changes.pop("dataset")).removeprefix(TEXT)
    fields = {"text": path, "rule": "ipc", "network": {"kind": "transformer", "vocabulary": 1000, "task": task}}
    return LanguageStudy.from_dict(lay(LanguageStudy, fields, {**changes, **dict(map(setting, settings))}))
