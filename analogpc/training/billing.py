"""Hardware costs of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from analogpc.kernels.random.streams import Key

if TYPE_CHECKING:
    from analogpc.devices.costs.bill import Bill
    from analogpc.devices.costs.ledger import Ledger, Tally
    from analogpc.devices.costs.technology import Technology
    from analogpc.networks.network import Network
    from analogpc.training.language_study import LanguageStudy
    from analogpc.training.study import Study


class Billing:
    """Mixin that prices the recorded operations of a run.

    Attributes
    ----------
    study : Study or LanguageStudy
    network : Network
    ledger : Ledger
        Recorded operations.
    """

    study: Study | LanguageStudy
    network: Network
    ledger: Ledger

    def priced(self) -> dict[str, float]:
        """Return energy and latency of the training so far, for the history; empty if the study names no technology."""
        if not self.study.technology:
            return {}
        billed = self.bill(self.study.technology)
        return {"joules": billed.joules, "latency_seconds": billed.seconds}

    def _refuse_technology(self, x: np.ndarray, target: np.ndarray) -> None:
        """Refuse a technology of the study that lacks an entry, before training starts.

        The entries needed depend on the operations performed: a copy of the network is trained on a few samples and billed.

        Parameters
        ----------
        x : (n, *input_shape) array
        target : (n, *output_shape) array
            Normalised samples and their targets.
        """
        from analogpc.devices.costs.ledger import Ledger
        from analogpc.rules.base import StepContext
        from analogpc.training.optimisers import Learner
        from analogpc.training.step import TrainingStep

        study, network = self.study, self.network.copy()
        ledger = Ledger(network.matrices())
        step = TrainingStep(network, Learner(study.optimiser, network.matrices()), recorder=ledger.recorder)
        rule = study.rule.at(StepContext(Key(study.seed), 0, 0))
        step.learn(rule, x, target, study.optimiser.learning_rate)
        ledger.batch(len(x))
        _priced(ledger.total(), network, study.technology)

    def bill(
        self,
        technology: str | Path | Technology = "isaac-32nm",
        *,
        epochs: int | None = None,
        twin: bool = False,
        changes: Mapping[str, float] = MappingProxyType({}),
    ) -> Bill:
        """Compute the cost of the training so far, or of its first ``epochs``, in a technology.

        Parameters
        ----------
        technology : str, path or Technology
            A name listed by `devices.costs.technology.technologies`, or a TOML file.
        epochs : int
            Number of finished epochs to bill; by default everything recorded so far.
        twin : bool
            Bill the digital twin instead: the same reads and updates in digital arithmetic.
        changes : dict of float by entry
            Changed entries, in the units of the technology: ``{"array.columns_per_adc": 8}``.

        Raises
        ------
        TechnologyError
            If there is no such technology, or it lacks a required entry.
        LedgerError
            If nothing was recorded.
        """
        with self.network.own_session():
            tally = self.ledger.total(epochs)
        return _priced(tally, self.network, technology, twin, changes)


def _priced(
    tally: Tally,
    network: Network,
    technology: str | Path | Technology,
    twin: bool = False,
    changes: Mapping[str, float] = MappingProxyType({}),
) -> Bill:
    """Return the bill of a tally of a network."""
    from analogpc.devices.costs.bill import bill
    from analogpc.devices.costs.hardware import Hardware
    from analogpc.devices.costs.technology import technology as found
    from analogpc.devices.costs.twin import digital_twin

    hardware = {name: Hardware.of(matrix) for name, matrix in network.matrices().items()}
    if twin:
        tally, hardware = digital_twin(tally, hardware)
    return bill(tally, hardware, found(technology, **changes))
