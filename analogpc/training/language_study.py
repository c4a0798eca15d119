"""The specification of a training run of a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator
from typing_extensions import override

from analogpc.data.text import TextData
from analogpc.data.text_files import load_text
from analogpc.devices.bounds import NonNegativeInteger, PositiveInteger
from analogpc.devices.specification import Specification
from analogpc.devices.substrate import Digital, Substrate
from analogpc.networks.transformer import Transformer
from analogpc.rules import NamedRule
from analogpc.rules.base import Rule, named_rules
from analogpc.training.optimisers import AnyOptimiser
from analogpc.training.study import Seed, usual_optimiser


class LanguageStudy(Specification):
    """Specification of a language model, its text and its training.

    Attributes
    ----------
    text : str
        Path of the text, or the name of a text in memory.
    instances, held_out, take
        See `load_text`; empty and 0 select the defaults.
    network : Transformer
        Architecture; vocabulary and positions are those of the text.
    substrate : Digital or Analog
    rule : Rule
        Learning rule; a rule given by name uses the cross-entropy at the output.
    optimiser : Optimiser
        By default AdamW on substrates that accept digitally computed increments, otherwise plain SGD with in-place updates.
    batches, batch_size : int
        Total number of batches, and instances per batch.
    evaluate_every : int
        Number of batches between evaluations; 0: a tenth of all.
    evaluate_on : int
        Number of validation instances per evaluation; 0: all.
    bert : bool
        See `TextData.batch`; applies to training only.
    technology : str
        Technology that prices the training, as in `Study`: the history then has the columns "joules" and "latency_seconds". Empty for
        none; a run can also be billed later.
    seed : int
        Seed of the order of the instances, of masks, and of all read and write noise.
    network_seed : int
        Seed of initial weights and devices; by default ``seed``.
    """

    text: str
    instances: Literal["", "sentences", "lines", "packed"] = ""
    held_out: NonNegativeInteger = 0
    take: NonNegativeInteger = 0
    network: Transformer
    substrate: Substrate = Digital()
    rule: NamedRule
    optimiser: AnyOptimiser
    batches: PositiveInteger = 1000
    batch_size: PositiveInteger = 32
    evaluate_every: NonNegativeInteger = 0
    evaluate_on: NonNegativeInteger = 1000
    bert: bool = False
    technology: str = ""
    seed: Seed = 0
    network_seed: Seed

    @override
    @classmethod
    def opened(cls, fields: dict[str, Any]) -> dict[str, Any]:
        rule, known = fields.get("rule"), named_rules()
        if isinstance(rule, str) and rule in known:
            return {**fields, "rule": with_cross_entropy(known[rule])}
        return fields

    @override
    @classmethod
    def consequences(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        seed = said.get("seed", cls.model_fields["seed"].default)
        return {"optimiser": usual_optimiser(said.get("substrate", Digital()), said.get("rule")), "network_seed": seed}

    @model_validator(mode="after")
    def _parts_fit(self) -> LanguageStudy:
        if reason := self.rule.refuse(self.network):
            raise ValueError(reason)
        if getattr(self.rule, "output", "cross-entropy") != "cross-entropy":
            raise ValueError("a language model needs the cross-entropy: set output = 'cross-entropy' in the rule")
        return self

    @property
    def interval(self) -> int:
        """Number of batches between evaluations."""
        return self.evaluate_every or max(1, self.batches // 10)


USUAL: dict[str, Any] = {"rule": "ipc", "network": {"kind": "transformer", "vocabulary": 1000, "task": "conditional"}}
"""Rule and network of a study that names none."""


def completed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a study file with the usual rule and network, whose fields a table of the network overrides."""
    laid = USUAL | dict(fields)
    if isinstance(laid["network"], Mapping):
        laid["network"] = USUAL["network"] | dict(laid["network"])
    return laid


def with_cross_entropy(rule: Rule) -> dict[str, Any]:
    """Return the fields of a rule with the cross-entropy at the output."""
    return {**rule.to_dict(), "output": "cross-entropy"}


def named_language_rules() -> dict[str, Rule]:
    """Return the rules that train language models by short name, with the cross-entropy at the output."""
    known = {name: rule for name, rule in named_rules().items() if "output" in type(rule).model_fields}
    return {name: type(rule).from_dict(with_cross_entropy(rule)) for name, rule in known.items()}


def text_of(study: LanguageStudy) -> TextData:
    """Load the text of a study from its path.

    Raises
    ------
    DataError
        If it cannot be used; see `load_text`.
    """
    return load_text(
        study.text,
        vocabulary=study.network.vocabulary,
        positions=study.network.positions,
        instances=study.instances or None,
        held_out=study.held_out,
        take=study.take,
    )
