"""Generative predictive coding: data clamped at the output, causes inferred, missing data completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, Positive, PositiveInteger
from analogpc.devices.costs.schedule import at_once
from analogpc.devices.specification import Specification
from analogpc.dynamics.relaxation import Relaxation, energy
from analogpc.kernels.checks import real_array, whole_number
from analogpc.kernels.products import row
from analogpc.kernels.random.streams import Key, permutation
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult
from analogpc.training.optimisers import Learner, Optimiser


@dataclass(frozen=True)
class Inference:
    """Result of a relaxation.

    Attributes
    ----------
    causes : (n, *input_shape) array
    data : (n, *output_shape) array
        The given data where known; elsewhere the prediction of the causes.
    energies : (1 + layers,) float64 array
        Energy per sample of the prior of the causes, then of every layer.
    residual : float
        Largest absolute component of the gradient with respect to the free variables, in the last step.
    """

    causes: np.ndarray
    data: np.ndarray
    energies: np.ndarray
    residual: float


class GenerativePC(Specification):
    """Unsupervised predictive coding on a network that maps causes (input) to data (output).

    The causes x_0, the hidden states x_l and the unknown part of the data x_L relax together, by gradient descent with
    momentum, down

        E = 1/2 prior ||x_0||^2 + 1/2 sum_l ||x_l - mu_l(x_{l-1})||^2.

    Unknown data are free states and converge to their prediction. A network that has
    memorised patterns is an associative memory: it completes a partial pattern.

    Attributes
    ----------
    steps : int
        Number of relaxation steps, starting from zero (or given) causes and the states they predict.
    step_size, momentum
        Step size and momentum of states, causes and unknown data.
    prior : float
        Precision of the causes around zero.
    learn : "at-end" or "every-step"
        Update the weights once after the relaxation, or at every step from the errors that move the states (incremental).
    tolerance : float
        Stop the relaxation once no component of the gradient exceeds this value; 0: never.

    References
    ----------
    Rao and Ballard, Nat. Neurosci. 2:79 (1999); Salvatori et al., "Associative memories via predictive coding", NeurIPS 2021.
    """

    kind: Literal["generative-pc"] = "generative-pc"
    steps: PositiveInteger = 40
    step_size: Positive = 0.1
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.5
    prior: NonNegative = 0.1
    learn: Literal["at-end", "every-step"] = "at-end"
    tolerance: NonNegative = 0.0

    def infer(self, network: Network, data: np.ndarray, known: np.ndarray | None = None) -> Inference:
        """Infer the causes of data and the unknown data. The weights do not change.

        Parameters
        ----------
        network : Network
        data : (n, *output_shape) array
            Data; unknown values are ignored.
        known : bool array that broadcasts against ``data``
            True where values are known; by default everywhere.

        Raises
        ------
        ValueError
            If the shape of ``data`` differs from the output shape of the network.
        """
        relaxation = self._begin(network, data, known, None)
        ones = [1.0] * len(network.layers)
        for _ in range(self.steps):
            relaxation.differentiate(ones)
            if self.tolerance > 0 and relaxation.residual() <= self.tolerance:
                break
            relaxation.descend(self.step_size, self.momentum)
        relaxation.predict(ones)
        given, mu = relaxation.states[-1], relaxation.prediction(-1)
        filled = given if relaxation.known is None else np.where(relaxation.known, given, mu)
        prior = self.prior * energy(relaxation.states[0])
        return Inference(relaxation.states[0], filled, row([prior, *relaxation.energies()], filled), relaxation.residual())

    def train_step(self, network: Network, data: np.ndarray, apply: Apply, causes: np.ndarray | None = None) -> StepResult:
        """Train on one batch.

        Parameters
        ----------
        network : Network
        data : (n, *output_shape) array
            Clamped data.
        apply
            See `Rule.train_step`.
        causes : (n, *input_shape) array
            Clamped causes, for example labels; inferred if not given.

        Returns
        -------
        StepResult
            Its outputs are the initial predictions of the causes.
        """
        relaxation = self._begin(network, data, None, causes)
        outputs, ones = relaxation.prediction(-1), [1.0] * len(network.layers)
        for _ in range(self.steps):
            relaxation.differentiate(ones)
            if self.tolerance > 0 and relaxation.residual() <= self.tolerance:
                break
            errors, tapes = relaxation.errors, list(relaxation.tapes)
            relaxation.descend(self.step_size, self.momentum)
            if self.learn == "every-step":
                for i, (layer, tape, error) in at_once(enumerate(zip(network.layers, tapes, errors, strict=True))):
                    if error is not None:
                        apply(layer.products(tape, error), 1.0)
                        relaxation.renew(i)
        relaxation.predict(ones)
        energies = relaxation.energies()
        if self.learn == "at-end":
            for i, layer in at_once(enumerate(network.layers)):
                apply(layer.products(relaxation.tapes[i], relaxation.unweighted(i)), 1.0)
        return StepResult(outputs, energies)

    def train(
        self, network: Network, data: np.ndarray, optimiser: Optimiser, *, epochs: int, batch_size: int = 64, seed: int = 0
    ) -> list[float]:
        """Train ``network`` in place on data without labels.

        Parameters
        ----------
        network : Network
        data : (n, *output_shape) array
        optimiser : Optimiser
        epochs, batch_size, seed : int
            The seed determines the order of the samples and, on an analog substrate, all noise.

        Returns
        -------
        list of float
            Energy per sample, summed over layers, at the weight updates of each epoch.
        """
        epochs, batch_size = whole_number(epochs, "epochs", 1), whole_number(batch_size, "batch_size", 1)
        data = real_array(data, "data", ("n", *network.output_shape))
        learner = Learner(optimiser, network.matrices())
        network.key_streams(Key(seed).fold("run"))
        per_epoch = -(-len(data) // batch_size)
        history = []
        for epoch in range(epochs):
            order, total = permutation(Key(seed).fold("shuffle"), epoch, len(data)), 0.0
            for number in range(per_epoch):
                chosen = data[order[number * batch_size : (number + 1) * batch_size]]
                rate = optimiser.learning_rate * optimiser.schedule.factor(epoch * per_epoch + number, epochs * per_epoch)
                result = self.train_step(network, chosen, _learning(learner, rate, len(chosen)))
                total += float(result.energies.sum()) * len(chosen)
            history.append(total / len(data))
        return history

    def _begin(
        self, network: Network, data: np.ndarray, known: np.ndarray | None, causes: np.ndarray | None
    ) -> GenerativeRelaxation:
        if data.shape[1:] != network.output_shape:
            raise ValueError(f"the network generates data of shape {network.output_shape}, not {data.shape[1:]}")
        data = network.brought(data)
        start = (
            network.inputs(causes) if causes is not None else np.zeros((len(data), *network.input_shape), data.dtype, like=data)
        )
        return GenerativeRelaxation(network, start, data, self.prior if causes is None else None, known)


def _learning(learner: Learner, rate: float, batch: int) -> Apply:
    return lambda products, gain: learner.learn(products, rate, batch, gain)


class GenerativeRelaxation(Relaxation):
    """A relaxation with an optionally free input, under a Gaussian prior around zero, and a partly free output.

    Parameters
    ----------
    network : Network
    causes : (n, *input_shape) array
        Initial causes.
    data : (n, *output_shape) array
    prior : float or None
        Precision of the causes; None clamps them.
    known : bool array that broadcasts against ``data``, or None
        True where data are clamped; None for all. The others start at their prediction.
    """

    def __init__(
        self, network: Network, causes: np.ndarray, data: np.ndarray, prior: float | None, known: np.ndarray | None
    ) -> None:
        super().__init__(network.layers, causes, data)
        self.prior = prior
        self.known = None if known is None else np.broadcast_to(np.asarray(known, dtype=bool, like=data), data.shape)
        if self.known is not None:
            self.hold(np.where(self.known, data, self.prediction(-1)))

    @override
    def _free(self) -> range:
        return range(0 if self.prior is not None else 1, len(self.layers) + (self.known is not None))

    @override
    def _gradient(self, j: int) -> np.ndarray | None:
        gradient = super()._gradient(j)
        if j == 0:
            own = self.states[0].dtype.type(self.prior) * self.states[0]
            return own if gradient is None else gradient + own
        if j == len(self.layers) and self.known is not None and gradient is not None:
            return np.where(self.known, gradient.dtype.type(0), gradient)
        return gradient
