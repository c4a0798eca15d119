"""The curvature of the energy over the hidden states: stable step sizes, and stiffness of the relaxation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from analogpc.analysis.undisturbed import batch, exact_copy
from analogpc.dynamics.relaxation import Output, Relaxation
from analogpc.kernels.random.streams import Key, normals
from analogpc.networks import Hopfield
from analogpc.networks.network import Network

_DENSE = 64
"""Maximum number of state values for which the full Hessian is formed."""
_STEP = np.finfo(np.float64).eps ** (1 / 3)


@dataclass(frozen=True)
class StateHessian:
    """Extreme eigenvalues of H, the second derivative of the energy with respect to all hidden states of a batch.

    Attributes
    ----------
    smallest, largest : float
        Eigenvalues. With a negative ``smallest`` the states are not near a minimum; smallest / largest bounds the convergence rate of
        gradient descent.
    """

    smallest: float
    largest: float

    @property
    def condition(self) -> float:
        """largest / smallest; inf where the energy is not strictly convex."""
        return self.largest / self.smallest if self.smallest > 0 else float("inf")

    def stable_step_size(self, momentum: float = 0.0, nesterov: bool = False) -> float:
        """Return the step size below which descent of the states is stable near the point at which H was evaluated.

        Parameters
        ----------
        momentum, nesterov
            As in `Relaxation.descend`.

        Returns
        -------
        float
            With m = ``momentum``: 2 (1 + m) / largest for heavy ball, and 2 (1 + m) / ((1 + 2 m) largest) for Nesterov's, from the
            characteristic polynomials of the recursions; inf without positive curvature.
        """
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum = {momentum:g} is not allowed: it must be at least 0 and below 1")
        if self.largest <= 0:
            return float("inf")
        bound = 2 * (1 + momentum) / self.largest
        return bound / (1 + 2 * momentum) if nesterov else bound


def state_hessian_extremes(
    network: Network,
    x: np.ndarray,
    target: np.ndarray,
    *,
    precisions: Sequence[float] | None = None,
    output: Output = "squared-error",
    states: Sequence[np.ndarray] | None = None,
    tolerance: float = 1e-8,
) -> StateHessian:
    """Compute the smallest and the largest eigenvalue of the Hessian of sum_l P_l E_l over the hidden states (see `Relaxation`).

    Samples are independent (except through batch statistics, if a block has them), so these are the extremes over
    the samples. Products with H are central differences of the gradient, exact up to rounding unless a unit crosses
    a kink, and eigenvalues from implicitly restarted Lanczos iteration.

    Parameters
    ----------
    network : Network
        Predictive network. The computation uses an exact float64 copy of the weights stored in its devices.
    x : (n, *input_shape) array
    target : (n, *output_shape) array
        Clamped output.
    precisions : (layers,) floats
        Precisions; by default all 1.
    output : "squared-error" or "cross-entropy"
    states : sequence of arrays
        Point at which H is evaluated: the hidden states, (n, *shape) each, from the first to the last, for example
        ``relaxation.states[1:-1]``. By default those of the feed-forward pass.
    tolerance : float
        Relative accuracy of the eigenvalues.

    Raises
    ------
    ValueError
        If the network is a Hopfield network or has no hidden state, or precisions or states do not match.
    ArithmeticError
        If the iteration does not converge.
    """
    if isinstance(network.architecture, Hopfield):
        raise ValueError("the state Hessian is defined for predictive networks, not for the architecture 'hopfield'")
    if len(network.layers) < 2:
        raise ValueError("the network has a single layer: there is no hidden state and no state Hessian")
    exact = exact_copy(network)
    relaxation = Relaxation(exact.layers, *batch(exact, x, target), output)
    weights = [1.0] * len(exact.layers) if precisions is None else [float(precision) for precision in precisions]
    if len(weights) != len(exact.layers):
        raise ValueError(f"precisions must be {len(exact.layers)} numbers, one for each layer, not {len(weights)}")
    hidden = relaxation.states[1:-1] if states is None else _fitting(states, relaxation.states[1:-1])
    start = np.concatenate([state.ravel() for state in hidden])
    gradient = _gradient(relaxation, weights, [state.shape for state in hidden])
    # Step per component of the states, for directions that are not spread evenly.
    width = _STEP * max(1.0, float(np.linalg.norm(start)))

    def product(v: np.ndarray) -> np.ndarray:
        v = np.asarray(v, np.float64).ravel()
        norm = float(np.linalg.norm(v))
        if norm == 0:
            return np.zeros_like(v)
        h = width / norm
        return (gradient(start + h * v) - gradient(start - h * v)) / (2 * h)

    return StateHessian(*_extremes(product, len(start), tolerance))


def _fitting(states: Sequence[np.ndarray], own: list[np.ndarray]) -> list[np.ndarray]:
    shapes, wanted = [np.shape(state) for state in states], [state.shape for state in own]
    if shapes != wanted:
        raise ValueError(f"states must be the hidden states, of shapes {wanted}, not {shapes}")
    return [np.asarray(state, np.float64) for state in states]


def _gradient(
    relaxation: Relaxation, precisions: list[float], shapes: list[tuple[int, ...]]
) -> Callable[[np.ndarray], np.ndarray]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def at(flat: np.ndarray) -> np.ndarray:
        for number, (part, shape) in enumerate(zip(np.split(flat, ends), shapes, strict=True), start=1):
            relaxation.place(number, part.reshape(shape))
        relaxation.differentiate(precisions)
        found = zip(relaxation.gradients[1:-1], shapes, strict=True)
        return np.concatenate([np.zeros(shape).ravel() if g is None else g.ravel() for g, shape in found])

    return at


def _extremes(product: Callable[[np.ndarray], np.ndarray], size: int, tolerance: float) -> tuple[float, float]:
    """Compute the extreme eigenvalues of a symmetric matrix given by its products."""
    if size <= _DENSE:
        columns = np.stack([product(unit) for unit in np.eye(size)], axis=1)
        values = np.linalg.eigvalsh((columns + columns.T) / 2)
        return float(values[0]), float(values[-1])
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    start = normals(Key(0).fold("state-hessian"), 0, size, np.float64)
    try:
        values = eigsh(operator, k=2, which="BE", v0=start, tol=tolerance, ncv=min(size, 40), return_eigenvectors=False)
    except ArpackNoConvergence as error:
        raise ArithmeticError(f"the extremes of a state Hessian of {size} values did not converge: {error}") from None
    return float(values.min()), float(values.max())
