"""Check of the values of all axes before the first trial, so that a wrong name is found early."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from analogpc.studies.axes import AxesError, Axis, Point, Range, grid, label
from analogpc.studies.plan import Plan
from analogpc.studies.search import study_of

_TRIED = 1000
"""Maximum number of settings tried per value; a value is refused only if all settings of the plan were tried."""


def refuse_impossible_values(plan: Plan) -> None:
    """Refuse a value of an axis that no setting allows, without computing anything.

    A value that only some settings exclude is accepted; the invalid settings appear as rows of the table.

    Raises
    ------
    AxesError
        With the axis, the value and the reason.
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
    """Yield the reasons why settings are invalid; an empty string for the first valid one, which ends the iteration."""
    for setting in settings:
        try:
            study_of(plan, setting.changes, setting.special)
        except (ValueError, ArithmeticError) as error:
            yield " ".join(str(error).split())
        else:
            yield ""
            return


def _ends(given: Range) -> Axis:
    """Return a searched field as an axis: all choices, or the ends of its range."""
    values = given.choices or tuple(int(one) if given.whole else float(one) for one in (given.low, given.high))
    return Axis(given.name, tuple(Point({given.name: label(value)}, {given.name: value}) for value in values))
