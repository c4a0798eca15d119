"""Predictive coding in plain PyTorch with autograd, next to the matrix products of the same shapes; needs a Python with torch.

    PYTHON pytorch.py THREADS SECONDS [WORKLOAD ...]

States descend with momentum on the energy, then the weights on it; every gradient is one call of autograd, with eager kernels.
"""

from itertools import pairwise

import _torch_products
import _turns

torch = _turns.library("torch")
nn = torch.nn


def training_step(layers, x, target, steps):
    """Relax the hidden states by momentum descent on the energy, then descend on the weights; all gradients by autograd."""
    weights = [p for layer in layers for p in layer.parameters()]
    optimiser = torch.optim.SGD(weights, lr=1e-3)

    def energy(states):
        return sum(
            0.5 * ((above - layer(below)) ** 2).sum() for layer, below, above in zip(layers, states[:-1], states[1:], strict=True)
        )

    def step():
        with torch.no_grad():
            states = [x]
            for layer in layers:
                states.append(layer(states[-1]))
        hidden = [state.detach().requires_grad_() for state in states[1:-1]]
        velocity = [torch.zeros_like(state) for state in hidden]
        for _ in range(steps):
            gradients = torch.autograd.grad(energy([x, *hidden, target]), hidden)
            with torch.no_grad():
                for state, v, gradient in zip(hidden, velocity, gradients, strict=True):
                    v.mul_(0.3).add_(gradient)
                    state.sub_(0.02 * v)
        optimiser.zero_grad()
        (energy([x, *[state.detach() for state in hidden], target]) / len(x)).backward()
        optimiser.step()

    return step


def mlp():
    """Train 784-256-256-10 with T = 8."""
    widths, steps = _turns.PC_MLP
    layers = [nn.Sequential(nn.Linear(a, b), nn.LeakyReLU()) for a, b in pairwise(widths[:-1])] + [nn.Linear(*widths[-2:])]
    floor = _torch_products.products(_turns.relaxation_products(_turns.dense_shapes(widths), steps))
    return floor, training_step(layers, torch.rand(_turns.BATCH, widths[0]), one_hot(), steps)


def vgg5():
    """Train VGG5 on 32 x 32 x 3 with T = 5."""
    channels, steps = _turns.PC_VGG5
    layers = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GELU(), nn.MaxPool2d(2)) for a, b in pairwise(channels)]
    layers.append(nn.Sequential(nn.Flatten(), nn.Linear(4 * channels[-1], 10)))
    floor = _torch_products.products(_turns.relaxation_products(_turns.vgg5_shapes(), steps))
    return floor, training_step(layers, torch.rand(_turns.BATCH, 3, 32, 32), one_hot(), steps)


def one_hot():
    """Return ten alternating classes, one-hot."""
    return torch.eye(10)[torch.arange(_turns.BATCH) % 10]


WORKLOADS = {"pc-mlp": mlp, "pc-vgg5": vgg5}

if __name__ == "__main__":
    _torch_products.start()
    _turns.measure(WORKLOADS)
