"""The same seed gives the same bits from one version to the next: ten short runs against digests that an earlier version stored.

A digest is SHA-256 over every array and number of the trained network (weights, devices, memory of the update scheme, streams, meters)
and over the history without seconds. Products of BLAS and functions such as exp round differently from one processor, BLAS build and
compiler to the next, so digests are stored with the environment they were made in. In another environment the stored summaries count
instead: mean and standard deviation of the weights of each matrix and the training loss, within 5 % of that deviation or of 1.

``python tests/analogpc/test_same_bits.py`` writes the digests anew, for a change that is meant to change bits.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path

import llvmlite.binding
import numba
import numpy as np
import pytest
import threadpoolctl

import analogpc as apc
from analogpc.devices.schemes import Agad, MixedPrecision, ProgramVerify, SignPulses, StochasticPulses, TikiTaka, TikiTakaV2

STORED = Path(__file__).parents[1] / "data" / "same_bits.json"
SAMPLES, BATCH = 24, 12


def mlp(substrate: apc.Digital | apc.Analog, **fields: object) -> apc.Network:
    return apc.mlp([16, 12, 10, 4], substrate=substrate, seed=3, **{"activation": "leaky_relu", **fields})


def images(substrate: apc.Digital | apc.Analog) -> apc.Network:
    return apc.cnn([3, 4], input_shape=(8, 8, 1), classes=4, dense=(8,), substrate=substrate, seed=3)


def hopfield(substrate: apc.Digital | apc.Analog) -> apc.Network:
    return apc.Network(apc.Hopfield(widths=(16, 12, 4), steps=12), substrate, seed=3)


def plain(rate: float) -> apc.SGD:
    return apc.SGD(learning_rate=rate)


RUNS = {
    "bp, digital, AdamW": lambda: (mlp(apc.Digital()), "bp", apc.AdamW(learning_rate=0.01)),
    "pc, digital convolutions": lambda: (images(apc.Digital()), "pc", plain(0.05)),
    "s+f, stochastic pulses, reram-sb": lambda: (mlp(apc.Analog(device="reram-sb", adc_bits=9)), "s+f", plain(0.1)),
    "ipc, deterministic pulses, idealized tiles": lambda: (
        mlp(apc.Analog(rows=8, columns=8, scheme=StochasticPulses(trains="deterministic"))),
        "ipc",
        plain(0.1),
    ),
    "zil, sign pulses, idealized": lambda: (mlp(apc.Analog(scheme=SignPulses())), "zil", plain(0.1)),
    "epc, mixed precision, reram-sb, wires": lambda: (
        mlp(apc.Analog(device="reram-sb", scheme=MixedPrecision(), wire_ohms=1.0)),
        "epc",
        plain(0.1),
    ),
    "fixed, tiki-taka, idealized": lambda: (mlp(apc.Analog(scheme=TikiTaka(gamma=0.5))), "fixed", plain(0.1)),
    "ep, chopped transfers, idealized": lambda: (mlp(apc.Analog(scheme=Agad()), activation="tanh"), "ep", plain(0.1)),
    "ep-hopfield, buffered transfers, idealized": lambda: (hopfield(apc.Analog(scheme=TikiTakaV2())), "ep-hopfield", plain(0.1)),
    "bp, program and verify, pcm": lambda: (mlp(apc.Analog(device="pcm", scheme=ProgramVerify())), "bp", plain(0.1)),
}


def environment() -> dict[str, str]:
    """Everything outside this project that bits depend on."""
    # SciPy brings its own library, which is listed once it is loaded; the products are NumPy's.
    libraries = [one for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
    products = [one for one in libraries if "numpy" in one["filepath"]] or libraries
    blas = sorted({f"{one['internal_api']} {one['version']} {one.get('architecture', '')}" for one in products})
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": llvmlite.binding.get_host_cpu_name(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "blas": "; ".join(blas),
    }


def trained(name: str) -> apc.Run:
    network, rule, optimiser = RUNS[name]()
    rng = np.random.default_rng(11)
    x = rng.random((SAMPLES, *network.input_shape)).astype(np.float32)
    data = x, np.arange(SAMPLES) % 4
    return apc.fit(network, rule, data, epochs=1, batch_size=BATCH, seed=5, optimiser=optimiser, progress=False)


def fed(digest: hashlib._Hash, value: object) -> None:
    """Put a tree of arrays, numbers and texts into a digest."""
    if isinstance(value, dict):
        for name in sorted(value):
            digest.update(f"/{name}".encode())
            fed(digest, value[name])
    elif isinstance(value, list):
        for item in value:
            fed(digest, item)
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        digest.update(repr(value.item() if isinstance(value, np.generic) else value).encode())


def found(name: str) -> dict[str, object]:
    run = trained(name)
    run.network.elapse(3600.0)
    digest = hashlib.sha256()
    fed(digest, run.network.snapshot())
    fed(digest, {column: values for column, values in run.history.items() if column != "seconds"})
    weights = [matrix.weights().astype(np.float64) for matrix in run.network.matrices().values()]
    return {
        "sha256": digest.hexdigest(),
        "weights": [[float(w.mean()), float(w.std())] for w in weights],
        "train_loss": run.history["train_loss"][-1],
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_seed_gives_the_bits_that_it_gave_before(name):
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    expected, here = stored["runs"][name], found(name)
    if stored["environment"] == environment():
        assert here["sha256"] == expected["sha256"]
    for (mean, std), (was_mean, was_std) in zip(here["weights"], expected["weights"], strict=True):
        assert abs(mean - was_mean) <= 0.05 * max(was_std, 1e-3)
        assert abs(std - was_std) <= 0.05 * max(was_std, 1e-3)
    assert here["train_loss"] == pytest.approx(expected["train_loss"], abs=0.05)


if __name__ == "__main__":
    content = {"environment": environment(), "runs": {name: found(name) for name in RUNS}}
    STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{STORED}\n")
