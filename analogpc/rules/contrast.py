"""Shared parts of the nudged rules: sign and drive of the nudge, and sums of products over phases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import Literal, Self

from pydantic import model_validator
from typing_extensions import override

from analogpc.blocks import Product
from analogpc.devices.bounds import Positive
from analogpc.dynamics.relaxation import Output
from analogpc.kernels.random.streams import uniforms
from analogpc.rules.base import Apply, Rule, StepContext


def _matrix(product: Product) -> int:
    return id(product[0])


def apply_together(apply: Apply, sets: Sequence[Iterable[Product]], gain: float) -> None:
    """Update matrices by the sum of several sets of products of the same blocks, one matrix at a time."""
    for groups in zip(*(groupby(products, _matrix) for products in sets), strict=True):
        if len({matrix for matrix, _ in groups}) != 1:
            raise ValueError("the products do not belong to the same matrices in the same order")
        apply(chain.from_iterable(group for _, group in groups), gain)


def phase_name(sign: int) -> str:
    """Return the name of the phase that is nudged with beta of that sign."""
    return "nudged +" if sign > 0 else "nudged -"


class NudgedRule(Rule):
    """A rule that nudges the output of a network at its free equilibrium, and learns from the response of the states.

    Attributes
    ----------
    beta : float
        Strength of the nudge, in units of the loss.
    nudging : "positive", "negative", "random" or "centered"
        Nudge with +beta; with -beta; with one of them, drawn for each batch with equal probability; or with one after the other, both
        starting from the free state.
    drive : "nudge" or "clamp"
        "nudge": the output state moves with the others under the force -beta dC/do at its current value. "clamp": it is clamped at its
        free value minus beta dC/do there (coupled learning; for the squared error and beta = 1 this is the target).
    output : "squared-error" or "cross-entropy"
        The loss C: half the squared error of the output, or the cross-entropy of its softmax.
    """

    beta: Positive = 0.1
    nudging: Literal["positive", "negative", "random", "centered"] = "centered"
    drive: Literal["nudge", "clamp"] = "nudge"
    output: Output = "squared-error"

    @model_validator(mode="after")
    def _nudges_settle(self) -> Self:
        if self.drive == "nudge" and self.output == "squared-error" and self.beta >= 1:
            raise ValueError(
                f"drive = 'nudge' with output = 'squared-error' needs beta below 1, not {self.beta:g}: the output would not settle"
            )
        return self

    @override
    def at(self, context: StepContext) -> Self:
        if self.nudging != "random":
            return self
        drawn = uniforms(context.key.fold("nudging"), context.step, (1,))[0]
        return self.but(nudging="positive" if drawn < 0.5 else "negative")

    def signs(self) -> tuple[int, ...]:
        """Signs of beta in the nudged phases.

        Raises
        ------
        ValueError
            If the sign is not drawn yet.
        """
        if self.nudging == "random":
            raise ValueError("nudging = 'random' draws its sign in each training step: use rule.at(context)")
        return {"positive": (1,), "negative": (-1,), "centered": (1, -1)}[self.nudging]
