"""Number of reads of a rule, counted by meters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analogpc.analysis.undisturbed import at_once, batch, undisturbed
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.rules import Rule, as_rule


@dataclass(frozen=True)
class ReadCounts:
    """Reads of every weight matrix for one batch, per sample.

    Attributes
    ----------
    names : tuple of str
        Names of the matrices with more than one column, from the input to the output.
    forward, backward : (matrices,) float64 arrays
        Number of vectors read forward and transposed; a convolution counts one for each output position.
    """

    names: tuple[str, ...]
    forward: np.ndarray
    backward: np.ndarray

    @property
    def total(self) -> float:
        """Total number of reads: in a network of dense layers, the matrix multiplications of the papers (MM)."""
        return float(self.forward.sum() + self.backward.sum())

    @property
    def busiest(self) -> float:
        """Number of reads of the most frequently read matrix.

        A matrix performs one read at a time, so this is the minimum number of sequential reads. If all layers are read in parallel, as in
        the relaxations of predictive coding, these are the simultaneous multiplications of the papers (SMM).
        """
        return float((self.forward + self.backward).max(initial=0))


def read_counts(network: Network, rule: Rule | str, x: np.ndarray, target: np.ndarray, *, key: Key | None = None) -> ReadCounts:
    """Count the reads of a rule for one training batch. The weights do not change.

    Parameters
    ----------
    network : Network
        Left unchanged.
    rule : Rule
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    key : Key
        Key of read noise and of random rules; ``Key(0)`` by default.

    Notes
    -----
    Only layers whose input changed or whose weights were updated are read again, and only errors that can be nonzero are propagated back.
    The counts are therefore below those of the rules as published; with exact matrices the results are identical.
    """
    rule = as_rule(rule)
    network = network.to("cpu")
    x, target = batch(network, x, target)
    key = Key(0) if key is None else key
    with undisturbed(network, key) as meters:
        at_once(rule, key).train_step(network, x, target, lambda products, gain: None)
    names = tuple(name for name, matrix in network.matrices().items() if matrix.shape[1] > 1)
    found = np.array([(meters[name].forward_reads, meters[name].backward_reads) for name in names]) / len(x)
    return ReadCounts(names, found[:, 0], found[:, 1])
