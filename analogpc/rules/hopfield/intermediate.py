"""Intermediate losses of selected hidden states of a Hopfield network."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.blocks import Block
from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.devices.specification import Specification
from analogpc.dynamics.recurrent import Force, Recurrent
from analogpc.dynamics.relaxation import softmax
from analogpc.files.atomic import StorageError
from analogpc.networks import Hopfield
from analogpc.networks.hopfield import head_name
from analogpc.networks.network import Network
from analogpc.rules.hopfield.teacher import NamedTeacher, Teacher, TeacherError, channel_means

Numbers = tuple[PositiveInteger, ...]


@dataclass(frozen=True)
class Signal:
    """One intermediate loss in one batch: tau^2 times the cross-entropy of softmax(z / tau), where z is read from one state.

    Attributes
    ----------
    number : int
        Number of the state.
    temperature : float
        Temperature tau.
    wanted : (n, k) array
        Fixed target probabilities of softmax(z / tau).
    head : Block or None
        Block that reads z from the state; None: z are the means of the channels over all positions.
    """

    number: int
    temperature: float
    wanted: np.ndarray
    head: Block | None = None

    def read(self, states: Recurrent) -> tuple[np.ndarray, Any]:
        """Return target minus current probabilities, and the tape of the head."""
        state = states.states[self.number]
        z, tape = (channel_means(state), None) if self.head is None else self.head.forward(state)
        return self.wanted - softmax(z / z.dtype.type(self.temperature)), tape

    def force(self, strength: float) -> Force:
        """Return the force ``strength`` tau w^T (p_T - p_S) at the state, minus ``strength`` times the gradient of the loss (eq. 14)."""

        def pull(states: Recurrent) -> np.ndarray:
            error, tape = self.read(states)
            error = error.dtype.type(strength * self.temperature) * error
            if self.head is not None:
                return self.head.vjp(tape, error)
            shape = states.states[self.number].shape
            positions = math.prod(shape[1:-1])
            spread = (error / error.dtype.type(positions)).reshape(len(error), *(1 for _ in shape[1:-1]), -1)
            return np.broadcast_to(spread, shape)

        return pull

    def loss(self, states: Recurrent) -> float:
        """Return tau^2 KL(p_T || p_S), summed over the batch, in float64."""
        state = states.states[self.number]
        z = (channel_means(state) if self.head is None else self.head.forward(state)[0]).astype(np.float64) / self.temperature
        z -= z.max(axis=1, keepdims=True)
        present = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        wanted = self.wanted.astype(np.float64)
        informed = wanted * (np.log(wanted, out=np.zeros_like(wanted), where=wanted > 0) - present)
        return self.temperature**2 * float(informed.sum())


class SignalsBase(Specification):
    """Base class of specifications of intermediate losses.

    Attributes
    ----------
    states : tuple of int
        Numbers of the hidden states, from 1. (The paper counts convolutions from 0.)
    temperature : float
        Temperature tau of all softmaxes.
    """

    states: Numbers
    temperature: Positive = 4.0

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if len(set(self.states)) < len(self.states):
            raise ValueError(f"states = {self.states} contains a state twice")
        return self

    def settled(self) -> Self:
        """Return the specification with all references to files resolved (see `Rule.settled`)."""
        return self

    @abstractmethod
    def of(self, network: Network, free: Recurrent, target: np.ndarray) -> list[Signal]:
        """Return the signals of a batch with targets (n, *output_shape), at the free equilibrium of the network.

        Raises
        ------
        ValueError
            If the network lacks a state or a head, or the sizes do not match.
        """

    def soft(self, logits: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Return softmax(logits / tau) per sample, in the type of ``like``."""
        return softmax(logits.astype(like.dtype, copy=False) / like.dtype.type(self.temperature))


