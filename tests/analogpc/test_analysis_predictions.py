"""Calibration against hand counts and simulated truth; corrupted images keep their shape, range and origin."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

import analogpc as apc
from analogpc.analysis import (
    adaptive_calibration_error,
    corrupted,
    corruption_names,
    recoloured,
    reliability,
    reliability_curve,
    rotated,
)
from analogpc.analysis.corruption import MissingExtraError
from analogpc.data import DataError
from analogpc.kernels.random.streams import Key


def two_classes(p):
    """Probabilities of class 1."""
    return np.stack([1 - np.asarray(p), p], axis=1)


def test_a_small_case_counted_by_hand():
    """Confidences .6 .7 | .8 1.0: right 1 of 2, then 2 of 2; |.5 - .65| / 2 + |1 - .9| / 2 = .125."""
    probabilities, labels = two_classes([0.8, 0.6, 0.3, 1.0]), np.array([1, 0, 0, 1])
    curve = reliability_curve(probabilities, labels, 2)
    np.testing.assert_allclose(curve.confidence, [0.65, 0.9])
    np.testing.assert_allclose(curve.accuracy, [0.5, 1.0])
    np.testing.assert_array_equal(curve.count, [2, 2])
    assert adaptive_calibration_error(probabilities, labels, 2) == pytest.approx(0.125)
    # Class 1: .3 .6 | .8 1.0, true 0 of 2, then 2 of 2: |0 - .45| / 2 + |1 - .9| / 2 = .275; class 0 is its mirror image.
    assert adaptive_calibration_error(probabilities, labels, 2, form="all-classes") == pytest.approx(0.275)


def test_bins_are_of_equal_mass_and_never_part_equal_values():
    """Ten predictions in three bins: 3, 4 and 3; with the middle six equal, the first boundary moves down to where they begin."""
    p = np.linspace(0.55, 1.0, 10)
    curve = reliability_curve(two_classes(p), np.ones(10, int), 3)
    np.testing.assert_array_equal(curve.count, [3, 4, 3])
    np.testing.assert_allclose(curve.confidence, [p[:3].mean(), p[3:7].mean(), p[7:].mean()])
    p[2:8] = 0.75
    np.testing.assert_array_equal(reliability_curve(two_classes(p), np.ones(10, int), 3).count, [2, 8])
    assert len(reliability_curve(two_classes(np.full(9, 0.7)), np.ones(9, int), 9).count) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", ["top-label", "all-classes"])
def test_calibrated_predictions_are_found_calibrated_and_others_not(seed, form):
    """Labels drawn with the very probabilities: every bin is off by a normal number of known variance.

    With bound 5 sigma in each of 15 bins, of up to 2 classes, a false alarm has a probability below 2e-5. Probabilities pushed outwards
    are off by the mean of what they were pushed by, to the same bound.
    """
    rng = np.random.default_rng(seed)
    n, bins = 30_000, 15
    p = rng.uniform(0, 1, n)
    labels = (rng.uniform(size=n) < p).astype(int)
    sigma = np.sqrt(np.mean(p * (1 - p)) / n * bins)
    assert 2 * 15 * 2 * norm.sf(5) < 2e-5
    found = adaptive_calibration_error(two_classes(p), labels, bins, form=form)
    assert 0 < found < 5 * sigma
    pushed = np.where(p > 0.5, 1 - 0.5 * (1 - p), 0.5 * p)
    off = np.mean(np.abs(pushed - p))
    assert adaptive_calibration_error(two_classes(pushed), labels, bins, form=form) == pytest.approx(off, abs=5 * sigma)


@given(
    raw=arrays(np.float64, st.tuples(st.integers(4, 40), st.integers(2, 4)), elements=st.integers(1, 4).map(float)),
    seed=st.integers(0, 10**6),
    form=st.sampled_from(["top-label", "all-classes"]),
)
@settings(max_examples=50, deadline=None)
def test_neither_the_order_of_the_samples_nor_that_of_the_classes_matters(raw, seed, form):
    """Ties between samples abound here; ties between the classes of one sample would make the prediction itself a matter of order."""
    rng = np.random.default_rng(seed)
    raw = raw + rng.permutation(raw.shape[1]) / 100
    probabilities, labels = raw / raw.sum(axis=1, keepdims=True), rng.integers(raw.shape[1], size=len(raw))
    bins = int(rng.integers(1, len(raw) + 1))
    value = adaptive_calibration_error(probabilities, labels, bins, form=form)
    assert 0 <= value <= 1
    order = rng.permutation(len(raw))
    assert adaptive_calibration_error(probabilities[order], labels[order], bins, form=form) == pytest.approx(value, abs=1e-14)
    classes = rng.permutation(raw.shape[1])
    renamed = adaptive_calibration_error(probabilities[:, classes], np.argsort(classes)[labels], bins, form=form)
    assert renamed == pytest.approx(value, abs=1e-14)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"probabilities": np.ones((4, 2))}, "have a sum of 1 in every row"),
        ({"probabilities": np.ones(4)}, r"must be \(n, classes\) numbers, not \(4,\) of float64"),
        ({"labels": np.array([0, 1, 2, 0])}, "labels must be 4 integers from 0 to 1"),
        ({"labels": np.zeros(3, int)}, "labels must be 4 integers"),
        ({"bins": 0}, "bins = 0 is not allowed: it must be from 1 to the number of samples, 4"),
        ({"form": "mean"}, "form = 'mean' is not allowed"),
    ],
)
def test_wrong_predictions_are_refused(change, sentence):
    fields = {"probabilities": two_classes([0.5, 0.6, 0.7, 0.8]), "labels": np.zeros(4, int), "bins": 2, **change}
    with pytest.raises(ValueError, match=sentence):
        adaptive_calibration_error(fields.pop("probabilities"), fields.pop("labels"), fields.pop("bins"), **fields)


@pytest.fixture(scope="module")
def digits():
    return apc.load_data("digits").take(60, 90)


def test_reliability_is_that_of_the_predictions(digits):
    network = apc.mlp([64, 10])
    outputs = network.predict(digits.inputs("test", range(90))).astype(np.float64)
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    by_softmax = reliability_curve(shifted / shifted.sum(axis=1, keepdims=True), digits.test_labels, 5)
    found = reliability(network, digits, bins=5)
    np.testing.assert_allclose(found.confidence, by_softmax.confidence)
    np.testing.assert_array_equal(found.accuracy, by_softmax.accuracy)
    assert np.average(found.accuracy, weights=found.count) == pytest.approx(apc.evaluate(network, digits))
    clipped = reliability(network, digits, "train", bins=5, link="clip")
    assert clipped.count.sum() == 60
    assert np.average(clipped.accuracy, weights=clipped.count) == pytest.approx(apc.evaluate(network, digits, "train"), abs=0.05)
    assert network.matrices()["layer1.0.weight"].meter.forward_reads == 90  # Of the prediction above.
    with pytest.raises(ValueError, match="link = 'sigmoid' is not allowed"):
        reliability(network, digits, link="sigmoid")


def test_a_softmax_read_out_gives_its_own_probabilities(digits):
    network = apc.Network(apc.Hopfield(widths=(64, 12, 10), readout="softmax", steps=5))
    outputs = network.predict(digits.inputs("test", range(90))).astype(np.float64)
    curve = reliability_curve(outputs / outputs.sum(axis=1, keepdims=True), digits.test_labels, 5)
    np.testing.assert_allclose(reliability(network, digits, bins=5).confidence, curve.confidence)


def images(shape, n=3, pixel_max=255.0):
    """Smooth images with noise, in which no corruption is without effect."""
    rng = np.random.default_rng(0)
    rows, columns = np.meshgrid(*(np.linspace(0, 1, side) for side in shape[:2]), indexing="ij")
    smooth = (rows * (1 - columns) * 0.8)[None, ..., None] + 0.2 * rng.uniform(size=(n, *shape))
    made = np.round(smooth * pixel_max).astype(np.uint8)
    channels = shape[2]
    labels = np.zeros(n, np.int64)
    return apc.Dataset("made", made, labels, made.copy(), labels, ("a",), (0.5,) * channels, (0.5,) * channels, pixel_max)


def library():
    return pytest.importorskip("imagecorruptions", reason="the extra 'robustness' (imagecorruptions-imaug) is not installed")


def test_without_the_library_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'analogpc\[robustness\]'"):
        corrupted(images((32, 32, 3)), "fog", 1)


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (40, 36, 1)])
def test_every_corruption_keeps_shape_and_range_and_leaves_the_data_alone(shape):
    library()
    data = images(shape)
    before = data.test_images.copy()
    assert len(corruption_names()) == 15
    for name in corruption_names("all"):
        made = corrupted(data, name, 3)
        assert made.name == f"made, {name} 3"
        assert made.test_images.shape == data.test_images.shape
        assert made.test_images.dtype == np.uint8
        np.testing.assert_array_equal(made.train_images, data.train_images)
        np.testing.assert_array_equal(made.test_labels, data.test_labels)
        if not (name == "saturate" and shape[2] == 1):
            assert np.any(made.test_images != data.test_images), name
        # Still of the same image: nearer to it than to a mirror image.
        apart = [np.abs(made.test_images.astype(float) - other).mean() for other in (data.test_images, data.test_images[:, ::-1])]
        assert apart[0] < apart[1], name
    np.testing.assert_array_equal(data.test_images, before)


@pytest.mark.parametrize("name", ["gaussian_noise", "impulse_noise", "glass_blur", "frost", "elastic_transform"])
def test_corruptions_are_keyed_and_leave_the_global_generator_alone(name):
    library()
    data = images((32, 32, 1), n=4)
    np.random.seed(3)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    made = corrupted(data, name, 2, key=Key(5)).test_images
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(made, corrupted(data, name, 2, key=Key(5)).test_images)
    np.testing.assert_array_equal(made[:2], corrupted(data.take(1, 2), name, 2, key=Key(5)).test_images)
    assert np.any(made != corrupted(data, name, 2, key=Key(6)).test_images)


@pytest.mark.parametrize("channels", [1, 3])
def test_gaussian_noise_has_the_strength_of_the_benchmark(channels):
    """Severity 3 is sigma = 0.18 of white, by Hendrycks' table; grey images too, and those whose white is 16.

    Over 20,480 pixels the standard error of a standard deviation is 0.5 %: 3 % are six of them, and rounding adds below 1 %.
    """
    library()
    for pixel_max in (255.0, 16.0):
        grey = np.full((20, 32, 32, channels), round(pixel_max / 2), np.uint8)
        labels = np.zeros(20, np.int64)
        data = apc.Dataset("grey", grey, labels, grey, labels, ("a",), (0.5,) * channels, (0.5,) * channels, pixel_max)
        noise = corrupted(data, "gaussian_noise", 3).test_images.astype(float) - grey
        # The middle of the range loses 0.3 % of a normal number of this width at each end.
        assert noise.std() / pixel_max == pytest.approx(0.18, rel=0.04)
        assert abs(noise.mean()) / pixel_max < 0.01


def test_accuracy_on_corrupted_images_falls_with_the_severity(digits):
    library()
    data = apc.load_data("digits")
    run = apc.fit(
        apc.mlp([64, 32, 10]),
        apc.Backprop(),
        data,
        epochs=5,
        batch_size=32,
        optimiser=apc.AdamW(learning_rate=5e-3),
        progress=False,
    )
    clean = apc.evaluate(run.network, data)
    noisy = [apc.evaluate(run.network, corrupted(data, "gaussian_noise", severity)) for severity in (1, 5)]
    assert clean > 0.9
    assert clean >= noisy[0] > noisy[1] + 0.03


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fogg", 1), "there is no corruption 'fogg'; the corruptions are gaussian_noise,"),
        (("fog", 6), "severity = 6 is not allowed: it must be a whole number from 1 to 5"),
        (("fog", 1.5), "severity = 1.5 is not allowed"),
    ],
)
def test_wrong_corruptions_are_refused(arguments, sentence):
    library()
    with pytest.raises(DataError, match=sentence):
        corrupted(images((32, 32, 3)), *arguments)
    with pytest.raises(DataError, match="there is no split 'validation'"):
        corrupted(images((32, 32, 3)), "fog", 1, split="validation")
    with pytest.raises(DataError, match="images of 2 channels cannot be corrupted"):
        corrupted(images((32, 32, 2)), "fog", 1)


def test_rotations_by_right_angles_permute_pixels_and_others_keep_the_centre_of_mass_on_its_circle():
    """A spot at distance r and angle a moves to angle a + 30 degrees; linear interpolation preserves its centre of mass."""
    data = apc.load_data("digits").take(20, 5)
    for turns in (1, 2, 3):
        found = rotated(data, 90 * turns)
        np.testing.assert_array_equal(found.test_images, np.rot90(data.test_images, turns, axes=(1, 2)))
        np.testing.assert_array_equal(found.train_images, data.train_images)
    spot = np.zeros((1, 33, 33, 1), np.float32)
    spot[0, 15:18, 25:28] = 1.0
    one = apc.data.Dataset("spot", spot, np.zeros(1, np.int64), spot, np.zeros(1, np.int64), ("a",), pixel_max=1.0)
    turned = rotated(one, 30).test_images[0, :, :, 0].astype(float)
    rows, columns = np.indices(turned.shape) - 16
    total = turned.sum()
    centre = (rows * turned).sum() / total, (columns * turned).sum() / total
    np.testing.assert_allclose(centre, (-10 * np.sin(np.pi / 6), 10 * np.cos(np.pi / 6)), atol=0.05)


def test_a_third_of_a_turn_of_hue_permutes_the_channels_and_a_whole_turn_changes_nothing():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)
    channels = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    data = apc.data.Dataset("noise", images, np.zeros(4, np.int64), images, np.zeros(4, np.int64), ("a",), **channels)
    np.testing.assert_array_equal(recoloured(data, 1 / 3).test_images, images[..., [2, 0, 1]])
    np.testing.assert_array_equal(recoloured(data, 1.0).test_images, images)
    some = recoloured(data, 0.1).test_images
    np.testing.assert_array_equal(some.max(axis=3), images.max(axis=3))
    assert not np.array_equal(some, images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: rotated(data, float("nan")), "degrees = nan"),
        (lambda data: recoloured(data, 0.2), "1 channels have no hue"),
        (lambda data: rotated(data, 30, split="validation"), "there is no split"),
    ],
)
def test_impossible_transformations_are_refused(change, words):
    with pytest.raises(DataError, match=words):
        change(apc.load_data("digits"))
