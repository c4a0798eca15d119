"""Trials of a plan: every setting of the grid is a generator that yields trials and receives their results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Sequence
from typing import Any, Literal

import numpy as np

from analogpc.devices.fields import lay
from analogpc.studies.axes import Point, Range, label
from analogpc.studies.kinds import AnyStudy
from analogpc.studies.plan import Plan
from analogpc.studies.trials import Limits, Result, Trial

Conversation = Generator[list[Trial], list[Result], None]
"""Generator that yields trials to compute in parallel and receives their results in the same order."""


def conversations(plan: Plan) -> list[Conversation]:
    """Return one generator for each setting of the grid, in table order."""
    per_setting = plan.trials // len(plan.settings)
    talk = _searched if plan.ranges else _gridded
    return [talk(plan, setting, number * per_setting) for number, setting in enumerate(plan.settings)]


def _gridded(plan: Plan, setting: Point, first: int) -> Conversation:
    """Yield all seeds of a setting together."""
    limits = Limits(plan.metric, plan.maximise, plan.prune.after, () if plan.prune.below == "" else (float(plan.prune.below),))
    seeds = plan.seeds
    yield [_trial(plan, first + n, first // len(seeds), [setting, seed], limits) for n, seed in enumerate(seeds)]


def _searched(plan: Plan, setting: Point, first: int) -> Conversation:
    """Yield batches of proposals, each based on all earlier results; then the best one with the remaining seeds."""
    search, seeds = plan.search, plan.seeds
    tried, rest = seeds[: search.seeds], seeds[search.seeds :]
    per_setting = plan.trials // len(plan.settings)
    number_of_setting = first // per_setting * search.trials
    proposals: list[Point] = []
    answers: list[list[Result]] = []
    while len(proposals) < search.trials:
        count = min(search.batch, search.trials - len(proposals))
        new = _proposed(plan, proposals, answers, count)
        limits = _limits(plan, answers)
        trials = [
            _trial(
                plan,
                first + (len(proposals) + p) * len(tried) + s,
                number_of_setting + len(proposals) + p,
                [setting, point, seed],
                limits,
            )
            for p, point in enumerate(new)
            for s, seed in enumerate(tried)
        ]
        results = yield trials
        proposals += new
        answers += [results[at : at + len(tried)] for at in range(0, len(results), len(tried))]
    scores = [score(plan, results) for results in answers]
    if not rest or all(math.isnan(one) for one in scores):
        return
    best = int(np.nanargmax(scores) if plan.maximise else np.nanargmin(scores))
    after = first + search.trials * len(tried)
    yield [
        _trial(plan, after + n, number_of_setting + best, [setting, proposals[best], seed], Limits())
        for n, seed in enumerate(rest)
    ]


def score(plan: Plan, results: list[Result]) -> float:
    """Return the mean of the metric over the seeds of a proposal; NaN unless all finished."""
    values = [float(one.metrics.get(plan.metric, math.nan)) for one in results if one.status == "finished"]
    return float(np.mean(values)) if len(values) == len(results) else math.nan


def _trial(plan: Plan, number: int, setting: int, points: list[Point], limits: Limits) -> Trial:
    cells = {name: cell for point in points for name, cell in point.cells.items()}
    changes = {path: value for point in points for path, value in point.changes.items()}
    special = [one for point in points for one in point.special]
    try:
        return Trial(number, setting, cells, study_of(plan, changes, special), "", limits)
    except (ValueError, ArithmeticError) as error:
        return Trial(number, setting, cells, None, " ".join(str(error).split()), limits)


def study_of(plan: Plan, changes: dict[str, Any], special: Sequence[dict[str, Any]] = ()) -> AnyStudy:
    """Build the study of a trial: the file, overridden by the values of the axes and then by special cases.

    Raises
    ------
    ValueError
        If the study is invalid; the message gives the reason.
    """
    specification = plan.kind.specification
    fields = plan.kind.completed(plan.fields)
    if {"rule", "rule.kind"} & changes.keys() and "rule" not in plan.fields:
        # The rule of the axes begins anew, without the fields of a default rule.
        del fields["rule"]
    laid = lay(specification, fields, changes)
    for one in special:
        laid = lay(specification, laid, one)
    return plan.kind.made(laid)


def _limits(plan: Plan, answers: list[list[Result]]) -> Limits:
    """Return the worst metric allowed in the next batch, by epoch."""
    prune = plan.prune
    histories = [one.history.get(plan.metric, []) for results in answers for one in results]
    longest = max((len(history) for history in histories), default=0)
    worst: list[float] = []
    sign = 1.0 if plan.maximise else -1.0
    for epoch in range(longest if prune.quantile else 0):
        reached = [sign * history[epoch] for history in histories if len(history) > epoch]
        worst.append(sign * float(np.quantile(reached, prune.quantile)))
    if prune.below != "":
        least = float(prune.below)
        better = max if plan.maximise else min
        worst = [better(one, least) for one in worst] or [least]
    return Limits(plan.metric, plan.maximise, prune.after, tuple(worst))


def _proposed(plan: Plan, proposals: list[Point], answers: list[list[Result]], count: int) -> list[Point]:
    """Return the next proposals, as a pure function of the results."""
    if plan.search.sampler == "grid":
        every = list(itertools.product(*(one.choices for one in plan.ranges)))[len(proposals) :][:count]
        names = [one.name for one in plan.ranges]
        return [
            Point({n: label(v) for n, v in zip(names, values, strict=True)}, dict(zip(names, values, strict=True)))
            for values in every
        ]
    import optuna

    spaces = {one.name: _distribution(one) for one in plan.ranges}
    seed = int(np.random.SeedSequence([plan.search.seed, len(proposals)]).generate_state(1)[0])
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    study = optuna.create_study(sampler=samplers[plan.search.sampler](seed=seed), direction=direction(plan))
    for point, results in zip(proposals, answers, strict=True):
        params = {one.name: _parameter(one, point.changes[one.name]) for one in plan.ranges}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, **_outcome(plan, results)))
    return [_point(plan, study.ask(spaces).params) for _ in range(count)]


def _outcome(plan: Plan, results: list[Result]) -> dict[str, Any]:
    """Return the outcome of a proposal for Optuna."""
    from optuna.trial import TrialState

    value = score(plan, results)
    if not math.isnan(value):
        return {"state": TrialState.COMPLETE, "value": value}
    pruned = [one for one in results if one.status == "pruned"]
    if not pruned:
        return {"state": TrialState.FAIL}
    reached = pruned[0].history[plan.metric]
    return {"state": TrialState.PRUNED, "intermediate_values": dict(enumerate(map(float, reached), start=1))}


def direction(plan: Plan) -> Literal["minimize", "maximize"]:
    """Return the direction of the optimisation, in Optuna's terms."""
    return "maximize" if plan.maximise else "minimize"


def _distribution(given: Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if given.choices:
        return CategoricalDistribution([label(one) for one in given.choices])
    if given.whole:
        return IntDistribution(int(given.low), int(given.high), log=given.log, step=int(given.step) or 1)
    return FloatDistribution(float(given.low), float(given.high), log=given.log, step=given.step or None)


def _parameter(given: Range, value: Any) -> Any:
    return label(value) if given.choices else value


def _point(plan: Plan, params: dict[str, Any]) -> Point:
    changes = {}
    for one in plan.ranges:
        by_label = {label(choice): choice for choice in one.choices}
        changes[one.name] = by_label.get(params[one.name], params[one.name])
    return Point(dict(params), changes)
