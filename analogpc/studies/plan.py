"""The plan of a study file with axes: fixed, varied and searched fields, and the runs to keep."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from analogpc.devices.bounds import PositiveInteger
from analogpc.devices.fields import lay
from analogpc.devices.specification import Specification
from analogpc.devices.texts import read_text, read_toml
from analogpc.studies.axes import SEEDS, AxesError, Axis, Point, Range, SpecialCase, grid, read_axes, read_exceptions
from analogpc.studies.kinds import Kind, kind_of

Lower = ("loss", "error", "seconds", "joules", "energy", "perplexity", "bits_per_character")
"""Suffixes of metrics for which lower is better."""


class Sweep(Specification):
    """The table `[sweep]` of a study file.

    Attributes
    ----------
    metric : str
        Column of the table by which trials are compared; by default "validation_accuracy" with a holdout, otherwise
        "test_accuracy"; of language models "test_perplexity", or "validation_perplexity" in a search.
    goal : "max", "min" or "auto"
        "auto": minimise losses, errors, perplexities, bits per character, seconds, joules and energies, maximise all other metrics.
    keep : "none", "best" or "all"
        Runs kept as files: none, all seeds of the best setting, or all.
    """

    metric: str = ""
    goal: Literal["max", "min", "auto"] = "auto"
    keep: Literal["none", "best", "all"] = "none"


class Search(Specification):
    """The table `[search]`: proposal of values for the fields with a range, separately for each setting of the grid.

    Attributes
    ----------
    trials : int
        Number of proposals per setting of the grid.
    sampler : "tpe", "random" or "grid"
        Tree-structured Parzen estimator; independent draws; or every combination of the choices once, which determines ``trials``.
    batch : int
        Number of proposals made from the same results and computed in parallel. It makes the table independent of the number of
        workers.
    seeds : int
        Number of seeds per proposal; at the end, the best proposal is computed with all seeds.
    seed : int
        Seed of the proposals.
    """

    trials: PositiveInteger = 20
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    batch: PositiveInteger = 4
    seeds: PositiveInteger = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Prune(Specification):
    """The table `[prune]`: criteria to end a trial early.

    Attributes
    ----------
    after : int
        Number of epochs (of a language model: evaluations) granted to every trial.
    below : float
        End a trial if its metric is worse than this value after an epoch.
    quantile : float
        In a search: end a trial if its metric after an epoch is worse than this quantile of the proposals of earlier batches (0.5:
        their median); 0: never.
    """

    after: PositiveInteger = 1
    below: FiniteFloat | Literal[""] = ""
    quantile: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True)
class Plan:
    """Contents of a study file with axes.

    Attributes
    ----------
    name : str
    kind : Kind
        Kind of the study: of labelled samples, or of a text.
    fields : dict
        Fields of the study, without the varied ones.
    axes, ranges, specials : list
    seeds : list of Point
        Seeds, kept apart from the other axes.
    sweep, search, prune : Sweep, Search, Prune
    text : str
        Text of the file.
    """

    name: str
    kind: Kind
    fields: dict[str, Any]
    axes: list[Axis]
    ranges: list[Range]
    specials: list[SpecialCase]
    sweep: Sweep
    search: Search
    prune: Prune
    text: str = ""

    @property
    def settings(self) -> list[Point]:
        """All settings of the grid, without the seeds."""
        return list(grid([axis for axis in self.axes if axis.name not in SEEDS], self.specials))

    @property
    def seeds(self) -> list[Point]:
        """Seeds of every setting."""
        return list(grid([axis for axis in self.axes if axis.name in SEEDS], []))

    @property
    def columns(self) -> list[str]:
        """Varied columns of the table, the seed last."""
        varied = [column for axis in self.axes for column in axis.columns if axis.name not in SEEDS]
        return varied + [one.name for one in self.ranges] + [axis.name for axis in self.axes if axis.name in SEEDS]

    @property
    def metric(self) -> str:
        """Column by which trials are compared."""
        return self.sweep.metric or self.kind.metric(self.fields, bool(self.ranges))

    @property
    def maximise(self) -> bool:
        """Whether a higher metric is better."""
        return not self.metric.endswith(Lower) if self.sweep.goal == "auto" else self.sweep.goal == "max"

    @property
    def trials(self) -> int:
        """Maximum number of trials."""
        seeds, settings = len(self.seeds), len(self.settings)
        if not self.ranges:
            return settings * seeds
        tried = min(self.search.seeds, seeds)
        return settings * (self.search.trials * tried + seeds - tried)


OWN = ("axes", "exceptions", "sweep", "search", "prune", "short")
"""Tables of a study file that are not fields of the study."""


def read_plan(given: str | Path | dict[str, Any] | Plan, over: dict[str, Any] | None = None, *, short: bool = False) -> Plan:
    """Read a study file with axes.

    Parameters
    ----------
    given : path, dict or Plan
        A TOML file, or its contents.
    over : dict
        Fields and tables that override the file: axes are replaced one by one, and removed where None.
    short : bool
        Apply the table `[short]` of the file first, a version of the study that finishes in seconds.

    Raises
    ------
    ValueError
        If the file is missing or invalid.
    """
    if isinstance(given, Plan):
        return given
    name, text, tables = "study", "", {}
    if isinstance(given, dict):
        tables = given
    else:
        name, text, tables = Path(given).stem, read_text(given), read_toml(given)
    if short:
        if "short" not in tables:
            raise AxesError("the study file has no table [short] with the fields of a short trial")
        tables = _laid_over(tables, _table(tables, "short"))
    return _plan(name, text, _laid_over(tables, over or {}))


def _laid_over(tables: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in over.items() if name in OWN}
    fields = {name: value for name, value in tables.items() if name not in OWN}
    changed = lay(_kind(tables).specification, fields, {name: value for name, value in over.items() if name not in OWN})
    laid = {**tables, **changed}
    for name, value in own.items():
        inside = laid.get(name, {})
        both = isinstance(inside, dict) and isinstance(value, dict)
        laid[name] = {one: kept for one, kept in {**inside, **value}.items() if kept is not None} if both else value
    return laid


def _kind(tables: dict[str, Any]) -> Kind:
    return kind_of(tables, tables.get("axes", {}))


def _plan(name: str, text: str, tables: dict[str, Any]) -> Plan:
    fields, kind = {one: value for one, value in tables.items() if one not in OWN}, _kind(tables)
    known = kind.specification.model_fields
    for one in fields:
        if one not in known:
            close = difflib.get_close_matches(one, [*known, *OWN], n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join([*known, *OWN])}"
            raise AxesError(f"a study file has no field or table '{one}'; {hint}")
    axes, ranges = read_axes(tables.get("axes", {}), fields, known)
    columns = [column for axis in axes for column in axis.columns if axis.name not in SEEDS]
    specials = read_exceptions(tables.get("exceptions", []), columns, known)
    if "search" in tables and not ranges:
        raise AxesError("[search] needs a searched field: a field in [axes] with low and high, or with choices")
    made = {one: table.from_dict(_table(tables, one)) for one, table in _TABLES.items()}
    if made["search"].sampler == "grid":
        made["search"] = _every_choice(made["search"], ranges, "trials" in tables["search"])
    if not made["sweep"].metric and not kind.metric(fields, bool(ranges)):
        raise AxesError(
            "a search must not use test data: set holdout, as in holdout = 0.1, to search by validation data, "
            "or name the metric in [sweep]"
        )
    if made["prune"].quantile and not ranges:
        raise AxesError("prune: quantile compares the proposals of a search, but no field is searched: use below")
    metric, prune = made["sweep"].metric or kind.metric(fields, bool(ranges)), made["prune"]
    if (prune.quantile or prune.below != "") and metric in kind.tested_once:
        raise AxesError(
            "prune needs a metric of every evaluation, and language models are tested once, at the end: set "
            'metric = "validation_perplexity" in [sweep]'
        )
    plan = Plan(name, kind, fields, axes, ranges, specials, made["sweep"], made["search"], made["prune"], text)
    if not plan.settings:
        raise AxesError("exceptions: every setting is skipped")
    return plan


def _every_choice(search: Search, ranges: list[Range], said: bool) -> Search:
    """Return the grid search with one proposal per combination of the choices."""
    for one in ranges:
        if not one.choices:
            raise AxesError(f"search: the sampler 'grid' needs choices, and {one.name} has none: give it choices = [...]")
    count = math.prod(len(one.choices) for one in ranges)
    if said and search.trials != count:
        raise AxesError(f"search: trials = {search.trials} is not allowed: the sampler 'grid' computes all {count} combinations")
    return search.but(trials=count)


_TABLES: dict[str, Any] = {"sweep": Sweep, "search": Search, "prune": Prune}


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    given = tables.get(name, {})
    if not isinstance(given, dict):
        raise AxesError(f"{name} = {given!r} is not allowed: it is a table, [{name}]")
    return given
