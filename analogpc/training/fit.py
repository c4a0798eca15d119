"""Train by one call, and create runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from analogpc.data import Dataset, as_dataset
from analogpc.data.division import Division
from analogpc.data.targets import Task
from analogpc.devices.specification import Specification, SpecificationError
from analogpc.kernels.checks import several
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.random.streams import Key
from analogpc.networks import Architecture
from analogpc.networks.names import named_network, usual_network
from analogpc.networks.network import Network
from analogpc.rules import Rule
from analogpc.training.evaluation import refuse_other_outputs
from analogpc.training.metrics import metrics_for
from analogpc.training.optimisers import AnyOptimiser
from analogpc.training.run import Run
from analogpc.training.study import Study
from analogpc.training.study_data import with_holdout


def fit(
    network: Network | Architecture | str,
    rule: Rule | str,
    data: Any,
    *,
    validation: Any = None,
    test: Any = None,
    normalisation: Any = None,
    task: Task | None = None,
    epochs: int = 5,
    batch_size: int = 32,
    seed: int = 0,
    optimiser: AnyOptimiser | str | None = None,
    learning_rate: float | None = None,
    holdout: float = 0.0,
    division: Division = "random",
    metrics: Sequence[Any] = (),
    monitor: str = "",
    patience: int = 0,
    keep: Literal["last", "best"] = "last",
    callbacks: Sequence[Any] = (),
    batches: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_batches: int = 0,
    progress: bool = True,
    backend: Backend | None = None,
) -> Run:
    """Train a copy of a network; the given network is unchanged.

    Parameters
    ----------
    network : Network, architecture or str
        An architecture, or the name of one such as "vgg7" or "784-256-10" (see `network_names`), becomes a digital network whose weights
        are drawn from ``seed``. A name without sizes takes them from the data.
    rule : Rule or str
        A rule, or the name of a rule, such as "pc", "s+f" or "bp" (see ``docs/rules.md``).
    data : Dataset, (x, y) or str
        Data, two arrays of your own (see `Dataset.from_arrays`), or the name of a published data set.
    validation : (x, y) or float
        Validation part, given as two arrays, that `monitor` evaluates; or the fraction of the training part that is held out for
        it, as ``holdout``.
    test : (x, y)
        Test part, given as two arrays; no choice depends on it.
    normalisation : str or (mean, std)
        Normalisation of data given as arrays; "standard" by default (see `Dataset.from_arrays`).
    task : "classification" or "regression"
        Task of data given as arrays; by default inferred from the labels.
    epochs, batch_size, seed, holdout, division, monitor, patience, keep
        See `Study`.
    optimiser : SGD, AdamW, or "sgd" or "adamw"
        By default AdamW if every matrix accepts digitally computed increments, otherwise plain SGD, which updates in place.
    learning_rate : float
        Learning rate of the optimiser; by default that of the optimiser.
    metrics : sequence of names, functions (right, predictions) -> float, and `Metric`
        Metrics in addition to accuracy and loss (for regression: loss and r2); see `metric`.
    callbacks : sequence of functions (run) and of `Callback`
        Called at the end of every batch and epoch.
    batches, checkpoint, checkpoint_batches, progress
        See `Run.train`.
    backend : "cpu" or "gpu"
        Where to train; by default where the network is.

    Returns
    -------
    Run
        The run, with the trained network in ``run.network`` and the history in ``run.history``.

    Raises
    ------
    DivergenceError
        At the first non-finite state or weight.
    UnsupportedUpdateError
        If the update scheme of the substrate does not support the optimiser.
    DataError
        If samples, labels and network do not match.
    GpuError
        If ``backend = "gpu"`` and there is no GPU.

    Examples
    --------
    >>> run = fit(apc.mlp([64, 32, 10]), "bp", "digits", epochs=1, progress=False)  # doctest: +SKIP
    """
    metrics = several(metrics)
    if isinstance(validation, (int, float)):
        holdout, validation = float(validation), None
    if not isinstance(network, (Network, str)):
        network = Network(network, None, seed)
    fields = named_network(network) if isinstance(network, str) else {}
    outputs = fields["widths"][-1] if "widths" in fields else None
    if isinstance(network, Network) and len(network.output_shape) == 1:
        outputs = network.output_shape[0]
    options: dict[str, Any] = {
        name: value for name, value in (("normalisation", normalisation), ("task", task)) if value is not None
    }
    data = as_dataset(data, validation=validation, test=test, outputs=outputs, **options)
    if isinstance(network, str):
        network = _network(fields, data, seed)
    named, functions = [one for one in metrics if isinstance(one, str)], [one for one in metrics if not isinstance(one, str)]
    study = Study(
        dataset=data.name,
        augment=data.augmentation.active,
        network=network.architecture,
        substrate=network.substrate,
        rule=rule,
        **optimiser_fields(optimiser, learning_rate),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        network_seed=network.seed,
        holdout=holdout,
        division=division,
        metrics=tuple(named),
        monitor=monitor,
        patience=patience,
        keep=keep,
    )
    run = begin(study, data, network, backend=backend, metrics=functions)
    return run.train(
        data,
        callbacks=callbacks,
        batches=batches,
        checkpoint=checkpoint,
        checkpoint_batches=checkpoint_batches,
        progress=progress,
    )


def begin(
    study: Study, data: Dataset, network: Network | None = None, *, backend: Backend | None = None, metrics: Sequence[Any] = ()
) -> Run:
    """Create a run before its first batch.

    Parameters
    ----------
    study : Study
    data : Dataset
    network : Network
        Copied; built from the study if not given.
    backend : "cpu" or "gpu"
        Where to train; by default where the network is.
    metrics : sequence of functions and `Metric`
        Metrics in addition to those of the study.

    Raises
    ------
    ValueError
        If the network does not have one output for each class of the data, takes samples of another shape, or a metric does not fit.
    UnsupportedUpdateError
        If the update scheme of the substrate does not support the optimiser.
    TechnologyError
        If the technology of the study does not exist.
    """
    if network is None:
        network = Network(study.network, study.substrate, study.network_seed)
    refuse_other_outputs(network, data.target_kind, data.name)
    network.refuse_samples(data.input_shape)
    if data.target_kind.task == "regression" and getattr(study.rule, "output", "squared-error") != "squared-error":
        raise ValueError("a regression needs the squared error: set output = 'squared-error' in the rule")
    if study.technology:
        # Refuse an unknown name before the first epoch, not after it.
        from analogpc.devices.costs.technology import technology

        technology(study.technology)
    description = with_holdout(study, data).describe(data.fingerprint)
    metrics_for((*study.metrics, *metrics), description.targets.task)
    trained = network.copy(trained=True, backend=backend)
    trained.key_streams(Key(study.seed).fold("run"))
    rule = study.rule.settled()
    return Run(study if rule is study.rule else study.but(rule=rule), trained, description, metrics)


def _network(fields: dict[str, Any], data: Dataset, seed: int) -> Network:
    """Build a digital network from the fields of a short name, with input and output sizes from the data."""
    usual = usual_network(fields["kind"], data.input_shape, data.target_kind.outputs, fields)
    if usual is None:
        raise SpecificationError(
            f"networks of the kind '{fields['kind']}' have fields without a default: construct one from its class"
        )
    return Network(usual.but({path: value for path, value in fields.items() if path != "kind"}), None, seed)


def optimiser_fields(optimiser: Any, learning_rate: float | None) -> dict[str, Any]:
    """Return the optimiser fields of a study, as far as given."""
    if isinstance(optimiser, str):
        optimiser = {"kind": optimiser}
    if learning_rate is None:
        return {} if optimiser is None else {"optimiser": optimiser}
    fields = {} if optimiser is None else optimiser.said() if isinstance(optimiser, Specification) else dict(optimiser)
    return {"optimiser": {**fields, "learning_rate": learning_rate}}
