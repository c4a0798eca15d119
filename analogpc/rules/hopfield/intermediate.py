"""Intermediate losses: what chosen hidden states of a network of Hopfield type should tell, beside the output."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.blocks import Block
from analogpc.devices.specification import Specification
from analogpc.dynamics.recurrent import Force, Recurrent
from analogpc.dynamics.relaxation import softmax
from analogpc.files.storage import StorageError
from analogpc.networks.network import Network
from analogpc.rules.hopfield.teacher import NamedTeacher, Teacher, TeacherError, channel_means

Numbers = tuple[Annotated[int, Field(ge=1)], ...]


@dataclass(frozen=True)
class Signal:
    """One intermediate loss during one batch: tau^2 times the cross-entropy of softmax(z / tau), z being read from one state.

    Attributes
    ----------
    number : int
        Of the state.
    temperature : float
        tau.
    wanted : (n, k) array
        The probabilities that softmax(z / tau) should have, held.
    head : Block or None
        Reads z from the state; without one, z are the means of the channels over all positions.
    """

    number: int
    temperature: float
    wanted: np.ndarray
    head: Block | None = None

    def read(self, states: Recurrent) -> tuple[np.ndarray, Any]:
        """Wanted minus present probabilities, and the tape of the head."""
        state = states.states[self.number]
        z, tape = (channel_means(state), None) if self.head is None else self.head.forward(state)
        return self.wanted - softmax(z / z.dtype.type(self.temperature)), tape

    def force(self, strength: float) -> Force:
        """The pull ``strength`` tau w^T (p_T - p_S) at the state, which is minus ``strength`` times the gradient of the loss (eq. 14)."""

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
        """tau^2 KL(p_T || p_S), summed over the batch, in float64."""
        state = states.states[self.number]
        z = (channel_means(state) if self.head is None else self.head.forward(state)[0]).astype(np.float64) / self.temperature
        z -= z.max(axis=1, keepdims=True)
        present = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        wanted = self.wanted.astype(np.float64)
        informed = wanted * (np.log(wanted, out=np.zeros_like(wanted), where=wanted > 0) - present)
        return self.temperature**2 * float(informed.sum())


class SignalsBase(Specification):
    """Which losses pull at which hidden states.

    Attributes
    ----------
    states : tuple of int
        Their numbers, from 1 on. (The paper counts convolutions from 0.)
    temperature : float
        tau, of all softmaxes.
    """

    states: Numbers
    temperature: Annotated[FiniteFloat, Field(gt=0)] = 4.0

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if len(set(self.states)) < len(self.states):
            raise ValueError(f"states = {self.states} names a state twice")
        return self

    def settled(self) -> Self:
        """The same with all that it takes from files named for good (see `Rule.settled`)."""
        return self

    @abstractmethod
    def of(self, network: Network, free: Recurrent, target: np.ndarray) -> list[Signal]:
        """The signals of a batch with the targets (n, *output_shape), whose network is in its free equilibrium.

        Raises
        ------
        ValueError
            If the network lacks a state or a head, or the sizes do not go together.
        """

    def soft(self, logits: np.ndarray, like: np.ndarray) -> np.ndarray:
        """softmax(logits / tau) per sample, in the type of ``like``."""
        return softmax(logits.astype(like.dtype, copy=False) / like.dtype.type(self.temperature))


class LocalError(SignalsBase):
    """Every chosen state should tell through its head what the output should: r = w s, softmax(r / tau) against the label.

    The output of a network that knows nothing yet has little to say to its lower layers (docs/hopfield.md).

    Attributes
    ----------
    states : tuple of int
        The chosen hidden states; empty for all that have a head.
    target : "label" or "output"
        What softmax(r / tau) should be: the target of the batch, whose values have to sum to 1 as those of a one-hot label do; or
        softmax(yhat / tau), yhat being the output (for a softmax read-out, the logits) in the free state, held in the nudged phases.
        Were it that of the present state, the pull would not be the gradient of any loss.
    smoothing : float
        What of a label is spread over all classes: (1 - smoothing) y + smoothing / classes.

    References
    ----------
    Lin et al., arXiv 2508.15989, eq. 7, whose pseudo-targets are labels, as in Frenkel et al., Front. Neurosci. 15:629892 (2021).
    """

    kind: Literal["local-error"] = "local-error"
    states: Numbers = ()
    target: Literal["label", "output"] = "label"
    smoothing: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _labels_are_smoothed(self) -> Self:
        if self.smoothing > 0 and self.target != "label":
            raise ValueError(f"smoothing = {self.smoothing:g} smoothes labels, and does nothing with target = '{self.target}'")
        return self

    def _wanted(self, free: Recurrent, target: np.ndarray) -> np.ndarray:
        """The probabilities that all heads should give: (n, k)."""
        if self.target == "output":
            output = free.output()
            return self.soft(output.reshape(len(output), -1), output)
        labels = target.reshape(len(target), -1)
        kind = labels.dtype.type
        return labels if self.smoothing == 0 else kind(1 - self.smoothing) * labels + kind(self.smoothing / labels.shape[1])

    @override
    def of(self, network: Network, free: Recurrent, target: np.ndarray) -> list[Signal]:
        wanted = self._wanted(free, target)
        numbers = self.states or tuple(int(name.removeprefix("head")) for name in network.extras if name.startswith("head"))
        if not numbers:
            raise ValueError("local errors need a network with heads: give it some, for example by Hopfield(..., heads=(1,))")
        return [Signal(n, self.temperature, wanted, _head(network, n, wanted.shape[1], "outputs")) for n in numbers]


class Distillation(SignalsBase):
    """Every chosen state should resemble one of a teacher: softmax(z_T / tau) against softmax(z_S / tau), without any matrix.

    z_S and z_T are means of the channels over all positions, and of states without positions their values: student and teacher must
    have equally many channels there, on maps of any size.

    Attributes
    ----------
    states : tuple of int
        The chosen hidden states.
    teacher : Teacher
        Or the path of a run file.
    teacher_states : tuple of int
        For each of ``states`` the state of the teacher that it should resemble; n is what layer n of the teacher gives.

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
            raise ValueError(f"states = {self.states} must be numbers of hidden states, which are 1 to {len(network.layers) - 1}")
        vectors = self.teacher.vectors(free.states[0], self.teacher_states)
        return [
            Signal(number, self.temperature, self.soft(vector, free.states[0]), self._reader(network, number, vector.shape[1]))
            for number, vector in zip(self.states, vectors, strict=True)
        ]

    def _reader(self, network: Network, number: int, width: int) -> Block | None:
        """What reads state ``number`` for as many values as the teacher has there."""
        channels = network.layers[number - 1].output_shape[-1]
        if channels != width:
            raise ValueError(
                f"state {number} has {channels} channels and the teacher {width} there: they must be as many; "
                "'weighted-distillation' maps one to the other"
            )
        return None


class WeightedDistillation(Distillation):
    """Distillation through heads: z_S = w s of the flattened state, with as many values as the teacher has channels there.

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
    """The head of a state, which must have so many values."""
    head = network.extras.get(f"head{number}")
    if head is None:
        raise ValueError(f"state {number} has no head: give the network one, for example by Hopfield(..., heads=({number},))")
    if head.output_shape != (width,):
        raise ValueError(
            f"the head of state {number} has {head.output_shape[0]} values, and there are {width} {what}: set head_features"
        )
    return head
