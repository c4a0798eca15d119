"""Custom data on a GPU: the same batches and the same training, also for lazily read files."""

import h5py
import numpy as np
import pytest

import analogpc as apc


@pytest.mark.usefixtures("whole_products")
def test_own_arrays_train_there_as_here(exact, rng, tmp_path):
    x = 100 + 5 * rng.normal(size=(60, 6))
    y = np.array(["a", "b"])[(x[:, 0] > 100).astype(int)]
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["train/x"], file["train/y"] = x, y.astype("S")
    how = {"epochs": 2, "batch_size": 16, "progress": False, "holdout": 0.25}
    curves = np.stack([np.sin(x[:, 0]), x[:, 1] / 100], axis=1)
    for data, outputs in (((x, y), 2), (apc.Dataset.from_hdf5(tmp_path / "data.h5"), 2), ((x, curves), 2)):
        net = apc.mlp([6, 8, outputs], seed=1)
        here, there = (apc.fit(net, "pc", data, backend=backend, **how) for backend in ("cpu", "gpu"))
        assert there.network.backend == "gpu"
        for name in ("train_loss", "validation_loss"):
            np.testing.assert_allclose(there.history[name], here.history[name], rtol=1e-6 if exact else 1e-4)
        found = [run.predict(x) for run in (there, here)]
        if here.data.targets.classes:
            np.testing.assert_array_equal(*found)
        else:
            np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
