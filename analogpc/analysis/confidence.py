"""Calibration: agreement of confidence and accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from analogpc.analysis.undisturbed import undisturbed
from analogpc.data import Dataset
from analogpc.data.dataset import Split
from analogpc.dynamics.relaxation import softmax
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.random.streams import Key
from analogpc.networks import Hopfield
from analogpc.networks.network import Network

_BATCH = 500


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, in bins with nearly equal numbers of predictions, from least to most confident.

    Attributes
    ----------
    confidence : (bins,) float64 array
        Mean predicted probability.
    accuracy : (bins,) float64 array
        Share of correct predictions.
    count : (bins,) int64 array
        Number of predictions in each bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Mean of \\|accuracy - confidence\\| over the bins, weighted by the number of predictions: from 0 to 1."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.count))


def adaptive_calibration_error(
    probabilities: np.ndarray,
    labels: np.ndarray,
    bins: int = 15,
    *,
    form: Literal["top-label", "all-classes"] = "top-label",
) -> float:
    """Compute the expected calibration error over adaptive bins with equal numbers of predictions.

    Parameters
    ----------
    probabilities : (n, classes) array
        Class probabilities; rows with sum 1.
    labels : (n,) ints
    bins : int
        Number R of bins, from 1 to n. Equal probabilities stay together, so there may be fewer bins, and sample order is irrelevant.
    form : "top-label" or "all-classes"
        - "top-label": sum_r (n_r / n) \\|acc_r - conf_r\\| over bins of the largest probability of each sample, against whether
          that class was right: the expected calibration error (Guo et al., ICML 2017) on the adaptive bins of Nguyen and O'Connor
          (EMNLP 2015), who use the root mean square instead.
        - "all-classes": the ACE of Nixon et al. (CVPR workshops 2019), 1/(K R) sum_k sum_r \\|acc_kr - conf_kr\\|, over bins of the
          probability of every class k separately. Bins of different size are weighted by their size.

    Returns
    -------
    float
        Error from 0 to 1. For n perfectly calibrated predictions it is of the order of sqrt(bins / n), not 0.

    Raises
    ------
    ValueError
        If arrays, labels or bins are invalid.
    """
    probabilities, labels = _checked(probabilities, labels, bins)
    if form == "top-label":
        return reliability_curve(probabilities, labels, bins).error
    if form != "all-classes":
        raise ValueError(f"form = '{form}' is not allowed: it must be 'top-label' or 'all-classes'")
    return float(np.mean([_binned(p, labels == k, bins).error for k, p in enumerate(probabilities.T)]))


def reliability_curve(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """Compute confidence and accuracy in adaptive bins of the largest probability; for arguments see `adaptive_calibration_error`."""
    probabilities, labels = _checked(probabilities, labels, bins)
    return _binned(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def reliability(
    network: Network,
    data: Dataset,
    split: Split = "test",
    *,
    bins: int = 15,
    link: Literal["softmax", "clip", "none", "by-network"] = "by-network",
    key: Key | None = None,
) -> Reliability:
    """Compute confidence and accuracy of the predictions on a split, in adaptive bins.

    Parameters
    ----------
    network : Network
        Left unchanged.
    data : Dataset
    split : "train" or "test"
    bins : int
        See `adaptive_calibration_error`.
    link : str
        Conversion of outputs to probabilities: "softmax", for networks trained on the cross-entropy; "clip", clipping to 0 to 1 and
        division by the sum (uniform if that is 0), for networks trained on squared errors, whose outputs estimate probabilities;
        "none", for outputs that are probabilities. "by-network" is "none" for a Hopfield network with a softmax read-out, and
        otherwise "softmax".
    key : Key
        Key of the read noise; ``Key(0)`` by default.
    """
    if link == "by-network":
        own = isinstance(network.architecture, Hopfield) and network.architecture.readout == "softmax"
        link = "none" if own else "softmax"
    labels = data.train_labels if split == "train" else data.test_labels
    outputs = []
    with undisturbed(network, Key(0) if key is None else key):
        for start in range(0, len(labels), _BATCH):
            indices = np.arange(start, min(start + _BATCH, len(labels)))
            x = data.inputs(split, indices, dtype=network.architecture.dtype, backend=network.backend)
            outputs.append(to_host(network.predict(x)))
    flat = np.concatenate(outputs).reshape(len(labels), -1).astype(np.float64)
    return reliability_curve(_probabilities(flat, link), labels, bins)


def _probabilities(outputs: np.ndarray, link: str) -> np.ndarray:
    if link == "none":
        # In float64 the sum of float32 probabilities contains their rounding errors.
        return outputs / outputs.sum(axis=1, keepdims=True)
    if link == "softmax":
        return softmax(outputs)
    if link != "clip":
        raise ValueError(f"link = '{link}' is not allowed: it must be 'softmax', 'clip', 'none' or 'by-network'")
    clipped = np.clip(outputs, 0, 1)
    clipped[clipped.sum(axis=1) == 0] = 1
    return clipped / clipped.sum(axis=1, keepdims=True)


def _checked(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if probabilities.ndim != 2 or not len(probabilities) or probabilities.dtype.kind != "f":
        raise ValueError(f"probabilities must be (n, classes) numbers, not {probabilities.shape} of {probabilities.dtype}")
    n, classes = probabilities.shape
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be {n} integers from 0 to {classes - 1}")
    probabilities = probabilities.astype(np.float64)
    if not (np.all(probabilities >= 0) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)):
        raise ValueError("probabilities must not be negative, and have a sum of 1 in every row")
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or not 1 <= bins <= n:
        raise ValueError(f"bins = {bins} is not allowed: it must be from 1 to the number of samples, {n}")
    return probabilities, labels


def _binned(confidence: np.ndarray, right: np.ndarray, bins: int) -> Reliability:
    """Return means in bins with equal numbers of values; equal values stay together, in their lowest bin."""
    order = np.argsort(confidence, kind="stable")
    values, hits = confidence[order], right[order].astype(np.int64)
    wanted = np.round(np.arange(1, bins) * len(values) / bins).astype(np.intp)
    starts = np.unique(np.concatenate([[0], np.searchsorted(values, values[wanted[wanted < len(values)]])]))
    count = np.diff(np.append(starts, len(values)))
    return Reliability(np.add.reduceat(values, starts) / count, np.add.reduceat(hits, starts) / count, count)
