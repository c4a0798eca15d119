"""Custom data: what is accepted, refused, normalised and stored, on both substrates, with bit-identical resuming."""

import h5py
import numpy as np
import pytest

import analogpc as apc
from analogpc.data import DataError
from analogpc.kernels.random.streams import Key
from analogpc.training.run import ResumeError

ANALOG = apc.Analog(device="reram-sb", rows=40)


@pytest.fixture
def table(rng):
    """Three overlapping clouds of five features of very different sizes."""
    y = rng.integers(0, 3, 130)
    x = (rng.normal(size=(130, 5)) + 2.5 * np.eye(3, 5)[y]) * [1, 1e3, 1e-3, 7, 1] + [1e4, 0, 0, 3, 0]
    return x, y


def learn(x, y, *, rule="bp", substrate=None, outputs=3, **options):
    net = apc.mlp([int(np.prod(np.shape(x)[1:])), 16, outputs], substrate=substrate)
    return apc.fit(net, rule, (x, y), **{"epochs": 4, "batch_size": 32, "progress": False, "learning_rate": 0.05, **options})


def same(one, two):
    for (name, a), b in zip(one.network.matrices().items(), two.network.matrices().values(), strict=True):
        np.testing.assert_array_equal(a.weights(), b.weights(), err_msg=name)
    histories = [{name: values for name, values in run.history.items() if name != "seconds"} for run in (one, two)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("substrate", [None, ANALOG], ids=["digital", "analog"])
@pytest.mark.parametrize(
    "kind", ["floats", "names", "one-hot", "integers", "regression", "channels-first", "hdf5", "empty class", "last batch of one"]
)
def test_every_kind_of_data_is_learnt_and_resumed_to_the_same_bits(kind, substrate, table, tmp_path, rng):
    (x, y), outputs, options = table, 3, {}
    if kind == "names":
        y = np.array(["left", "right", "up"])[y]
    elif kind == "one-hot":
        y = np.eye(3)[y]
    elif kind == "integers":
        x = np.round(x).astype(np.int32)
    elif kind == "regression":
        y, outputs = np.stack([x[:, 0] / 1e4, x[:, 4]], axis=1), 2
    elif kind == "channels-first":
        x, options = rng.integers(0, 256, (130, 3, 5, 4)).astype(np.uint8), {"layout": "channels-first"}
    elif kind == "empty class":
        y = 2 * (y > 0)
    elif kind == "last batch of one":
        x, y = x[:97], y[:97]
    if kind == "hdf5":
        with h5py.File(tmp_path / "data.h5", "w") as file:
            file["train/x"], file["train/y"] = x, y
        data = apc.Dataset.from_hdf5(tmp_path / "data.h5")
        assert data.fingerprint == apc.Dataset.from_arrays(x, y).fingerprint
    else:
        data = apc.Dataset.from_arrays(x, y, **options)
    net = apc.mlp([int(np.prod(data.input_shape)), 16, outputs], substrate=substrate)
    how = {"epochs": 2, "batch_size": 32, "progress": False, "learning_rate": 0.05, "holdout": 0.25}
    if kind == "last batch of one":
        how |= {"holdout": 0.0}
    whole = apc.fit(net, "bp", data, **how)
    apc.fit(net, "bp", data, batches=3, checkpoint=tmp_path / "run.h5", **how)
    resumed = apc.Run.load(tmp_path / "run.h5")
    # Again from what the user has; normalisation, classes and task come from the file.
    given = (x, y) if kind not in ("hdf5", "channels-first") else data
    same(resumed.train(given, progress=False), whole)
    assert ("train_accuracy" in whole.history) == (kind != "regression")
    raw = np.moveaxis(x, 1, -1) if kind == "channels-first" else x
    np.testing.assert_array_equal(resumed.predict(raw), whole.predict(raw))
    if kind == "names":
        assert set(whole.predict(x)) <= {"left", "right", "up"}
    if kind == "regression":
        assert whole.predict(x).shape == (130, 2)


def test_raw_samples_get_the_normalisation_of_the_training_part(table, tmp_path):
    x, y = table
    run = learn(x, y, validation=0.3, epochs=15)
    part = apc.Dataset.from_arrays(x, y).holdout(0.3, Key(0).fold("holdout"))
    np.testing.assert_allclose(run.data.scale.mean, part.train_images.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(run.data.scale.std, part.train_images.std(axis=0), rtol=1e-12)
    answers = run.evaluate(part.validation_images, part.validation_labels)
    assert answers["accuracy"] == run.history["validation_accuracy"][-1] > 0.8
    assert answers["loss"] == pytest.approx(run.history["validation_loss"][-1], rel=1e-12)
    run.save(tmp_path / "run.h5")
    back = apc.Run.load(tmp_path / "run.h5")
    np.testing.assert_array_equal(back.predict(x), run.predict(x))
    chances = back.predict_proba(x)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    confusion = np.asarray(back.confusion(x, y))
    assert confusion.trace() == np.sum(back.predict(x) == y)
    np.testing.assert_array_equal(confusion.sum(axis=1), np.bincount(y))


def test_numbers_of_ones_own_normalise(table):
    x, y = table
    mean, std = x.mean(axis=0), x.std(axis=0)
    given = apc.Dataset.from_arrays(x, y, normalisation=(mean, std))
    np.testing.assert_array_equal(given.inputs("train", [1, 4], dtype="float64"), (x[[1, 4]] - mean) / std)
    for name, low, high in (("min-max", 0.0, 1.0), ("none", x.min(), x.max())):
        batch = apc.Dataset.from_arrays(x, y, normalisation=name).inputs("train", np.arange(130), dtype="float64")
        assert (batch.min(), batch.max()) == (pytest.approx(low), pytest.approx(high))
    whole = apc.Dataset.from_arrays(x, y, normalisation="global").inputs("train", np.arange(130), dtype="float64")
    assert (whole.mean(), whole.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))


def test_values_with_a_large_mean_keep_their_precision(rng):
    """Years and pressures: the mean is taken off in double precision, so that float32 inputs are off by their own rounding alone."""
    x = 1e6 + rng.normal(size=(50, 2))
    batch = apc.Dataset.from_arrays(x, np.zeros(50, int)).inputs("train", np.arange(50))
    np.testing.assert_allclose(batch, (x - x.mean(0)) / x.std(0), atol=1e-6)


def test_constant_features_do_not_blow_up():
    x = np.ones((20, 3)) * [5, 1e9, 0]
    batch = apc.Dataset.from_arrays(x, np.zeros(20, int)).inputs("train", [0])
    np.testing.assert_array_equal(batch, 0)


def test_hdf5_is_read_in_pieces_and_gives_the_bits_of_memory(tmp_path, rng):
    images, y = rng.integers(0, 256, (60, 3, 9, 8)).astype(np.uint8), np.array(["cat", "dog"])[rng.integers(0, 2, 60)]
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("train/x", data=images[:40], chunks=(7, 3, 9, 8), compression="gzip")
        file["train/y"], file["test/x"], file["test/y"] = y[:40].astype("S"), images[40:], y[40:].astype("S")
    lazy = apc.Dataset.from_hdf5(tmp_path / "data.h5", layout="channels-first")
    there = apc.Dataset.from_arrays(images[:40], y[:40], test=(images[40:], y[40:]), layout="channels-first")
    assert lazy.fingerprint == there.fingerprint
    assert lazy.classes == ("cat", "dog")
    for chosen in (rng.permutation(40)[:13], np.array([3, 3, 0]), []):
        np.testing.assert_array_equal(lazy.inputs("train", chosen), there.inputs("train", chosen))
    for one, two in zip(*([d.take(30), d.holdout(0.2, Key(3), "stratified")] for d in (lazy, there)), strict=True):
        assert one.fingerprint == two.fingerprint


def test_folders_of_images(tmp_path, rng):
    from PIL import Image

    pixels = rng.integers(0, 256, (2, 3, 6, 5, 3)).astype(np.uint8)
    for part, images in zip(("train", "test"), pixels, strict=True):
        for name, image in zip(("ant", "bee", "bee"), images, strict=True):
            folder = tmp_path / part / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{image[0, 0, 0]:03}.png")
    data = apc.Dataset.from_folder(tmp_path)
    assert (data.input_shape, data.classes, data.test_labels.tolist()) == ((6, 5, 3), ("ant", "bee"), [0, 1, 1])
    np.testing.assert_array_equal(data.train_images[[0]][0], pixels[0, 0])
    Image.fromarray(pixels[0, 0, :4]).save(tmp_path / "train" / "ant" / "small.png")
    with pytest.raises(DataError, match=r"small\.png has the size \(4, 5\).*size = \(height, width\)"):
        apc.Dataset.from_folder(tmp_path)
    assert apc.load_data(str(tmp_path / "test")).splits == ("train",)


def test_a_stratified_part_has_every_class_in_proportion(rng):
    y = np.repeat([0, 1, 2], [80, 15, 5])
    data = apc.Dataset.from_arrays(rng.normal(size=(100, 2)), y)
    part = data.holdout(0.2, Key(1), "stratified")
    assert np.bincount(part.validation_labels).tolist() == [16, 3, 1]
    assert np.bincount(part.train_labels).tolist() == [64, 12, 4]


def test_fingerprints_cover_all_that_reaches_a_network(table):
    x, y = table
    data = apc.Dataset.from_arrays(x, y)
    others = [
        apc.Dataset.from_arrays(x, y, normalisation="none"),
        apc.Dataset.from_arrays(x, y, normalisation=(0, 2)),
        apc.Dataset.from_arrays(x, y, classes=["a", "b", "c"]),
        apc.Dataset.from_arrays(x, np.roll(y, 1)),
        apc.Dataset.from_arrays(x + 1e-9, y),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 6


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda x, y: apc.Dataset.from_arrays(x, y[:-1]), "130 training samples and 129 labels"),
        (lambda x, y: apc.Dataset.from_arrays(np.where(x > 1e4, np.nan, x), y), "finite numbers, but sample"),
        (lambda x, y: apc.Dataset.from_arrays(np.ma.masked_less(x, 0), y), "masked"),
        (lambda x, y: apc.Dataset.from_arrays(x[:, 0], y), r"x\[:, None\]"),
        (lambda x, y: apc.Dataset.from_arrays(x.astype(str), y), "real numbers"),
        (lambda x, y: apc.Dataset.from_arrays(x, y - 1), "not class numbers"),
        (lambda x, y: apc.Dataset.from_arrays(x, y + 2000), "not class numbers, which count from 0: convert names"),
        (lambda x, y: apc.Dataset.from_arrays(x, y, classes=2), "must lie from 0 to 1, not 0 to 2"),
        (lambda x, y: apc.Dataset.from_arrays(x, y, test=(x, np.array(["a"] * 130))), "label 'a'"),
        (lambda x, y: apc.Dataset.from_arrays(x, np.array(["a", "b"])[y % 2], test=(x[:1], ["c"])), "label 'c'"),
        (lambda x, y: apc.Dataset.from_arrays(x, y, normalisation="z-score"), "it is standard, global, min-max, none"),
        (lambda x, y: apc.Dataset.from_arrays(x, y, normalisation=(np.zeros(4), 1)), "does not broadcast"),
        (lambda x, y: apc.Dataset.from_arrays(np.zeros((9, 3, 8, 8)), y[:9]), "look channels-first"),
        (lambda x, y: apc.Dataset.from_arrays(x, y, test=(x[:, :4], y)), "differ"),
        (lambda x, y: learn(x, y, outputs=2), "must lie|3 classes"),
        (lambda x, y: learn(x, y.astype(float)), "1 regression targets; class labels must be integers"),
        (lambda x, y: learn(x[:, :4], y, validation=(x[:, :3], y)), "differ"),
        (lambda x, y: learn(x, x[:, :3], rule=apc.Backprop(output="cross-entropy")), "squared error"),
        (lambda x, y: learn(x, y, division="stratified", validation=0.3, outputs=3, metrics=["f1"]), "no metric 'f1'"),
        (lambda x, y: apc.fit(apc.mlp([5, 3]), "bp", x, progress=False), "data must be a Dataset, two arrays"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(make, sentence, table):
    with pytest.raises(ValueError, match=sentence):
        make(*table)


def test_images_of_another_layout_are_refused(rng):
    net = apc.cnn([4], dense=(8,), input_shape=(8, 6, 3))
    images = rng.normal(size=(2, 8, 6, 3)).astype(np.float32)
    for turned in (images.transpose(0, 3, 1, 2), images.transpose(0, 2, 1, 3)):
        with pytest.raises(ValueError, match=r"takes samples of shape \(8, 6, 3\)"):
            net.predict(turned)
    np.testing.assert_array_equal(net.predict(images.reshape(2, -1)), net.predict(images))


def test_a_run_on_data_of_ones_own_says_that_it_needs_them(table, tmp_path):
    run = learn(*table, epochs=1)
    run.save(tmp_path / "run.h5")
    with pytest.raises(ResumeError, match="not in its file: pass them again"):
        apc.Run.load(tmp_path / "run.h5").train(epochs=1)
    with pytest.raises(ResumeError, match="fingerprints differ"):
        apc.Run.load(tmp_path / "run.h5").train((table[0] + 1, table[1]), epochs=1)


def test_studies_name_a_number_of_images():
    from analogpc.training.study_data import study_data

    data = study_data(apc.Study(rule="bp", train_images=100, test_images=30))
    assert (len(data.train_labels), len(data.test_labels)) == (100, 30)
    assert len(study_data(apc.Study(rule="bp", train_images=100)).test_labels) == 360


def test_archives_by_their_path(table, tmp_path):
    x, y = table
    np.savez(tmp_path / "mine.npz", x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
    data = apc.load_data(str(tmp_path / "mine.npz"))
    assert (data.splits, data.n_classes) == (("train", "test"), 3)
    np.savez(tmp_path / "other.npz", x=x)
    with pytest.raises(DataError, match="no array 'x_train'"):
        apc.load_data(str(tmp_path / "other.npz"))


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
