"""Predictive coding with PCX, next to the matrix products of the same shapes in JAX; needs a Python with pcx.

    PYTHON pcx.py THREADS SECONDS [WORKLOAD ...]

The step of its tutorials: values start from a forward pass, descend with momentum on the energy of the batch, then weights on its mean, by
optax's plain SGD, all compiled as one. Images have their channels first.
"""

from itertools import pairwise

import _jax_products
import _turns

_turns.pin()
jax = _turns.library("jax")
optax = _turns.library("optax")
px = _turns.library("pcx")
pxf = _turns.library("pcx.functional")
pxnn = _turns.library("pcx.nn")
pxc = _turns.library("pcx.predictive_coding")
pxu = _turns.library("pcx.utils")


class Network(pxc.EnergyModule):  # type: ignore[name-defined]
    """Layers of several functions each, with a value after every layer."""

    def __init__(self, layers):
        super().__init__()
        self.layers = [[f if isinstance(f, pxnn.Layer) else px.static(f) for f in layer] for layer in layers]
        self.vodes = [pxc.Vode() for _ in layers]
        self.vodes[-1].h.frozen = True

    def __call__(self, x, target):
        """Process one sample; clamp its target at the output, if there is one."""
        for layer, vode in zip(self.layers, self.vodes, strict=True):
            for function in layer:
                x = function(x)
            x = vode(x)
        if target is not None:
            self.vodes[-1].set("h", target)
        return self.vodes[-1].get("u")


VALUES = pxu.M(pxc.VodeParam | pxc.VodeParam.Cache).to((None, 0))


@pxf.vmap(VALUES, in_axes=(0, 0), out_axes=0)
def forward(x, target, *, model):
    """Return the outputs of a batch."""
    return model(x, target)


@pxf.vmap(VALUES, in_axes=(0,), out_axes=(None, 0), axis_name="batch")
def energy(x, *, model):
    """Return the energy of a batch, and its outputs."""
    outputs = model(x, None)
    return jax.lax.psum(model.energy().sum(), "batch"), outputs


@pxf.jit(static_argnums=0)
def taught(steps, x, target, *, model, weights, values):
    """Train on one batch."""
    model.train()
    with pxu.step(model, pxc.STATUS.INIT, clear_params=pxc.VodeParam.Cache):
        forward(x, target, model=model)
    free = pxu.M_hasnot(pxc.VodeParam, frozen=True)
    values.init(free(model))
    for _ in range(steps):
        with pxu.step(model, clear_params=pxc.VodeParam.Cache):
            _, gradients = pxf.value_and_grad(free.to([False, True]), has_aux=True)(energy)(x, model=model)
        values.step(model, gradients["model"])
    values.clear()
    with pxu.step(model, clear_params=pxc.VodeParam.Cache):
        _, gradients = pxf.value_and_grad(pxu.M(pxnn.LayerParam).to([False, True]), has_aux=True)(energy)(x, model=model)
    weights.step(model, gradients["model"], scale_by=1 / len(x))


def training_step(layers, steps, *shape):
    """Return a function that trains on a random batch of that shape."""
    x, target = _jax_products.batch(*shape)
    model = Network(layers)
    with pxu.step(model, pxc.STATUS.INIT, clear_params=pxc.VodeParam.Cache):
        forward(x, target, model=model)
    values = pxu.Optim(lambda: optax.sgd(0.02, momentum=0.3))
    weights = pxu.Optim(lambda: optax.sgd(1e-3), pxu.M(pxnn.LayerParam)(model))

    def work():
        taught(steps, x, target, model=model, weights=weights, values=values)
        jax.block_until_ready(jax.tree_util.tree_leaves(model))

    return work


def mlp():
    """Train 784-256-256-10 with T = 8."""
    widths, steps = _turns.PC_MLP
    layers = [[pxnn.Linear(a, b), jax.nn.leaky_relu] for a, b in pairwise(widths[:-1])] + [[pxnn.Linear(*widths[-2:])]]
    floor = _jax_products.products(_turns.relaxation_products(_turns.dense_shapes(widths), steps))
    return floor, training_step(layers, steps, widths[0])


def vgg5():
    """Train VGG5 on 3 x 32 x 32 with T = 5."""
    channels, steps = _turns.PC_VGG5
    layers = [
        [pxnn.Conv2d(a, b, kernel_size=(3, 3), padding=(1, 1)), jax.nn.gelu, pxnn.MaxPool2d(kernel_size=2, stride=2)]
        for a, b in pairwise(channels)
    ]
    layers.append([jax.numpy.ravel, pxnn.Linear(4 * channels[-1], 10)])
    floor = _jax_products.products(_turns.relaxation_products(_turns.vgg5_shapes(), steps))
    return floor, training_step(layers, steps, 3, 32, 32)


WORKLOADS = {"pc-mlp": mlp, "pc-vgg5": vgg5}

if __name__ == "__main__":
    _turns.measure(WORKLOADS)
