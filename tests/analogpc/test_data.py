"""Data: published formats, refused damage, search order, normalisation and augmentation."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from analogpc.data import Augmentation, DataError, Dataset, load_data
from analogpc.data import loaders as module
from analogpc.data.sources import SOURCES
from analogpc.kernels.streams import Key


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No test reaches beyond this machine or into the user's cache."""
    import pooch

    def refuse(url, **_):
        raise OSError("no internet here")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("ANALOGPC_DATA", raising=False)


def write_idx(path, array, zipped=True):
    head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    content = head + array.tobytes()
    if zipped:
        Path(f"{path}.gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def idx_set(folder, rng, zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = []
    for name, n in (("train", 12), ("t10k", 5)):
        images, labels = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10
        write_idx(folder / f"{name}-images-idx3-ubyte", images, zipped)
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels, zipped)
        arrays += [images, labels]
    return arrays


def cifar_set(folder, rng, name):
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = [], []
    for file in SOURCES[name].files:
        x, y = rng.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, (4, 1), dtype=np.uint8)
        coarse = [np.full((4, 1), 19, np.uint8)] if name == "cifar100" else []
        np.concatenate([*coarse, y, x.reshape(4, -1)], 1).tofile(folder / file)
        images.append(x)
        labels.append(y[:, 0])
    return images, labels


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_are_read(tmp_path, rng, name, zipped):
    train, train_labels, test, test_labels = idx_set(tmp_path, rng, zipped)
    data = load_data(name, data_dir=tmp_path)
    np.testing.assert_array_equal(data.train_images[..., 0], train)
    np.testing.assert_array_equal(data.test_images[..., 0], test)
    np.testing.assert_array_equal(data.train_labels, train_labels)
    np.testing.assert_array_equal(data.test_labels, test_labels)
    assert data.train_labels.dtype == np.int64
    assert not data.augmentation.active


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_records_are_read_channel_by_channel(tmp_path, rng, name):
    images, labels = cifar_set(tmp_path / SOURCES[name].folders[0], rng, name)
    data = load_data(name, data_dir=tmp_path)
    np.testing.assert_array_equal(data.train_images.transpose(0, 3, 1, 2), np.concatenate(images[:-1]))
    np.testing.assert_array_equal(data.train_labels, np.concatenate(labels[:-1]))
    np.testing.assert_array_equal(data.test_labels, labels[-1])
    assert data.augmentation == Augmentation(crop_padding=4, flip=True)
    assert not load_data(name, data_dir=tmp_path, augment=False).augmentation.active


def test_svhn_is_read_and_its_tens_are_zeros(tmp_path, rng):
    for split, n in (("train", 12), ("test", 4)):
        images, labels = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8), (np.arange(n) % 10 + 1)[:, None]
        savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": labels})
    data = load_data("svhn", data_dir=tmp_path)
    np.testing.assert_array_equal(data.test_images[2], images[..., 2])
    np.testing.assert_array_equal(data.train_labels[:10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 0])


def damage(path, cut=7):
    path.write_bytes(path.read_bytes()[:-cut])


