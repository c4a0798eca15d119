"""Data sets in memory: normalisation, augmentation, cuts, refusals, and the two sets that can be checked against their own images."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.data import Augmentation, DataError, Dataset, load_data
from analogpc.data import loaders as module
from analogpc.data.sources import SOURCES
from analogpc.kernels.random.streams import Key


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


def test_digits_are_split_in_proportion_and_normalised_by_their_own_numbers():
    data = load_data("digits")
    assert (len(data.train_labels), len(data.test_labels)) == (1437, 360)
    total = np.bincount(np.concatenate([data.train_labels, data.test_labels]))
    # Rounding by largest remainders is off by less than one image in any class.
    assert np.abs(np.bincount(data.test_labels) - total * 360 / 1797).max() < 1
    pixels = data.train_images / 16
    assert pytest.approx((pixels.mean(), pixels.std()), abs=5e-5) == (module.DIGITS_MEAN, module.DIGITS_STD)
    seen = {image.tobytes() for image in data.train_images} & {image.tobytes() for image in data.test_images}
    assert not seen
    assert data.train_images.max() == data.pixel_max == 16
    assert load_data().fingerprint == data.fingerprint


def test_the_digits_are_those_of_scikit_learn():
    """Every image is there once, with its own label."""
    from sklearn.datasets import load_digits

    raw, data = load_digits(), load_data("digits")
    expected = sorted((image.astype(np.uint8).tobytes(), label) for image, label in zip(raw.images, raw.target, strict=True))
    images, labels = np.concatenate([data.train_images, data.test_images]), np.concatenate([data.train_labels, data.test_labels])
    assert sorted((image.tobytes(), label) for image, label in zip(images, labels, strict=True)) == expected


def test_the_digits_are_found_where_scikit_learn_keeps_their_file_elsewhere(monkeypatch):
    expected = module._digits_table()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    found = module._digits_table()
    assert (found.dtype, found.shape) == (np.uint8, (1797, 65))
    np.testing.assert_array_equal(found, expected)


def test_the_published_fashion_mnist_is_what_it_should_be(monkeypatch):
    monkeypatch.delenv("ANALOGPC_DATA", raising=False)
    system = Path(SOURCES["fashion-mnist"].system)
    if not (system / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    data = load_data("fashion-mnist")
    assert data.train_images.shape == (60_000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(data.train_labels), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(data.test_labels), [1000] * 10)
    counts = np.bincount(data.train_images.ravel(), minlength=256) / data.train_images.size
    values = np.arange(256) / 255
    mean = counts @ values
    assert (mean, np.sqrt(counts @ (values - mean) ** 2)) == pytest.approx((*data.mean, *data.std), abs=6e-5)
    with pytest.raises(DataError, match=r"does not contain the images of 'mnist': their mean is \[0\.286\], not \[0\.1307\]"):
        load_data("mnist", data_dir=system)


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 2e-6), ("float64", 1e-14)])
def test_inputs_are_normalised_in_the_type_asked_for(small, dtype, rounding):
    x = small.inputs("train", [3, 1], dtype=dtype)
    assert x.dtype == dtype
    expected = (small.train_images[[3, 1]] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    np.testing.assert_allclose(x, expected, rtol=0, atol=rounding)
    np.testing.assert_array_equal(small.labels("test", [3, 1]), small.test_labels[[3, 1]])
    assert small.inputs("train", []).shape == (0, *small.input_shape)


@settings(deadline=None)
@given(batch=st.lists(st.integers(0, 39), max_size=12), epoch=st.integers(0, 2**40), seed=st.integers(0, 2**64 - 1))
def test_augmentation_depends_on_the_image_and_the_epoch_alone(batch, epoch, seed):
    images = np.random.default_rng(1).integers(0, 256, (40, 5, 5, 2), dtype=np.uint8)
    data = Dataset("own", images, np.zeros(40, np.int64), images, np.zeros(40, np.int64), ("a",), (0.5, 0.5), (1, 1))
    data = replace(data, augmentation=Augmentation(crop_padding=2, flip=True))
    whole = data.inputs("train", np.arange(40), augment_key=Key(seed), epoch=epoch)
    part = data.inputs("train", batch, augment_key=Key(seed), epoch=epoch)
    np.testing.assert_array_equal(part, whole[np.array(batch, int)])
    # The first images of a longer set are treated alike.
    few = data.take(20, 1).inputs("train", np.arange(20), augment_key=Key(seed), epoch=epoch)
    np.testing.assert_array_equal(few, whole[:20])


def test_augmentation_changes_with_the_epoch_and_the_key_and_spares_the_test_images(small):
    everything = np.arange(40)
    whole = small.inputs("train", everything, augment_key=Key(3), epoch=2)
    assert not np.array_equal(whole, small.inputs("train", everything, augment_key=Key(3), epoch=3))
    assert not np.array_equal(whole, small.inputs("train", everything, augment_key=Key(4), epoch=2))
    np.testing.assert_array_equal(small.inputs("test", [1], augment_key=Key(3)), small.inputs("test", [1]))


@pytest.mark.parametrize("mode", ["constant", "edge"])
def test_every_crop_and_both_orientations_are_equally_likely(rng, mode):
    """Each augmented image is one of the 25 crops or a mirror image; chi-squared over the 50 outcomes.

    With 49 degrees of freedom the statistic exceeds 113 once in a million times.
    """
    image, n = rng.integers(1, 256, (6, 7, 3), dtype=np.uint8), 10_000
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode=mode)
    outcomes = {}
    for top in range(5):
        for left in range(5):
            crop = padded[top : top + 6, left : left + 7]
            outcomes[crop.tobytes()] = outcomes.get(crop.tobytes(), 0) + 1
            mirrored = crop[:, ::-1].tobytes()
            outcomes[mirrored] = outcomes.get(mirrored, 0) + 1
    assert len(outcomes) == 50
    augmentation = Augmentation(crop_padding=2, padding_mode=mode, flip=True)
    results = augmentation.apply(np.broadcast_to(image, (n, 6, 7, 3)), np.arange(n), n, Key(5), 0)
    seen = dict.fromkeys(outcomes, 0)
    for result in results:
        seen[result.tobytes()] += 1
    counts = np.array(list(seen.values()))
    assert ((counts - n / 50) ** 2 / (n / 50)).sum() < 113


def test_black_is_added_before_normalisation(small):
    """As torchvision crops: what lies outside of the image becomes -mean / std, not 0."""
    data = replace(small, train_images=np.full_like(small.train_images, 255))
    x = data.inputs("train", np.arange(40), dtype="float64", augment_key=Key(0))
    black, white = -np.array(data.mean) / data.std, (1 - np.array(data.mean)) / data.std
    outside = np.isclose(x, black, atol=1e-12, rtol=0).all(-1)
    assert outside.any()
    assert np.isclose(x[~outside], white, atol=1e-12, rtol=0).all()


def test_augmentation_survives_toml():
    augmentation = Augmentation(crop_padding=4, padding_mode="edge", flip=True)
    assert Augmentation.from_toml(augmentation.to_toml()) == augmentation
    with pytest.raises(ValueError, match="crop_padding = -1 is not allowed"):
        Augmentation(crop_padding=-1)


def test_take_and_holdout_cut_as_they_say(small):
    few = small.take(10, 5)
    np.testing.assert_array_equal(few.train_images, small.train_images[:10])
    np.testing.assert_array_equal(few.test_labels, small.test_labels[:5])
    part = small.holdout(0.25, Key(1))
    assert [len(labels) for labels in (part.train_labels, part.validation_labels, part.test_labels)] == [30, 10, 10]
    pairs = [(image.tobytes(), label) for image, label in zip(small.train_images, small.train_labels, strict=True)]
    cut = [
        (image.tobytes(), label)
        for images, labels in ((part.train_images, part.train_labels), (part.validation_images, part.validation_labels))
        for image, label in zip(images, labels, strict=True)
    ]
    assert sorted(cut) == sorted(pairs)
    assert part.fingerprint == small.holdout(0.25, Key(1)).fingerprint != small.holdout(0.25, Key(2)).fingerprint


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        (lambda data: data.take(41, 5), "n_train = 41 is not from 1 to 40"),
        (lambda data: data.take(10, 0), "n_test = 0 is not from 1 to 10"),
        (lambda data: data.take(2.5, 5), "n_train = 2.5 is not from 1 to 40"),
        (lambda data: data.holdout(0.001, Key(1)), "holdout = 0.001 of 40 training images leaves one part empty"),
        (lambda data: data.holdout(float("nan"), Key(1)), "leaves one part empty"),
        (lambda data: data.inputs("train", [0, 40]), "indices from 0 to 40 are not within the 40 train images"),
        (lambda data: data.labels("test", [-1]), "indices from -1 to -1 are not within the 10 test images"),
        (lambda data: data.inputs("train", [0.5]), "integers, not .* float64"),
        (lambda data: data.inputs("train", np.ones(40, bool)), "integers, not .* bool"),
        (lambda data: data.inputs("train", [0], dtype="int32"), "dtype = int32 is not allowed"),
        (lambda data: data.inputs("valid", [0]), "there is no split 'valid'"),
    ],
)
def test_what_is_not_there_is_refused(small, cut, sentence):
    with pytest.raises(DataError, match=sentence):
        cut(small)


def test_fingerprints_tell_data_apart(small):
    assert small.fingerprint == small.take(40, 10).fingerprint
    assert small.fingerprint != small.take(40, 9).fingerprint
    changed = small.train_images.copy()
    changed[3, 2, 1, 0] ^= 1
    assert small.fingerprint != replace(small, train_images=changed).fingerprint


def test_images_cannot_be_changed_through_the_data_set(small):
    with pytest.raises(ValueError, match="read-only"):
        small.train_images[0] = 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_images": [[0]]}, "train_images must be a NumPy array, not list"),
        ({"train_images": np.zeros((40, 6, 7, 3), complex)}, "must be real numbers, not complex128"),
        ({"train_images": np.full((40, 6, 7, 3), np.nan)}, "finite numbers, but sample 0"),
        ({"train_images": np.zeros((0, 6, 7, 3), np.uint8), "train_labels": np.zeros(0, np.int64)}, "not of shape"),
        ({"train_labels": np.zeros(40, np.int32)}, "int64"),
        ({"train_labels": np.zeros(39, np.int64)}, "must be 40 int64 numbers"),
        ({"train_labels": np.full(40, 4)}, "must lie from 0 to 3, not 4 to 4"),
        ({"test_labels": np.full(10, -1)}, "test_labels must lie from 0 to 3"),
        ({"test_images": np.zeros((10, 5, 7, 3), np.uint8)}, "differ"),
        ({"mean": (0.1,)}, "mean must have one number for each of 3 channels"),
        ({"mean": (0.1, np.nan, 0.1)}, "mean must be finite numbers"),
        ({"std": (0.1, 0.0, 0.1)}, "must be positive"),
        ({"pixel_max": float("nan")}, "pixel_max = nan is not allowed"),
        ({"augmentation": None}, "augmentation must be an Augmentation, not None"),
    ],
)
def test_data_of_ones_own_are_checked(small, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        replace(small, **changes)


def test_loading_the_digits_loads_no_library_that_only_other_loaders_need():
    others = ("sklearn", "pandas", "scipy.io", "pooch", "requests")
    code = f"import sys, analogpc.data as data; data.load_data(); print(*(m for m in {others} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == []
