"""Language models with value nodes: finite differences of the whole energy, wave fronts, Z-IL, causality, padding."""

from __future__ import annotations

import gc
import itertools
import json
import tracemalloc
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from token_networks import VOCABULARY, tokens, transformer

from analogpc.blocks import Activation, Chain, Dense, ValueNode
from analogpc.blocks.value_node import ENERGIES
from analogpc.devices.substrate import Analog
from analogpc.dynamics.node_relaxation import SweepRelaxation
from analogpc.kernels.lookups import one_hot
from analogpc.kernels.products import outer
from analogpc.kernels.softmax import softmax, softmax_product
from analogpc.networks import Layers
from analogpc.networks.network import Network
from analogpc.networks.transformer import Placement
from analogpc.rules import ZIL, Backprop, IncrementalPC, PredictiveCoding
from analogpc.training.optimisers import AdamW, Learner
from analogpc.training.step import TrainingStep

PLACEMENTS = [name for name in get_args(Placement) if name != "none"]
EVERY = list(
    itertools.product(
        PLACEMENTS,
        ("softmax", "squared-error"),
        (True, False),
        ("tanh", "gelu"),
        ("masked", "conditional"),
        (1, 2),
        (False, True),
    )
)
# A ninth of all combinations, in which every pair of choices occurs; each of them is checked in a few directions.
SOME = EVERY[::9]


def test_every_pair_of_choices_occurs():
    for one, other in itertools.combinations(range(len(EVERY[0])), 2):
        assert {(chosen[one], chosen[other]) for chosen in SOME} == {(chosen[one], chosen[other]) for chosen in EVERY}


def swept(network, ids, target, states, cut=True):
    """A relaxation with these states, and its whole energy (not per sample)."""
    relaxation = SweepRelaxation(network, ids, target, cut=cut)
    relaxation.sweep.states.update(states)
    relaxation._stale = True
    relaxation.differentiate()
    energies = relaxation.energies()
    return relaxation, energies[:-1].sum() * len(ids) + energies[-1] * relaxation._samples


def descents(relaxation):
    """The direction of learning of every matrix, (n_out, n_in), by its id."""
    sums = {}
    for matrix, pre, post in itertools.chain.from_iterable(relaxation._products):
        sums[id(matrix)] = sums.get(id(matrix), 0) + outer(pre, post, matrix.shape[1]).T
    return sums


def five_point(function, step=1e-4):
    return (8 * (function(step) - function(-step)) - (function(2 * step) - function(-2 * step))) / (12 * step)


@pytest.mark.parametrize(("nodes", "energy", "norm", "activation", "task", "heads", "tied"), SOME)
def test_every_state_and_matrix_has_the_gradient_of_the_whole_energy(nodes, energy, norm, activation, task, heads, tied):
    fields = {"nodes": nodes, "score_energy": energy, "layer_norm": norm, "activation": activation, "task": task, "heads": heads}
    network = transformer(**fields, tied_decoder=tied)
    ids, target = tokens()
    rng = np.random.default_rng(1)
    first = SweepRelaxation(network, ids, target)
    states = {name: mu + 0.5 * rng.normal(size=mu.shape) for name, mu in first.sweep.predictions.items()}
    relaxation, _ = swept(network, ids, target, states)
    found = descents(relaxation)
    # One node and two matrices, another choice for every combination.
    chosen = rng.permutation([node.name for node in relaxation.nodes])[:1]
    for name in chosen:
        along = rng.normal(size=states[name].shape)
        slope = five_point(
            lambda step, name=name, along=along: swept(network, ids, target, states | {name: states[name] + step * along})[1]
        )
        assert np.vdot(relaxation.gradients[name], along) == pytest.approx(slope, rel=3e-8, abs=1e-9)
    # The table that two blocks read is always among them.
    shared = ["layer1.0.weight"] * tied
    for name in [*shared, *rng.permutation(list(network.matrices()))][:2]:
        matrix = network.matrices()[name]
        along = rng.normal(size=matrix.shape)

        def moved(step, matrix=matrix, along=along):
            matrix.increment(step * along)
            energy = swept(network, ids, target, states)[1]
            matrix.increment(-step * along)
            return energy

        assert -np.vdot(found[id(matrix)], along) == pytest.approx(five_point(moved), rel=3e-8, abs=1e-9)


def changes(network, rule, ids, target):
    """Record the products of every matrix while it learns."""
    twin = network.copy()
    names = {id(matrix): name for name, matrix in twin.matrices().items()}
    sums = {}

    def apply(products, gain):
        for matrix, pre, post in products:
            name = names[id(matrix)]
            sums[name] = sums.get(name, 0) + gain * outer(pre, post, matrix.shape[1]).T
            matrix.learn([(pre, post)], 0.05)

    rule.train_step(twin, ids, target, apply)
    return sums


def deviation(found, expected):
    return max(np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max() for name in expected)


@pytest.mark.parametrize(
    ("blocks", "heads", "task", "norm"), [(1, 1, "masked", True), (2, 2, "conditional", True), (2, 1, "masked", False)]
)
def test_zil_on_levels_is_backpropagation(blocks, heads, task, norm):
    network = transformer(blocks=blocks, heads=heads, task=task, layer_norm=norm, nodes="levels", score_energy="squared-error")
    ids, target = tokens()
    expected = changes(network, Backprop(output="cross-entropy"), ids, target)
    zil = ZIL(output="cross-entropy")
    assert deviation(changes(network, zil, ids, target), expected) < 1e-12
    # And not by chance: neither with another step, nor with softmax energies.
    assert deviation(changes(network, zil.but(step_size=0.9), ids, target), expected) > 0.1
    other = transformer(blocks=blocks, heads=heads, task=task, layer_norm=norm, nodes="levels", score_energy="softmax")
    assert deviation(changes(other, zil, ids, target), changes(other, Backprop(output="cross-entropy"), ids, target)) > 0.1


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize(
    ("nodes", "wave"), [("nonlinear", lambda b: 3), ("residual", lambda b: 2 * b + 3), ("levels", lambda b: 6 * b + 3)]
)
def test_sweeps_until_every_matrix_has_a_gradient(nodes, wave, blocks):
    network = transformer(nodes=nodes, blocks=blocks)
    ids, target = tokens()
    relaxation = SweepRelaxation(network, ids, target)
    reached = []
    for _ in range(wave(blocks)):
        relaxation.differentiate()
        reached.append(set(descents(relaxation)))
        assert all(
            (gradient is None) == (name not in relaxation.sweep.gradients) for name, gradient in relaxation.gradients.items()
        )
        relaxation.descend(1.0)
    assert all(one <= other for one, other in itertools.pairwise(reached))
    assert len(reached[-1]) == len(network.matrices())
    assert len(reached[-2]) < len(network.matrices())


def test_the_wave_through_nonlinear_nodes():
    network = transformer(nodes="nonlinear")
    ids, target = tokens()
    relaxation = SweepRelaxation(network, ids, target)
    names = {id(matrix): name.rsplit(".", 1)[0] for name, matrix in network.matrices().items()}
    seen = []
    for _ in range(3):
        relaxation.differentiate()
        seen.append({names[one] for one in descents(relaxation)})
        relaxation.descend(0.1)
    assert seen[0] == {"layer4.4"}
    later = {f"layer{block}.{place}" for block in (2, 3) for place in ("0.body.queries", "0.body.keys", "2.body.0")}
    assert {name for name in seen[2] if name not in seen[1]} == later


def test_the_step_of_a_softmax_node_carries_the_gradient():
    rng = np.random.default_rng(2)
    mu, g = rng.normal(size=(3, 5)), 0.02 * rng.normal(size=(3, 5))
    q = softmax(mu)
    # dL/ds for a loss whose derivative with respect to a = softmax(s) is g.
    slope = softmax_product(q, g)
    node = ENERGIES["softmax"]
    _, error = node.slopes(np.log(q - slope), mu, 0 * g, None, None)
    np.testing.assert_allclose(-error, slope, atol=1e-16)
    deviations = []
    for eta in (0.1, 0.01, 0.001):
        _, error = node.slopes(mu - eta * g, mu, 0 * g, None, None)
        deviations.append(np.abs(-error / eta - slope).max() / np.abs(slope).max())
    assert deviations[0] < 0.01
    assert deviations[1] < 0.2 * deviations[0]
    assert deviations[2] < 0.2 * deviations[1]


@pytest.mark.parametrize("nodes", ["none", "nonlinear"])
def test_later_tokens_leave_the_logits_before_them_alone(nodes):
    network = transformer(nodes=nodes, positions=12)
    ids, _ = tokens(positions=12)
    other = ids.copy()
    other[:, 8:] = np.where(ids[:, 8:] == 0, 0, 5 + (ids[:, 8:] + 1) % 7)
    assert (other != ids).any()
    one, two = network.predict(ids), network.predict(other)
    np.testing.assert_array_equal(one[:, :8], two[:, :8])
    assert (one[0, 8:] != two[0, 8:]).any()
    both_ways = transformer(nodes=nodes, positions=12, task="masked")
    assert (both_ways.predict(ids)[:, :8] != both_ways.predict(other)[:, :8]).any()


