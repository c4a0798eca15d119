"""Files with a good seal and wrong content: a sentence, or a run that goes on; no traceback, no crash, no hang, no flood of memory.

``--fuzz N`` reads N files of each of the two kinds below instead of a few.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import analogpc as apc

ROOT = Path(__file__).parents[2]
SUBSTRATES = {
    "digital": apc.Digital(),
    "crossbars": apc.Analog(
        device="pcm", scheme={"kind": "agad"}, mapping={"kind": "differential-pair", "minus": "active"}, rows=40, wire_ohms=1.0
    ),
}
SMALL = 32 * 2**20
"""Bytes of working memory that no file is blamed for."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_wrong_content_gives_a_sentence(substrate, tmp_path, request):
    base = tmp_path / "run.h5"
    network = apc.mlp([64, 12, 10], substrate=SUBSTRATES[substrate])
    apc.fit(network, apc.PredictiveCoding(steps=2), apc.load_data("digits"), epochs=3, batches=14, progress=False).save(base)
    count = request.config.getoption("--fuzz")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, str(ROOT / "tests" / "fuzzed_files.py"), str(base), "0", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == count, f"file {len(outcomes)} ended the process with {done.returncode}: {done.stderr[-2000:]}"
    for one in outcomes:
        assert not one["traceback"], one
        assert not one["accepted"], f"an array that was changed was taken over without a word: {one}"
        assert "\n" not in one["found"], one
        assert one["grown"] < SMALL + 2 * base.stat().st_size, one
    assert any(one["found"] != "went on" for one in outcomes)
