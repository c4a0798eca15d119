"""Equilibrium propagation against backpropagation through time, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analogpc.analysis.undisturbed import batch, undisturbed
from analogpc.blocks import Product
from analogpc.dynamics.relaxation import Output
from analogpc.kernels.checks import whole_number
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.rules import BackpropThroughTime, HopfieldEP

_NOTHING = 1e-12
"""Weights with smaller increments over all steps are considered unused."""


@dataclass(frozen=True)
class IncrementComparison:
    """Contributions of every step to the update of each matrix.

    Attributes
    ----------
    ep : dict of (steps, n_out, n_in) arrays
        By name in `Network.matrices`: contribution of step t of the nudged phases to the contrast, divided by beta (and by 2 if
        there are two phases, whose contributions are summed).
    bptt : dict of (steps, n_out, n_in) arrays
        Contribution of the t-th last step of the free relaxation to minus the gradient of the loss.
    """

    ep: dict[str, np.ndarray]
    bptt: dict[str, np.ndarray]

    @property
    def relative_rmse(self) -> dict[str, float]:
        """Return for each matrix the mean over the weights of ||EP - BPTT||_t / max(||EP||_t, ||BPTT||_t), the norms over the steps.

        Weights unchanged by both are excluded; nan if there are no others. 0 means identical; values up to 2 are possible.

        References
        ----------
        Ernoult et al., NeurIPS 2019, arXiv 1905.13633; in this form the code of Laborieux et al., Front. Neurosci. 15:633674 (2021).
        """
        return {name: _relative_rmse(self.ep[name], self.bptt[name]) for name in self.ep}

    def sign_errors(self, threshold: float = 0.02) -> dict[str, float]:
        """Return for each matrix the share of steps and weights at which EP and BPTT differ in sign, from 0 to 1.

        Parameters
        ----------
        threshold : float
            Exclude increments of BPTT below this fraction of the largest in the matrix, whose signs are determined by
            rounding; nan if there are no others.
        """
        found = {}
        for name, steps in self.bptt.items():
            size = np.abs(steps)
            seen = (size > threshold * size.max(initial=0)) & (size > 0)
            found[name] = float(np.mean(np.sign(self.ep[name][seen]) != np.sign(steps[seen]))) if seen.any() else float("nan")
        return found

    def curves(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the norms of the cumulative updates of matrix ``name`` by EP and BPTT, up to each step: (steps,) and (steps,)."""
        return tuple(np.linalg.norm(np.cumsum(steps[name], axis=0), axis=(1, 2)) for steps in (self.ep, self.bptt))  # type: ignore[return-value]

    def weight_curves(self, name: str, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the updates of one weight by EP and BPTT at each step: (steps,) and (steps,)."""
        return self.ep[name][:, row, column], self.bptt[name][:, row, column]


def _relative_rmse(ep: np.ndarray, bptt: np.ndarray) -> float:
    apart, one, other = (np.sqrt(np.sum(np.square(steps, dtype=np.float64), axis=0)) for steps in (ep - bptt, ep, bptt))
    largest = np.maximum(one, other)
    seen = largest > _NOTHING
    return float(np.mean(apart[seen] / largest[seen])) if seen.any() else float("nan")


def ep_against_bptt(
    network: Network,
    x: np.ndarray,
    target: np.ndarray,
    beta: float = 0.01,
    steps: int = 15,
    *,
    nudging: Literal["positive", "negative", "centered"] = "centered",
    output: Output = "squared-error",
    key: Key | None = None,
) -> IncrementComparison:
    """Compare equilibrium propagation with backpropagation through time, step by step. The weights do not change.

    At a free equilibrium, and as beta goes to zero, step t of a nudged phase contributes to the contrast what the t-th last step of the
    free relaxation contributes to minus the gradient of the loss.

    Parameters
    ----------
    network : Network
        Hopfield network with order = "synchronous" and tolerance = 0; left unchanged. Its free relaxation must
        be at least ``steps`` long, and should end in equilibrium (see `residual`).
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    beta : float
        Strength of the nudge. The difference decreases with it, or with its square if centered, until rounding dominates: use float64.
    steps : int
        Number of steps of the nudged phases, and of the free relaxation backwards.
    nudging, output
        See `NudgedRule`.
    key : Key
        Key of the read noise; ``Key(0)`` by default.

    Returns
    -------
    IncrementComparison
        For all matrices that lead to a state; a softmax read-out learns from its own error and is excluded.

    Raises
    ------
    ValueError
        If the network does not meet these conditions.
    """
    network = network.to("cpu")
    x, target = batch(network, x, target)
    key = Key(0) if key is None else key
    steps = whole_number(steps, "steps", 1)
    forward = HopfieldEP(beta=beta, nudging=nudging, steps=steps, output=output, update="continual")
    backward = BackpropThroughTime(steps=steps, output=output)
    with undisturbed(network, key):
        bptt = _of_bptt(backward, network, x, target)
    if any(len(found) != steps for found in bptt.values()):
        done = min(map(len, bptt.values()))
        raise ValueError(f"steps = {steps} is more than the {done} steps of the free relaxation of the network")
    with undisturbed(network, key.fold("ep")):
        ep = _of_ep(forward, network, x, target)
    return IncrementComparison({name: ep[name] for name in bptt}, bptt)


def _of_ep(rule: HopfieldEP, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """Return the contrast of successive nudged steps, summed over the phases, as used in continual updates."""
    names = {id(matrix): name for name, matrix in network.matrices().items()}
    found: dict[str, list[np.ndarray]] = {name: [] for name in names.values()}

    def apply(products: Iterable[Product], gain: float) -> None:
        for name, value in _sums(products, names).items():
            found[name].append(gain * value)

    rule.train_step(network, x, target, apply)
    return {
        name: np.reshape(values, (-1, rule.steps, *values[0].shape)).sum(axis=0)
        for name, values in found.items()
        if len(values) == rule.steps * len(rule.signs())
    }


def _of_bptt(rule: BackpropThroughTime, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """Return the contribution of every step to minus the gradient, the last step first."""
    free, history = rule.begin(network, x, target)
    names = {id(matrix): name for name, matrix in network.matrices().items()}
    blocks = [*network.layers[: len(free.states) - 1], *(block for _, _, block, _ in free.skips())]
    leading = [m for block in blocks for m in block.matrices.values()]
    found: dict[str, list[np.ndarray]] = {names[id(matrix)]: [] for matrix in leading}
    shapes = {names[id(matrix)]: matrix.shape for matrix in leading}
    for layers in rule.contributions(free, history, target)[0]:
        sums = _sums((product for products in layers for product in products), names)
        for name, values in found.items():
            values.append(sums.get(name, np.zeros(shapes[name], x.dtype)))
    return {name: np.array(values) for name, values in found.items()}


def _sums(products: Iterable[Product], names: dict[int, str]) -> dict[str, np.ndarray]:
    """Return the sum of post^T pre for every matrix."""
    sums: dict[str, np.ndarray] = {}
    for matrix, pre, post in products:
        name = names[id(matrix)]
        value = post.T @ pre
        sums[name] = sums[name] + value if name in sums else value
    return sums
