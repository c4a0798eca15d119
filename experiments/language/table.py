"""Table of language models by backpropagation, PC and incremental PC, digital and on crossbars.

    python experiments/language/table.py --data-dir DIR --minutes 5 --backend gpu --out table.json [--batches 1.0] [--list] [--toy]

DIR contains a text, ``war-and-peace.txt``, or its tokens from an earlier call, ``war-and-peace.h5`` (required on a machine without the
package tokenizers). The most important rows come first; the file is written after every row, and existing rows are skipped. No row
starts in the last seconds; rows that take too long are stopped, evaluated, and marked as unfinished.

Settings are those of the prototype (docs/language.md): two blocks, one head, 64 features, a vocabulary of 1,000 tokens, sequences of 32;
the best of ten (masked: fifteen) validations on 1,000 sentences, then one test.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rows import Row, rows, selected_rate

from analogpc.data.text import TextData
from analogpc.data.text_files import load_text
from analogpc.devices.costs.meter import Meter
from analogpc.files.atomic import replace_file
from analogpc.kernels.gpu.blas import describe_gpu, use_precision
from analogpc.networks.network import Network
from analogpc.networks.transformer import Transformer
from analogpc.training.language import LanguageRun
from analogpc.training.language_fit import begin_text
from analogpc.training.language_study import LanguageStudy
from analogpc.training.optimisers import SGD, AdamW
from analogpc.training.perplexity import perplexity
from analogpc.training.run import DivergenceError

TEXT, VOCABULARY, POSITIONS, HELD_OUT = "war-and-peace", 1000, 32, 1000
TECHNOLOGY = "isaac-32nm"
RESERVE = 15.0
"""Seconds reserved for the last evaluation."""


def study_of(row: Row, scale: float, toy: bool, found: dict[str, Any]) -> LanguageStudy:
    """Return the study of a row; ``scale`` multiplies its number of batches, ``found`` are finished rows by key."""
    rate = selected_rate(row, found) if row.rate is None else row.rate
    batches = max(row.evaluations, round(row.batches * scale))
    network = Transformer(
        vocabulary=VOCABULARY if not toy else 300,
        task=row.task,
        positions=POSITIONS if not toy else 12,
        features=row.features if not toy else 16,
        hidden=row.hidden if not toy else 32,
        blocks=row.blocks,
        layer_norm=row.layer_norm,
        score_energy="squared-error" if "squared errors" in row.name else "softmax",
    )
    return LanguageStudy(
        text=TEXT,
        network=network,
        substrate=row.substrate,
        rule=row.rule,
        optimiser=SGD(learning_rate=rate) if row.plain else AdamW(learning_rate=rate, weight_decay=0.01),
        batches=batches,
        batch_size=row.batch_size if not toy else 8,
        evaluate_every=max(1, batches // row.evaluations),
        evaluate_on=row.evaluate_on if not toy else 50,
        seed=row.seed,
    )


def compute(row: Row, data: TextData, chosen: argparse.Namespace, deadline: float, found: dict[str, Any]) -> dict[str, Any]:
    """Train, select the best weights by validation, and test once."""
    study = study_of(row, chosen.batches, chosen.toy, found)
    began = time.monotonic()
    run = begin_text(study, data, Network(study.network, study.substrate, study.network_seed), backend=chosen.backend)
    record: dict[str, Any] = {"row": row.key, "study": study.to_dict(), "preparation_seconds": time.monotonic() - began}
    try:
        run.train(data, deadline=deadline, report=lambda line: print(f"    {line}", file=sys.stderr, flush=True))
    except DivergenceError as error:
        record["diverged"] = str(error)
    total = Meter()
    for matrix in run.network.matrices().values():
        total.add(matrix.meter)
    if run.batch and run.best is None:
        # Stopped before the first evaluation.
        run.evaluate(data)
    record |= {
        "finished": run.finished or "diverged" in record,
        "batches": run.batch,
        "history": run.history,
        "meter": total.as_dict(),
        "pulses_per_batch": total.pulses / max(1, run.batch),
        "seconds": time.monotonic() - began,
        "milliseconds_per_batch": 1000 * sum(run.history.get("seconds", [])) / max(1, run.history.get("batch", [0])[-1]),
    }
    if run.batch:
        record |= costs(run)
    if run.best is not None:
        record |= {"best_batch": run.best[0], "validation_perplexity": run.best[1]}
    if run.best is not None and row.tested:
        tested = perplexity(run.best_network, data, "test", instances=HELD_OUT if not chosen.toy else 50)
        record |= {"test_perplexity": tested.value, "test_bits_per_character": tested.bits_per_character}
    return record


def costs(run: LanguageRun) -> dict[str, Any]:
    """Return energy and time of a batch on hardware, and those of its digital twin."""
    billed, twin = (run.bill(TECHNOLOGY, twin=twin) for twin in (False, True))
    parts = {part: joules / run.batch for part, joules in billed.by_part().items()}
    return {
        "technology": TECHNOLOGY,
        "joules_per_batch": billed.joules / run.batch,
        "hardware_seconds_per_batch": billed.seconds / run.batch,
        "joules_per_batch_by_part": parts,
        "twin_joules_per_batch": twin.joules / run.batch,
        "twin_seconds_per_batch": twin.seconds / run.batch,
    }


def text(folder: Path, toy: bool) -> TextData:
    """Return the tokenised text; tokenise it if necessary."""
    stored = folder / (f"{TEXT}.h5" if not toy else f"{TEXT}-toy.h5")
    if not stored.exists():
        fields = {"vocabulary": 300, "positions": 12, "held_out": 50, "take": 500} if toy else {}
        usual = {"vocabulary": VOCABULARY, "positions": POSITIONS, "held_out": HELD_OUT}
        load_text(folder / f"{TEXT}.txt", **{**usual, **fields}).save(stored)
    return TextData.load(stored)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with the text or its tokens")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--backend", choices=("cpu", "gpu"), default="gpu")
    parser.add_argument("--precision", choices=("tf32", "float32"), default="float32")
    parser.add_argument("--out", type=Path, default=Path("language.json"))
    parser.add_argument("--batches", type=float, default=1.0, help="factor on the number of batches of every row")
    parser.add_argument(
        "--most-seconds", type=float, default=0.0, help="for each row, in place of its own limit; a processor needs more"
    )
    parser.add_argument("--only", default="", help="rows whose key contains this")
    parser.add_argument("--toy", action="store_true", help="a very small network and text, to try the script")
    parser.add_argument("--list", action="store_true", help="show the rows and end")
    parser.add_argument("--prepare", action="store_true", help="make the tokens and end")
    chosen = parser.parse_args(arguments)
    wanted = [row for row in rows() if chosen.only in row.key]
    if chosen.list:
        print("\n".join(row.key for row in wanted))
        return
    data = text(chosen.data_dir, chosen.toy)
    if chosen.prepare:
        return
    end = time.monotonic() + 60 * chosen.minutes
    found: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {"rows": {}}
    found["text"] = {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "instances": [len(data.instances(s)) for s in ("train", "test")],
    }
    with use_precision(chosen.precision):
        if chosen.backend == "gpu":
            found["machine"] = describe_gpu()
        for row in wanted:
            if found["rows"].get(row.key, {}).get("finished"):
                continue
            left = end - time.monotonic()
            if left < RESERVE + 5:
                break
            print(f"{row.key} ({left:.0f} s are left)", file=sys.stderr, flush=True)
            try:
                record = compute(
                    row,
                    data,
                    chosen,
                    min(end - RESERVE, time.monotonic() + (chosen.most_seconds or row.most_seconds)),
                    found["rows"],
                )
            except (ValueError, RuntimeError, OSError) as error:
                # A failing row must not affect the others.
                record = {"row": row.key, "failed": f"{type(error).__name__}: {error}"}
            found["rows"][row.key] = record
            replace_file(chosen.out, (json.dumps(found, indent=1) + "\n").encode())
            cell = (
                record.get("failed") or f"{record.get('test_perplexity', record.get('validation_perplexity', float('nan'))):.1f}"
            )
            print(f"{row.key}: {cell}, {record.get('milliseconds_per_batch', 0):.1f} ms per batch", flush=True)


if __name__ == "__main__":
    main()
