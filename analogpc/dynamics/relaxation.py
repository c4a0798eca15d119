"""Relaxation of the states of a network with clamped input and output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from analogpc.blocks import Block
from analogpc.devices.costs.paths import BOTH_WAYS
from analogpc.devices.costs.schedule import at_once, work
from analogpc.dynamics.readings import ShiftedReading
from analogpc.dynamics.state_memory import StateMemory
from analogpc.kernels.descent import momentum_step, plain_step
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import added, difference, inner, largest, negative, row, scaled
from analogpc.kernels.softmax import softmax as rowwise_softmax

Output = Literal["squared-error", "cross-entropy"]
"""Loss at the output layer for a prediction u of a target y: 1/2 ||y - u||^2, or the cross-entropy - sum y log softmax(u)."""
Watch = Callable[[np.ndarray, list[np.ndarray]], None]
"""Callback of a relaxation step: takes the energy of every layer per sample, (layers,), and the error of every layer.

Both are without the precisions of a schedule.
"""


EnergyTerms = tuple[list[np.ndarray], np.ndarray, np.ndarray]
"""Errors of the layers below the output, without any precision; the clamped output and its prediction."""


def energy(error: np.ndarray) -> Any:
    """Return half the sum of squares per sample: a number, or a 0-d device array (see `products.inner`)."""
    return 0.5 * inner(error, error) / len(error)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over all values of a sample, in the type of ``logits``."""
    return rowwise_softmax(logits.reshape(len(logits), -1)).reshape(logits.shape)


def refuse_target(target: np.ndarray, outputs: np.ndarray) -> None:
    """Refuse a target of another shape than the output."""
    if target.shape != outputs.shape:
        raise ValueError(f"the target must have the shape of the output, {outputs.shape}, not {target.shape}")