@pytest.mark.parametrize("nodes", PLACEMENTS)
@pytest.mark.parametrize("task", ["masked", "conditional"])
def test_tokens_under_padding_change_nothing(nodes, task):
    network = transformer(nodes=nodes, task=task)
    ids, target = tokens()

    def after(hidden):
        relaxation = SweepRelaxation(network, ids, target)
        # The padding is that of `ids`, whatever lies under it.
        relaxation._x = hidden
        relaxation._forward()
        for _ in range(3):
            relaxation.differentiate()
            relaxation.descend(0.3)
        relaxation.differentiate()
        return relaxation, descents(relaxation)

    under = ids.copy()
    under[ids == 0] = 7
    (one, first), (two, second) = after(ids), after(under)
    np.testing.assert_array_equal(one.outputs, two.outputs)
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    np.testing.assert_array_equal(one.energies(), two.energies())


def test_a_look_up_is_the_product_with_a_one_hot_vector(rng):
    embedding = transformer().layers[0].blocks[0]
    ids, _ = tokens()
    y, _ = embedding.forward(ids)
    table, places = (embedding.matrices[name].weights().T for name in ("weight", "positions"))
    hot = one_hot(ids.reshape(-1), VOCABULARY, np.dtype(float))
    np.testing.assert_array_equal(y, (hot @ table).reshape(y.shape) + places)
    meter = embedding.matrices["weight"].meter
    assert meter.look_ups == meter.forward_reads == ids.size
    g = rng.normal(size=y.shape)
    (_, pre, post), (_, order, summed) = embedding.products(ids, g)
    np.testing.assert_allclose(outer(pre, post, VOCABULARY), hot.T @ g.reshape(ids.size, -1), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(outer(order, summed, ids.shape[1]), g.sum(axis=0), rtol=1e-13)


@pytest.mark.parametrize("rule", [PredictiveCoding(steps=1), IncrementalPC(steps=1)], ids=lambda rule: rule.kind)
def test_memory_does_not_grow_with_the_sweeps(rule):
    """The peak of one batch, all that Python and NumPy allocate, with 5 sweeps and with 40, once the errors have reached all nodes."""
    network = transformer(positions=16, features=32, hidden=32)
    ids, target = tokens(samples=12, positions=16)
    learner = Learner(AdamW(learning_rate=1e-3), network.matrices())

    def peak(steps):
        step, chosen = TrainingStep(network, learner), rule.but(steps=steps, step_size=0.01, output="cross-entropy")
        step.learn(chosen, ids, target, 1e-3)
        gc.collect()
        tracemalloc.start()
        try:
            step.learn(chosen, ids, target, 1e-3)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(5), peak(40)
    assert few > 20 * ids.size * 32 * 8, "the states of a batch are seen"
    assert many < 1.02 * few


@pytest.mark.parametrize("nodes", PLACEMENTS)
def test_only_the_output_pays_at_the_start(nodes):
    ids, target = tokens()
    relaxation = SweepRelaxation(transformer(nodes=nodes), ids, target)
    relaxation.differentiate()
    assert not relaxation.energies()[:-1].any()
    assert relaxation.energies()[-1] > 0


def test_nodes_without_a_step_are_as_if_they_were_not_there():
    ids, target = tokens()
    network = transformer(nodes="levels")
    plain = transformer(nodes="none")
    relaxation = SweepRelaxation(network, ids, target, cut=False)
    relaxation.differentiate()
    other = SweepRelaxation(plain, ids, target)
    other.differentiate()
    np.testing.assert_array_equal(relaxation.outputs, other.outputs)
    for one, two in zip(descents(relaxation).values(), descents(other).values(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_names_of_nodes_survive_toml():
    node = ValueNode(name="block1.scores", energy="softmax", extent="scores")
    assert ValueNode.from_toml(node.to_toml()) == node


@pytest.mark.parametrize("case", ["causal", "both"])
def test_logits_and_gradients_are_those_of_pytorch(case):
    with np.load(Path(__file__).parent / "data" / "transformer_pytorch.npz") as numbers:
        given = {name.removeprefix(f"{case}/"): numbers[name] for name in numbers.files if name.startswith(f"{case}/")}
    network = transformer(nodes="nonlinear", **json.loads(str(given["config"])))
    for name, matrix in network.matrices().items():
        matrix.increment(given[f"w/{name}"] - matrix.weights())
    relaxation = SweepRelaxation(network, given["ids"], given["target"], cut=False)
    relaxation.differentiate()
    counted = given["target"][:, 1] >= 0
    np.testing.assert_allclose(relaxation.outputs[counted], given["logits"], rtol=0, atol=1e-12)
    assert relaxation.energies()[-1] * counted.sum() == pytest.approx(float(given["loss"]), rel=1e-13)
    found = descents(relaxation)
    assert len(found) == len(network.matrices())
    for name, matrix in network.matrices().items():
        np.testing.assert_allclose(-found[id(matrix)], given[f"g/{name}"], rtol=0, atol=1e-12, err_msg=name)


def test_nodes_behind_all_layers_are_the_states_of_a_chain(rng):
    """The same perceptron twice: with states between its layers, and as one layer with nodes inside."""
    tanh, widths = Activation(function="tanh"), (5, 4, 3)
    plain = [Chain(blocks=(Dense(features=width), tanh)) for width in widths[:-1]] + [Chain(blocks=(Dense(features=widths[-1]),))]
    inside = [Chain(blocks=(*layer.blocks, ValueNode(name=str(number)))) for number, layer in enumerate(plain[:-1])]
    chain = Network(Layers(input_shape=(6,), blocks=tuple(plain), dtype="float64"), seed=1)
    nodes = Network(Layers(input_shape=(6,), blocks=(*inside, plain[-1]), dtype="float64"), seed=1)
    assert (chain.swept, nodes.swept, nodes.energies) == (False, True, 3)
    x, target = rng.normal(size=(7, 6)), np.eye(3)[rng.integers(0, 3, 7)]
    for rule in (
        PredictiveCoding(steps=5, step_size=0.2, momentum=0.3, output="squared-error"),
        PredictiveCoding(steps=5, step_size=0.2, step_decay=0.5, output="cross-entropy"),
        IncrementalPC(steps=4, step_size=0.3, output="cross-entropy"),
        Backprop(output="cross-entropy"),
        ZIL(),
    ):
        taught = []
        for network in (chain.copy(), nodes.copy()):
            learner = Learner(AdamW(learning_rate=0.01), network.matrices())
            results = [TrainingStep(network, learner).learn(rule, x, target, 0.01)[0] for _ in range(2)]
            taught.append((results[-1], [matrix.weights() for matrix in network.matrices().values()]))
        np.testing.assert_allclose(taught[0][0].outputs, taught[1][0].outputs, rtol=0, atol=1e-12)
        for one, other in zip(taught[0][1], taught[1][1], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "rule", [Backprop(output="cross-entropy"), IncrementalPC(steps=4, step_size=0.1, output="cross-entropy")]
)
@pytest.mark.parametrize("substrate", ["digital", "crossbars"])
def test_a_tied_decoder_learns_once_from_both_of_its_uses(rule, substrate):
    """One table, one step of the optimiser for the sum of sparse and full products, in copies and files, too."""
    exact = Analog(device="ideal", scheme={"kind": "ideal"})
    network = transformer(tied_decoder=True, nodes="nonlinear")
    network = network if substrate == "digital" else network.on(exact)
    ids, target = tokens()
    assert [name for name, matrix in network.matrices().items() if VOCABULARY in matrix.shape] == [
        "layer1.0.weight",
        "layer4.4.bias",
    ]
    taught, calls = network.copy(), []

    def apply(products, gain):
        products = list(products)
        order = [id(matrix) for matrix, _, _ in products]
        assert len(list(itertools.groupby(order))) == len(set(order))
        calls.append([(pre.ndim, len(post)) for matrix, pre, post in products if matrix is taught.matrices()["layer1.0.weight"]])
        learner.learn(iter(products), 0.01, 1, gain)

    learner = Learner(AdamW(), taught.matrices())
    rule.train_step(taught, ids, target, apply)
    assert [1, 2] in [sorted(ndim for ndim, _ in call) for call in calls]
    before = network.matrices()["layer1.0.weight"].weights()
    assert np.abs(taught.matrices()["layer1.0.weight"].weights() - before).max() > 0.005
    # The copy reads its own table, at both ends.
    again = Network.from_snapshot(taught.specification, taught.snapshot())
    np.testing.assert_array_equal(again.predict(ids), taught.predict(ids))
    assert not np.array_equal(network.predict(ids), taught.predict(ids))
    with pytest.raises(ValueError, match="a tied decoder shares one with the embedding"):
        ZIL(output="cross-entropy").train_step(taught, ids, target, apply)
