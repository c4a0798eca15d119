"""Schedules: factors on the learning rate at every step of a run."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field
from typing_extensions import override

from analogpc.devices.bounds import Fraction, NonNegative, Positive, PositiveInteger
from analogpc.devices.specification import Specification


class ScheduleBase(Specification):
    """Base class of schedules."""

    kind: str

    @abstractmethod
    def factor(self, step: int, total: int, per_epoch: int = 1) -> float:
        """Return the factor on the learning rate.

        Parameters
        ----------
        step : int
            Number of previous batches over all epochs: 0 to ``total`` - 1.
        total : int
            Number of batches in the run.
        per_epoch : int
            Number of batches in an epoch.
        """

    def lasting(self, epochs: int) -> Self:
        """Return the schedule with its length fixed to the given number of epochs, for a run that is extended."""
        return self


class Constant(ScheduleBase):
    """A constant learning rate."""

    kind: Literal["constant"] = "constant"

    @override
    def factor(self, step: int, total: int, per_epoch: int = 1) -> float:
        return 1.0


class WarmupCosine(ScheduleBase):
    """A linear rise from 1 to ``peak`` over the fraction ``warmup`` of its length, then half a cosine down to ``end``, kept from there.

    The rise may end between steps: 10 % of 117 steps are 11.7 steps.

    Attributes
    ----------
    peak, end : float
        Factors on the learning rate.
    warmup : float
        Fraction of the length, 0 to 1.
    epochs : float
        Length of the schedule, in epochs; 0: the whole run.

    References
    ----------
    The schedule of Pinchetti et al. (arXiv 2407.01163) and Qi et al. (arXiv 2506.23800), optax's ``warmup_cosine_decay_schedule``.
    """

    kind: Literal["warmup-cosine"] = "warmup-cosine"
    peak: Positive = 1.1
    warmup: Fraction = 0.1
    end: NonNegative = 0.1
    epochs: NonNegative = 0.0

    @override
    def factor(self, step: int, total: int, per_epoch: int = 1) -> float:
        length = self.epochs * per_epoch if self.epochs else total
        rising = self.warmup * length
        if step < rising:
            return 1.0 + (self.peak - 1.0) * step / rising
        progress = min(1.0, (step - rising) / (length - rising)) if length > rising else 1.0
        return self.end + (self.peak - self.end) * 0.5 * (1.0 + math.cos(math.pi * progress))

    @override
    def lasting(self, epochs: int) -> WarmupCosine:
        return self if self.epochs else self.but(epochs=float(epochs))


class StepDecay(ScheduleBase):
    """Multiplication of the learning rate by ``gamma`` every ``every_epochs`` epochs.

    Attributes
    ----------
    every_epochs : int
    gamma : float
    """

    kind: Literal["step"] = "step"
    every_epochs: PositiveInteger = 10
    gamma: Positive = 0.1

    @override
    def factor(self, step: int, total: int, per_epoch: int = 1) -> float:
        return self.gamma ** (step // (self.every_epochs * per_epoch))


class Exponential(ScheduleBase):
    """Multiplication of the learning rate by ``gamma`` per epoch, applied smoothly at every step.

    Attributes
    ----------
    gamma : float
        Factor per epoch.
    """

    kind: Literal["exponential"] = "exponential"
    gamma: Positive = 0.95

    @override
    def factor(self, step: int, total: int, per_epoch: int = 1) -> float:
        return self.gamma ** (step / per_epoch)


def _by_name(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


Schedule = Annotated[Constant | WarmupCosine | StepDecay | Exponential, Field(discriminator="kind"), BeforeValidator(_by_name)]
"""A schedule, or its kind alone, which selects the default values."""
