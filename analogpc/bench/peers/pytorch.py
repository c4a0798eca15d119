"""Predictive coding in plain PyTorch with autograd, beside the matrix products of the same shapes; run by a Python that has torch.

    PYTHON pytorch.py THREADS SECONDS [WORKLOAD ...]

Prints one JSON object: by workload, the median ratio of a training step to its products.
"""

import json
import statistics
import sys
import time
from itertools import pairwise

import torch
from torch import nn

BATCH = 128


def ratio(floor, work, seconds):
    """Median over turns of the fastest call of the work over that of the floor, in turns of 20 ms after pauses of 30 ms."""
    floor()
    work()
    found, began = [], time.perf_counter()
    while len(found) < 5 or time.perf_counter() - began < seconds:
        times = []
        for call in (floor, work):
            time.sleep(0.03)
            best, end = float("inf"), time.perf_counter() + 0.02
            while True:
                start = time.perf_counter()
                call()
                best = min(best, time.perf_counter() - start)
                if time.perf_counter() > end:
                    break
            times.append(best)
        found.append(times[1] / times[0])
    return statistics.median(found)


def products(shapes, steps):
    """The products that our own relaxation does for the same network: reads where an input moved or an error arrived, one update."""
    calls = []
    for index, (rows, n_in, n_out) in enumerate(shapes):
        x, g, w = torch.randn(rows, n_in), torch.randn(rows, n_out), torch.randn(n_in, n_out)
        reached = max(0, steps - (len(shapes) - 1 - index)) if index else 0
        calls += [(1 + reached, x, w), (reached, g, w.T), (1, x.T, g)]

    def run():
        for times, left, right in calls:
            for _ in range(times):
                left @ right

    return run


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
    """784-256-256-10 with T = 8."""
    sizes = [784, 256, 256, 10]
    layers = [nn.Sequential(nn.Linear(a, b), nn.LeakyReLU()) for a, b in pairwise(sizes[:-1])] + [nn.Linear(*sizes[-2:])]
    floor = products([(BATCH, a, b) for a, b in pairwise(sizes)], 8)
    return floor, training_step(layers, torch.rand(BATCH, 784), torch.eye(10)[torch.arange(BATCH) % 10], 8)


def vgg5():
    """VGG5 on 32 x 32 x 3 with T = 5."""
    sizes, layers, shapes, side = [3, 128, 256, 512, 512], [], [], 32
    for a, b in pairwise(sizes):
        layers.append(nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GELU(), nn.MaxPool2d(2)))
        shapes.append((BATCH * side * side, 9 * a, b))
        side //= 2
    layers.append(nn.Sequential(nn.Flatten(), nn.Linear(512 * side * side, 10)))
    shapes.append((BATCH, 512 * side * side, 10))
    return products(shapes, 5), training_step(layers, torch.rand(BATCH, 3, 32, 32), torch.eye(10)[torch.arange(BATCH) % 10], 5)


WORKLOADS = {"pc-mlp": mlp, "pc-vgg5": vgg5}

if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(0)
    chosen = [name for name in sys.argv[3:] or WORKLOADS if name in WORKLOADS]
    found = {}
    for name in chosen:
        floor, work = WORKLOADS[name]()
        found[name] = ratio(floor, work, float(sys.argv[2]))
    print(json.dumps(found))
