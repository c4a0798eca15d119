"""The contract of the learning rules: schedules over layers that say when to read, and which products to learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import BeforeValidator, SerializeAsAny
from typing_extensions import override

from analogpc.blocks import Product
from analogpc.devices.families import Member, by_kind, same_definition
from analogpc.devices.names import unknown
from analogpc.dynamics.relaxation import energy
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network

__all__ = ["AnyRule", "Apply", "NamedRule", "Rule", "StepContext", "StepResult", "as_rule", "energy", "named_rule", "named_rules"]

Apply = Callable[[Iterable[Product], float], None]
"""Takes the products of one layer and a gain, and lets the matrices learn from them at once."""


@dataclass(frozen=True)
class StepContext:
    """The place of a training step in a run, for rules that change from epoch to epoch or draw random numbers.

    Attributes
    ----------
    key : Key
        Of the draws of the rule in this run.
    epoch : int
        Epochs finished before.
    step : int
        Training steps done before, in all epochs.
    """

    key: Key
    epoch: int = 0
    step: int = 0


@dataclass(frozen=True)
class StepResult:
    """What a rule reports of one training step.

    Attributes
    ----------
    outputs : (n, *output_shape) array
        The feed-forward prediction before the weights were updated.
    energies : (layers,) float64 array
        Energy of each layer, mean over the batch, at the moment of learning: the sum of squared errors over two, and for the output
        layer under cross-entropy the cross-entropy.
    """

    outputs: np.ndarray
    energies: np.ndarray


class Rule(Member):
    """A learning rule. It relaxes states and yields products, and does not depend on the substrate of a matrix.

    A subclass with a ``kind`` of its own is known to studies, files and the command line as soon as its module is imported.

    Attributes
    ----------
    names : dict of dicts, of the class
        Short names, each with the fields in which the rule of that name differs from the defaults.
    sweeps : bool, of the class
        Whether it trains networks whose value nodes lie inside the layers.
    watchable : bool, of the class
        Whether its `train_step` takes a ``watch``, which sees every step of the relaxation (see `analysis.energy_profile`).
    """

    family_name: ClassVar[str] = "rule"
    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    sweeps: ClassVar[bool] = False
    watchable: ClassVar[bool] = False

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        _refuse_taken_names(cls)
        super().__pydantic_init_subclass__(**kwargs)

    @override
    def short_name(self) -> str:
        names = type(self).__dict__.get("names", {})
        return next((name for name, fields in names.items() if type(self)(**fields) == self), "")

    def refuse(self, architecture: str) -> str:
        """Why the rule cannot train networks of an architecture of that kind; empty if it can."""
        if architecture == "hopfield":
            return f"the rule '{self.kind}' teaches predictive networks, not networks of the architecture 'hopfield'"
        if architecture == "transformer" and not self.sweeps:
            return f"the rule '{self.kind}' needs a state behind every layer, and transformers have none: bp, pc, ipc and zil teach them"
        return ""

    @property
    def usual_rate(self) -> float:
        """Learning rate of plain SGD where none is chosen (found as documented in ``experiments/results/defaults.md``)."""
        return 0.3

    def repeatable(self, network: Network) -> bool:
        """Whether `train_step` does the same to every batch of one shape, without looking at any number that it computes.

        Then the GPU can record it as a graph and repeat it. A rule that waits for a number to decide what comes next cannot be; nor
        one that carries anything of its own from batch to batch.
        """
        return False

    def settled(self) -> Self:
        """The rule with all that it takes from files named for good, as a run begins with it; the rule itself if it takes nothing."""
        return self

    def at(self, context: StepContext) -> Self:
        """The rule as it is at one moment of a run; the rule itself unless it changes from epoch to epoch, or draws.

        Training uses, for every batch, the rule at its place in the run.
        """
        return self

    @abstractmethod
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        """Learn from one batch.

        Parameters
        ----------
        network : Network
        x : (n, *input_shape) array
        target : (n, *output_shape) array
            What the outputs should be.
        apply
            Called with products whose sum post pre^T over the batch is the direction of learning (the negative gradient of the
            energy), once or as often as the rule wants.
        """


def _refuse_taken_names(rule: type[Rule]) -> None:
    """Refuse a short name that another rule has."""
    others = [other for other in Rule.kinds().values() if not same_definition(other, rule)]
    taken = {name for other in others for name in other.__dict__.get("names", ())}
    if clash := taken.intersection(rule.__dict__.get("names", ())):
        raise TypeError(f"{rule.__qualname__}: there is another rule of the name '{min(clash)}'")


def named_rules() -> dict[str, Rule]:
    """The rules with short names, by these names."""
    return {name: kind(**fields) for kind in Rule.kinds().values() for name, fields in kind.__dict__.get("names", {}).items()}


def named_rule(name: str) -> Rule:
    """The rule of that short name.

    Raises
    ------
    ValueError
        If there is none; the sentence lists those there are.
    """
    rules = named_rules()
    if name not in rules:
        raise ValueError(unknown("rule", name, rules))
    return rules[name]


def as_rule(given: Rule | str) -> Rule:
    """A rule, or the one of a short name.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(given, Rule):
        return given
    if isinstance(given, str):
        return named_rule(given)
    raise ValueError(f"a rule is expected, or the name of one, not {type(given).__name__}")


def _by_name(value: Any) -> Any:
    return named_rule(value) if isinstance(value, str) else value


AnyRule = Annotated[SerializeAsAny[Rule], BeforeValidator(by_kind(Rule))]
"""A rule, or its fields with its ``kind``."""

NamedRule = Annotated[AnyRule, BeforeValidator(_by_name)]
"""A rule, its fields, or its short name."""
