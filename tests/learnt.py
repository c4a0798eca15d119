"""Collect the updates of a rule from the products that it passes to `apply`; no weight changes."""

import numpy as np


def by_name(rule, network, x, target):
    """Return the update direction (n_out, n_in) of every matrix with products, by name, and the step result."""
    found = {}

    def apply(products, gain):
        for matrix, pre, post in products:
            found[id(matrix)] = found.get(id(matrix), 0) + gain * post.T @ pre

    result = rule.train_step(network, x, target, apply)
    return {name: found[id(matrix)] for name, matrix in network.matrices().items() if id(matrix) in found}, result


def directions(rule, network, x, target):
    """Return the update directions of all matrices in the order of the network; every matrix must have products."""
    found, _ = by_name(rule, network, x, target)
    return [found[name] for name in network.matrices()]


def deviation(ours, theirs):
    """Return the largest deviation relative to the largest entry of each matrix."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = ours.values(), theirs.values()
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs, strict=True))
