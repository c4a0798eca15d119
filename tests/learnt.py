"""What a rule makes the matrices of a network learn, collected from the products that it hands out; nothing learns."""

import numpy as np


def by_name(rule, network, x, target):
    """The direction of every matrix that was handed anything, (n_out, n_in), by its name; and the result."""
    found = {}

    def apply(products, gain):
        for matrix, pre, post in products:
            found[id(matrix)] = found.get(id(matrix), 0) + gain * post.T @ pre

    result = rule.train_step(network, x, target, apply)
    return {name: found[id(matrix)] for name, matrix in network.matrices().items() if id(matrix) in found}, result


def directions(rule, network, x, target):
    """The directions of all matrices, in the order of the network; every one must have been handed something."""
    found, _ = by_name(rule, network, x, target)
    return [found[name] for name in network.matrices()]


def deviation(ours, theirs):
    """The largest deviation, relative to the largest entry of each matrix."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = ours.values(), theirs.values()
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs, strict=True))
