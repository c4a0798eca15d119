"""Training by one call, and the beginning of a run."""

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
    """Train a copy of a network; the given one stays as it is.

    Parameters
    ----------
    network : Network, architecture or str
        An architecture, or the name of one such as "vgg7" or "784-256-10" (see `network_names`), becomes a digital network whose weights
        are drawn from ``seed``; one that is named without sizes gets those of the data.
    rule : Rule or str
        A rule, or the name of one, such as "pc", "s+f" or "bp" (see ``docs/rules.md``).
    data : Dataset, (x, y) or str
        Data, two arrays of your own (see `Dataset.from_arrays`), or the name of published data.
    validation : (x, y) or float
        A further part of two arrays, by which `monitor` judges; or the fraction of the training part that is set apart for it, as
        ``holdout``.
    test : (x, y)
        A part of two arrays that nothing is chosen by.
    normalisation : str or (mean, std)
        Of two arrays: "standard" if not given (see `Dataset.from_arrays`).
    task : "classification" or "regression"
        Of two arrays: found from the labels if not given.
    epochs, batch_size, seed, holdout, division, monitor, patience, keep
        See `Study`.
    optimiser : SGD, AdamW, or "sgd" or "adamw"
        If not given, AdamW where every matrix can take digitally formed increments, otherwise plain SGD, which learns in place.
    learning_rate : float
        Learning rate of the optimiser; the optimiser's default if not given.
    metrics : sequence of names, functions (right, predictions) -> float, and `Metric`
        Besides accuracy and loss (for regression: loss and r2); see `metric`.
    callbacks : sequence of functions (run) and of `Callback`
        Called at the end of every batch and epoch.
    batches, checkpoint, checkpoint_batches, progress
        See `Run.train`.
    backend : "cpu" or "gpu"
        Where to train; where the network is, if not said.

    Returns
    -------
    Run
        With the trained network in ``run.network`` and the history in ``run.history``.

    Raises
    ------
    DivergenceError
        At the first non-finite state or weight.
    UnsupportedUpdateError
        If the optimiser and the update scheme of the substrate do not go together.
    DataError
        If samples, labels and network do not fit together.
    GpuError
        If there is no GPU, and one is asked for.

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
        **_optimiser_fields(optimiser, learning_rate),
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
    """A run at its beginning.

    Parameters
    ----------
    study : Study
    data : Dataset
    network : Network
        Copied; built from the study if not given.
    backend : "cpu" or "gpu"
        Where to train; where the network is, if not said.
    metrics : sequence of functions and `Metric`
        Besides those that the study names.

    Raises
    ------
    ValueError
        If the network does not have one output for each class of the data, takes samples of another shape, or a metric does not fit.
    UnsupportedUpdateError
        If the optimiser and the update scheme of the substrate do not go together.
    TechnologyError
        If there is no such technology as the study names.
    """
    if network is None:
        network = Network(study.network, study.substrate, study.network_seed)
    refuse_other_outputs(network, data.target_kind, data.name)
    network.refuse_samples(data.input_shape)
    if data.target_kind.task == "regression" and getattr(study.rule, "output", "squared-error") != "squared-error":
        raise ValueError("a regression is learnt by squared error: give the rule output = 'squared-error'")
    if study.technology:
        # An unknown name is refused before the first epoch, not after it.
        from analogpc.devices.costs.technology import technology

        technology(study.technology)
    description = with_holdout(study, data).describe(data.fingerprint)
    metrics_for((*study.metrics, *metrics), description.targets.task)
    trained = network.copy(trained=True, backend=backend)
    trained.key_streams(Key(study.seed).fold("run"))
    rule = study.rule.settled()
    return Run(study if rule is study.rule else study.but(rule=rule), trained, description, metrics)


def _network(fields: dict[str, Any], data: Dataset, seed: int) -> Network:
    """A digital network of the fields that a short name stands for, with the ends that the data need."""
    usual = usual_network(fields["kind"], data.input_shape, data.target_kind.outputs, fields)
    if usual is None:
        raise SpecificationError(f"networks of the kind '{fields['kind']}' have fields without a default: make one by its class")
    return Network(usual.but({path: value for path, value in fields.items() if path != "kind"}), None, seed)


def _optimiser_fields(optimiser: Any, learning_rate: float | None) -> dict[str, Any]:
    """The optimiser of a study, as far as it was said."""
    if isinstance(optimiser, str):
        optimiser = {"kind": optimiser}
    if learning_rate is None:
        return {} if optimiser is None else {"optimiser": optimiser}
    fields = {} if optimiser is None else optimiser.said() if isinstance(optimiser, Specification) else dict(optimiser)
    return {"optimiser": {**fields, "learning_rate": learning_rate}}
