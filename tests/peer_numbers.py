"""Reference numbers computed by other simulators; `oracles/data/README.md` gives the origin of each file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "oracles" / "data"


def numbers(name: str) -> dict[str, np.ndarray]:
    """Load all arrays of ``data/NAME.npz``."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}
