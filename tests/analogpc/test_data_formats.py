"""Data files: published formats, and damage refused by the name of the file."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.io import savemat

from analogpc.data import Augmentation, DataError, load_data
from analogpc.data.loaders import _idx
from analogpc.data.sources import SOURCES


def write_idx(path, array, zipped=True):
    content = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    if zipped:
        Path(f"{path}.gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def idx_set(folder, rng, zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, n in (("train", 12), ("t10k", 5)):
        images, labels = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10
        write_idx(folder / f"{name}-images-idx3-ubyte", images, zipped)
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels, zipped)
        written += [images, labels]
    return written


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


def svhn_set(folder, rng, labels=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)):
    for split in ("train", "test"):
        images = rng.integers(0, 256, (32, 32, 3, len(labels)), dtype=np.uint8)
        savemat(folder / f"{split}_32x32.mat", {"X": images, "y": np.array(labels)[:, None]})
    return images


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
    images = svhn_set(tmp_path, rng)
    data = load_data("svhn", data_dir=tmp_path)
    np.testing.assert_array_equal(data.test_images[2], images[..., 2])
    np.testing.assert_array_equal(data.train_labels, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0])


@settings(deadline=None)
@given(values=arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(3), st.just(2))), data=st.data())
def test_any_cut_of_an_idx_file_is_refused(tmp_path_factory, values, data):
    path = tmp_path_factory.mktemp("idx") / "images"
    write_idx(path, values, zipped=False)
    np.testing.assert_array_equal(_idx(path, 3, 2), values)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError, match="images is"):
        _idx(path, 3, 2)


def damage(path, cut=7):
    path.write_bytes(path.read_bytes()[:-cut])


@pytest.mark.parametrize(
    ("name", "break_it", "sentence"),
    [
        (
            "mnist",
            lambda at: damage(at / "train-images-idx3-ubyte"),
            r"train-images-idx3-ubyte is truncated or damaged: its header gives \(12, 28, 28\), but 9401 bytes follow",
        ),
        (
            "mnist",
            lambda at: (at / "t10k-images-idx3-ubyte").write_bytes(b"hello"),
            "t10k-images-idx3-ubyte is not an IDX file of bytes with 3 dimensions",
        ),
        (
            "mnist",
            lambda at: write_idx(at / "train-images-idx3-ubyte", np.zeros((12, 8, 8), np.uint8), zipped=False),
            r"train-images-idx3-ubyte should hold items of shape \(28, 28\), and 1 to 1048576 of them, not \(12, 8, 8\)",
        ),
        (
            "mnist",
            lambda at: write_idx(at / "train-labels-idx1-ubyte", np.zeros(11, np.uint8), zipped=False),
            "train-labels-idx1-ubyte holds 11 labels for 12 images",
        ),
        (
            "mnist",
            lambda at: write_idx(at / "t10k-labels-idx1-ubyte", np.full(5, 10, np.uint8), zipped=False),
            "t10k-labels-idx1-ubyte is damaged: it has the label 10, and 9 is the last",
        ),
        (
            "cifar10",
            lambda at: damage(at / "data_batch_3.bin"),
            r"data_batch_3\.bin is truncated or damaged: 12285 bytes are not a whole number of records of 3073",
        ),
        (
            "cifar100",
            lambda at: (at / "test.bin").write_bytes(b""),
            r"test\.bin is truncated or damaged: 0 bytes are not a whole number of records of 3074",
        ),
        (
            "cifar10",
            lambda at: (at / "test_batch.bin").write_bytes(bytes([77] * 3073)),
            r"test_batch\.bin is damaged: it has the label 77",
        ),
        ("svhn", lambda at: (at / "train_32x32.mat").write_bytes(b"not matlab at all"), r"train_32x32\.mat is not a MATLAB file"),
        ("svhn", lambda at: damage(at / "test_32x32.mat", 9000), r"test_32x32\.mat is not a MATLAB file"),
        (
            "svhn",
            lambda at: savemat(at / "test_32x32.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1], [11]])}),
            r"test_32x32\.mat is damaged: the labels y must be whole numbers from 1 to 10",
        ),
        (
            "svhn",
            lambda at: savemat(at / "test_32x32.mat", {"X": np.zeros((32, 32, 2), np.uint8), "y": np.array([[1]])}),
            r"test_32x32\.mat should hold bytes X of shape \(32, 32, 3, n\), not \(32, 32, 2\)",
        ),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, rng, name, break_it, sentence):
    if name == "mnist":
        idx_set(tmp_path, rng, zipped=False)
    elif name == "svhn":
        svhn_set(tmp_path, rng)
    else:
        cifar_set(tmp_path, rng, name)
    load_data(name, data_dir=tmp_path)
    break_it(tmp_path)
    with pytest.raises(DataError, match=sentence):
        load_data(name, data_dir=tmp_path)


def test_a_cut_gzip_file_is_refused_by_name(tmp_path, rng):
    idx_set(tmp_path, rng)
    damage(tmp_path / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz cannot be read"):
        load_data("mnist", data_dir=tmp_path)


def test_full_sets_of_other_images_are_refused(tmp_path, rng, monkeypatch):
    """MNIST and Fashion-MNIST have the same file names; in full size their means tell them apart."""
    images = idx_set(tmp_path, rng)[0]
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], n_train=12))
    with pytest.raises(DataError, match=r"does not contain the images of 'mnist': their mean is \[0\.\d+\], not \[0\.1307\]"):
        load_data("mnist", data_dir=tmp_path)
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], n_train=12, mean=(images.mean() / 255,)))
    assert len(load_data("mnist", data_dir=tmp_path).train_labels) == 12


@pytest.mark.parametrize(
    ("name", "first", "last"), [("cifar100", "apple", "worm"), ("fashion-mnist", "T-shirt/top", "Ankle boot")]
)
def test_classes_are_the_published_ones_in_order(name, first, last):
    classes = SOURCES[name].classes
    assert (classes[0], classes[-1], len(set(classes))) == (first, last, 100 if name == "cifar100" else 10)


@pytest.mark.parametrize("announced", [12, 2**32 - 1])
def test_a_small_file_that_unpacks_to_much_is_refused_before_it_has(tmp_path, rng, announced):
    """256 MiB of zeros behind a head that announces a few images, or more than there can be."""
    import resource

    idx_set(tmp_path, rng)
    head = bytes((0, 0, 8, 3)) + np.array((announced, 28, 28), ">u4").tobytes()
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(256):
            file.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"gives \(12, 28, 28\), but more bytes follow|and 1 to 1048576 of them, not"):
        load_data("mnist", data_dir=tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


def test_archives_are_refused_where_they_are_damaged_or_unpack_to_more_than_there_is_memory_for(tmp_path, monkeypatch):
    from analogpc.kernels import checks

    path = tmp_path / "own.npz"
    np.savez_compressed(path, x_train=np.zeros((2**10, 2**10)), y_train=np.arange(2**10) % 3)
    assert len(load_data(str(path)).train_labels) == 2**10
    monkeypatch.setattr(checks, "memory_bytes", lambda: 2.0**20)
    with pytest.raises(ValueError, match=r"own\.npz unpacks to would take .* of memory"):
        load_data(str(path))
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"own\.npz is not a NumPy archive that can be read"):
        load_data(str(path))
