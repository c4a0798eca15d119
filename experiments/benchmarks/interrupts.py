"""Interrupt runs at random times; check that each stops, leaves a readable file, and resumes bit-identically.

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


def train(case: str, path: str, learnt: Any = None) -> None:
    """Train one case to its end, saving after every batch; ``learnt`` counts the batches in shared memory."""
    import analogpc as apc
    from analogpc.training.fit import begin
    from analogpc.training.study import Study

    class Count(apc.Callback):
        reads_only = True

        def on_batch_end(self, run: Any) -> None:
            learnt.value += 1

    signal.signal(signal.SIGINT, signal.default_int_handler)
    rule, network, substrate = CASES[case]
    data = apc.load_data("digits").take(32 * BATCHES // 3, 100)
    study = Study(rule=rule, substrate=substrate, network=network, epochs=3, batch_size=32, seed=1)
    callbacks = [] if learnt is None else [Count()]
    begin(study, data).train(data, callbacks=callbacks, checkpoint=path, checkpoint_batches=1, progress=False)


def digest(run: Any) -> str:
    """Digest of a run, without its timings."""
    whole = hashlib.sha256()

    def add(tree: Any) -> None:
        for name in sorted(tree):
            if isinstance(tree[name], dict):
                add(tree[name])
            else:
                whole.update(name.encode() + np.asarray(tree[name]).tobytes())

    add(run.network.held())
    add(run.optimiser_state())
    add({name: values for name, values in run.history.items() if name != "seconds"})
    return whole.hexdigest()[:16]


def interrupt(case: str, number: int, folder: Path, expected: str, longest: float) -> dict[str, Any] | None:
    """Start a run, interrupt it at a random time, and resume it to the end; return None if it had already finished."""
    import analogpc as apc

    rng, name = random.Random(number), SIGNALS[number % len(SIGNALS)]
    path, processes = folder / "run.h5", multiprocessing.get_context("forkserver")
    learnt = processes.Value("i", 0, lock=False)
    process = processes.Process(target=train, args=(case, str(path), learnt))
    process.start()
    wanted = rng.randrange(1, BATCHES - 1)
    while process.is_alive() and (learnt.value < wanted or not path.exists()):
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 1.5 * longest / BATCHES))
    before, sent = learnt.value, time.perf_counter()
    with suppress(ProcessLookupError):
        os.kill(process.pid, getattr(signal, name))
    under_way = learnt.value + 1
    process.join(60)
    took, alive = time.perf_counter() - sent, process.is_alive()
    if alive:
        process.kill()
        process.join()
    left = [file.name for file in folder.iterdir() if file != path and name != "SIGKILL"]
    run = apc.Run.load(path)
    at = run.position.epoch * (BATCHES // 3) + run.position.batch
    if at == BATCHES and under_way >= BATCHES:
        return None
    run.train(apc.load_data("digits").take(32 * BATCHES // 3, 100), progress=False)
    earliest = before - 1 if name == "SIGKILL" else before  # The last batch may not have been written yet.
    entry = {"case": case, "signal": name, "number": number, "sent_after": before, "batch": at, "batches": BATCHES}
    entry |= {"seconds": round(took, 3), "exit": process.exitcode, "left": left}
    stopped = not alive and process.exitcode != 0 and earliest <= at <= under_way
    return entry | {"stopped": stopped, "same": digest(run) == expected}


def measure(count: int, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Interrupt the given number of runs, cycling through cases and signals; runs that finished early are repeated."""
    import analogpc as apc

    multiprocessing.get_context("forkserver").set_forkserver_preload(["analogpc.training.fit", "analogpc.training.run_file"])
    expected, longest = {}, {}
    for case in list(CASES)[: -(-count // len(SIGNALS))]:
        path = folder / "whole.h5"
        train(case, str(path))  # Compiles kernels that are not in the cache.
        path.unlink()
        began = time.perf_counter()
        train(case, str(path))
        longest[case] = time.perf_counter() - began
        expected[case] = digest(apc.Run.load(path))
    cases = list(expected)
    for place in range(count):
        case, row, number = cases[place // len(SIGNALS) % len(cases)], None, seed + place
        while row is None:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                row = interrupt(case, number, Path(own), expected[case], longest[case])
            number += 3 * 10**6  # The same signal at another time.
        yield row


def main() -> None:
    """Interrupt runs and print the outcomes."""
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
        entry = {what: sum(row[what] for row in own) for what in ("stopped", "same")}
        print(f"{name}: {len(own)}, {entry}, longest {max((row['seconds'] for row in own), default=0)} s")


if __name__ == "__main__":
    main()
