"""The data of a study: loaded by their name, cut, and with the part that is set apart for validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analogpc.data import DataDescription, Dataset, as_dataset, check_name, load_data
from analogpc.kernels.random.streams import Key
from analogpc.training.position import ResumeError
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


def data_again(study: Study, known: DataDescription, data: Any, validation: Any, test: Any) -> Dataset:
    """The data of a run that is under way, with their validation part.

    Parameters
    ----------
    study : Study
    known : DataDescription
        The data with which the run began.
    data, validation, test
        See `Run.train`.

    Raises
    ------
    ResumeError
        If they are not the data with which the run began.
    """
    if data is None:
        if not _can_be_loaded(known.name):
            raise ResumeError(
                f"the run learns data of your own, '{known.name}', which are not in its file: give them again, as in "
                "run.train((x, y), test=(x_test, y_test))"
            )
        data = study_data(study)
    elif not isinstance(data, Dataset):
        data = as_dataset(data, validation=validation, test=test, known=None if isinstance(data, str) else known)
    if data.fingerprint != known.fingerprint:
        raise ResumeError(f"the run began with other data than this '{data.name}': the fingerprints differ")
    return with_holdout(study, data)


def _can_be_loaded(name: str) -> bool:
    try:
        check_name(name)
    except ValueError:
        return False
    return True