def test_damaged_files_are_refused_by_name(tmp_path, rng):
    idx_set(tmp_path / "a", rng, zipped=False)
    damage(tmp_path / "a" / "train-images-idx3-ubyte")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is truncated or damaged: its head announces \(12, 28, 28\)"):
        load_data("mnist", data_dir=tmp_path / "a")
    idx_set(tmp_path / "b", rng)
    damage(tmp_path / "b" / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz cannot be read"):
        load_data("mnist", data_dir=tmp_path / "b")
    idx_set(tmp_path / "c", rng, zipped=False)
    (tmp_path / "c" / "train-images-idx3-ubyte").write_bytes(b"hello")
    with pytest.raises(DataError, match="is not an IDX file of bytes with 3 dimensions"):
        load_data("mnist", data_dir=tmp_path / "c")
    cifar_set(tmp_path / "d", rng, "cifar10")
    damage(tmp_path / "d" / "data_batch_3.bin")
    with pytest.raises(
        DataError, match=r"data_batch_3\.bin is truncated or damaged: 12285 bytes are not a whole number of records of 3073"
    ):
        load_data("cifar10", data_dir=tmp_path / "d")
    for split in ("train", "test"):
        (tmp_path / f"{split}_32x32.mat").write_bytes(b"not matlab at all")
    with pytest.raises(DataError, match=r"train_32x32\.mat is not a MATLAB file"):
        load_data("svhn", data_dir=tmp_path)


def test_files_are_looked_for_in_order(tmp_path, rng, monkeypatch):
    """An explicit folder, then the environment, then the system, then the internet."""
    sets = {place: idx_set(tmp_path / place / "fashion-mnist", rng)[0] for place in ("explicit", "environment", "system")}

    def found():
        return load_data("fashion-mnist").train_images[..., 0]

    from dataclasses import replace

    monkeypatch.setitem(SOURCES, "fashion-mnist", replace(SOURCES["fashion-mnist"], system=str(tmp_path / "system")))
    np.testing.assert_array_equal(found(), sets["system"])
    monkeypatch.setenv("ANALOGPC_DATA", str(tmp_path / "environment"))
    np.testing.assert_array_equal(found(), sets["environment"])
    explicit = load_data("fashion-mnist", data_dir=tmp_path / "explicit").train_images[..., 0]
    np.testing.assert_array_equal(explicit, sets["explicit"])
    monkeypatch.setenv("ANALOGPC_DATA", str(tmp_path / "nowhere"))
    np.testing.assert_array_equal(found(), sets["system"])


def test_an_explicit_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not hold the files of 'mnist': train-images-idx3-ubyte"):
        load_data("mnist", data_dir=tmp_path)


def test_missing_data_name_the_two_ways_to_get_them():
    with pytest.raises(
        DataError, match=r"'svhn' is not on this machine.*run again with internet, or point --data-dir or .*ANALOGPC_DATA"
    ):
        load_data("svhn")


def test_downloads_are_checked_and_mirrors_tried(tmp_path, rng, monkeypatch):
    """The published checksum goes with every request; a failing mirror is passed over."""
    import pooch

    asked = []
    idx_set(tmp_path / "server", rng)

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append((url, known_hash))
        if url.startswith(SOURCES["mnist"].mirrors[0]):
            raise OSError("mirror is down")
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / fname).write_bytes((tmp_path / "server" / fname).read_bytes())

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(load_data("mnist").train_labels) == 12
    assert len(asked) == 8
    assert asked[0][1] == asked[1][1] == "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"


def test_a_wrong_checksum_is_refused(tmp_path, monkeypatch):
    """pooch itself refuses what does not have the published checksum."""
    import pooch

    monkeypatch.undo()
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)

    def serve(url, output_file, _):
        Path(output_file).write_bytes(b"not the data")

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: serve)
    with pytest.raises(DataError, match="'svhn' is not on this machine and could not be downloaded"):
        load_data("svhn")
    assert not list(tmp_path.rglob("*.mat"))


def test_unknown_names_are_refused():
    with pytest.raises(DataError, match="there is no data set 'emnist'; the data sets are digits, mnist, fashion-mnist"):
        load_data("emnist")


def test_digits_are_split_in_proportion_and_normalised_by_their_own_numbers():
    data = load_data("digits")
    assert (len(data.train_labels), len(data.test_labels)) == (1437, 360)
    total = np.bincount(np.concatenate([data.train_labels, data.test_labels]))
    np.testing.assert_allclose(np.bincount(data.test_labels), total * 360 / 1797, atol=1)
    pixels = data.train_images / 16
    assert pytest.approx((pixels.mean(), pixels.std()), abs=1e-4) == (module.DIGITS_MEAN, module.DIGITS_STD)
    seen = {image.tobytes() for image in data.train_images} & {image.tobytes() for image in data.test_images}
    assert not seen


