"""Data for studies and scripts in their short mode, which must not depend on a download."""

import gzip
import os
import struct

import numpy as np
import pytest


def _write(path, numbers):
    magic = struct.pack(f">BBBB{numbers.ndim}I", 0, 0, 8, numbers.ndim, *numbers.shape)
    path.write_bytes(gzip.compress(magic + numbers.tobytes(), 1))


@pytest.fixture(scope="session", autouse=True)
def fashion(tmp_path_factory):
    """Images in the files of Fashion-MNIST: every class has a bright row of pixels of its own, among noise."""
    folder, rng = tmp_path_factory.mktemp("data") / "fashion-mnist", np.random.default_rng(0)
    folder.mkdir()
    for name, count in (("train", 200), ("t10k", 100)):
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        images = rng.integers(0, 100, (count, 28, 28), dtype=np.uint8)
        images[np.arange(count), 2 * labels + 4] = 250
        _write(folder / f"{name}-images-idx3-ubyte.gz", images)
        _write(folder / f"{name}-labels-idx1-ubyte.gz", labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "ANALOGPC_DATA", str(folder.parent))
        yield
