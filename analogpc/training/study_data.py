"""The data of a study: loaded by name, truncated, and split for validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analogpc.data import DataDescription, Dataset, as_dataset, check_name, load_data
from analogpc.kernels.random.streams import Key
from analogpc.training.position import ResumeError
from analogpc.training.study import Study


def study_data(study: Study, *, data_dir: str | Path | None = None) -> Dataset:
    """Load the data of a study by name, truncated to its number of images."""
    data = load_data(study.dataset, data_dir=data_dir, augment=study.augment)
    if not (study.train_images or study.test_images):
        return data
    return data.take(study.train_images or len(data.train_labels), study.test_images or None)


def with_holdout(study: Study, data: Dataset) -> Dataset:
    """Return data with the validation part held out by a study."""
    return data.holdout(study.holdout, Key(study.seed).fold("holdout"), study.division) if study.holdout else data


def data_again(study: Study, known: DataDescription, data: Any, validation: Any, test: Any) -> Dataset:
    """Return the data of a run to resume, with the validation part.

    Parameters
    ----------
    study : Study
    known : DataDescription
        Description of the data with which the run started.
    data, validation, test
        See `Run.train`.

    Raises
    ------
    ResumeError
        If they are not the data with which the run started.
    """
    if data is None:
        if not _can_be_loaded(known.name):
            raise ResumeError(
                f"the run was trained on your own data '{known.name}', which are not in its file: pass them again, as in "
                "run.train((x, y), test=(x_test, y_test))"
            )
        data = study_data(study)
    elif not isinstance(data, Dataset):
        data = as_dataset(data, validation=validation, test=test, known=None if isinstance(data, str) else known)
    if data.fingerprint != known.fingerprint:
        raise ResumeError(f"'{data.name}' is not the data set with which the run started: the fingerprints differ")
    return with_holdout(study, data)


def _can_be_loaded(name: str) -> bool:
    try:
        check_name(name)
    except ValueError:
        return False
    return True
