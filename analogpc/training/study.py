"""A study: everything that determines a training run, in one specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, TypeAdapter, model_validator
from typing_extensions import override

from analogpc.data.division import Division
from analogpc.data.sources import ends_of
from analogpc.devices.bounds import NonNegativeInteger, PositiveInteger
from analogpc.devices.specification import Specification
from analogpc.devices.substrate import Analog, Digital, Substrate
from analogpc.networks import Architecture
from analogpc.networks.names import named_network, usual_network
from analogpc.rules import AnyRule, NamedRule
from analogpc.training.optimisers import SGD, AdamW, AnyOptimiser

Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _known_metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    from analogpc.training.metrics import metric

    for name in names:
        metric(name)
    return names


def _one_or_several(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


class Study(Specification):
    """Specification of a training run: data, network, substrate, rule, optimiser and duration.

    Only the rule is required. Rule, network and substrate may be given by their short names.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    augment : bool
        Whether the training images use the published augmentation of the data set.
    network : Architecture
        Fields, or a name such as "vgg7", "resnet18" or "784-256-10" (see `network_names`). For published data sets, it takes the
        shape of the samples and the number of classes. The default depends on data and rule: a perceptron of two hidden layers for
        images of one channel, VGG5 for others, a Hopfield network of one hidden layer for the rules that train those.
    substrate : Digital or Analog
    rule : Rule
    optimiser : Optimiser
        By default AdamW on substrates that accept digitally computed increments, otherwise plain SGD with in-place updates, with the
        default rate of the rule.
    epochs, batch_size : int
        By default 5 epochs, and batches of 32 samples, or 128 if the default network is convolutional.
    seed : int
        Seed of the order of the samples, of augmentation, and of all read and write noise.
    network_seed : int
        Seed of initial weights and devices; by default ``seed``.
    train_images, test_images : int
        Number of images used of each part, from the first; 0: all.
    holdout : float
        Fraction of the training images that is held out for validation, 0 to below 1.
    division : "random" or "stratified"
        Draw the holdout from all images, or from every class in proportion.
    metrics : tuple of str
        Names of metrics, or one name (see `metric`), in addition to accuracy and loss (for regression: loss and r2).
    monitor : str
        Metric by which the run is judged: a column of the history, such as "validation_loss", or a metric. Empty for accuracy (for
        regression: loss) on the validation part if there is one, else on the test part.
    patience : int
        Stop after this many epochs without improvement; 0 means never.
    keep : "last" or "best"
        Whether to keep the network of the best epoch in addition to the last.
    technology : str
        Technology that prices every epoch: a name or a file (see ``docs/costs.md``). The history then has the columns "joules"
        and "latency_seconds" of all training so far. Empty for none; a run can also be billed later.
    hopeless_after, hopeless_value : int, float
        Stop after this many epochs unless the run is better than this value; 0 epochs means never.
    """

    dataset: str = "digits"
    augment: bool = True
    network: Architecture
    substrate: Substrate = Digital()
    rule: NamedRule
    optimiser: AnyOptimiser
    epochs: PositiveInteger = 5
    batch_size: PositiveInteger = 32
    seed: Seed = 0
    network_seed: Seed
    holdout: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    division: Division = "random"
    train_images: NonNegativeInteger = 0
    test_images: NonNegativeInteger = 0
    metrics: Annotated[tuple[str, ...], BeforeValidator(_one_or_several), AfterValidator(_known_metrics)] = ()
    monitor: str = ""
    patience: NonNegativeInteger = 0
    keep: Literal["last", "best"] = "last"
    hopeless_after: NonNegativeInteger = 0
    hopeless_value: FiniteFloat = 0.0
    technology: str = ""

    @override
    @classmethod
    def opened(cls, fields: dict[str, Any]) -> dict[str, Any]:
        network = fields.get("network")
        return {**fields, "network": named_network(network)} if isinstance(network, str) else fields

    @override
    @classmethod
    def consequences(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        dataset = said.get("dataset", cls.model_fields["dataset"].default)
        ends = ends_of(dataset) if isinstance(dataset, str) else None
        network = {} if ends is None else _usual_network(said.get("network"), said.get("rule"), *ends)
        optimiser = usual_optimiser(said.get("substrate", Digital()), said.get("rule"))
        batch = {"batch_size": 128} if ends is not None and ends[0][2] == 3 else {}
        return {**network, **batch, "optimiser": optimiser, "network_seed": said.get("seed", cls.model_fields["seed"].default)}

    @model_validator(mode="after")
    def _rule_and_network_fit(self) -> Study:
        reason = self.rule.refuse(self.network)
        if reason:
            raise ValueError(reason)
        return self


_RULE: TypeAdapter[AnyRule] = TypeAdapter(NamedRule)
_SUBSTRATE: TypeAdapter[Digital | Analog] = TypeAdapter(Substrate)


def _usual_network(given: Any, rule: Any, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """Return the default network for data of a shape, or complete a table of fields."""
    if given is not None and not isinstance(given, Mapping):
        return {}
    usual = "hopfield" if shape[2] == 1 and _is_recurrent(rule) else "mlp" if shape[2] == 1 else "vgg"
    network = usual_network(str((given or {}).get("kind", usual)), shape, classes, given or {})
    return {} if network is None else {"network": network}


def _is_recurrent(given: Any) -> bool:
    """Return whether a rule, given as an object, a name or fields, trains Hopfield networks."""
    try:
        rule: AnyRule = _RULE.validate_python(given)
    except ValueError:
        return False  # The invalid field is refused later, with its own message.
    return rule.recurrent


def usual_optimiser(substrate: Any, rule: Any = "bp") -> AnyOptimiser:
    """Return the default optimiser for a substrate and a rule, given as objects, names or fields.

    ``experiments/results/defaults.md`` documents how the rates were found.
    """
    if _takes_increments(substrate):
        return AdamW()
    try:
        made: AnyRule = _RULE.validate_python(rule)
    except ValueError:
        return SGD()  # The invalid field is refused later, with its own message.
    return SGD(learning_rate=made.usual_rate)


def _takes_increments(given: Any) -> bool:
    """Return whether matrices on a substrate, given as an object, a name or fields, accept digitally computed increments."""
    try:
        made = _SUBSTRATE.validate_python(given)
    except ValueError:
        return True  # The invalid field is refused later, with its own message.
    return isinstance(made, Digital) or made.scheme.takes_increments
