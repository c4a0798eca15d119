"""Interrupts at random moments: does every one stop the run, leave a file that can be read, and let it resume bit-identically?

python experiments/benchmarks/interrupts.py --interrupts 200
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

MLP = {"kind": "mlp", "widths": (64, 24, 10)}
NORMALISED = {
    "kind": "cnn",
    "input_shape": (8, 8, 1),
    "channels": (4,),
    "dense": (),
    "batch_norm": True,
    "freezing": False,
}
HOPFIELD = {
    "kind": "hopfield",
    "input_shape": (64,),
    "blocks": ({"kind": "dense", "features": 24}, {"kind": "dense", "features": 10}),
}
CASES = {
    "pc, digital": ("pc", MLP, {"kind": "digital"}),
    "ipc, digital": ("ipc", MLP, {"kind": "digital"}),
    "s+f, pulses": ("s+f", MLP, {"kind": "analog", "device": "reram-sb"}),
    "pc, mixed precision": ("pc", MLP, {"kind": "analog", "device": "reram-sb", "scheme": {"kind": "mixed-precision"}}),
    "pc, agad": ("pc", MLP, {"kind": "analog", "device": "idealized", "scheme": {"kind": "agad"}}),
    "ep, pulses": ("ep", MLP, {"kind": "analog", "device": "idealized"}),
    "bp, tiki-taka": ("bp", MLP, {"kind": "analog", "device": "idealized", "scheme": {"kind": "tiki-taka", "gamma": 0.5}}),
    "zil, sign pulses": ("zil", MLP, {"kind": "analog", "device": "idealized", "scheme": {"kind": "sign-pulses"}}),
    "epc, program and verify": ("epc", MLP, {"kind": "analog", "device": "reram-sb", "scheme": {"kind": "program-verify"}}),
    "ep-hopfield, digital": ("ep-hopfield", HOPFIELD, {"kind": "digital"}),
    "pc, moving batch norm": ("pc", NORMALISED, {"kind": "digital"}),
}
SIGNALS = ("SIGINT", "SIGTERM", "SIGKILL")
BATCHES = 12


def train(case: str, path: str) -> None:
    """Train one case to its end, saving after every batch."""
    import analogpc as apc
    from analogpc.training.fit import begin
    from analogpc.training.study import Study

    signal.signal(signal.SIGINT, signal.default_int_handler)
    rule, network, substrate = CASES[case]
    data = apc.load_data("digits").take(32 * BATCHES // 3, 100)
    study = Study(rule=rule, substrate=substrate, network=network, epochs=3, batch_size=32, seed=1)
    begin(study, data).train(data, checkpoint=path, checkpoint_batches=1, progress=False)


def digest(run: Any) -> str:
    """Of all that a run holds but the time it took."""
    whole = hashlib.sha256()

    def add(tree: Any) -> None:
        for name in sorted(tree):
            if isinstance(tree[name], dict):
                add(tree[name])
            else:
                whole.update(name.encode() + np.asarray(tree[name]).tobytes())

    add(run.network.state())
    add(run.optimiser_state())
    add({name: values for name, values in run.history.items() if name != "seconds"})
    return whole.hexdigest()[:16]


def interrupt(case: str, number: int, folder: Path, expected: str, longest: float) -> dict[str, Any]:
    """Start a run, send it a signal at a random moment, and let what is left go on to its end."""
    import analogpc as apc

    rng, name = random.Random(number), SIGNALS[number % len(SIGNALS)]
    path = folder / f"{number}.h5"
    process = multiprocessing.get_context("forkserver").Process(target=train, args=(case, str(path)))
    process.start()
    while not path.exists() and process.is_alive():
        time.sleep(0.01)
    time.sleep(rng.uniform(0, longest))
    sent = time.perf_counter()
    with suppress(ProcessLookupError):  # It may have finished, which counts as well.
        os.kill(process.pid, getattr(signal, name))
    process.join(60)
    stopped = not process.is_alive()
    if not stopped:
        process.kill()
    took = time.perf_counter() - sent
    left = [file.name for file in folder.iterdir() if file.name.startswith(".") and name != "SIGKILL"]
    run = apc.Run.load(path)
    at = run.position.epoch * (BATCHES // 3) + run.position.batch
    run.train(apc.load_data("digits").take(32 * BATCHES // 3, 100), progress=False)
    same = digest(run) == expected
    told = {"case": case, "signal": name, "batch": at, "seconds": round(took, 3), "exit": process.exitcode, "batches": BATCHES}
    return told | {"stopped": stopped, "same": same, "left": left}


def measure(count: int, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """So many interrupts, over all cases and signals in turn."""
    import analogpc as apc

    multiprocessing.get_context("forkserver").set_forkserver_preload(["analogpc.training.fit", "analogpc.training.run_file"])
    expected, longest = {}, {}
    for case in list(CASES)[: -(-count // len(SIGNALS))]:
        path = folder / "whole.h5"
        train(case, str(path))  # Kernels are compiled, if they are not in the cache.
        path.unlink()
        began = time.perf_counter()
        train(case, str(path))
        longest[case] = time.perf_counter() - began
        expected[case] = digest(apc.Run.load(path))
    cases = list(expected)
    for number in range(count):
        case = cases[number // len(SIGNALS) % len(cases)]
        yield interrupt(case, seed + number, folder, expected[case], longest[case])


def main() -> None:
    """Interrupt, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interrupts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(chosen.interrupts, chosen.seed, Path(folder)):
            rows.append(row)
            if chosen.out:
                chosen.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for name in SIGNALS:
        own = [row for row in rows if row["signal"] == name]
        told = {what: sum(row[what] for row in own) for what in ("stopped", "same")}
        print(f"{name}: {len(own)}, {told}, longest {max((row['seconds'] for row in own), default=0)} s")


if __name__ == "__main__":
    main()
