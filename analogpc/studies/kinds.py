"""Kinds of studies: what a sweep needs to know of studies of labelled samples and of texts, and nothing else distinguishes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from typing_extensions import override

from analogpc.data import check_name
from analogpc.data.sources import ends_of
from analogpc.devices.costs.technology import technology
from analogpc.devices.texts import parse_toml
from analogpc.rules.base import Rule, named_rules
from analogpc.training.language_study import LanguageStudy, completed, named_language_rules, text_of
from analogpc.training.metrics import metrics_for
from analogpc.training.stopping import watched_column
from analogpc.training.study import Study
from analogpc.training.study_fields import RULE

AnyStudy = Study | LanguageStudy
"""Specification of a training run."""

Between = Callable[[Any], str]
"""Called with the run after every new entry of its history; returns a reason to end the run, or an empty string."""


class Kind(ABC):
    """A kind of studies.

    Attributes
    ----------
    specification : type
        Specification of the studies.
    unit : str
        What one entry of the history of a run covers.
    tested_once : tuple of str
        Metrics that are known at the end only.
    """

    specification: type[Study] | type[LanguageStudy]
    unit: str
    tested_once: tuple[str, ...] = ()

    @abstractmethod
    def completed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a study file with defaults for required ones."""

    @abstractmethod
    def metric(self, fields: Mapping[str, Any], searched: bool) -> str:
        """Return the default column by which trials are compared; empty if it has to be named."""

    @abstractmethod
    def made(self, fields: Mapping[str, Any]) -> AnyStudy:
        """Build a study; names that do not exist are refused without loading data, by a `ValueError`."""

    def rules(self) -> dict[str, Rule]:
        """Return the rules by short name, as a study takes them."""
        return named_rules()

    @abstractmethod
    def data(self, study: Any, data_dir: str) -> Any:
        """Load the data of a study, cached: the trials of one table mostly share them."""

    @abstractmethod
    def begin(self, study: Any, data: Any, backend: Any) -> Any:
        """Create a run before its first batch."""

    @abstractmethod
    def load(self, path: str, backend: Any) -> Any:
        """Load a saved run."""

    @abstractmethod
    def train(self, run: Any, data: Any, between: Between) -> None:
        """Train to the end, or until ``between`` returns a reason to stop."""

    def results(self, run: Any, data: Any) -> dict[str, Any]:
        """Return metrics of a finished run that are not the last values of its history."""
        return {}


class _Samples(Kind):
    specification = Study
    unit = "epochs"

    @override
    def completed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {"rule": RULE, **fields}

    @override
    def metric(self, fields: Mapping[str, Any], searched: bool) -> str:
        if fields.get("holdout"):
            return "validation_accuracy"
        return "" if searched else "test_accuracy"

    @override
    def made(self, fields: Mapping[str, Any]) -> Study:
        if isinstance(dataset := fields.get("dataset"), str):
            check_name(dataset)
        study = Study.from_dict(dict(fields))
        if study.technology:
            technology(study.technology)
        if ends_of(study.dataset) is not None:
            splits = ("train", "validation", "test") if study.holdout else ("train", "test")
            watched_column(study.monitor, metrics_for(study.metrics, "classification"), splits)
        return study

    @override
    def data(self, study: Study, data_dir: str) -> Any:
        return _samples(study.dataset, study.augment, study.train_images, study.test_images, data_dir)

    @override
    def begin(self, study: Study, data: Any, backend: Any) -> Any:
        from analogpc.training.fit import begin

        return begin(study, data, backend=backend)

    @override
    def load(self, path: str, backend: Any) -> Any:
        from analogpc.training.run import Run

        return Run.load(path, backend=backend)

    @override
    def train(self, run: Any, data: Any, between: Between) -> None:
        from analogpc.training.callbacks import Callback

        class Watch(Callback):
            reads_only = True

            def on_epoch_end(self, run: Any) -> None:
                if reason := between(run):
                    run.stop(reason)

        run.train(data, callbacks=[Watch()], progress=False)


class _Texts(Kind):
    specification = LanguageStudy
    unit = "evaluations"
    tested_once = ("test_perplexity", "test_bits_per_character")

    @override
    def completed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return completed(fields)

    @override
    def metric(self, fields: Mapping[str, Any], searched: bool) -> str:
        return "validation_perplexity" if searched else "test_perplexity"

    @override
    def made(self, fields: Mapping[str, Any]) -> LanguageStudy:
        study = LanguageStudy.from_dict(dict(fields))
        if study.technology:
            technology(study.technology)
        return study

    @override
    def rules(self) -> dict[str, Rule]:
        return named_language_rules()

    @override
    def data(self, study: LanguageStudy, data_dir: str) -> Any:
        # An absolute path remains as it is.
        place = str(Path(data_dir) / study.text) if data_dir else study.text
        text = study.network.vocabulary, study.network.positions, study.instances, study.held_out, study.take
        return _text(place, *text)

    @override
    def begin(self, study: LanguageStudy, data: Any, backend: Any) -> Any:
        from analogpc.training.language_fit import begin_text

        return begin_text(study, data, backend=backend)

    @override
    def load(self, path: str, backend: Any) -> Any:
        from analogpc.training.language import LanguageRun

        return LanguageRun.load(path, backend=backend)

    @override
    def train(self, run: Any, data: Any, between: Between) -> None:
        interval = run.study.interval
        while not run.finished:
            run.train(data, batches=interval - run.batch % interval)
            if between(run):
                return

    @override
    def results(self, run: Any, data: Any) -> dict[str, Any]:
        """Return the perplexities of the best weights, tested once."""
        from analogpc.training.perplexity import perplexity

        batch, validated, _ = run.best
        tested = perplexity(run.best_network, data, "test")
        return {
            "best_batch": batch,
            "validation_perplexity": validated,
            "test_perplexity": tested.value,
            "test_bits_per_character": tested.bits_per_character,
        }


SAMPLES, TEXTS = _Samples(), _Texts()


def kind_of(fields: Mapping[str, Any], axes: Any = ()) -> Kind:
    """Return the kind of a study by its fields, or the fields that vary: a study with a text trains a language model."""
    return TEXTS if "text" in fields or (isinstance(axes, Mapping) and "text" in axes) else SAMPLES


def recalled(study: str, said: str) -> tuple[Kind, Any]:
    """Restore a study from its TOML and that of the fields that were given; see `Specification.recalled`."""
    kind = kind_of(parse_toml(study))
    return kind, kind.specification.recalled(study, said)


@lru_cache(maxsize=2)
def _samples(name: str, augment: bool, train_images: int, test_images: int, data_dir: str) -> Any:
    from analogpc.training.study_data import study_data

    fields = {"dataset": name, "augment": augment, "train_images": train_images, "test_images": test_images}
    return study_data(Study.from_dict({"rule": "bp", **fields}), data_dir=data_dir or None)


@lru_cache(maxsize=2)
def _text(place: str, vocabulary: int, positions: int, instances: str, held_out: int, take: int) -> Any:
    network = {"kind": "transformer", "vocabulary": vocabulary, "positions": positions}
    fields = {"text": place, "network": network, "instances": instances, "held_out": held_out, "take": take}
    return text_of(LanguageStudy.from_dict({"rule": "bp", **fields}))