def test_the_published_fashion_mnist_is_what_it_should_be():
    source = SOURCES["fashion-mnist"]
    if not os.path.isdir(source.system):
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    data = load_data("fashion-mnist")
    assert data.train_images.shape == (60_000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(data.train_labels), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(data.test_labels), [1000] * 10)
    pixels = data.train_images / 255
    assert (pixels.mean(), pixels.std()) == pytest.approx((0.2860, 0.3530), abs=1e-4)


@pytest.fixture
def small(rng):
    images, labels = rng.integers(0, 256, (50, 6, 7, 3), dtype=np.uint8), rng.integers(0, 4, 50)
    return Dataset(
        "small",
        images[:40],
        labels[:40],
        images[40:],
        labels[40:],
        classes=tuple("abcd"),
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 0.6, 0.7),
        augmentation=Augmentation(crop_padding=2, flip=True),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_are_normalised_in_the_type_asked_for(small, dtype):
    x = small.inputs("train", [3, 1], dtype=dtype)
    assert x.dtype == dtype
    expected = (small.train_images[[3, 1]] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    np.testing.assert_allclose(
        x, expected, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6 if dtype == "float32" else 1e-13
    )


def test_augmentation_depends_on_the_image_and_the_epoch_alone(small):
    key = Key(3)
    whole = small.inputs("train", np.arange(40), augment_key=key, epoch=2)
    part = small.inputs("train", [7, 30, 2], augment_key=key, epoch=2)
    np.testing.assert_array_equal(part, whole[[7, 30, 2]])
    assert not np.array_equal(whole, small.inputs("train", np.arange(40), augment_key=key, epoch=3))
    np.testing.assert_array_equal(small.inputs("test", [1], augment_key=key), small.inputs("test", [1]))


def test_every_augmented_image_is_a_crop_or_its_mirror_image(small):
    """All 25 offsets and both orientations occur, nothing else does."""
    augmentation, key = small.augmentation, Key(5)
    image = small.train_images[:1]
    padded = np.pad(image[0], ((2, 2), (2, 2), (0, 0)))
    crops = {}
    for top in range(5):
        for left in range(5):
            crop = padded[top : top + 6, left : left + 7]
            crops[crop.tobytes()] = (top, left, False)
            crops[np.ascontiguousarray(crop[:, ::-1]).tobytes()] = (top, left, True)
    seen = [crops[augmentation.apply(image, np.array([0]), 40, key, epoch)[0].tobytes()] for epoch in range(600)]
    assert set(seen) == set(crops.values())


def test_take_and_holdout_cut_as_they_say(small):
    few = small.take(10, 5)
    assert (len(few.train_labels), len(few.test_labels)) == (10, 5)
    with pytest.raises(DataError, match="n_train = 41 is not from 1 to 40"):
        small.take(41, 5)
    part = small.holdout(0.25, Key(1))
    assert (len(part.train_labels), len(part.test_labels)) == (30, 10)
    together = np.concatenate([part.train_images, part.test_images])
    assert {i.tobytes() for i in together} == {i.tobytes() for i in small.train_images}
    with pytest.raises(DataError, match="leaves nothing on one side"):
        small.holdout(0.001, Key(1))


def test_fingerprints_tell_data_apart(small):
    assert small.fingerprint == small.take(40, 10).fingerprint
    assert small.fingerprint != small.take(40, 9).fingerprint


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_images": np.zeros((40, 6, 7, 3))}, "bytes"),
        ({"train_labels": np.zeros(40, np.int32)}, "int64"),
        ({"train_labels": np.full(40, 4)}, "must lie from 0 to 3"),
        ({"test_images": np.zeros((10, 5, 7, 3), np.uint8)}, "differ"),
        ({"mean": (0.1,)}, "one number for each of 3 channels"),
        ({"std": (0.1, 0.0, 0.1)}, "must be positive"),
    ],
)
def test_data_of_ones_own_are_checked(small, changes, sentence):
    from dataclasses import replace

    with pytest.raises(DataError, match=sentence):
        replace(small, **changes)
