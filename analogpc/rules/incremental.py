"""Incremental predictive coding: states and weights are updated together, at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.devices.costs.paths import WHILE_WRITTEN
from analogpc.devices.costs.schedule import afterwards, at_once
from analogpc.dynamics.relaxation import EnergyTerms, Watch, layer_energies
from analogpc.dynamics.repetition import Part, repeated_in_parts
from analogpc.kernels.memory import zeros
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult
from analogpc.rules.clamped import RelaxingRule
from analogpc.rules.swept import ipc_step


class IncrementalPC(RelaxingRule):
    """Incremental predictive coding (iPC): weights learn at every relaxation step, from the errors that move the states.

    In each of T = ``steps`` steps the errors of all layers are computed once; the states move down their gradient (see
    `RelaxingRule`), then every layer learns from the error and input before the move. The optimiser state persists from step to
    step. Learning-rate schedules count batches: a batch of T updates is one step. The reference code multiplies the lengths of its
    schedule by T to the same effect, except that here the rate is constant during a batch.

    Attributes
    ----------
    stoppable : bool
        Layers not yet reached by the error do not learn: no step, no change of optimiser moments, no weight decay (the stoppable
        optimiser of the reference code of Qi et al., as intended there). Otherwise they learn from an error of zero.

    References
    ----------
    Salvatori et al., "A stable, fast, and fully automatic learning algorithm for predictive coding networks", ICLR 2024.
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ipc": {"steps": "layers", "step_size": 0.5}}
    sweeps: ClassVar[bool] = True
    kind: Literal["incremental-pc"] = "incremental-pc"
    watchable: ClassVar[bool] = True
    steps: PositiveInteger | Literal["layers"] = 8
    step_size: Positive = 0.5
    stoppable: bool = True

    @property
    @override
    def usual_rate(self) -> float:
        return 0.1

    @override
    def repeatable(self, network: Network) -> bool:
        return True

    @override
    def train_step(
        self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply, watch: Watch | None = None
    ) -> StepResult:
        """See `Rule.train_step`; ``watch`` is called before every step and after the last."""
        if network.swept:
            return ipc_step(self, network, x, target, apply, watch)
        if watch is None:
            return repeated_in_parts(self, partial(self._batch, network), x, target, apply)
        return self._batch(network, lambda work: work(), x, target, apply, watch)

    def _batch(
        self, network: Network, part: Part, x: np.ndarray, target: np.ndarray, apply: Apply, watch: Watch | None = None
    ) -> StepResult:
        """Alternate parts, which `_Course` does unless they are repeated from recordings, with weight updates."""
        course, layers, steps = _Course(self, network, watch), network.layers, self.step_count(len(network.layers))
        found: list[tuple[Any, np.ndarray | None]] = []
        terms: EnergyTerms | None = None

        def learn() -> None:
            for layer, (tape, error) in at_once(zip(layers, found, strict=False)):
                if error is not None:
                    apply(layer.products(tape, error), 1.0 / self.nudging.strength)

        def move(last: bool) -> None:
            nonlocal found, terms
            found, terms = part(partial(course.move, last))

        outputs = part(lambda: course.begin(x, target))
        for step in range(steps):
            # Where arrays allow it, the update of a step overlaps with the reads of the next.
            turns: tuple[Callable[[], None], ...] = (learn, partial(move, step == steps - 1))
            for do in at_once(turns, WHILE_WRITTEN):
                do()
        learn()
        if watch is not None:
            course.show()
        assert terms is not None
        return StepResult(outputs, layer_energies(layers, self.output, terms))


class _Course:
    """States of a batch between its weight updates."""

    def __init__(self, rule: IncrementalPC, network: Network, watch: Watch | None) -> None:
        self._rule, self._network, self._watch = rule, network, watch
        self._precisions = [1.0] * (len(network.layers) - 1) + [rule.output_precision()]
        self._learnt: list[int] = []

    def begin(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Start from feed-forward states, and return the output."""
        self._relaxation = self._rule.begin(self._network, x, target)
        return self._relaxation.prediction(-1)

    def move(self, last: bool) -> tuple[list[tuple[Any, np.ndarray | None]], EnergyTerms | None]:
        """Move the states, and return what the layers then learn from: their tapes and errors before the move.

        The error is None for layers that do not learn. At the ``last`` step, return also what the energies are computed from.
        """
        rule, relaxation = self._rule, self._relaxation
        self._renew()
        relaxation.differentiate(self._precisions)
        terms = relaxation.energy_terms() if last else None
        errors = [error if rule.stoppable else self._full(i, error) for i, error in enumerate(relaxation.errors)]
        self._learnt = [i for i, error in enumerate(errors) if error is not None]
        found = list(zip(relaxation.tapes, errors, strict=True))
        # Move the states first: they must not depend on the weight update from the same errors.
        with afterwards():
            relaxation.show(self._watch)
            relaxation.descend(rule.step_size, rule.momentum, rule.nesterov)
        return found, terms

    def _full(self, i: int, error: np.ndarray | None) -> np.ndarray:
        """Return the error of layer i, zeros if it is zero by construction."""
        state = self._relaxation.states[i + 1]
        return zeros(state.shape, state.dtype, state) if error is None else error

    def _renew(self) -> None:
        for i in self._learnt:
            self._relaxation.renew(i)

    def show(self) -> None:
        """Call the watch after the last weight update."""
        self._renew()
        self._relaxation.show(self._watch)
