"""Learning rules: schedules over layers. A new rule is a new file here, and a name in `AnyRule`."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from analogpc.rules.backprop import Backprop
from analogpc.rules.base import Apply, Lesson, Moment, Rule
from analogpc.rules.clamped import Nudging
from analogpc.rules.equilibrium import EquilibriumPropagation
from analogpc.rules.error_based import ErrorBasedPC
from analogpc.rules.fixed_prediction import FixedPrediction
from analogpc.rules.hopfield import HopfieldEP
from analogpc.rules.hopfield_holomorphic import HolomorphicEP
from analogpc.rules.hopfield_references import BackpropThroughTime, RecurrentBackprop
from analogpc.rules.incremental import IncrementalPC
from analogpc.rules.predictive_coding import PredictiveCoding
from analogpc.rules.zil import ZIL

AnyRule = Annotated[
    Backprop
    | PredictiveCoding
    | IncrementalPC
    | ZIL
    | FixedPrediction
    | ErrorBasedPC
    | EquilibriumPropagation
    | HopfieldEP
    | HolomorphicEP
    | BackpropThroughTime
    | RecurrentBackprop,
    Field(discriminator="kind"),
]

NAMED_RULES: dict[str, Rule] = {
    "bp": Backprop(),
    "pc": PredictiveCoding(steps=8, step_size=0.02, momentum=0.3),
    "s+f": PredictiveCoding(steps="layers", step_size=0.5, precision="spiking", update="forward", gain="closed-form"),
    "d+f": PredictiveCoding(steps="layers", step_size=0.5, precision="decay-code", update="forward"),
    "ipc": IncrementalPC(steps="layers", step_size=0.5),
    "zil": ZIL(),
    "fixed": FixedPrediction(),
    "epc": ErrorBasedPC(steps=8, step_size=0.1),
    "ep": EquilibriumPropagation(),
    "ep-hopfield": HopfieldEP(),
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

__all__ = [
    "NAMED_RULES",
    "ZIL",
    "AnyRule",
    "Apply",
    "Backprop",
    "BackpropThroughTime",
    "EquilibriumPropagation",
    "ErrorBasedPC",
    "FixedPrediction",
    "HolomorphicEP",
    "HopfieldEP",
    "IncrementalPC",
    "Lesson",
    "Moment",
    "NamedRule",
    "Nudging",
    "PredictiveCoding",
    "RecurrentBackprop",
    "Rule",
    "named_rule",
]
