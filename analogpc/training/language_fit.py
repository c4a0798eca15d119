"""Training of a network on a text in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat

from analogpc.data.samples import DataError
from analogpc.data.text import TextData
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.training.language import LanguageRun
from analogpc.training.language_study import LanguageStudy
from analogpc.training.optimisers import AnyOptimiser
from analogpc.training.perplexity import transformer_of


def begin_text(
    study: LanguageStudy, data: TextData, network: Network | None = None, *, backend: Backend | None = None
) -> LanguageRun:
    """Create a run before its first batch.

    Parameters
    ----------
    study : LanguageStudy
    data : TextData
    network : Network
        Copied; built from the study if not given.
    backend : "cpu" or "gpu"

    Raises
    ------
    DataError
        If network and text do not match.
    """
    if network is None:
        network = Network(study.network, study.substrate, study.network_seed)
    architecture = transformer_of(network)
    if (architecture.vocabulary, architecture.positions) != (data.vocabulary, data.positions):
        raise DataError(
            f"the network takes {architecture.positions} positions of {architecture.vocabulary} tokens, and '{data.name}' has "
            f"{data.positions} of {data.vocabulary}"
        )
    trained = network.copy(trained=True, backend=backend)
    trained.key_streams(Key(study.seed).fold("run"))
    return LanguageRun(study, trained, data.tokeniser, data.fingerprint)


def fit_text(
    network: Network,
    rule: Any,
    data: TextData,
    *,
    batches: int = 1000,
    batch_size: int = 32,
    learning_rate: FiniteFloat | None = None,
    optimiser: AnyOptimiser | None = None,
    seed: int = 0,
    backend: Backend | None = None,
    checkpoint: str | Path | None = None,
    report: Callable[[str], None] = lambda line: None,
    **fields: Any,
) -> LanguageRun:
    """Train a copy of a language model; the given network is unchanged.

    Parameters
    ----------
    network : Network
        A network of the architecture `Transformer`.
    rule : Rule or str
        "bp", "pc", "ipc" or "zil", or a rule with output = "cross-entropy".
    data : TextData
    batches, batch_size, seed, optimiser
        See `LanguageStudy`.
    learning_rate : float
        Learning rate of the optimiser; by default that of the optimiser.
    backend, checkpoint, report
        See `begin_text` and `LanguageRun.train`.
    **fields
        Further fields of `LanguageStudy`.

    Raises
    ------
    DataError
        If network and text do not match.
    DivergenceError
        At the first non-finite energy.
    """
    from analogpc.training.fit import optimiser_fields

    transformer_of(network)
    study = LanguageStudy(
        text=data.name,
        network=network.architecture,
        substrate=network.substrate,
        rule=rule,
        **optimiser_fields(optimiser, learning_rate),
        batches=batches,
        batch_size=batch_size,
        seed=seed,
        network_seed=network.seed,
        **fields,
    )
    return begin_text(study, data, network, backend=backend).train(data, checkpoint=checkpoint, report=report)
