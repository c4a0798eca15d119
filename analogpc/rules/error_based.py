"""Error-based predictive coding (ePC): the equilibrium of predictive coding, reached by relaxing errors instead of states."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from analogpc.blocks import Block
from analogpc.devices.bounds import NonNegative, NonNegativeInteger, Positive
from analogpc.devices.costs.schedule import at_once, work
from analogpc.dynamics.relaxation import Watch, energy, feed_forward, output_energy, output_error
from analogpc.dynamics.repetition import repeated
from analogpc.kernels.descent import momentum_step
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import added, difference, largest, row, scaled
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult
from analogpc.rules.clamped import RelaxingRule


class ErrorBasedPC(RelaxingRule):
    """Predictive coding in the coordinates of its errors.

    The energy of predictive coding as a function of the hidden errors e_l, with x_l = mu_l(x_{l-1}) + e_l from the input upwards, has the
    same stationary points. Its gradient is computed in reverse mode: with d_L = h - u (or its cross-entropy form) and
    d_l = J_{l+1}^T d_{l+1} it is g_l = e_l - d_l. A step

        v_l <- momentum v_l + g_l;   e_l <- e_l - step_size v_l

    carries the error of the output through all layers, so the equilibrium needs about ten times fewer steps than plain descent of
    the states in networks of 20 layers (experiments/benchmarks/error_based.py). In return, a step is a full forward and a full
    backward pass: this is a reference for other equilibration methods, not a local rule. It also assumes that both passes read
    the same weights. On noisy matrices it runs, but relaxes towards an equilibrium that changes with the noise of every read.

    After one step of size s from feed-forward states the hidden errors are s times those of backpropagation.

    Attributes
    ----------
    steps, step_size, momentum, nesterov
        As in `RelaxingRule`, but for the errors; every layer receives an error from the first step on.
    tolerance : float
        Stop the relaxation once no component of g_l exceeds this value; 0: never.

    References
    ----------
    "ePC: Fast and Deep Predictive Coding in Digital Simulation", arXiv 2505.20137, with its code error_based_PC (C. Goemaere).
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"epc": {"steps": 8, "step_size": 0.1}}
    kind: Literal["error-based-pc"] = "error-based-pc"
    watchable: ClassVar[bool] = True
    steps: NonNegativeInteger | Literal["layers"] = 8
    step_size: Positive = 0.1
    tolerance: NonNegative = 0.0

    @model_validator(mode="after")
    def _holds_no_states(self) -> ErrorBasedPC:
        if self.state_bits > 0:
            raise ValueError(f"state_bits = {self.state_bits} does not apply: 'error-based-pc' relaxes errors, not states")
        return self

    @override
    def residuals(self, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, list[np.ndarray]]:
        """See `Rule.residuals`: the gradient of the energy with respect to the hidden errors."""
        errors = ErrorRelaxation(network.layers, x)
        held = self.held(errors.predictions[-1], target)
        self.relax(errors, held)
        errors.differentiate(self.top(held, errors.predictions[-1]))
        return {"relaxed": errors.gradients}

    @override
    def repeatable(self, network: Network) -> bool:
        return self.tolerance == 0

    @override
    def train_step(
        self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply, watch: Watch | None = None
    ) -> StepResult:
        """See `Rule.train_step`; ``watch`` is passed to `relax`."""
        if watch is None:
            outputs, held, final, errors = repeated(self, partial(self._relaxed, network), x, target)
        else:
            outputs, held, final, errors = self._relaxed(network, x, target, watch)
        for layer, tape, error in at_once(zip(network.layers, errors.tapes, final, strict=True)):
            apply(layer.products(tape, error), 1.0 / self.nudging.strength)
        return StepResult(outputs, self._energies(errors, held))

    def _relaxed(
        self, network: Network, x: np.ndarray, target: np.ndarray, watch: Watch | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], ErrorRelaxation]:
        """Relax, and return the feed-forward output, the clamped one, the errors from which the layers learn, and the relaxation."""
        errors = ErrorRelaxation(network.layers, x)
        outputs = errors.predictions[-1]
        held = self.held(outputs, target)
        self.relax(errors, held, watch)
        return outputs, held, [*errors.errors, self.top(held, errors.predictions[-1])], errors

    def relax(self, errors: ErrorRelaxation, held: np.ndarray, watch: Watch | None = None) -> None:
        """Relax the errors with the output clamped at ``held``; ``watch`` is called before every step and after the last."""
        for _ in range(self.step_count(len(errors.layers))):
            self._show(errors, held, watch)
            errors.differentiate(self.top(held, errors.predictions[-1]))
            if self.tolerance > 0 and errors.residual() <= self.tolerance:
                return
            errors.descend(self.step_size, self.momentum, self.nesterov)
        self._show(errors, held, watch)

    def _show(self, errors: ErrorRelaxation, held: np.ndarray, watch: Watch | None) -> None:
        if watch is not None:
            watch(self._energies(errors, held), [*errors.errors, output_error(self.output, held, errors.predictions[-1])])

    def _energies(self, errors: ErrorRelaxation, held: np.ndarray) -> np.ndarray:
        return row([*map(energy, errors.errors), output_energy(self.output, held, errors.predictions[-1])], held)

    def top(self, held: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Return the weighted error of the output clamped at ``held``: (n, *output_shape)."""
        error = output_error(self.output, held, prediction)
        return error if self.output_precision() == 1 else scaled(error, self.output_precision())


class ErrorRelaxation:
    """Hidden errors of a network with a clamped input, and the resulting states.

    Parameters
    ----------
    layers : sequence of Block
    x : (n, ...) array
        Clamped input.

    Attributes
    ----------
    errors : list of arrays
        Errors of the hidden states 1, ..., L - 1; initially zero.
    predictions, tapes : lists
        Predictions and tapes of all layers, at the states given by ``errors``.
    gradients : list of arrays
        Gradients of the energy with respect to ``errors``, at the last `differentiate`.
    """

    def __init__(self, layers: list[Block], x: np.ndarray) -> None:
        self.layers = layers
        self.predictions, self.tapes = feed_forward(layers, x)
        hidden = self.predictions[:-1]
        self.errors, self.gradients, self._velocities = ([zeros(mu.shape, mu.dtype, mu) for mu in hidden] for _ in range(3))

    def differentiate(self, top: np.ndarray) -> None:
        """Compute ``gradients`` from the weighted error of the output (n, *output_shape)."""
        for j in range(len(self.layers) - 1, 0, -1):
            top = self.layers[j].vjp(self.tapes[j], top)
            self.gradients[j - 1] = difference(self.errors[j - 1], top)
            work("gradient", top.size)

    def descend(self, step_size: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        """Move all errors down the last gradients, then update the predictions from the second layer upwards."""
        for j, gradient in at_once(enumerate(self.gradients)):
            work("momentum step", gradient.size)
            self.errors[j] = momentum_step(self.errors[j], gradient, self._velocities[j], step_size, momentum, nesterov)
        for j, error in enumerate(self.errors, start=1):
            work("error", error.size)
            self.predictions[j], self.tapes[j] = self.layers[j].forward(added(self.predictions[j - 1], error))

    def states(self) -> list[np.ndarray]:
        """Hidden states 1, ..., L - 1."""
        return [prediction + error for prediction, error in zip(self.predictions[:-1], self.errors, strict=True)]

    def residual(self) -> float:
        """Return the largest absolute component of ``gradients``; 0 if there is none."""
        return max(map(largest, self.gradients), default=0.0)
