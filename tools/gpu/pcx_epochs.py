"""Time of a predictive-coding batch in PCX; epochs.py runs this script with a Python that has PCX, JAX and optax.

Reads one JSON object from standard input (the network, the relaxation, the number of batches to time) and prints one (seconds per batch
of every slice, and versions). A batch follows PCX's example of a convolutional network: feed-forward initialisation, T steps of the
states with gradients by automatic differentiation, and one AdamW step of the weights, compiled as one function. The images are in main
memory, where PCX's data loaders put them; loading and augmentation are not timed.

Written against PCX 0.6.3 (github.com/liukidar/pcx).
"""

import importlib.metadata
import json
import sys
import time

import jax
import numpy as np
import optax
import pcx as px
import pcx.functional as pxf
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
import pcx.utils as pxu


class Net(pxc.EnergyModule):
    """Layers, each followed by a value node; the input of the first dense layer is flattened."""

    def __init__(self, asked):
        super().__init__()
        act = px.static(jax.nn.gelu)
        side, _, channels = asked["shape"]
        self.layers = []
        for features, padding, pooled in asked["stages"]:
            layer = (pxnn.Conv2d(channels, features, kernel_size=(3, 3), padding=(padding, padding)), act)
            side = side + 2 * padding - 2
            if pooled:
                layer = (*layer, pxnn.MaxPool2d(kernel_size=2, stride=2))
                side //= 2
            self.layers.append(layer)
            channels = features
        size = channels * side * side
        for features in asked["hidden"]:
            self.layers.append((pxnn.Linear(size, features), act))
            size = features
        self.layers.append((pxnn.Linear(size, asked["classes"]),))
        self.convolutions = px.static(len(asked["stages"]))
        self.vodes = [pxc.Vode() for _ in self.layers]
        self.vodes[-1].h.frozen = True

    def __call__(self, x, y):
        """Return the predicted output; the output is clamped to ``y`` if it is given."""
        for number, (layer, vode) in enumerate(zip(self.layers, self.vodes, strict=True)):
            if number == self.convolutions.get():
                x = x.flatten()
            for part in layer:
                x = part(x)
            x = vode(x)
        if y is not None:
            self.vodes[-1].set("h", y)
        return self.vodes[-1].get("u")


STATES = pxu.M(pxc.VodeParam | pxc.VodeParam.Cache).to((None, 0))


@pxf.vmap(STATES, in_axes=(0, 0), out_axes=0)
def forward(x, y, *, model):
    """Initialise by a feed-forward pass, with the output clamped to ``y``."""
    return model(x, y)


@pxf.vmap(STATES, in_axes=(0,), out_axes=(None, 0), axis_name="batch")
def energy(x, *, model):
    """Return the energy of a batch, and the outputs."""
    outputs = model(x, None)
    return jax.lax.psum(model.energy(), "batch"), outputs


@pxf.jit(static_argnums=0)
def taught(steps, x, y, *, model, optim_w, optim_h):
    """Train on one batch: relaxation, then the weight update."""
    model.train()
    free = pxu.M_hasnot(pxc.VodeParam, frozen=True)
    with pxu.step(model, pxc.STATUS.INIT, clear_params=pxc.VodeParam.Cache):
        forward(x, y, model=model)
    optim_h.init(free(model))
    for _ in range(steps):
        with pxu.step(model, clear_params=pxc.VodeParam.Cache):
            _, gradient = pxf.value_and_grad(free.to([False, True]), has_aux=True)(energy)(x, model=model)
        optim_h.step(model, gradient["model"])
    optim_h.clear()
    with pxu.step(model, clear_params=pxc.VodeParam.Cache):
        _, gradient = pxf.value_and_grad(pxu.M(pxnn.LayerParam).to([False, True]), has_aux=True)(energy)(x, model=model)
    optim_w.step(model, gradient["model"], scale_by=1.0 / x.shape[0])


def main():
    """Time the requested batches."""
    asked = json.load(sys.stdin)
    height, width, channels = asked["shape"]
    batch, classes = asked["batch"], asked["classes"]
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(batch, channels, height, width)).astype(np.float32) for _ in range(4)]
    labels = [np.eye(classes, dtype=np.float32)[rng.integers(0, classes, batch)] for _ in range(4)]
    model = Net(asked)
    optim_h = pxu.Optim(lambda: optax.sgd(asked["step_size"], momentum=asked["momentum"]))
    optim_w = pxu.Optim(lambda: optax.adamw(3e-4), pxu.M(pxnn.LayerParam)(model))

    def some(count):
        start = time.perf_counter()
        for number in range(count):
            x, y = images[number % 4], labels[number % 4]
            taught(asked["steps"], x, y, model=model, optim_w=optim_w, optim_h=optim_h)
        jax.block_until_ready([leaf for leaf in jax.tree_util.tree_leaves(model) if isinstance(leaf, jax.Array)])
        return (time.perf_counter() - start) / count

    some(asked["slice"])
    times = [some(asked["slice"]) for _ in range(asked["slices"])]
    versions = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    try:
        versions["pcx"] = importlib.metadata.version("pcx")
    except importlib.metadata.PackageNotFoundError:
        versions["pcx"] = "not installed as a package"
    print(json.dumps({"seconds_per_batch": times, "versions": versions}))


if __name__ == "__main__":
    main()