def output_error(output: Output, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the negative derivative of the output loss with respect to the prediction (targets of sum 1 for cross-entropy).

    Raises
    ------
    ValueError
        If target and prediction differ in shape, which NumPy might otherwise broadcast.
    """
    refuse_target(target, prediction)
    return difference(target, prediction if output == "squared-error" else softmax(prediction))


def output_energy(output: Output, target: np.ndarray, prediction: np.ndarray) -> Any:
    """Return the output loss per sample: a number, or a 0-d device array."""
    if output == "squared-error":
        return energy(target - prediction)
    flat = prediction.reshape(len(prediction), -1).astype(np.float64)
    flat = flat - flat.max(axis=1, keepdims=True)
    logs = flat - np.log(np.exp(flat).sum(axis=1, keepdims=True))
    return -inner(target.reshape(logs.shape).astype(np.float64), logs) / len(flat)


def layer_energies(layers: Sequence[Block], output: Output, terms: EnergyTerms) -> np.ndarray:
    """Return the energy of every layer per sample, without the precisions of a schedule: (layers,) float64."""
    errors, held, prediction = terms
    hidden = [
        0.5 * inner(error, _own_precision(layer, error)) / len(error) for layer, error in zip(layers[:-1], errors, strict=True)
    ]
    return row([*hidden, output_energy(output, held, prediction)], held)


def _own_precision(layer: Block, error: np.ndarray) -> np.ndarray:
    """Return an error of a layer times the fixed precisions of its values, if there are any."""
    return error if layer.precision is None else layer.precision * error


def feed_forward(layers: Sequence[Block], x: np.ndarray) -> tuple[list[np.ndarray], list[Any]]:
    """Run one pass through all layers; return output and tape of each, for an input (n, ...)."""
    outputs, tapes = [], []
    for layer in layers:
        x, tape = layer.forward(x)
        outputs.append(x)
        tapes.append(tape)
    return outputs, tapes


class Relaxation:
    """States, predictions and errors between a clamped input and a clamped output, initialised by a feed-forward pass.

    States and predictions are stored digitally, between the converters. A prediction is therefore read again only if its input or its
    matrices changed, and an error that is zero by construction, before the wave from the output arrives, is neither computed nor
    propagated. For exact matrices the result is bit-identical; noisy matrices save reads that would only add new noise.

    The deviation of every state from the feed-forward pass is stored as well, x = x_0 + d. Errors in deep networks are many orders of
    magnitude smaller than states, so subtracting a prediction from a state would leave mostly rounding errors. The error of a layer
    with unchanged input is d itself; otherwise, for exact matrices, it is d minus the change of the prediction (`Block.shift`), also
    to full relative precision. Layers with converters or noise are read again, and their errors are as precise as their reads.

    Parameters
    ----------
    layers : sequence of Block
        Layer i maps ``states[i]`` to ``predictions[i]``, the prediction of ``states[i + 1]``.
    x : (n, ...) array
        Clamped input.
    target : (n, ...) array
        Clamped output.
    output : Output
        Loss at the output layer.
    memory : StateMemory
        Memory of the states; by default the floating type.

    Attributes
    ----------
    states : list of arrays
        ``states[0]`` is the input, ``states[-1]`` the target.
    deviations : list of arrays or None
        Deviation of every state from the feed-forward pass; None if unchanged. The last is that of the target.
    errors : list of arrays or None
        Errors of every layer at the last `differentiate`, weighted by precision; None if zero by construction.
    gradients : list of arrays or None
        Gradients of the energy with respect to every state, at the last `differentiate`; None if clamped or zero by construction.
    """

    def __init__(
        self,
        layers: Sequence[Block],
        x: np.ndarray,
        target: np.ndarray,
        output: Output = "squared-error",
        memory: StateMemory | None = None,
    ) -> None:
        self.layers, self.output, self._memory = layers, output, memory
        first, tapes = feed_forward(layers, x)
        self._readings = [ShiftedReading(*read) for read in zip(layers, first, tapes, strict=True)]
        self._origin, self.states = x, [x, *first]
        self.deviations: list[np.ndarray | None] = [None] * len(self.states)
        self.errors: list[np.ndarray | None] = [None] * len(layers)
        self.gradients: list[np.ndarray | None] = [None] * len(self.states)
        self._velocities: list[np.ndarray | None] = [None] * len(self.states)
        self._live = [False] * len(layers)
        # Whether a layer was read only for a watch; its next evaluation counts as that read.
        self._ahead = [False] * len(layers)
        self.hold(target)

    @property
    def tapes(self) -> list[Any]:
        """Tapes of the last read of every layer."""
        return [reading.tape for reading in self._readings]

    @property
    def predictions(self) -> list[np.ndarray]:
        """Predictions of all layers, from their last reads."""
        return [self.prediction(index) for index in range(len(self.layers))]

    def prediction(self, index: int) -> np.ndarray:
        """Return the prediction of layer ``index``, from its last read."""
        return self._readings[index].prediction

    def hold(self, target: np.ndarray) -> None:
        """Clamp the output at ``target``, of the shape of the output.

        Raises
        ------
        ValueError
            If ``target`` has another shape.
        """
        refuse_target(target, self.states[-1])
        self.place(len(self.layers), target)

    def place(self, index: int, state: np.ndarray) -> None:
        """Set the state ``index``, as if it had moved there."""
        self._put(index, difference(state, self._start(index)), state)

    def move(self, index: int, step: np.ndarray) -> None:
        """Move the state ``index`` by a ``step`` of its shape."""
        before = self.deviations[index]
        self._settle(index, step if before is None else added(before, step))

    def _start(self, index: int) -> np.ndarray:
        """Return the state ``index`` of the feed-forward pass."""
        return self._readings[index - 1].first if index > 0 else self._origin

    def _settle(self, index: int, deviation: np.ndarray) -> None:
        """Set the deviation of state ``index``, rounded by the state memory."""
        start = self._start(index)
        if self._memory is not None:
            deviation = self._memory.held(start, deviation)
        self._put(index, deviation, added(start, deviation))

    def _put(self, index: int, deviation: np.ndarray, state: np.ndarray) -> None:
        self.deviations[index], self.states[index] = deviation, state
        if index < len(self.layers):
            self._readings[index].stale = True
        if index > 0:
            self._live[index - 1] = True

    def renew(self, index: int) -> None:
        """Mark layer ``index`` stale after a weight update: its prediction has to be read again."""
        self._readings[index].stale = self._readings[index].learnt = True

    def rewind(self) -> None:
        """Reset all predictions and tapes to the feed-forward pass; keep the states."""
        for reading in self._readings:
            reading.rewind()

    def predict(self, precisions: Sequence[float]) -> None:
        """Update the predictions of all layers of nonzero precision for the current states."""
        for i, reading in at_once(enumerate(self._readings)):
            if precisions[i] == 0:
                continue
            if reading.stale or not reading.steady:
                self._read(i)
            elif not self._ahead[i]:
                reading.layer.again(reading.tape)
            self._ahead[i] = False

    def _read(self, i: int) -> None:
        """Read layer i at its current input."""
        self._readings[i].update(self.states[i], self.deviations[i])
        self._live[i] = True

    def differentiate(self, precisions: Sequence[float]) -> None:
        """Compute ``errors`` and ``gradients`` of sum_i precisions[i] E_i at the current states.

        E_i is 1/2 ||states[i + 1] - predictions[i]||^2, and for the last layer the loss in ``output``.

        Parameters
        ----------
        precisions : (layers,) floats
        """
        for find in at_once((self._find_errors, self._find_gradients), BOTH_WAYS):
            find(precisions)

    def _find_errors(self, precisions: Sequence[float]) -> None:
        self.predict(precisions)
        self.errors = [self._error(i, precision) for i, precision in at_once(enumerate(precisions))]

    def _find_gradients(self, precisions: Sequence[float]) -> None:
        for j in at_once(self._free()):
            self.gradients[j] = self._gradient(j)

    def descend(self, step_size: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        """Move all hidden states together, down the last gradients.

        Parameters
        ----------
        step_size, momentum, nesterov
            v <- momentum v + g, then x <- x - step_size v, or with Nesterov momentum x <- x - step_size (g + momentum v).
        """
        for j in at_once(self._free()):
            self._move(j, self.gradients[j], step_size, momentum, nesterov)

    def step(self, precisions: Sequence[float], step_size: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        """Run `differentiate`, then `descend`."""
        self.differentiate(precisions)
        self.descend(step_size, momentum, nesterov)

    def residual(self) -> float:
        """Return the largest absolute component of the last gradients; 0 if there is none."""
        return max((largest(g) for g in self.gradients if g is not None), default=0.0)

    def energy(self, precisions: Sequence[float]) -> float:
        """Return the weighted energy per sample, in float64, at the last predictions."""
        terms = zip(precisions, self.energies(), strict=True)
        return float(sum(precision * term for precision, term in terms if precision != 0))

    def energies(self) -> np.ndarray:
        """Return the energy of every layer per sample, without the precisions of a schedule, at the last predictions: (layers,) float64."""
        return layer_energies(self.layers, self.output, self.energy_terms())

    def energy_terms(self) -> EnergyTerms:
        """Return the arrays from which `layer_energies` computes the energies at the last predictions."""
        hidden = [self.unweighted(i) for i in range(len(self.layers) - 1)]
        return hidden, self.states[-1], self.prediction(-1)

    def unweighted(self, index: int) -> np.ndarray:
        """Return the error of layer ``index``, without precision, at the last prediction."""
        if index == len(self.layers) - 1 and self.output != "squared-error":
            return output_error(self.output, self.states[-1], self.prediction(index))
        return self._readings[index].error(self.states[index + 1], self.deviations[index + 1])

    def show(self, watch: Watch | None) -> None:
        """Call a ``watch``, if there is one; layers whose input changed are read again for it."""
        if watch is None:
            return
        for i, reading in enumerate(self._readings):
            if reading.stale:
                self._read(i)
                self._ahead[i] = True
        watch(self.energies(), [self.unweighted(index) for index in range(len(self.layers))])

    def _free(self) -> Sequence[int]:
        """Indices of the free states."""
        return range(1, len(self.layers))

    def _error(self, i: int, precision: float) -> np.ndarray | None:
        """Return the weighted error of layer i, or None if it is zero by construction."""
        if precision == 0 or not self._live[i]:
            return None
        error = _own_precision(self.layers[i], self.unweighted(i))
        work("error", error.size)
        return error if precision == 1 else scaled(error, precision)

    def _gradient(self, j: int) -> np.ndarray | None:
        """Return the gradient of the energy with respect to state j, from the errors below and above; None if both are zero."""
        gradient = self.errors[j - 1] if j > 0 else None
        above = self.errors[j] if j < len(self.layers) else None
        if above is not None:
            back = self.layers[j].vjp(self._readings[j].tape, above)
            work("gradient", back.size)
            gradient = negative(back) if gradient is None else difference(gradient, back)
        return gradient

    def _move(self, j: int, gradient: np.ndarray | None, step_size: float, momentum: float, nesterov: bool) -> None:
        velocity, deviation, state = self._velocities[j], self.deviations[j], self.states[j]
        if gradient is None and velocity is None:
            return
        work("step" if momentum == 0 else "momentum step", state.size)
        nothing = zeros(state.shape, state.dtype, state) if gradient is None or deviation is None else state
        gradient = nothing if gradient is None else gradient
        deviation = nothing if deviation is None else deviation
        if momentum == 0:
            self._settle(j, plain_step(deviation, gradient, step_size))
            return
        velocity = zeros(state.shape, state.dtype, state) if velocity is None else velocity
        self._settle(j, momentum_step(deviation, gradient, velocity, step_size, momentum, nesterov))
        self._velocities[j] = velocity
