"""A study: everything that determines a training run, in one specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, TypeAdapter, model_validator
from typing_extensions import override

from analogpc.data.division import Division
from analogpc.data.sources import ends_of
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
    """What is trained, on what, how, and for how long.

    Only the rule has to be given; a rule, a network and a substrate may be given by their short names.

    Attributes
    ----------
    dataset : str
        Name of the data.
    augment : bool
        Whether the training images get the published augmentation of the data set.
    network : Architecture
        Fields, or a name such as "vgg7", "resnet18" or "784-256-10" (see `network_names`). Of the data that have names, it gets the
        shape of the samples and the number of classes. If not given, one that is usual for data and rule: a perceptron of two hidden
        layers for images of one channel, VGG5 for others, a Hopfield network of one hidden layer for the rules that train those.
    substrate : Digital or Analog
    rule : Rule
    optimiser : Optimiser
        If not given, AdamW on substrates that can write digitally formed increments, and plain SGD where learning is in place,
        with the usual rate of the rule.
    epochs, batch_size : int
        If not given, 5 epochs, and batches of 32 samples, or of 128 where the usual network is convolutional.
    seed : int
        Order of the samples, augmentation, and all noise of reads and writes.
    network_seed : int
        Initial weights and devices; as ``seed`` if not given.
    train_images, test_images : int
        How many of the first images of each part are used; 0 for all.
    holdout : float
        Fraction of the training images that is kept for validation, 0 to below 1.
    division : "random" or "stratified"
        Whether the holdout is drawn from all images, or from every class in proportion.
    metrics : tuple of str
        Names of metrics, or one name (see `metric`), besides accuracy and loss (for regression: loss and r2).
    monitor : str
        By what the run is judged: a column of the history, as "validation_loss", or a metric. Empty for accuracy, or for regression
        loss, on the validation part if there is one, else on the test part.
    patience : int
        Stop after this many epochs without improvement; 0 means never.
    keep : "last" or "best"
        Whether the network of the best epoch is kept besides the last.
    technology : str
        With what every epoch is priced: a technology or its file (see ``docs/costs.md``). The history then has the columns "joules"
        and "latency_seconds", of all training so far. Empty for none; any run can be billed later.
    hopeless_after, hopeless_value : int, float
        Stop after this many epochs if the run is not better than this value by then; 0 epochs means never.
    """

    dataset: str = "digits"
    augment: bool = True
    network: Architecture
    substrate: Substrate = Digital()
    rule: NamedRule
    optimiser: AnyOptimiser
    epochs: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 32
    seed: Seed = 0
    network_seed: Seed
    holdout: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    division: Division = "random"
    train_images: Annotated[int, Field(ge=0)] = 0
    test_images: Annotated[int, Field(ge=0)] = 0
    metrics: Annotated[tuple[str, ...], BeforeValidator(_one_or_several), AfterValidator(_known_metrics)] = ()
    monitor: str = ""
    patience: Annotated[int, Field(ge=0)] = 0
    keep: Literal["last", "best"] = "last"
    hopeless_after: Annotated[int, Field(ge=0)] = 0
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
        reason = self.rule.refuse(self.network.kind)
        if reason:
            raise ValueError(reason)
        return self


_RULE: TypeAdapter[AnyRule] = TypeAdapter(NamedRule)
_SUBSTRATE: TypeAdapter[Digital | Analog] = TypeAdapter(Substrate)


def _usual_network(given: Any, rule: Any, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """The network that data of a shape get if none is given, or that completes the table of one."""
    if given is not None and not isinstance(given, Mapping):
        return {}
    usual = "hopfield" if shape[2] == 1 and _is_recurrent(rule) else "mlp" if shape[2] == 1 else "vgg"
    network = usual_network(str((given or {}).get("kind", usual)), shape, classes, given or {})
    return {} if network is None else {"network": network}


def _is_recurrent(given: Any) -> bool:
    """Whether a rule, given as an object, a name or plain fields, teaches networks of Hopfield type."""
    try:
        rule: AnyRule = _RULE.validate_python(given)
    except ValueError:
        return False  # The field itself is going to be refused, with its own sentence.
    return not rule.refuse("hopfield")


def usual_optimiser(substrate: Any, rule: Any = "bp") -> AnyOptimiser:
    """The optimiser that a substrate and a rule, given as objects, names or plain fields, get if none is chosen.

    ``experiments/results/defaults.md`` documents how the rates were found.
    """
    if _takes_increments(substrate):
        return AdamW()
    try:
        made: AnyRule = _RULE.validate_python(rule)
    except ValueError:
        return SGD()  # The field itself is going to be refused, with its own sentence.
    return SGD(learning_rate=made.usual_rate)


def _takes_increments(given: Any) -> bool:
    """Whether matrices on a substrate, given as an object, a name or plain fields, take digitally formed increments."""
    try:
        made = _SUBSTRATE.validate_python(given)
    except ValueError:
        return True  # The field itself is going to be refused, with its own sentence.
    return isinstance(made, Digital) or made.scheme.takes_increments