class LocalError(SignalsBase):
    """Local errors: every selected state predicts the target through its head, r = w s, softmax(r / tau) against the label.

    In an untrained network the output has little effect on the lower layers (docs/hopfield.md).

    Attributes
    ----------
    states : tuple of int
        Selected hidden states; empty for all that have a head.
    target : "label" or "output"
        Target of softmax(r / tau): the target of the batch, with values of sum 1 as in a one-hot label; or softmax(yhat / tau), where
        yhat is the output (for a softmax read-out, the logits) in the free state, kept fixed in the nudged phases. With the yhat of
        the current state, the force would not be the gradient of any loss.
    smoothing : float
        Label smoothing: (1 - smoothing) y + smoothing / classes.

    References
    ----------
    Lin et al., arXiv 2508.15989, eq. 7, with labels as pseudo-targets, as in Frenkel et al., Front. Neurosci. 15:629892 (2021).
    """

    kind: Literal["local-error"] = "local-error"
    states: Numbers = ()
    target: Literal["label", "output"] = "label"
    smoothing: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _labels_are_smoothed(self) -> Self:
        if self.smoothing > 0 and self.target != "label":
            raise ValueError(f"smoothing = {self.smoothing:g} applies to labels and has no effect with target = '{self.target}'")
        return self

    def _wanted(self, free: Recurrent, target: np.ndarray) -> np.ndarray:
        """Return the target probabilities of all heads: (n, k)."""
        if self.target == "output":
            output = free.output()
            return self.soft(output.reshape(len(output), -1), output)
        labels = target.reshape(len(target), -1)
        kind = labels.dtype.type
        return labels if self.smoothing == 0 else kind(1 - self.smoothing) * labels + kind(self.smoothing / labels.shape[1])

    @override
    def of(self, network: Network, free: Recurrent, target: np.ndarray) -> list[Signal]:
        wanted = self._wanted(free, target)
        architecture = network.architecture
        numbers = self.states or (architecture.heads if isinstance(architecture, Hopfield) else ())
        if not numbers:
            raise ValueError("local errors need a network with heads: construct it, for example, by Hopfield(..., heads=(1,))")
        return [Signal(n, self.temperature, wanted, _head(network, n, wanted.shape[1], "outputs")) for n in numbers]


class Distillation(SignalsBase):
    """Distillation: match selected states to states of a teacher, softmax(z_T / tau) against softmax(z_S / tau), without a matrix.

    z_S and z_T are the means of the channels over all positions, or the values of states without positions: student and teacher must
    have the same number of channels, on maps of any size.

    Attributes
    ----------
    states : tuple of int
        Selected hidden states.
    teacher : Teacher
        Teacher, or the path of a run file.
    teacher_states : tuple of int
        Matching state of the teacher for each of ``states``; n is the output of layer n of the teacher.

    References
    ----------
    Lin et al., arXiv 2508.15989, eq. 8, with w = 1 in eq. 14.
    """

    kind: Literal["distillation"] = "distillation"
    states: Annotated[Numbers, Field(min_length=1)]
    teacher: NamedTeacher
    teacher_states: Numbers

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if len(self.states) != len(self.teacher_states):
            raise ValueError(f"states = {self.states} and teacher_states = {self.teacher_states} must have equal lengths")
        return self

    @override
    def settled(self) -> Self:
        if self.teacher.fingerprint:
            return self
        try:
            return self.but(teacher=Teacher.of(self.teacher.path))
        except StorageError as error:
            raise TeacherError(f"the teacher cannot be loaded: {error}") from None

    @override
    def of(self, network: Network, free: Recurrent, target: np.ndarray) -> list[Signal]:
        if max(self.states) >= len(network.layers):
            raise ValueError(f"states = {self.states} must be numbers of hidden states, from 1 to {len(network.layers) - 1}")
        vectors = self.teacher.vectors(free.states[0], self.teacher_states)
        return [
            Signal(number, self.temperature, self.soft(vector, free.states[0]), self._reader(network, number, vector.shape[1]))
            for number, vector in zip(self.states, vectors, strict=True)
        ]

    def _reader(self, network: Network, number: int, width: int) -> Block | None:
        """Return the block that reads ``width`` values from state ``number``."""
        channels = network.layers[number - 1].output_shape[-1]
        if channels != width:
            raise ValueError(
                f"state {number} has {channels} channels but the teacher state {width}: make them equal, or use "
                "'weighted-distillation', which maps one to the other"
            )
        return None


class WeightedDistillation(Distillation):
    """Distillation through heads: z_S = w s of the flattened state, with one value per channel of the teacher state.

    References
    ----------
    Lin et al., arXiv 2508.15989, eq. 13.
    """

    kind: Literal["weighted-distillation"] = "weighted-distillation"  # type: ignore[assignment]

    @override
    def _reader(self, network: Network, number: int, width: int) -> Block:
        return _head(network, number, width, "channels of the teacher")


Signals = Annotated[LocalError | Distillation | WeightedDistillation, Field(discriminator="kind")]


def _head(network: Network, number: int, width: int, what: str) -> Block:
    """Return the head of a state; check that it has ``width`` values."""
    head = network.extras.get(head_name(number))
    if head is None:
        raise ValueError(
            f"state {number} has no head: construct the network with one, for example by Hopfield(..., heads=({number},))"
        )
    if head.output_shape != (width,):
        raise ValueError(
            f"the head of state {number} has {head.output_shape[0]} values, but there are {width} {what}: set head_features"
        )
    return head
