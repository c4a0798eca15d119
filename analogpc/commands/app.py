"""The command line. Results go to standard output, progress and errors to standard error; each error is one sentence."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from analogpc.commands.assess import assess
from analogpc.commands.bench import bench
from analogpc.commands.bill import bill, technology
from analogpc.commands.calibrate import calibrate
from analogpc.commands.devices import devices
from analogpc.commands.evaluation import evaluate
from analogpc.commands.language import TEXT, fill, generate, holds_language_model, studies_text, train_text
from analogpc.commands.output import (
    BackendOption,
    Json,
    Overwrite,
    PrecisionOption,
    print_json,
    show,
    spare,
    write_what_the_terminal_can_show,
)
from analogpc.commands.plot import plot
from analogpc.commands.report import report
from analogpc.commands.sweep import compare, sweep
from analogpc.report.text import visible
from analogpc.studies.extras import MissingExtraError
from analogpc.training.interrupts import insistent

app = typer.Typer(
    help="Predictive coding on simulated memristor crossbars.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Seed = Annotated[int | None, typer.Option(help="Seed of weights, devices, noise and the order of the samples.", min=0)]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the published files of the data set.")]
RunFile = Annotated[Path, typer.Argument(help="A run file (run.h5).")]


def _version(wanted: bool) -> None:
    if wanted:
        from analogpc import __version__

        print(f"analogpc {__version__}")
        raise typer.Exit


@app.callback()
def general(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Predictive coding and equilibrium propagation on simulated memristor crossbars.

    Start with: analogpc demo; analogpc train --help; analogpc devices. Quantities are in SI units.
    """


@app.command()
def demo(
    device: Annotated[str, typer.Option(help="Devices of the crossbar: a preset's name.")] = "reram-sb",
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for run.h5 and demo.png.")] = Path("analogpc-demo"),
    backend: BackendOption = "cpu",
    as_json: Json = False,
) -> None:
    """Train one network twice on real images: in ideal digital arithmetic and on a memristor crossbar."""
    from analogpc.commands.demo import run_demo
    from analogpc.report.plots import plot_comparison
    from analogpc.report.tables import comparison, summary

    runs = run_demo(device, epochs, seed or 0, out, backend)
    picture = out / "demo.png"
    plot_comparison(runs, picture)
    files = {"run": str(out / "run.h5"), "plot": str(picture)}
    if as_json:
        print_json({"command": "demo", "runs": [summary(run) for run in runs], "files": files})
    else:
        show(comparison(runs))
        show(f"Crossbar run: {files['run']} (see: analogpc inspect). Figure: {files['plot']}.")


