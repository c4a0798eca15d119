"""Interface of the learning rules: schedules over layers that determine the reads and the products to learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import BeforeValidator, SerializeAsAny
from typing_extensions import override

from analogpc.blocks import Product
from analogpc.devices.families import Member, by_kind, same_definition
from analogpc.devices.names import unknown
from analogpc.dynamics.relaxation import energy
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network

if TYPE_CHECKING:
    from analogpc.networks.base import ArchitectureBase

__all__ = ["AnyRule", "Apply", "NamedRule", "Rule", "StepContext", "StepResult", "as_rule", "energy", "named_rule", "named_rules"]

Apply = Callable[[Iterable[Product], float], None]
"""Callable that takes the products of one layer and a gain, and immediately updates the matrices."""


@dataclass(frozen=True)
class StepContext:
    """Position of a training step in a run, for rules that change between epochs or draw random numbers.

    Attributes
    ----------
    key : Key
        Key of the random numbers of the rule in this run.
    epoch : int
        Number of finished epochs.
    step : int
        Number of finished training steps, over all epochs.
    """

    key: Key
    epoch: int = 0
    step: int = 0


@dataclass(frozen=True)
class StepResult:
    """Result of one training step.

    Attributes
    ----------
    outputs : (n, *output_shape) array
        Feed-forward prediction before the weight update.
    energies : (layers,) float64 array
        Energy of each layer at the weight update, averaged over the batch: half the sum of squared errors, or for the output layer under
        cross-entropy the cross-entropy.
    """

    outputs: np.ndarray
    energies: np.ndarray


class Rule(Member):
    """Base class of learning rules, which relax states and yield products, independently of the substrate of a matrix.

    A subclass with its own ``kind`` is available in studies, files and the command line once its module is imported.

    Attributes
    ----------
    names : dict of dicts, of the class
        Short names, each with the fields that differ from the defaults.
    recurrent : bool, of the class
        Whether the rule trains recurrent networks, instead of predictive ones.
    sweeps : bool, of the class
        Whether the rule trains networks with value nodes inside the layers.
    watchable : bool, of the class
        Whether `train_step` accepts a ``watch``, called at every step of the relaxation (see `analysis.energy_profile`).
    """

    family_name: ClassVar[str] = "rule"
    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    recurrent: ClassVar[bool] = False
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

    def refuse(self, architecture: ArchitectureBase) -> str:
        """Return the reason why the rule cannot train networks of this architecture; empty if it can."""
        if architecture.recurrent and not self.recurrent:
            return f"the rule '{self.kind}' trains predictive networks, not networks of the architecture '{architecture.kind}'"
        if self.recurrent and not architecture.recurrent:
            return (
                f"the rule '{self.kind}' trains networks of the architecture 'hopfield', not '{architecture.kind}'; "
                "for predictive networks use 'equilibrium-propagation'"
            )
        if not (architecture.state_per_layer or self.sweeps):
            return f"the rule '{self.kind}' needs a state after every layer, which transformers lack: use bp, pc, ipc or zil"
        return ""

    @property
    def usual_rate(self) -> float:
        """Default learning rate of plain SGD (determined as documented in ``experiments/results/defaults.md``)."""
        return 0.3

    def residuals(self, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Return the distance of every free state from equilibrium at the end of each phase on one batch; the weights do not change.

        Raises
        ------
        TypeError
            If the rule has none.
        """
        raise TypeError(f"the rule '{self.kind}' has no residual")

    def repeatable(self, network: Network) -> bool:
        """Return whether `train_step` performs the same operations for every batch of one shape, whatever values it computes.

        The GPU can then record it as a graph and replay it, and the CPU what the rule passes to `dynamics.repetition.repeated`. A rule that
        waits for a number to decide what comes next is not repeatable, nor is one that keeps state from batch to batch.
        """
        return False

    def settled(self) -> Self:
        """Return the rule with all references to files resolved, for the start of a run; the rule itself if there are none."""
        return self

    def at(self, context: StepContext) -> Self:
        """Return the rule for one training step; the rule itself unless it changes between epochs or draws random numbers.

        Training calls this for every batch.
        """
        return self

    @abstractmethod
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        """Train the network on one batch.

        Parameters
        ----------
        network : Network
        x : (n, *input_shape) array
        target : (n, *output_shape) array
            Targets of the outputs.
        apply
            Called with products whose sum post pre^T over the batch is the direction of the update (the negative gradient of the
            energy), once or several times.
        """


def _refuse_taken_names(rule: type[Rule]) -> None:
    """Refuse a short name of another rule."""
    others = [other for other in Rule.kinds().values() if not same_definition(other, rule)]
    taken = {name for other in others for name in other.__dict__.get("names", ())}
    if clash := taken.intersection(rule.__dict__.get("names", ())):
        raise TypeError(f"{rule.__qualname__}: another rule has the name '{min(clash)}'")


def named_rules() -> dict[str, Rule]:
    """Return the rules by short name."""
    return {name: kind(**fields) for kind in Rule.kinds().values() for name, fields in kind.__dict__.get("names", {}).items()}


def named_rule(name: str) -> Rule:
    """Return the rule with a short name.

    Raises
    ------
    ValueError
        If there is none; the message lists the names.
    """
    for kind in Rule.kinds().values():
        names = kind.__dict__.get("names", {})
        if name in names:
            return kind(**names[name])
    raise ValueError(unknown("rule", name, named_rules()))


def as_rule(given: Rule | str) -> Rule:
    """Return a rule, given as an object or by short name.

    Raises
    ------
    ValueError
        If ``given`` is neither.
    """
    if isinstance(given, Rule):
        return given
    if isinstance(given, str):
        return named_rule(given)
    raise ValueError(f"expected a rule or the name of a rule, not {type(given).__name__}")


def _by_name(value: Any) -> Any:
    return named_rule(value) if isinstance(value, str) else value


AnyRule = Annotated[SerializeAsAny[Rule], BeforeValidator(by_kind(Rule))]
"""A rule, or its fields including ``kind``."""

NamedRule = Annotated[AnyRule, BeforeValidator(_by_name)]
"""A rule, its fields, or its short name."""
