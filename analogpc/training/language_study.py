"""What a run of a language model is determined by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.data.text import TextData
from analogpc.data.text_files import load_text
from analogpc.devices.specification import Specification
from analogpc.devices.substrate import Digital, Substrate
from analogpc.networks.transformer import Transformer
from analogpc.rules import NamedRule
from analogpc.rules.base import named_rules
from analogpc.training.optimisers import AnyOptimiser
from analogpc.training.study import Seed, usual_optimiser

Count = Annotated[int, Field(ge=1)]


class LanguageStudy(Specification):
    """Which language model learns what text, and for how long.

    Attributes
    ----------
    text : str
        Path of the text, or the name of one in memory.
    instances, held_out, take
        See `load_text`; empty and 0 for what is usual.
    network : Transformer
        Its vocabulary and positions are those of the text.
    substrate : Digital or Analog
    rule : Rule
        Rules by name pay the cross-entropy at the output.
    optimiser : Optimiser
        If not given, AdamW on substrates that can write digitally formed increments, and plain SGD where learning is in place.
    batches, batch_size : int
        Batches in all, and instances in each.
    evaluate_every : int
        Batches between two evaluations; a tenth of all if 0.
    evaluate_on : int
        Validation instances of these evaluations; 0 for all.
    bert : bool
        See `TextData.batch`; for training alone.
    seed : int
        Order of the instances, masks, and all noise of reads and writes.
    network_seed : int
        Initial weights and devices; as ``seed`` if not given.
    """

    text: str
    instances: Literal["", "sentences", "lines", "packed"] = ""
    held_out: Annotated[int, Field(ge=0)] = 0
    take: Annotated[int, Field(ge=0)] = 0
    network: Transformer
    substrate: Substrate = Digital()
    rule: NamedRule
    optimiser: AnyOptimiser
    batches: Count = 1000
    batch_size: Count = 32
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    evaluate_on: Annotated[int, Field(ge=0)] = 1000
    bert: bool = False
    seed: Seed = 0
    network_seed: Seed

    @override
    @classmethod
    def opened(cls, fields: dict[str, Any]) -> dict[str, Any]:
        rule, known = fields.get("rule"), named_rules()
        if isinstance(rule, str) and rule in known:
            return {**fields, "rule": {**known[rule].to_dict(), "output": "cross-entropy"}}
        return fields

    @override
    @classmethod
    def consequences(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        seed = said.get("seed", cls.model_fields["seed"].default)
        return {"optimiser": usual_optimiser(said.get("substrate", Digital()), said.get("rule")), "network_seed": seed}

    @model_validator(mode="after")
    def _parts_fit(self) -> LanguageStudy:
        if reason := self.rule.refuse("transformer"):
            raise ValueError(reason)
        if getattr(self.rule, "output", "cross-entropy") != "cross-entropy":
            raise ValueError("a language model is learnt by cross-entropy: give the rule output = 'cross-entropy'")
        return self

    @property
    def interval(self) -> int:
        """Batches between two evaluations."""
        return self.evaluate_every or max(1, self.batches // 10)


def text_of(study: LanguageStudy) -> TextData:
    """The text of a study, by its path.

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
