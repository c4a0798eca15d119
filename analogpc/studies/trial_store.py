"""Trial storage of a sweep: an Optuna study in a file or in a shared database."""

from __future__ import annotations

import json
import math
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from analogpc.devices.texts import parse_json
from analogpc.files.atomic import replace_file
from analogpc.studies.plan import Plan
from analogpc.studies.search import direction
from analogpc.studies.trials import Result, Trial

FILE = "sweep.db"
_TRIES, _PAUSE_SECONDS = 4, 2.0


class MemoryLostError(OSError):
    """Raised if the trial storage cannot be read or written; the message says where the results are."""


class Memory:
    """Storage of the trial results of a sweep.

    Trials are found by a key of what they compute (`Trial.key`), so a study file may gain axes and values and only new trials are
    computed. A trial is stored when it is finished, in one transaction: after a kill it is stored completely or not at all.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Folder of the sweep.
    url : str
        A database such as ``postgresql+psycopg://user@host/name``; if empty, an SQLite file in the folder.

    Raises
    ------
    MemoryLostError
        If the storage cannot be opened.
    """

    def __init__(self, plan: Plan, folder: Path, url: str = "") -> None:
        self.place = _without_password(url) if url else str(folder / FILE)
        self._plan, self._unsaved = plan, folder / "unsaved"
        self._url = url or f"sqlite:///{folder.absolute() / FILE}"
        self._study: Any = None
        self._known: dict[str, Result] = {}
        self._open()
        self._take_in_unsaved()

    def _open(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                storage = optuna.storages.RDBStorage(self._url, engine_kwargs={"pool_pre_ping": True})
            self._study = optuna.create_study(
                study_name=self._plan.name, storage=storage, direction=direction(self._plan), load_if_exists=True
            )
            for trial in self._study.get_trials(deepcopy=False):
                if "analogpc" in trial.user_attrs:
                    self._known[trial.user_attrs["key"]] = Result.from_json(trial.user_attrs["analogpc"])
        except ImportError as error:
            raise MemoryLostError(f"the database {self.place} needs a driver that is missing: {error}") from None
        except Exception as error:
            raise MemoryLostError(f"{self.place} cannot be used as the memory of a sweep: {_reason(error)}") from None

    def _take_in_unsaved(self) -> None:
        """Store results that could not be stored earlier."""
        for file in sorted(self._unsaved.glob("*.json")):
            with suppress(ValueError, KeyError, TypeError):
                entry = parse_json(file.read_text(encoding="utf-8"))
                if entry["key"] not in self._known:
                    self._add(entry["key"], entry["cells"], Result.from_json(entry["result"]))
            file.unlink()
        with suppress(OSError):
            self._unsaved.rmdir()

    def get(self, trial: Trial) -> Result | None:
        """Return the result of a trial; None if it has to be computed, also after a loss."""
        result = self._known.get(trial.key)
        return None if result is None or result.status == "lost" else result

    def record(self, trial: Trial, result: Result) -> None:
        """Store the result of a trial.

        Raises
        ------
        MemoryLostError
            If all attempts fail; the result is then written to a file and stored at the next start.
        """
        for attempt in range(_TRIES):
            try:
                self._add(trial.key, trial.cells, result)
                return
            except Exception as error:
                reason = _reason(error)
                time.sleep(_PAUSE_SECONDS if attempt < _TRIES - 1 else 0)
        file = self._unsaved / f"{trial.key}.json"
        entry = json.dumps({"key": trial.key, "cells": trial.cells, "result": result.to_json()})
        try:
            self._unsaved.mkdir(exist_ok=True)
            replace_file(file, entry.encode())
        except OSError as error:
            raise MemoryLostError(
                f"{self.place} cannot be written ({reason}), nor {file} ({error.strerror or error}): trial {trial.number} has to be "
                "computed again, all earlier trials are kept"
            ) from None
        raise MemoryLostError(
            f"{self.place} cannot be written: {reason}; finished trials are kept: run the same command again to resume"
        )

    def _add(self, key: str, cells: dict[str, Any], result: Result) -> None:
        import optuna
        from optuna.trial import TrialState

        value = float(result.metrics.get(self._plan.metric, math.nan))
        state = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(result.status, TrialState.FAIL)
        if state == TrialState.COMPLETE and math.isnan(value):
            state = TrialState.FAIL
        # Columns are stored as attributes, because values cannot be added to Optuna parameters later.
        attributes = {**cells, "key": key, "analogpc": result.to_json()}
        value_told = value if state == TrialState.COMPLETE else None
        self._study.add_trial(optuna.trial.create_trial(state=state, value=value_told, user_attrs=attributes))
        self._known[key] = result


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise MemoryLostError(
            f"--storage {url!r} is not the address of a database, such as postgresql+psycopg://user@host/name or sqlite:///file.db"
        ) from None


def _reason(error: BaseException) -> str:
    """Return the innermost reason, on one line."""
    while (inner := error.__cause__ or getattr(error, "orig", None)) is not None:
        error = inner
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
