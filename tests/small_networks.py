"""Small networks in float64 and batches for them, shared by several tests."""

import numpy as np

import analogpc as apc
from analogpc.networks.network import Network


def network_of(*widths, dtype="float64", **fields):
    return apc.mlp(widths, dtype=dtype, **{"activation": "tanh", "seed": 1, **fields})


def linear(*widths):
    return network_of(*widths, activation="identity", bias=False, init="xavier-normal")


def batch(network, n=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *network.input_shape)), rng.normal(size=(n, *network.output_shape))


def hopfield(order="synchronous", **fields):
    fields = {"widths": (6, 9, 8, 4), "activation": "tanh", "steps": 200, "dtype": "float64", "init": "xavier-normal", **fields}
    network = Network(apc.Hopfield(order=order, **fields), seed=1)
    for matrix in network.matrices().values():
        matrix.increment(-0.4 * matrix.weights())
    return network
