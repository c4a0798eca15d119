"""The data of a study: loaded by their name, cut, and with the part that is set apart for validation."""

from __future__ import annotations

from pathlib import Path

from analogpc.data import Dataset, load_data
from analogpc.kernels.random.streams import Key
from analogpc.training.study import Study


def study_data(study: Study, *, data_dir: str | Path | None = None) -> Dataset:
    """The data of a study by their name, cut to as many images as it says."""
    data = load_data(study.dataset, data_dir=data_dir, augment=study.augment)
    if not (study.train_images or study.test_images):
        return data
    return data.take(study.train_images or len(data.train_labels), study.test_images or None)


def with_holdout(study: Study, data: Dataset) -> Dataset:
    """Data with the validation part that a study sets apart."""
    return data.holdout(study.holdout, Key(study.seed).fold("holdout"), study.division) if study.holdout else data
