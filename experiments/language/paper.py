"""Train the rows of a study of language models in order, each from its last checkpoint.

    python experiments/language/paper.py experiments/language/paper.toml --out paper.json [--seeds 0 1 2] [--backend gpu]
        [--only ROW] [--checkpoints DIR] [--text PATH] [--set FIELD=VALUE ...]

A row is a table of the study file that overrides fields of the study. Results and a checkpoint are written at every evaluation, so an
interruption loses only the batches since then; the next call resumes from there. The program ends when all rows are trained.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import pooch

from analogpc.data.text import TextData
from analogpc.devices.fields import lay
from analogpc.devices.texts import read_toml
from analogpc.files.atomic import replace_file
from analogpc.kernels.gpu.blas import use_precision
from analogpc.training.language import LanguageRun
from analogpc.training.language_fit import begin_text
from analogpc.training.language_study import LanguageStudy, text_of
from analogpc.training.perplexity import perplexity
from analogpc.training.run import DivergenceError
from analogpc.training.study_fields import setting


def studies(path: Path, over: dict[str, Any]) -> dict[str, LanguageStudy]:
    """Return the study of every row, by name."""
    fields = read_toml(path)
    rows = fields.pop("rows")
    return {
        name: LanguageStudy.from_dict(lay(LanguageStudy, lay(LanguageStudy, fields, _flat(row)), over))
        for name, row in rows.items()
    }


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a row overrides, by path; a table with a kind replaces the whole field."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict) and "kind" not in value:
            found |= {f"{name}.{inner}": kept for inner, kept in _flat(value).items()}
        else:
            found[name] = value
    return found


def train(study: LanguageStudy, data: TextData, checkpoint: Path, backend: Any, keep: Any) -> None:
    """Start or resume a row, and report at every evaluation.

    Raises
    ------
    ValueError
        If the checkpoint is of another study.
    """
    if checkpoint.exists():
        run = LanguageRun.load(checkpoint, backend=backend)
        if run.study != study:
            raise ValueError(f"the checkpoint {checkpoint.name} is of another study: remove it, or name another folder")
    else:
        run = begin_text(study, data, backend=backend)

    def summary() -> dict[str, Any]:
        best = {} if run.best is None else {"best_batch": run.best[0], "validation_perplexity": run.best[1]}
        return {"study": study.to_dict(), "finished": run.finished, "batches": run.batch, "history": run.history, **best}

    try:
        while not run.finished:
            run.train(data, batches=study.interval - run.batch % study.interval, checkpoint=checkpoint)
            keep(summary())
            print(f"    {run._line()}", file=sys.stderr, flush=True)
    except DivergenceError as error:
        keep({**summary(), "finished": True, "diverged": str(error)})
        return
    tested = perplexity(run.best_network, data, "test")
    keep({**summary(), "test_perplexity": tested.value, "test_bits_per_character": tested.bits_per_character})


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="", help="run only rows whose name contains this text")
    parser.add_argument("--backend", choices=("cpu", "gpu"), default="gpu")
    parser.add_argument("--checkpoints", type=Path, default=Path(pooch.os_cache("analogpc")) / "language")
    parser.add_argument("--text", default="", help="path of the text (default: as in the study)")
    parser.add_argument("--set", dest="settings", nargs="+", default=[], metavar="FIELD=VALUE")
    chosen = parser.parse_args(arguments)
    over = {**({"text": chosen.text} if chosen.text else {}), **dict(map(setting, chosen.settings))}
    rows = {name: study for name, study in studies(chosen.study, over).items() if chosen.only in name}
    data = text_of(next(iter(rows.values())))
    chosen.checkpoints.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {"rows": {}}
    found["text"] = {"name": data.name, "fingerprint": data.fingerprint, "instances": len(data.train)}
    for seed in chosen.seeds:
        for name, study in rows.items():
            key = f"{name}, seed {seed}"
            if found["rows"].get(key, {}).get("finished"):
                continue
            print(key, file=sys.stderr, flush=True)

            def keep(record: dict[str, Any], key: str = key) -> None:
                found["rows"][key] = record
                replace_file(chosen.out, (json.dumps(found, indent=1) + "\n").encode())

            checkpoint = chosen.checkpoints / f"{re.sub('[^a-z0-9]+', '-', key.lower())}.h5"
            with use_precision("float32"):
                train(study.but(seed=seed, network_seed=seed), data, checkpoint, chosen.backend, keep)


if __name__ == "__main__":
    main()
