"""Incremental predictive coding: states and weights move together, at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.devices.costs.schedule import WHILE_WRITTEN, at_once
from analogpc.dynamics.relaxation import Watch
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult
from analogpc.rules.clamped import Positive, RelaxingRule
from analogpc.rules.swept import ipc_step


class IncrementalPC(RelaxingRule):
    """Predictive coding whose weights learn at every relaxation step, from the same errors that move the states (iPC).

    In each of T = ``steps`` steps the errors of all layers are found once; the states move down their gradient (see `RelaxingRule`),
    then every layer learns from its error and its input as they were. The memory of an optimiser lasts from step to step. Schedules
    of the learning rate count batches: a batch of T updates is one step of theirs, which is what the reference code gets by
    multiplying the lengths of its schedule by T, but for the rate being the same during a batch.

    Attributes
    ----------
    stoppable : bool
        Layers that the error has not reached yet do not learn at all: no step, no change of the moments of an optimiser, no weight
        decay (the stoppable optimiser of the reference code of Qi et al., as it is meant). Otherwise they learn from an error of
        zero.

    References
    ----------
    Salvatori et al., "A stable, fast, and fully automatic learning algorithm for predictive coding networks", ICLR 2024.
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ipc": {"steps": "layers", "step_size": 0.5}}
    sweeps: ClassVar[bool] = True
    kind: Literal["incremental-pc"] = "incremental-pc"
    watchable: ClassVar[bool] = True
    steps: Annotated[int, Field(ge=1)] | Literal["layers"] = 8
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
        """See `Rule.train_step`; a ``watch`` sees the states before every step and after the last."""
        if network.swept:
            return ipc_step(self, network, x, target, apply, watch)
        layers = network.layers
        relaxation = self.begin(network, x, target)
        outputs = relaxation.prediction(-1)
        precisions = [1.0] * (len(layers) - 1) + [self.output_precision()]
        energies: np.ndarray
        found: list[tuple[int, Any, np.ndarray | None]] = []

        def learn() -> None:
            for i, tape, error in at_once(found):
                if self.stoppable and error is None:
                    continue
                error = np.zeros_like(relaxation.states[i + 1]) if error is None else error
                apply(layers[i].products(tape, error), 1.0 / self.nudging.strength)
                relaxation.renew(i)

        def differentiate() -> None:
            relaxation.differentiate(precisions)

        steps = self.step_count(len(layers))
        for step in range(steps):
            # What a step has found is learnt while the next one reads, where arrays allow it.
            for do in at_once((learn, differentiate), WHILE_WRITTEN):
                do()
            relaxation.show(watch)
            if step == steps - 1:
                energies = relaxation.energies()
            found = list(zip(range(len(layers)), relaxation.tapes, relaxation.errors, strict=True))
            # The states go first: they must not see what the weights learn from the same errors.
            relaxation.descend(self.step_size, self.momentum, self.nesterov)
        learn()
        relaxation.show(watch)
        return StepResult(outputs, energies)
