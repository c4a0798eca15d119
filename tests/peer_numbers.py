"""Numbers that other simulators computed, kept beside the tests: see `oracles/data/README.md` for where each file comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "oracles" / "data"


def numbers(name: str) -> dict[str, np.ndarray]:
    """All arrays of ``data/NAME.npz``."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}
