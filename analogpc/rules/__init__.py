"""Learning rules: schedules over layers. A new rule is a new file here, and a name in `AnyRule`."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from analogpc.rules.backprop import Backprop
from analogpc.rules.base import Apply, Lesson, Rule
from analogpc.rules.predictive_coding import PredictiveCoding

AnyRule = Annotated[Backprop | PredictiveCoding, Field(discriminator="kind")]

NAMED_RULES: dict[str, Rule] = {
    "bp": Backprop(),
    "pc": PredictiveCoding(steps=8, step_size=0.02, momentum=0.3),
    "s+f": PredictiveCoding(steps="layers", step_size=0.5, precision="spiking", update="forward", gain="closed-form"),
}
"""The short names of the command line."""


def named_rule(name: str) -> Rule:
    """The rule of that short name.

    Raises
    ------
    ValueError
        If there is none; the sentence lists those there are.
    """
    if name not in NAMED_RULES:
        raise ValueError(f"there is no rule '{name}'; the rules are {', '.join(NAMED_RULES)}")
    return NAMED_RULES[name]


def _by_name(value: Any) -> Any:
    return named_rule(value) if isinstance(value, str) else value


NamedRule = Annotated[AnyRule, BeforeValidator(_by_name)]
"""A rule, or its short name."""

__all__ = ["NAMED_RULES", "AnyRule", "Apply", "Backprop", "Lesson", "NamedRule", "PredictiveCoding", "Rule", "named_rule"]
