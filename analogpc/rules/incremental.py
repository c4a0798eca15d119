"""Incremental predictive coding: states and weights are updated together, at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.devices.costs.paths import WHILE_WRITTEN
from analogpc.devices.costs.schedule import at_once
from analogpc.dynamics.relaxation import Watch
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
            # Where arrays allow it, the update of a step overlaps with the reads of the next.
            for do in at_once((learn, differentiate), WHILE_WRITTEN):
                do()
            relaxation.show(watch)
            if step == steps - 1:
                energies = relaxation.energies()
            found = list(zip(range(len(layers)), relaxation.tapes, relaxation.errors, strict=True))
            # Move the states first: they must not depend on the weight update from the same errors.
            relaxation.descend(self.step_size, self.momentum, self.nesterov)
        learn()
        relaxation.show(watch)
        return StepResult(outputs, energies)
