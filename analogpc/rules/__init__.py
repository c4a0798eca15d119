"""Learning rules: schedules over layers that determine the reads and the products to learn.

Contains subclasses of `Rule`, each registered by its ``kind``; dynamics shared by several rules belong in `analogpc.dynamics`.
To add a rule, add one file, here or elsewhere (see ``docs/rules.md``).
"""

from analogpc.devices.families import import_members
from analogpc.rules.backprop import Backprop
from analogpc.rules.base import AnyRule, Apply, NamedRule, Rule, StepContext, StepResult, as_rule, named_rule, named_rules
from analogpc.rules.clamped import Nudging
from analogpc.rules.equilibrium import EquilibriumPropagation
from analogpc.rules.error_based import ErrorBasedPC
from analogpc.rules.fixed_prediction import FixedPrediction
from analogpc.rules.hopfield.holomorphic import HolomorphicEP
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.references import BackpropThroughTime, RecurrentBackprop
from analogpc.rules.incremental import IncrementalPC
from analogpc.rules.predictive_coding import PredictiveCoding
from analogpc.rules.zil import ZIL

import_members(__path__, __name__)

__all__ = [
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
    "NamedRule",
    "Nudging",
    "PredictiveCoding",
    "RecurrentBackprop",
    "Rule",
    "StepContext",
    "StepResult",
    "as_rule",
    "named_rule",
    "named_rules",
]
