"""Commands for language models: ``train`` on texts, ``generate``, ``fill``, and their part of ``eval``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analogpc.commands.output import BackendOption, Json, print_json, show, spare

if TYPE_CHECKING:
    from analogpc.networks.network import Network

ModelFile = Annotated[Path, typer.Argument(help="Run file (run.h5) of a language model.")]
Device = Annotated[str | None, typer.Option(help="First program the weights onto new crossbars of this device.")]

TEXT = "text:"
"""Prefix of a text data set, before its path."""


def holds_language_model(path: Path) -> bool:
    """Return whether a file holds the run of a language model."""
    from analogpc.files.storage import read_header

    return bool(read_header(path)["kind"] == "language-run")


def studies_text(path: Path) -> bool:
    """Return whether a study file trains a language model, that is, names a text."""
    from analogpc.devices.texts import read_toml

    return "text" in read_toml(path)


def train_text(
    study_file: Path | None,
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
    """Train a language model, or resume its training; see `analogpc.commands.app.train`.

    Parameters
    ----------
    study_file : path or None
        A TOML file with fields of `LanguageStudy`, overridden by the options.
    options : dict
        Options of the command line by field name; None where not given. "dataset" is "text:PATH".
    settings : list of str
        FIELD=VALUE for fields of `LanguageStudy`.
    task : "masked" or "conditional"
    network : str
        "transformer", the only architecture for texts.
    prompt : str
        Prompt to continue, or text to fill in.
    """
    from analogpc.kernels.gpu.blas import use_precision
    from analogpc.training.generation import tokens_to_continue, tokens_to_fill
    from analogpc.training.language import LanguageRun
    from analogpc.training.language_fit import begin_text
    from analogpc.training.language_study import text_of
    from analogpc.training.perplexity import perplexity

    if network not in (None, "transformer"):
        raise ValueError(f"--network {network} cannot be trained on texts: use --network transformer")
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
        study = _study(study_file, options, settings, task)
        out = Path("run.h5") if out is None else out
        spare(out, overwrite)
        data = text_of(study)
        if options.get("epochs"):
            study = study.but(batches=max(1, options["epochs"] * len(data.train) // study.batch_size))
        with use_precision(precision or "tf32"):
            run = begin_text(study, data, backend=backend)
    if prompt is not None:
        # A prompt that cannot be used is refused before the training, not after it.
        if run.study.network.task == "conditional":
            tokens_to_continue(run.tokeniser, prompt)
        else:
            tokens_to_fill(run.tokeniser, prompt, data.positions)
    run.train(data, checkpoint=out, report=lambda line: print(line, file=sys.stderr))
    found = perplexity(run.best_network, data, "test")
    said = None if prompt is None else (run.generate(prompt) if run.study.network.task == "conditional" else run.fill(prompt))
    summary = {
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
        print_json({"command": "train", "run": summary | ({} if said is None else {"said": said}), "files": {"run": str(out)}})
        return
    show(
        f"{summary['rule']}, {summary['task']}, {run.batch} batches: test perplexity {found.value:.1f}, "
        f"{found.bits_per_character:.3f} bits per character" + (f", {summary['pulses']:,} pulses" if summary["pulses"] else "")
    )
    if said is not None:
        print(said)
    show(f"Saved in {out}.")


def _study(file: Path | None, options: dict[str, Any], settings: list[str], task: str | None) -> Any:
    """Build the study: options override the file, the file overrides the defaults."""
    from analogpc.devices.fields import lay
    from analogpc.devices.texts import read_toml
    from analogpc.training.language_study import LanguageStudy, completed
    from analogpc.training.study_fields import setting

    names = {"device": "substrate"}
    changes = {names.get(name, name): value for name, value in options.items() if value is not None and name != "epochs"}
    if dataset := changes.pop("dataset", None):
        if not str(dataset).startswith(TEXT):
            raise ValueError(
                f"the study file trains a language model, but --dataset {dataset} is not a text: write --dataset text:PATH"
            )
        changes["text"] = str(dataset).removeprefix(TEXT)
    fields = completed({} if file is None else read_toml(file))
    if task is not None:
        changes["network.task"] = task
    # A rule by its name is a whole rule, over which single fields of it are laid.
    fields["rule"] = changes.pop("rule", fields["rule"])
    return LanguageStudy.from_dict(lay(LanguageStudy, fields, {**changes, **dict(map(setting, settings))}))


def generate(
    run: ModelFile,
    prompt: Annotated[str, typer.Argument(help="Text to continue; may be empty.")] = "",
    tokens: Annotated[int, typer.Option(help="Maximum number of tokens.", min=0)] = 30,
    temperature: Annotated[float, typer.Option(help="Sampling temperature; 0: always the most probable token.", min=0)] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of sampling, read noise and new devices.", min=0)] = 0,
    device: Device = None,
    backend: BackendOption = "cpu",
    as_json: Json = False,
) -> None:
    """Continue a text with a conditional language model."""
    said = _speaking(run, device, seed, backend).generate(prompt, tokens=tokens, temperature=temperature, seed=seed)
    _say("generate", run, said, as_json)


def fill(
    run: ModelFile,
    text: Annotated[str, typer.Argument(help="Text with <mask> for every missing token.")],
    seed: Annotated[int, typer.Option(help="Seed of new devices.", min=0)] = 0,
    device: Device = None,
    backend: BackendOption = "cpu",
    as_json: Json = False,
) -> None:
    """Fill in the masked tokens of a text with a masked language model."""
    _say("fill", run, _speaking(run, device, seed, backend).fill(text), as_json)


def _speaking(run: Path, device: str | None, seed: int, backend: Any) -> Network:
    """Load the network of a run file, on new crossbars if a device is named."""
    from analogpc.devices.substrate import substrate
    from analogpc.training.run_file import load

    network = load(run, backend=backend)
    if device is None:
        return network
    network.seed = seed
    return network.on(substrate(device))


def _say(command: str, run: Path, said: str, as_json: bool) -> None:
    if as_json:
        print_json({"command": command, "run": str(run), "said": said})
    else:
        print(said)
