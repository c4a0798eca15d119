"""How far what a rule learns points along the gradient of backpropagation, matrix by matrix."""

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
    """What a rule learns from one batch beside the gradient of a reference.

    Attributes
    ----------
    names : tuple of str
        Of the weight matrices, from the input to the output (see `Network.matrices`). Matrices of a single column (biases, scales)
        are left out.
    cosine : (matrices,) float64 array
        Of the angle between the two directions, as vectors of all weights; nan where one of them is zero.
    norm_ratio : (matrices,) float64 array
        The norm of what the rule learns over that of the reference; nan where the reference is zero.
    """

    names: tuple[str, ...]
    cosine: np.ndarray
    norm_ratio: np.ndarray

    @property
    def degrees(self) -> np.ndarray:
        """The angle, from 0 to 180 degrees: (matrices,)."""
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
    """Compare what a rule would learn from one batch with the gradient of the loss; nothing learns.

    Parameters
    ----------
    network : Network
        Predictive or of Hopfield type, on any substrate; left without a trace.
    rule : Rule
        See `directions`.
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    reference : Rule
        If not given, backpropagation of the loss that the rule has as its ``output`` (squared error if it has none): `Backprop`, or for
        a network of Hopfield type `RecurrentBackprop` with as many steps as the free relaxation (twice as many if that is
        asynchronous, since the errors relax synchronously).
    exact : bool
        Take the reference on exact matrices that hold the weights which the devices hold. Otherwise on the substrate of the network,
        with noise of its own.
    key : Key
        Of read noise; ``Key(0)`` if not given.
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
    """Cosine and ratio of norms, in float64."""
    a, b = (direction.astype(np.float64).ravel() for direction in (ours, theirs))
    one, other = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    cosine = float(np.dot(a / one, b / other)) if one > 0 and other > 0 else math.nan
    return cosine, one / other if other > 0 else math.nan
