"""Workloads with their floors. To add a workload, add a function here and a line in `WORKLOADS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from analogpc.bench.convolutions import convolutional
from analogpc.bench.floors import products_of
from analogpc.bench.preparation import Calls, rule_step
from analogpc.devices.arrays.population import population
from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.costs.meter import GraphCounts
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.matrix import Matrix
from analogpc.devices.nonidealities.noise import ConstantNoise, NoReadNoise, ReadNoiseModel, RelativeNoise
from analogpc.devices.presets import preset
from analogpc.devices.responses import SoftBounds
from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.gpu.arrays import Backend, copied
from analogpc.kernels.gpu.graphs import Graph
from analogpc.kernels.products import matmul
from analogpc.kernels.pulses.batches import apply_batch
from analogpc.kernels.pulses.trains import trains
from analogpc.kernels.random.streams import Key, bits, normals
from analogpc.kernels.wires.effective import effective_conductance
from analogpc.kernels.words import MAX_LENGTH
from analogpc.networks import Hopfield, Transformer
from analogpc.networks.network import Network
from analogpc.networks.zoo import mlp, vgg
from analogpc.rules import Backprop, IncrementalPC, PredictiveCoding, Rule
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.training.optimisers import AdamW, Learner
from analogpc.training.step import TrainingStep

SIZE, BATCH = 512, 128
"""Side of the square crossbars, and number of vectors in their reads and updates."""


@dataclass(frozen=True)
class Workload:
    """Title, floor and aim in words, a function that prepares the calls on a backend, and the supported backends."""

    title: str
    floor: str
    aim: str
    make: Callable[[Backend], Calls]
    backends: tuple[Backend, ...] = ("cpu", "gpu")


def _reads(noise: ReadNoiseModel, backend: Backend) -> Calls:
    rng, key = np.random.default_rng(0), Key(0)
    device = preset("idealized").but(read_noise=noise)
    fields = {"device": device, "rows": SIZE, "columns": SIZE, "dac": DAC(bits=7), "adc": ADC(bits=9), "read_noise": 0.06}
    weights = (0.1 * rng.normal(size=(SIZE, SIZE))).astype(np.float32)
    x = rng.normal(size=(BATCH, SIZE)).astype(np.float32)
    matrix, digital = (make_matrix(substrate, weights, key).copy(backend) for substrate in (Analog(**fields), Digital()))
    x, turned = copied(x, backend), copied(weights, backend).T

    def floor() -> Any:
        return matmul(x, turned)

    work = {"forward": lambda: matrix.forward(x), "transposed": lambda: matrix.backward(x), "digital": lambda: digital.forward(x)}
    if backend == "gpu":
        # As in a training step, which is a graph: without Python between the kernels.
        work = {name: _replayed(call, digital if name == "digital" else matrix) for name, call in work.items()}
        return Calls(_replayed(floor, digital), work)
    return Calls(floor, work)


def _replayed(work: Callable[[], Any], matrix: Matrix) -> Callable[[], Any]:
    """Return work with a matrix on the GPU as a captured graph, launched by every call."""
    work()
    counts = GraphCounts(matrix.counting(), work())
    matrix.forget()

    def counted() -> Any:
        result = work()
        counts.close()
        return result

    graph = Graph(counted, matrix.counters())
    matrix.forget()

    def launch() -> Any:
        result = graph.launch()
        counts.add()
        return result

    return launch


def _normals(backend: Backend) -> Calls:
    count, like = 2**20, copied(np.empty(0), backend)
    if backend == "gpu":
        generator = gpu.cupy().random.Generator(gpu.cupy().random.Philox4x3210(0))
    else:
        generator = np.random.Generator(np.random.Philox(0))
    return Calls(
        lambda: generator.standard_normal(count, dtype=np.float32),
        {"keyed normals": lambda: normals(Key(0), 0, count, like=like), "keyed bits": lambda: bits(Key(0), 0, count, like=like)},
        {"floor": count, "keyed normals": count, "keyed bits": count},
    )


def _pulses(soft: bool, backend: Backend) -> Calls:
    device = preset("idealized")
    if soft:
        spread = {"dw_min_dtod": 0.3, "w_max_dtod": 0.3, "w_min_dtod": 0.3, "dw_min_std": 0.3}
        device = device.but(response=SoftBounds(dw_min=0.002, **spread))
    law, key, rng = device.pulse_response.law, Key(0), np.random.default_rng(0)
    pre, post = rng.normal(size=(2, BATCH, SIZE)).astype(np.float32)
    length = np.full(BATCH, MAX_LENGTH)
    parameters = population(device, (SIZE, SIZE), key, np.dtype(np.float32))
    start = np.clip(rng.normal(0, 0.1, (SIZE, SIZE)).astype(np.float32), parameters["low"], parameters["high"])
    pre, post, start, touched = (copied(array, backend) for array in (pre, post, start, np.zeros((SIZE, SIZE), bool)))
    parameters = {name: copied(values, backend) for name, values in parameters.items()}

    def update(load: float) -> None:
        # Update management: the largest pre and the largest post get one probability, and their product requires `load` pulses.
        gains = [np.sqrt(load / MAX_LENGTH) / np.abs(x).max(axis=1).astype(np.float64) for x in (pre, post)]
        rows, columns = (trains(x, gain, length, key, n)[0] for n, (x, gain) in enumerate(zip((pre, post), gains, strict=True)))
        apply_batch(start.copy(), rows, columns, parameters, law, False, key, 0, touched)

    loads = {f"largest element {load} pulse{'s' * (load > 1)}": partial(update, load) for load in (1, 10, 31)}
    return Calls(lambda: matmul(pre.T, post), loads)


def _wires(size: int, backend: Backend) -> Calls:
    rng = np.random.default_rng(size)
    g = rng.uniform(1e-6, 5e-5, (size, size))
    v = rng.uniform(-0.2, 0.2, (BATCH, size))
    return Calls(lambda: v @ g, {"effective matrix": lambda: effective_conductance(g, wire_ohms=1.0)})


def _mlp(substrate: Digital | Analog) -> Network:
    return mlp([784, 256, 256, 10], activation="leaky_relu", substrate=substrate)


def _vgg5(substrate: Digital | Analog) -> Network:
    return vgg(5, substrate=substrate)


def _predictive(make: Callable[[Any], Network], steps: int, batch: int, crossbars: bool, backend: Backend) -> Calls:
    rule = PredictiveCoding(steps=steps, step_size=0.02, momentum=0.3)
    step, floor = rule_step(make(Digital()).to(backend), rule, batch)
    work = {"digital": step}
    if crossbars:
        work["crossbars, exact writing"] = rule_step(
            make(Analog(device="idealized", scheme={"kind": "ideal"})).to(backend), rule, batch
        )[0]
        work["crossbars, stochastic pulses"] = rule_step(make(Analog(device="idealized")).to(backend), rule, batch)[0]
    return Calls(floor, work)


def _equilibrium(backend: Backend) -> Calls:
    """Prepare network and phases of the perceptron of Laborieux et al.: synchronous states, and an activated output."""
    network = Network(Hopfield(widths=(784, 512, 512, 10), readout="activated", steps=20, order="synchronous"), Digital(), seed=0)
    step, floor = rule_step(network.to(backend), HopfieldEP(beta=0.5, steps=4, nudging="centered"), BATCH)
    return Calls(floor, {"digital": step})


SMALL, PUBLISHED = {"vocabulary": 1000}, {"vocabulary": 8001, "positions": 64, "features": 128, "hidden": 512}
"""Language models of the tables of docs/language.md, and of the published size (experiments/language/paper.toml)."""


def _language(rule: Rule, fields: dict[str, int], n: int, backend: Backend) -> Calls:
    """Prepare a batch of n sequences of a conditional language model, with a third of the positions as padding."""
    rng, network = np.random.default_rng(0), Network(Transformer.model_validate(fields), Digital(), seed=0)
    positions = network.input_shape[0]
    ids = rng.integers(5, fields["vocabulary"], (n, positions + 1)).astype(np.int32)
    ids[np.arange(positions + 1) >= rng.integers(positions // 3, positions + 1, n)[:, None]] = 0
    labels = np.where(ids[:, 1:] == 0, -1, ids[:, 1:]).reshape(-1)
    target = np.stack([np.arange(labels.size), labels], axis=1).astype(np.int32)
    network = network.to(backend)
    x, target = network.inputs(np.ascontiguousarray(ids[:, :-1])), network.brought(target)
    step = TrainingStep(network, Learner(AdamW(learning_rate=1e-3, weight_decay=0.01), network.matrices()))
    products = products_of(network.copy(), lambda twin, teach: rule.train_step(twin, x, target, teach))

    # As in a run, where BLAS has one thread throughout.
    def floor() -> None:
        with one_blas_thread:
            products()

    def batch() -> None:
        with one_blas_thread:
            step.learn(rule, x, target, 1e-3)

    return Calls(floor, {"digital": batch})


_UPDATES = 8


def _incremental(depth: int, backend: Backend) -> Calls:
    """Prepare a batch of incremental PC, with several updates of all weights, and one of backpropagation."""
    steps, widths = _UPDATES, [1024] * (depth + 1)
    network = mlp(widths, activation="leaky_relu").to(backend)
    many, _ = rule_step(network, IncrementalPC(steps=steps, step_size=0.1, stoppable=False), BATCH)
    one, _ = rule_step(network.copy(), Backprop(), BATCH)
    return Calls(one, {f"incremental PC, {steps} updates": many})


BACKPROP, INCREMENTAL = Backprop(output="cross-entropy"), IncrementalPC(steps=4, step_size=0.1, output="cross-entropy")

WORKLOADS: dict[str, Workload] = (
    {
        "read": Workload(
            f"Crossbar read, {SIZE} x {SIZE}, batch {BATCH}: 7-bit DAC, 9-bit ADC, output noise",
            "the matrix product",
            "≤ 1.5",
            partial(_reads, NoReadNoise()),
        ),
        "read-weight-noise": Workload(
            "The same with noise of the weights, fresh for every vector, equal for all devices",
            "the matrix product",
            "≤ 2.1",
            partial(_reads, ConstantNoise(std_siemens=1e-7)),
        ),
        "read-relative-noise": Workload(
            "The same with noise in proportion to the conductances",
            "the matrix product",
            "≤ 2.1",
            partial(_reads, RelativeNoise(relative=0.02)),
        ),
        "normals": Workload("A million keyed normal numbers", "NumPy's Philox generator", "≤ 2.5 ns", _normals),
        "pulses-constant": Workload(
            f"Update of {SIZE} x {SIZE} devices by {BATCH} products, trains of {MAX_LENGTH} slots: constant step, cycle-to-cycle noise",
            "the outer products as one matrix product",
            "≤ 40",
            partial(_pulses, False),
        ),
        "pulses-soft-bounds": Workload(
            "The same for soft bounds with noise",
            "the outer products as one matrix product",
            "≤ 40 with 1 pulse, ≤ 150",
            partial(_pulses, True),
        ),
        "wires-128": Workload(
            "Exact wire resistance, 128 x 128", "128 vectors through the matrix", "≤ 40 ms", partial(_wires, 128), ("cpu",)
        ),
        "wires-256": Workload(
            "Exact wire resistance, 256 x 256", "128 vectors through the matrix", "≤ 400 ms", partial(_wires, 256), ("cpu",)
        ),
        "pc-mlp": Workload(
            "Training step of PC, 784-256-256-10, batch 128, T = 8",
            "its matrix products",
            "≤ 1.3; crossbars ≤ 2.5",
            partial(_predictive, _mlp, 8, 128, True),
        ),
        "pc-vgg5": Workload(
            "Training step of PC, VGG5, batch 128, T = 5",
            "its matrix products on the patches",
            "≤ 1.5",
            partial(_predictive, _vgg5, 5, 128, False),
        ),
        "ep-hopfield": Workload(
            "Training step of equilibrium propagation, Hopfield network 784-512-512-10, batch 128, 20 free steps and twice 4 nudged ones",
            "its matrix products",
            "≤ 1.5",
            _equilibrium,
        ),
        "language-bp": Workload(
            "Training step of backpropagation, conditional language model (2 blocks, 64 features, 1000 tokens, 32 x 32 positions), AdamW",
            "its matrix products",
            "≤ 1.6",
            partial(_language, BACKPROP, SMALL, 32),
        ),
        "language-ipc": Workload(
            "The same by incremental PC, T = 4",
            "its matrix products",
            "≤ 1.6",
            partial(_language, INCREMENTAL, SMALL, 32),
        ),
        "language-published-bp": Workload(
            "Training step of backpropagation, the published language model (2 blocks, 128 features, 8001 tokens, 64 x 64 positions)",
            "its matrix products",
            "≤ 1.6",
            partial(_language, BACKPROP, PUBLISHED, 64),
        ),
        "language-published-ipc": Workload(
            "The same by incremental PC, T = 4", "its matrix products", "≤ 1.6", partial(_language, INCREMENTAL, PUBLISHED, 64)
        ),
    }
    | {
        f"ipc-{depth}": Workload(
            f"{_UPDATES} updates of all weights by incremental PC, width 1024, {depth} layers, batch {BATCH}",
            "one by backpropagation",
            f"< {_UPDATES}",
            partial(_incremental, depth),
        )
        for depth in (4, 8, 16, 32)
    }
    | {
        f"vgg5-{part}-{device}": Workload(
            f"Training step of S+F, VGG5 with 1/{part} of its channels, batch {BATCH}, on crossbars of {device} devices",
            "the digital training step",
            "exact writing ≤ 2, pulses ≤ 3",
            partial(convolutional, 1 / part, device),
            ("cpu",),
        )
        for part in (8, 4)
        for device in ("idealized", "reram-sb")
    }
)
