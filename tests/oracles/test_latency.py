"""Latency as a critical path that the loops declare: counts of reads after each other that follow from the rules themselves."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analogpc as apc
from analogpc.devices.costs.paths import BOTH_WAYS, WHILE_WRITTEN, Path
from analogpc.devices.costs.schedule import Recorder, afterwards, at_once, note, recording, work
from analogpc.devices.substrate import Digital
from analogpc.rules import IncrementalPC, PredictiveCoding, named_rule
from analogpc.rules.base import Rule, StepResult

ONE = {"substrate": Digital(), "bias": False, "dtype": "float64"}


def a_read(term):
    """Every read of a vector takes one unit of time, and nothing else takes any."""
    kind, place = term
    return float(kind in ("forward", "backward") and place.endswith("weight"))


def recorded(rule, depth, samples=1):
    """Return the path of one batch in a network with the given number of layers, and the meters."""
    network = apc.mlp([3] * (depth + 1), activation="tanh", substrate=Digital(), dtype="float64")
    recorder = Recorder({id(matrix): name for name, matrix in network.matrices().items()})
    x, target = np.full((samples, 3), 0.3), np.eye(3)[np.arange(samples) % 3]
    with recording(recorder):
        rule.train_step(network, x, target, lambda products, gain: [None for _ in products] and None)
    return recorder.whole(), {name: matrix.meter for name, matrix in network.matrices().items()}


def reads(rule, depth, able=frozenset()):
    return recorded(rule, depth)[0].seconds(a_read, able)


@pytest.mark.parametrize("depth", range(2, 21))
def test_backprop_is_sequential_and_a_step_of_predictive_coding_is_two_reads(depth):
    assert reads(named_rule("bp"), depth) == 2 * depth - 1
    assert reads(named_rule("zil"), depth) == 2 * depth - 1

    def pc(steps, able=frozenset()):
        return reads(PredictiveCoding(steps=steps, step_size=0.1), depth, able)

    # Once the error has reached the first layer every layer is read in both directions at every step.
    assert pc(depth + 1) - pc(depth) == 2
    assert pc(depth + 1, frozenset({BOTH_WAYS})) - pc(depth, frozenset({BOTH_WAYS})) == 1
    # From the first: a forward pass, one read backwards in the first step, and a read forwards before learning.
    assert pc(depth) == depth + 1 + 2 * (depth - 1) + 1


@pytest.mark.parametrize("depth", [2, 3, 6, 11])
def test_incremental_steps_are_two_reads_and_even_and_odd_half_steps_four(depth):
    def ipc(steps):
        return reads(IncrementalPC(steps=steps), depth)

    assert ipc(depth + 1) - ipc(depth) == 2

    def ep(iterations):
        return reads(named_rule("ep").but(iterations=iterations, nudging="positive"), depth)

    assert ep(depth + 2) - ep(depth + 1) == {2: 2, 3: 3}.get(depth, 4)


@pytest.mark.parametrize("slots", [1, 7])
def test_incremental_updates_overlap_with_the_next_read_where_arrays_allow_it(slots):
    """Every step but the last is learnt while the next one reads: two reads a step, or the slots of the longest layer."""
    depth, steps = 3, 8
    network = apc.mlp([3] * (depth + 1), activation="tanh", substrate=Digital(), dtype="float64")
    recorder = Recorder({id(matrix): name for name, matrix in network.matrices().items()})

    def cost(term):
        return 0.5 if term[0] in ("slots", "slots while read") else a_read(term)

    with recording(recorder):
        IncrementalPC(steps=steps, stoppable=False).train_step(
            network, np.full((1, 3), 0.3), np.eye(3)[:1], lambda products, gain: note("slots", None, slots)
        )
    path, alone = recorder.whole(), reads(IncrementalPC(steps=steps), depth)
    assert path.seconds(cost) == alone + steps * 0.5 * slots
    begun = alone - reads(IncrementalPC(steps=1), depth)
    able = frozenset({WHILE_WRITTEN})
    assert path.seconds(cost, able) == alone - begun + max(begun, (steps - 1) * 0.5 * slots) + 0.5 * slots
    again = Path.from_list(path.to_list())
    assert again == path
    twice = Recorder({})
    twice.add(again, {})
    twice.add(again, {})
    assert twice.whole().seconds(cost, able) == 2 * path.seconds(cost, able)


@pytest.mark.parametrize("rule", ["bp", "pc", "s+f", "d+f", "ipc", "zil", "fixed", "epc", "ep"])
def test_what_is_on_the_path_is_what_the_meters_count(rule):
    path, meters = recorded(named_rule(rule), 4, samples=5)
    busy = path.busy()
    for name, meter in meters.items():
        assert busy["forward", name] == meter.forward_reads
        assert busy["backward", name] == meter.backward_reads
    longest = max(busy["forward", name] + busy["backward", name] for name in meters if name.endswith("weight"))
    everything = sum(amount * a_read(term) for term, amount in busy.items())
    assert longest <= path.seconds(a_read) <= everything
    # Samples are read one after the other.
    assert path.seconds(a_read) == 5 * recorded(named_rule(rule), 4)[0].seconds(a_read)


class Unknown(Rule):
    """A rule unknown to the package: it reads every layer twice in sequence, then all transposes simultaneously."""

    kind: str = "unknown-to-the-schedule"

    def train_step(self, network, x, target, apply):
        tapes = []
        for layer in network.layers:
            layer.forward(x)
            x, tape = layer.forward(x)
            tapes.append(tape)
        for layer, tape in at_once(zip(network.layers, tapes, strict=True)):
            layer.vjp(tape, np.ones_like(x))
        return StepResult(x, np.zeros(len(tapes)))


def test_a_new_rule_has_its_latency_without_being_known():
    assert reads(Unknown(), 7) == 2 * 7 + 1


def test_one_matrix_does_one_read_at_a_time():
    matrix = object()
    recorder = Recorder({id(matrix): "m"})
    with recording(recorder):
        for amount in at_once((2, 3, 4)):
            note("forward", matrix, amount)
    assert recorder.path.seconds(lambda term: 1.0) == 9


def test_only_the_longest_trains_count_where_layers_learn_at_once():
    recorder = Recorder({})
    with recording(recorder):
        for slots in ((3, 5), (7, 2)):
            for amount in at_once(slots):
                note("slots", None, amount)
    # Nothing else need be kept, whatever a slot may take.
    path = recorder.whole()
    assert dict(path.terms) == {("slots", ""): 5 + 7}
    assert not path.parts


def test_a_loop_declared_again_counts_again():
    """What a loop declared in an earlier batch is known, and is neither forgotten nor changed by what comes after."""
    one, other = object(), object()

    def batches(count):
        recorder = Recorder({id(one): "a", id(other): "b"})
        with recording(recorder):
            for _ in range(count):
                note("forward", one, 5)
                for amount in at_once((2, 3)):
                    for matrix in at_once((one, other)):
                        note("forward", matrix, amount)
        return recorder.whole()

    expected = Path()
    for _ in range(3):
        expected.add(batches(1))
    assert batches(3) == expected
    # Five vectors alone; then each matrix reads two and three, one after the other.
    assert batches(1).seconds(lambda term: 1.0) == 5 + 5


TERMS = st.tuples(st.sampled_from(["forward", "backward", "slots", "step"]), st.sampled_from(["a", "b", "c"]), st.integers(1, 9))


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(TERMS, lambda inner: st.tuples(st.booleans(), st.lists(inner, min_size=1, max_size=3)), max_leaves=12), st.data()
)
def test_paths_survive_files_and_lie_between_their_bounds(tree, data):
    matrices = {name: object() for name in "abc"}
    recorder = Recorder({id(matrix): name for name, matrix in matrices.items()})

    def go(node):
        if len(node) == 3:
            kind, place, amount = node
            note(kind, matrices[place] if kind in ("forward", "backward") else None, amount)
            return
        together, nodes = node
        for one in at_once(nodes) if together else nodes:
            go(one)

    with recording(recorder):
        go(tree)
    path = recorder.whole()
    again = Path.from_list(path.to_list())
    assert again == path
    prices = {term: data.draw(st.floats(0, 10), label=str(term)) for term in sorted(path.busy())}
    cost = prices.__getitem__
    busy = path.busy()
    seconds = path.seconds(cost)
    assert math.isclose(seconds, again.seconds(cost), rel_tol=1e-12)
    assert seconds <= sum(amount * cost(term) for term, amount in busy.items()) * (1 + 1e-12)
    for place in "abc":
        assert seconds >= sum(amount * cost(term) for term, amount in busy.items() if term[1] == place) * (1 - 1e-12)


def test_what_follows_a_loop_may_be_computed_within():
    """An iteration computes what the loop declares to follow it; a part of a batch is declared later as if it were done then."""
    one, other = object(), object()
    names = {id(one): "a", id(other): "b"}

    def iteration():
        for amount in at_once((2, 3)):
            note("forward", one, amount)
        work("error", 5)
        with afterwards():
            for matrix in at_once((one, other)):
                note("backward", matrix, 7)
            work("step", 4)

    written, computed, declared, part = Recorder(names), Recorder(names), Recorder(names), Recorder(names, part=True)
    with recording(written):
        for turn in at_once((1, 2), WHILE_WRITTEN):
            note("macs", other, turn)
            for amount in at_once((2, 3)):
                note("forward", one, amount)
            work("error", 5)
        for _ in range(2):
            for matrix in at_once((one, other)):
                note("backward", matrix, 7)
            work("step", 4)
    with recording(computed):
        for turn in at_once((1, 2), WHILE_WRITTEN):
            note("macs", other, turn)
            iteration()
    with recording(part):
        iteration()
    with recording(declared):
        for turn in at_once((1, 2), WHILE_WRITTEN):
            note("macs", other, turn)
            declared.declare(part)
    assert written.mark() == computed.mark() == declared.mark()
    assert written.path.seconds(lambda term: 1.0, frozenset({WHILE_WRITTEN})) < written.path.seconds(lambda term: 1.0)