@app.command()
def train(
    study: Annotated[Path | None, typer.Argument(help="A STUDY.toml; the options below override it.")] = None,
    rule: Annotated[
        str | None, typer.Option(help="Learning rule: bp, pc, s+f, ipc, ep, … (all in docs/rules.md; default: s+f).")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="digital, a preset (list: analogpc devices) or a device file (.toml); default: digital.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="digits (default), fashion-mnist, mnist, cifar10, cifar100, svhn, or a path to your own data: .h5, .npz or a folder; "
            "text:PATH."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs (default: 5).", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a batch (default: 32).", min=1)] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate of the optimiser (default: depends on rule and substrate).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set any field of the study, for example --set substrate.adc.bits=6.", metavar="FIELD=VALUE"),
    ] = None,
    seed: Seed = None,
    resume: Annotated[Path | None, typer.Option(help="Resume this run.h5 instead of starting a new run.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File in which the run is saved after every epoch (default: run.h5, or the resumed file).")
    ] = None,
    overwrite: Overwrite = False,
    checkpoint_batches: Annotated[
        int, typer.Option(help="Also save after this many batches; 0: only after each epoch.", min=0)
    ] = 0,
    data_dir: DataDir = None,
    backend: BackendOption = "cpu",
    precision: PrecisionOption = None,
    network: Annotated[
        str | None,
        typer.Option(help="vgg7, resnet18, 784-256-10, …; default: chosen by the data set. For texts: transformer."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="For texts: masked or conditional.")] = None,
    batches: Annotated[int | None, typer.Option(help="For texts: number of batches (instead of --epochs).", min=1)] = None,
    prompt: Annotated[str | None, typer.Option(help="For texts: prompt to continue or to fill in.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network and save the run."""
    from analogpc.kernels.gpu.blas import use_precision
    from analogpc.report.tables import comparison, summary
    from analogpc.training.fit import begin
    from analogpc.training.run import Run
    from analogpc.training.study_data import study_data
    from analogpc.training.study_fields import assemble

    options = {
        "rule": rule,
        "device": device,
        "dataset": dataset,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimiser.learning_rate": learning_rate,
        "seed": seed,
    }
    texts = {"task": task, "batches": batches, "prompt": prompt}
    chosen = (study, settings or None, precision, network, task, *options.values())
    if resume is not None and any(value is not None for value in chosen):
        raise ValueError(
            "--resume cannot be combined with a study file or study options: the run keeps its study and its precision"
        )
    about_text = (dataset or "").startswith(TEXT) or (study is not None and studies_text(study))
    if about_text or (resume is not None and holds_language_model(resume)):
        train_text(
            study,
            options | {"batches": batches},
            settings or [],
            network=network,
            task=task,
            prompt=prompt,
            resume=resume,
            out=out,
            overwrite=overwrite,
            backend=backend,
            precision=precision,
            as_json=as_json,
        )
        return
    for name, value in texts.items():
        if value is not None:
            raise ValueError(f"--{name} applies to texts only: add --dataset text:PATH")
    if network == "transformer":
        raise ValueError("--network transformer is for texts only: add --dataset text:PATH")
    if resume is not None:
        out = resume if out is None else out
        if out != resume:
            spare(out, overwrite)
        run = Run.load(resume, backend=backend)
        data = study_data(run.study, data_dir=data_dir)
    else:
        out = Path("run.h5") if out is None else out
        spare(out, overwrite)
        plan = assemble(study, options | {"network": network}, settings or [])
        data = study_data(plan, data_dir=data_dir)
        with use_precision(precision or "tf32"):
            run = begin(plan, data, backend=backend)
    run.train(data, checkpoint=out, checkpoint_batches=checkpoint_batches)
    if as_json:
        print_json({"command": "train", "run": summary(run), "files": {"run": str(out)}})
    else:
        show(comparison([run]))
        show(f"Saved in {out}.")


@app.command()
def export(
    run: RunFile,
    out: Annotated[Path, typer.Argument(help="The HDF5 file to write.")],
    device: Annotated[str | None, typer.Option(help="First program the weights onto new crossbars of this device.")] = None,
    spice: Annotated[Path | None, typer.Option(help="Also write one array, including its wires, as a SPICE netlist.")] = None,
    array: Annotated[str, typer.Option(help="Array to write, as MATRIX/TILE/DEVICES, for example layer1.0.weight/0/plus.")] = "",
    volts: Annotated[float | None, typer.Option(help="Word-line voltage of the netlist.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write the conductances of all crossbar arrays of a run, in siemens, tile by tile."""
    from analogpc.devices.substrate import substrate
    from analogpc.files.export import export_crossbars, export_netlist
    from analogpc.files.storage import describe
    from analogpc.training.run_file import load

    if spice is None and (array or volts is not None):
        raise ValueError("--array and --volts need --spice FILE, which writes the netlist")
    for file in (out, spice):
        if file is not None:
            spare(file, overwrite)
    network = load(run)
    if device is not None:
        network = network.on(substrate(device))
    written = export_netlist(network, spice, array, volts) if spice is not None else None
    export_crossbars(network, out)
    tiles = sorted({entry.path.rsplit("/", 1)[0] for entry in describe(out) if entry.path.endswith("/stuck")})
    if as_json:
        netlist = {"spice": str(spice), "array": written} if spice is not None else {}
        print_json({"command": "export", "file": str(out), "tiles": tiles, **netlist})
    else:
        show(f"{len(tiles)} tiles of {len(network.matrices())} matrices are in {out}; docs/files.md documents the format.")
        if spice is not None:
            show(f"The array {written} is in {spice}; ngspice -b {spice} prints its bit-line currents.")


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A file written by analogpc.")], as_json: Json = False) -> None:
    """Check a file and list its contents."""
    from dataclasses import asdict

    from analogpc.files.storage import describe, read_header

    header, entries = read_header(file), describe(file)
    if as_json:
        print_json({"command": "inspect", "file": str(file), "header": header, "entries": [asdict(entry) for entry in entries]})
        return
    show(f"{file}: {header['kind']}, written by analogpc {header['analogpc_version']}, {header['bytes']:,} bytes, checksum good")
    if header["kind"] == "run":
        from analogpc.report.tables import comparison
        from analogpc.training.run import Run

        run = Run.load(file)
        show(comparison([run]))
        print(visible(run.study.explained(), but="\n"))
    lines = [tuple(map(visible, (entry.path, entry.content, entry.meaning))) for entry in entries]
    widths = [max((len(line[column]) for line in lines), default=0) for column in (0, 1)]
    for path, content, meaning in lines:
        print(f"{path:<{widths[0]}}  {content:<{widths[1]}}  {meaning}".rstrip())


app.command()(devices)
app.command()(calibrate)
app.command()(assess)
app.command()(bench)
app.command()(sweep)
app.command()(compare)
app.command("eval")(evaluate)
app.command()(generate)
app.command()(fill)
app.command()(report)
app.command()(plot)
app.command()(bill)
app.command()(technology)


_RESUMING = ("assess", "compare", "sweep")
"""Commands that keep finished trials, and continue from them when repeated."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; invalid input gives one sentence and exit status 2 (usage) or 1 (all other errors).

    With ``ANALOGPC_DEBUG`` set, errors show their traceback.
    """
    write_what_the_terminal_can_show()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        with insistent():
            status = _run(given)
    except KeyboardInterrupt:
        resumed = "; the same command resumes" if given[:1] and given[0] in _RESUMING else ""
        status = _refuse(f"interrupted{resumed}", 130)
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    """Run a command and return its exit status."""
    try:
        return typer.main.get_command(app)(arguments or ["--help"], "analogpc", standalone_mode=False) or 0
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.exceptions.TyperException as error:
        return _refuse(error.format_message(), 2)
    except BrokenPipeError:
        # The reader of the pipe has closed it; discard what Python still buffers for it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        return _refuse(f"not enough memory: {error}", 1)
    except (ValueError, ArithmeticError, OSError, MissingExtraError) as error:
        if os.environ.get("ANALOGPC_DEBUG"):
            raise
        return _refuse(str(error), 1)


def _refuse(sentence: str, status: int) -> int:
    print(f"analogpc: {visible(' '.join(sentence.split()))}", file=sys.stderr)
    return status
