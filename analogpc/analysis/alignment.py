"""Alignment of the updates of a rule with the gradient of backpropagation, for each matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analogpc.analysis.undisturbed import directions
from analogpc.devices.substrate import Digital
from analogpc.kernels.random.streams import Key
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules import Backprop, RecurrentBackprop, Rule, as_rule


@dataclass(frozen=True)
class Alignment:
    """Comparison of the updates of a rule with the gradient of a reference, for one batch.

    Attributes
    ----------
    names : tuple of str
        Names of the weight matrices, from the input to the output (see `Network.matrices`). Matrices of a single column (biases, scales)
        are left out.
    cosine : (matrices,) float64 array
        Cosine of the angle between the two directions, as vectors of all weights; nan if one is zero.
    norm_ratio : (matrices,) float64 array
        Norm of the update over that of the reference; nan if the reference is zero.
    """

    names: tuple[str, ...]
    cosine: np.ndarray
    norm_ratio: np.ndarray

    @property
    def degrees(self) -> np.ndarray:
        """Angle, from 0 to 180 degrees: (matrices,)."""
        return np.degrees(np.arccos(np.clip(self.cosine, -1, 1)))


def gradient_alignment(
    network: Network,
    rule: Rule | str,
    x: np.ndarray,
    target: np.ndarray,
    *,
    reference: Rule | str | None = None,
    exact: bool = True,
    key: Key | None = None,
) -> Alignment:
    """Compare the update of a rule for one batch with the gradient of the loss. The weights do not change.

    Parameters
    ----------
    network : Network
        Predictive or Hopfield network, on any substrate; left unchanged.
    rule : Rule
        See `directions`.
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    reference : Rule
        Reference; by default backpropagation of the loss in ``output`` of the rule (squared error if it has none): `Backprop`, or for
        a Hopfield network `RecurrentBackprop` with the number of steps of the free relaxation (twice that if it is asynchronous,
        since the errors relax synchronously).
    exact : bool
        Evaluate the reference on exact matrices with the weights stored in the devices. Otherwise on the substrate of the network,
        with separate noise.
    key : Key
        Key of the read noise; ``Key(0)`` by default.
    """
    key = Key(0) if key is None else key
    rule = as_rule(rule)
    reference = _reference(network, rule) if reference is None else reference
    network = network.to("cpu")
    judge = network.copy(trained=True).on(Digital()) if exact else network
    ours = directions(network, rule, x, target, key=key)
    theirs = directions(judge, reference, x, target, key=key.fold("reference"))
    names = tuple(name for name, matrix in network.matrices().items() if matrix.shape[1] > 1)
    pairs = [_compare(ours[name], theirs[name]) for name in names]
    return Alignment(names, np.array([cosine for cosine, _ in pairs]), np.array([ratio for _, ratio in pairs]))


def _reference(network: Network, rule: Rule) -> Rule:
    output = getattr(rule, "output", "squared-error")
    if isinstance(network.architecture, Hopfield):
        halves = 2 if network.architecture.order == "asynchronous" else 1
        return RecurrentBackprop(steps=halves * network.architecture.steps, output=output)
    return Backprop(output=output)


def _compare(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return cosine and ratio of norms, in float64."""
    a, b = (direction.astype(np.float64).ravel() for direction in (ours, theirs))
    one, other = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    cosine = float(np.dot(a / one, b / other)) if one > 0 and other > 0 else math.nan
    return cosine, one / other if other > 0 else math.nan
