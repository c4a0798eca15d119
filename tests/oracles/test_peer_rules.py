"""Learning rules against PCX, error_based_PC and independent implementations with automatic differentiation, in float64."""

import numpy as np
import pytest
from peer_numbers import numbers

import analogpc as apc
from analogpc.analysis import directions
from analogpc.devices.digital_matrix import DigitalMatrix

MLP = numbers("mlp")
TENSORS = [MLP[f"{kind}{layer}"] for layer in range(3) for kind in ("W", "b")]


def network(tensors, **fields):
    net = apc.mlp(dtype="float64", **fields)
    for matrix, tensor in zip(net.matrices().values(), tensors, strict=True):
        assert isinstance(matrix, DigitalMatrix)
        matrix.increment(tensor.reshape(matrix.shape) - matrix.weights())
    return net


def close(found, theirs, rtol):
    theirs = np.asarray(theirs)
    assert np.abs(np.reshape(found, theirs.shape) - theirs).max() <= rtol * np.abs(theirs).max()


def groups(name):
    file = numbers(name)
    return list(dict.fromkeys(key.rsplit("/", 1)[0] for key in file if "|" in key))


def targets(loss):
    return (MLP["y"], "squared-error") if loss == "mse" else (MLP["onehot"], "cross-entropy")


@pytest.mark.parametrize("case", groups("pcx"))
def test_pcx(case):
    theirs = numbers("pcx")
    mode, convention, activation, loss, momentum, nesterov = case.split("|")
    net = network(TENSORS, widths=[20, 30, 25, 7], activation=activation, convention=convention)
    y, output = targets(loss)
    if mode == "pc":
        rule = apc.PredictiveCoding(steps=8, step_size=0.1, momentum=float(momentum), nesterov=bool(int(nesterov)), output=output)
        relaxation = rule.begin(net, MLP["x"], y)
        rule.relax(relaxation)
        for layer in range(2):
            close(relaxation.states[layer + 1], theirs[f"{case}/h{layer}"], 1e-13)
        learnt = list(directions(net, rule, MLP["x"], y).values())
        for layer in range(3):
            close(-learnt[2 * layer], theirs[f"{case}/gW{layer}"], 1e-12)
            close(-learnt[2 * layer + 1], theirs[f"{case}/gb{layer}"], 1e-12)
        return
    rule = apc.IncrementalPC(steps=8, step_size=0.1, output=output, stoppable=False)

    def apply(products, gain):
        for matrix, pre, post in products:
            matrix.learn([(pre, post)], 0.05 * gain / 11)

    rule.train_step(net, MLP["x"], y, apply)
    weights = [matrix.weights() for matrix in net.matrices().values()]
    for layer in range(3):
        close(weights[2 * layer], theirs[f"{case}/W{layer}"], 1e-12)
        close(weights[2 * layer + 1], theirs[f"{case}/b{layer}"], 1e-12)


@pytest.mark.parametrize("case", groups("error_based_pc"))
def test_error_based_pc(case):
    theirs = numbers("error_based_pc")
    algorithm, convention, activation, loss = case.split("|")
    net = network(TENSORS, widths=[20, 30, 25, 7], activation=activation, convention=convention)
    y, output = targets(loss)
    kind = {"EO": apc.ErrorBasedPC, "SO": apc.PredictiveCoding}[algorithm]
    learnt = list(directions(net, kind(steps=6, step_size=0.1, output=output), MLP["x"], y).values())
    for layer in range(3):
        close(-learnt[2 * layer], theirs[f"{case}/gW{layer}"], 1e-12)
        close(-learnt[2 * layer + 1], theirs[f"{case}/gb{layer}"], 1e-12)


@pytest.mark.parametrize("case", groups("spiking_precision"))
def test_precision_schedules_and_forward_updates(case):
    theirs = numbers("spiking_precision")
    kind, steps, step_size, momentum, nesterov, base = case.split("|")
    tensors = [theirs[f"{kind}{layer}"] for layer in range(5) for kind in ("W", "b")]
    net = network(tensors, widths=[12, 14, 13, 11, 10, 5], activation="tanh")
    precision = {"S": "spiking", "D": "decay-code", "PC": "standard"}[kind]
    rule = apc.PredictiveCoding(
        steps=int(steps), step_size=float(step_size), momentum=float(momentum), nesterov=bool(int(nesterov)), precision=precision
    )
    rule = rule.but(base_precision=float(base)) if kind == "S" else rule
    relaxation = rule.begin(net, theirs["X"], theirs["Y"])
    rule.relax(relaxation)
    for layer in range(4):
        close(relaxation.states[layer + 1], theirs[f"{case}/h{layer}"], 1e-12)
    for update, name in (("forward", "fu"), ("standard", "st")):
        learnt = list(directions(net, rule.but(update=update), theirs["X"], theirs["Y"]).values())
        for layer in range(5):
            close(-learnt[2 * layer], theirs[f"{case}/{name}{layer}"], 1e-8)


@pytest.mark.parametrize("depth", [4, 5])
@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize(("nudging", "name"), [("centered", "g"), ("positive", "f")])
def test_equilibrium_propagation_on_pc_energies(depth, loss, nudging, name):
    theirs = numbers("equilibrium_pcn")
    last = [theirs["V4" if depth == 4 else "W4"], theirs["b4"]]
    tensors = [theirs[f"{kind}{layer}"] for layer in range(depth - 1) for kind in ("W", "b")] + last
    net = network(tensors, widths=[*[9, 14, 13, 12, 11, 5][:depth], 5], activation="relu")
    rule = apc.EquilibriumPropagation(beta=0.2, nudging=nudging, output="squared-error" if loss == "mse" else "cross-entropy")
    learnt = list(directions(net, rule, theirs["X"], theirs["Y"]).values())
    for layer in range(depth):
        close(-learnt[2 * layer], theirs[f"{depth}|{loss}/{name}W{layer}"], 1e-10)


@pytest.mark.parametrize("case", ["all", "part"])
def test_generative_pc(case):
    theirs = numbers("generative_pc")
    net = network(TENSORS, widths=[20, 30, 25, 7], activation="tanh")
    rule = apc.GenerativePC(steps=12, step_size=0.1, momentum=0.5, prior=0.1)
    relaxation = rule._begin(net, MLP["y"], theirs["known"] if case == "part" else None, None)
    for _ in range(12):
        relaxation.differentiate([1.0] * 3)
        relaxation.descend(0.1, 0.5)
    for number in range(4):
        close(relaxation.states[number], theirs[f"{case}/x{number}"], 1e-12)
