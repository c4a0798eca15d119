"""The values of all axes, tried one by one before the first trial: a wrong name is found at once, not after hours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from analogpc.studies.axes import AxesError, Axis, Point, Range, grid, label
from analogpc.studies.plan import Plan
from analogpc.studies.search import study_of

_TRIED = 1000
"""Settings that are looked at for one value, at most; a value that none of them allows is taken for wrong only if there are no more."""


def refuse_impossible_values(plan: Plan) -> None:
    """Refuse a value of an axis with which there is no study in any setting; nothing is computed.

    A value that only some of the others forbid is right, and the settings that cannot be are rows of the table.

    Raises
    ------
    AxesError
        Naming the axis, the value, and what is wrong with it.
    """
    varied = [*plan.axes, *map(_ends, plan.ranges)]
    for axis in varied:
        for point in axis.points:
            settings = grid([Axis(axis.name, (point,)) if one is axis else one for one in varied], plan.specials)
            refusals = list(_refusals_up_to_the_first_study(plan, itertools.islice(settings, _TRIED + 1)))
            if refusals and "" not in refusals and len(refusals) <= _TRIED:
                shown = ", ".join(str(cell) or "''" for cell in point.cells.values())
                raise AxesError(f"axes: {axis.name} = {shown} is not allowed in any setting: {refusals[0]}")


def _refusals_up_to_the_first_study(plan: Plan, settings: Iterator[Point]) -> Iterator[str]:
    """Why there is no study for each of some settings; an empty text for the first that has one, which ends it."""
    for setting in settings:
        try:
            study_of(plan, setting.changes, setting.special)
        except (ValueError, ArithmeticError) as error:
            yield " ".join(str(error).split())
        else:
            yield ""
            return


def _ends(given: Range) -> Axis:
    """What is searched, as an axis: all its choices, or the ends of its range."""
    values = given.choices or tuple(int(one) if given.whole else float(one) for one in (given.low, given.high))
    return Axis(given.name, tuple(Point({given.name: label(value)}, {given.name: value}) for value in values))
