"""Predictive coding: relax the states to lower the energy of the prediction errors, then learn from the errors that remain."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.network import Network
from analogpc.relaxation import Relaxation
from analogpc.rules.base import Apply, Lesson, Rule, energy


class PredictiveCoding(Rule):
    """Discriminative predictive coding with a clamped output and feed-forward initialisation.

    With errors e_l = x_l - mu_l(x_{l-1}) and precisions P_l the energy is E = 1/2 sum_l P_l ||e_l||^2 (per sample). All hidden states
    move at once, ``steps`` times:

        g_l = P_l e_l - J_{l+1}^T P_{l+1} e_{l+1};   v_l <- momentum v_l + g_l;   x_l <- x_l - step_size v_l

    where J^T is the transposed read of the layer above. Then every layer learns from its error and its input.

    Attributes
    ----------
    steps : int or "layers"
        Relaxation steps T; "layers" for as many as there are layers. A layer l of L sees an error only if T >= L - l.
    step_size : float
        Of the states.
    momentum : float
    nesterov : bool
        Look ahead: x_l <- x_l - step_size (g_l + momentum v_l).
    precision : "standard" or "spiking"
        All precisions 1, or the schedule of the reference code of Qi et al.: at step t = 0, 1, ... layer L - t has precision 1 (the
        error has just reached it), the layers above it ``base_precision``, and those below do not take part. (Their eq. 4, read
        literally with one alpha, would erase every error one step after its arrival.)
    base_precision : float
        See above.
    update : "standard" or "forward"
        Learn from the errors at the relaxed states; or from x_l(T) - mu_l(0) and the initial inputs of each layer (forward update,
        eq. 6 there, as in its code: both the prediction and the presynaptic activity are those of the feed-forward pass).
        Either way precisions do not weigh the products.
    gain : "none" or "closed-form"
        Spiking precision with forward updates gives the gradient of backpropagation times (1 - s) s^(L-l) in hidden layer l, s being
        the step size, up to O(base_precision). "closed-form" multiplies the products of every layer by the inverse. An
        optimiser that normalises gradients does not notice; pulsed devices of finite granularity do.

    References
    ----------
    Whittington and Bogacz, Neural Comput. 29:1229 (2017); Pinchetti et al., arXiv 2407.01163; Qi et al., arXiv 2506.23800.
    """

    kind: Literal["predictive-coding"] = "predictive-coding"
    steps: Annotated[int, Field(ge=0)] | Literal["layers"] = 8
    step_size: Annotated[FiniteFloat, Field(gt=0)] = 0.02
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    precision: Literal["standard", "spiking"] = "standard"
    base_precision: Annotated[FiniteFloat, Field(ge=0, le=1)] = 1e-3
    update: Literal["standard", "forward"] = "standard"
    gain: Literal["none", "closed-form"] = "none"

    @model_validator(mode="after")
    def _gain_has_a_closed_form(self) -> PredictiveCoding:
        if self.gain == "closed-form":
            if self.precision != "spiking" or self.update != "forward" or self.momentum != 0:
                raise ValueError(
                    "gain = 'closed-form' needs precision = 'spiking', update = 'forward' and momentum = 0; "
                    f"got '{self.precision}', '{self.update}' and {self.momentum:g}"
                )
            if self.step_size >= 1:
                raise ValueError(
                    f"gain = 'closed-form' needs step_size below 1, not {self.step_size:g}: the gain has no limit there"
                )
        return self

    def precisions(self, layers: int, step: int) -> list[float]:
        """The precision of every layer at a relaxation step, first layer first; zero where a layer takes no part."""
        if self.precision == "standard":
            return [1.0] * layers
        front = layers - 1 - step
        return [0.0] * max(front, 0) + [1.0] * (front >= 0) + [self.base_precision] * min(step, layers)

    def step_count(self, layers: int) -> int:
        """Relaxation steps in a network of so many layers."""
        return layers if self.steps == "layers" else self.steps

    def gains(self, layers: int) -> list[float]:
        """The factor on the products of every layer, first layer first.

        Raises
        ------
        ValueError
            If the closed form is asked for with fewer steps than layers.
        """
        if self.gain == "none":
            return [1.0] * layers
        if self.step_count(layers) < layers:
            raise ValueError(f"gain = 'closed-form' needs at least as many steps as layers: {layers}, not steps = {self.steps}")
        s = self.step_size
        return [1 / ((1 - s) * s**above) for above in range(layers - 1, 0, -1)] + [1.0]

    @override
    def teach(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> Lesson:
        layers = network.layers
        gains = self.gains(len(layers))
        relaxation = Relaxation(layers, x, target)
        first = list(relaxation.predictions), list(relaxation.tapes)
        for step in range(self.step_count(len(layers))):
            relaxation.step(self.precisions(len(layers), step), self.step_size, self.momentum, self.nesterov)
        if self.update == "standard":
            relaxation.predict([1.0] * len(layers))
            predictions, tapes = relaxation.predictions, relaxation.tapes
        else:
            predictions, tapes = first
        errors = [state - mu for state, mu in zip(relaxation.states[1:], predictions, strict=True)]
        for layer, tape, error, factor in zip(layers, tapes, errors, gains, strict=True):
            apply(layer.products(tape, error), factor)
        return Lesson(first[0][-1], np.array([energy(error) for error in errors]))
