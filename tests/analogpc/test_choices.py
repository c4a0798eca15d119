"""Explicit choices before derived fields: the study depends on the final choices only, not on the route by which they were made."""

import itertools
import pickle

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

import analogpc as apc
from analogpc.devices.fields import lay
from analogpc.devices.presets import PRESETS
from analogpc.devices.specification import SpecificationError
from analogpc.training.fit import begin
from analogpc.training.study import Study
from analogpc.training.study_fields import assemble

# Choices that go together whatever else is chosen, by their paths; values as a TOML file would have them.
FREE = {
    "rule": ["s+f", "pc", "bp", "zil"],
    "rule.kind": ["ipc"],
    "rule.output": ["squared-error", "cross-entropy"],
    "dataset": ["digits", "fashion-mnist", "cifar10"],
    "network.dtype": ["float32", "float64"],
    "substrate": ["pcm", "reram-sb", "reram-wan", "sonos"],
    "substrate.device": ["reram-es", "pcm", "idealized", "reram-wan", "pcm-inference"],
    "substrate.device.g_max_siemens": [1e-4, 2e-4],
    "substrate.rows": [16, 300],
    "substrate.adc_bits": [4, 6],
    "substrate.adc.bound": [8.0, 20.0],
    "substrate.wire_ohms": [1.0, 2.0],
    "substrate.wires.row_ohms": [0.5],
    "substrate.scheme.kind": ["mixed-precision", "tiki-taka"],
    "substrate.mapping.spare_columns": [1, 3],
    "substrate.mapping": [{"compensate": True}],
    "substrate.mapping.headroom": [1.5],
    "optimiser.learning_rate": [0.01, 0.5],
    "optimiser.schedule.kind": ["warmup-cosine"],
    "seed": [1, 2],
    "network_seed": [7],
    "epochs": [2],
}
changes = st.lists(
    st.sampled_from(list(FREE)).flatmap(lambda path: st.tuples(st.just(path), st.sampled_from(FREE[path]))), max_size=7
)
routes = st.sampled_from(["but", "table", "lay", "set", "run file"])

SHORT = {
    "substrate.adc_bits": ["substrate.adc.bits"],
    "substrate.wire_ohms": ["substrate.wires.row_ohms", "substrate.wires.column_ohms"],
}
OPENS = {
    "rule": lambda name: apc.Study(rule=name).rule.said(),
    "substrate": lambda name: {"kind": "analog", "device": name},
    "substrate.device": lambda name: PRESETS[name].said(),
}


def final_choices(sequence):
    """Write a study file with the final choices: the last value of every path, with short names expanded where needed."""
    file = {"rule": "s+f", "substrate": {"kind": "analog"}}
    for path, value in sequence:
        table = isinstance(value, dict)
        for target in SHORT.get(path, [path]):
            *parents, last = [*target.split("."), *([] if not table else value)]
            here, walked = file, []
            for parent in parents:
                walked.append(parent)
                if isinstance(here.get(parent), str):
                    here[parent] = OPENS[".".join(walked)](here[parent])
                here = here.setdefault(parent, {})
            here[last] = value[last] if table else value
    return file


def by_route(study, route, path, value):
    """Return the study with one more change, applied by one of the routes."""
    if route == "but":
        return study.but({path: value})
    if route == "table":
        table = value
        for name in reversed(path.split(".")):
            table = {name: table}
        return study.but(**table)
    if route == "lay":
        return Study.from_dict(lay(Study, study.said(), {path: value}))
    if route == "set":
        text = f"{{{', '.join(f'{k} = {str(v).lower()}' for k, v in value.items())}}}" if isinstance(value, dict) else str(value)
        return assemble(_written(study), {}, [f"{path}={text}"])
    return Study.recalled(study.to_toml(), tomli_w.dumps(study.said())).but({path: value})


_folder = None


def _written(study):
    path = _folder / "study.toml"
    path.write_text(tomli_w.dumps(study.said()))
    return path


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    global _folder
    _folder = tmp_path_factory.mktemp("choices")


def outcome(make):
    """Return a study and its explicit fields, or the fact that it was refused."""
    try:
        study = make()
    except SpecificationError:
        return "refused"
    return study.to_dict(), study.said()


@given(changes, st.lists(routes, min_size=7, max_size=7))
@settings(max_examples=50, deadline=None)
def test_any_sequence_of_changes_by_any_route_is_the_file_that_says_the_final_choices(sequence, ways):
    def changed():
        study = Study(rule="s+f", substrate={"kind": "analog"})
        for route, (path, value) in zip(ways, sequence, strict=False):
            study = by_route(study, route, path, value)
        return study

    found, expected = outcome(changed), outcome(lambda: Study.from_dict(final_choices(sequence)))
    if found == "refused":
        # A sequence may pass through a study that is refused, and end in one that is not.
        parts = range(len(sequence) + 1)
        assert "refused" in [outcome(lambda n=n: Study.from_dict(final_choices(sequence[:n]))) for n in parts]
    else:
        assert found == expected


@given(changes, st.randoms())
@settings(max_examples=30, deadline=None)
def test_changes_of_one_call_have_no_order(sequence, random):
    once = dict(sequence)
    if "substrate.wire_ohms" in once:
        once.pop("substrate.wires.row_ohms", None)  # Two values of one field in one call are refused.
    shuffled = list(once.items())
    random.shuffle(shuffled)
    base = {"rule": "s+f", "substrate": {"kind": "analog"}}
    expected = final_choices(sorted(shuffled, key=lambda change: change[0].count(".")))
    assert outcome(lambda: Study.from_dict(lay(Study, base, dict(shuffled)))) == outcome(lambda: Study.from_dict(expected))


def _rewritten(device):
    return Study(rule="bp", substrate={"kind": "analog", "device": device, "rows": 16, "adc_bits": 4})


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(["reram-wan", "reram-sb", "pcm", "ideal", "sonos"], 2)))
def test_changing_a_device_keeps_nothing_of_the_other(first, second, tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(f'rule = "bp"\n[substrate]\nkind = "analog"\ndevice = "{first}"\nrows = 16\nadc_bits = 4\n')
    expected = _rewritten(second)
    for study in (
        _rewritten(first).but({"substrate.device": second}),
        assemble(file, {"device": second}),
        assemble(file, {}, [f"substrate.device={second}"]),
        Study.recalled(_rewritten(first).to_toml(), tomli_w.dumps(_rewritten(first).said())).but(substrate={"device": second}),
    ):
        assert study == expected
        assert study.said() == expected.said()


@pytest.mark.parametrize("device", sorted(PRESETS))
def test_a_mapping_table_that_names_one_field_changes_one_field(device):
    plain = apc.Analog(device=device)
    for table in ({"spare_columns": 2}, {"kind": plain.mapping.kind, "spare_columns": 2}, type(plain.mapping)(spare_columns=2)):
        spared = apc.Analog(device=device, mapping=table)
        assert spared.mapping.to_dict() == {**plain.mapping.to_dict(), "spare_columns": 2}
        assert spared.but(mapping={"spare_columns": 0}) == plain


def test_a_seed_moves_the_network_seed_unless_that_was_said():
    assert Study(rule="pc").but(seed=3).network_seed == 3
    assert Study(rule="pc", network_seed=0).but(seed=3).network_seed == 0
    assert assemble(None, {}, ["seed=3"]) == assemble(None, {"seed": 3})


def test_what_follows_follows_from_the_final_choices():
    study = Study(rule="pc").but({"network.activation": "tanh", "dataset": "cifar10"})
    assert (study.network.kind, study.network.activation) == ("vgg", "tanh")
    assert study.but(dataset="cifar100").network.classes == 100
    assert Study(rule="pc").but(rule="ep-hopfield").network.kind == "hopfield"
    assert Study(rule="pc").but(substrate="reram-sb").optimiser.kind == "sgd"
    assert Study(rule="pc").but({"substrate.scheme.kind": "mixed-precision"}).optimiser.kind == "adamw"
    assert apc.VGG(depth=11).but(depth=5).family == "pc"
    assert apc.MLP(widths=(4, 3), parametrisation="ntk").but(parametrisation="standard").init == "kaiming-uniform"


def test_another_kind_keeps_the_fields_that_it_has_and_is_refused_if_it_lacks_one():
    said = Study(rule="pc", optimiser={"kind": "sgd", "learning_rate": 0.2})
    assert said.but({"optimiser.kind": "adamw"}).optimiser == apc.AdamW(learning_rate=0.2)
    assert said.but(optimiser={"kind": "adamw"}).optimiser == apc.AdamW()
    with pytest.raises(
        SpecificationError, match=r"optimiser.kind = 'adamw' .* no field momentum; to begin anew, set optimiser ="
    ):
        said.but({"optimiser.momentum": 0.9}).but({"optimiser.kind": "adamw"})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"optimiser": "sgd"}, apc.SGD()),
        ({"optimiser": "sgd", "optimiser.momentum": 0.5}, apc.SGD(momentum=0.5)),
        ({"optimiser": {"kind": "sgd", "schedule": "warmup-cosine"}}, apc.SGD(schedule={"kind": "warmup-cosine"})),
    ],
)
def test_a_kind_stands_for_what_is_of_that_kind(change, found):
    assert Study(rule="pc").but(change).optimiser == found
    analog = apc.Analog(device="idealized", mapping="offset-column", scheme="tiki-taka")
    assert analog == apc.Analog(device="idealized", mapping={"kind": "offset-column"}, scheme={"kind": "tiki-taka"})
    with pytest.raises(SpecificationError, match="optimiser = 'adam' is not allowed: a table of fields with a kind"):
        Study(rule="pc", optimiser="adam")
    with pytest.raises(SpecificationError, match="there is no kind 'adam'; the kinds are 'sgd', 'adamw'"):
        Study(rule="pc", optimiser={"kind": "adam"})


REFUSED = [
    ({"adc_bits": 4, "adc": {"bits": 6}}, "adc.bits is given two values, 4 and 6"),
    ({"adc.bits": 4, "adc_bits": 6}, "adc.bits is given two values"),
    ({"rows": True}, "rows = True is not allowed: input should be a valid integer"),
    ({"read_noise": True}, "read_noise = True is not allowed: input should be a valid number"),
    ({"adc_bits": True}, "adc.bits = True is not allowed"),
    ({"rows.cells": 1}, "rows = {'cells': 1} is not allowed"),
    ({"device.drift.kind": "x"}, "device.drift = {'kind': 'x'} is not allowed"),
    ({"device": {"name": "own"}}, "Analog needs the field 'device.response'"),
    ({"device": "reram", "device.name": "own"}, "device = 'reram' is not allowed: there is no device preset 'reram'"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED)
def test_what_cannot_be_laid_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(SpecificationError) as refusal:
        apc.Analog(device="pcm").but(change)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_entries_of_a_list_are_entered_by_their_number():
    study = Study(rule="pc", network={"kind": "layers", "input_shape": [4], "blocks": [{"kind": "dense", "features": 3}]})
    assert study.but({"network.blocks.0.features": 5}).network.blocks[0].features == 5
    assert Study(rule="pc").but({"network.widths": [64, 32, 10]}).but({"network.widths.1": 8}).network.widths == (64, 8, 10)
    with pytest.raises(SpecificationError, match=r"network\.widths has entries 0 to 1, not '2'"):
        Study(rule="pc", network={"widths": [64, 10]}).but({"network.widths.2": 8})


def test_what_was_said_survives_pickling_and_files(tmp_path):
    study = Study(
        rule="s+f", substrate={"device": "pcm", "mapping": {"spare_columns": 1}}, network={"widths": [64, 10]}, epochs=1
    )
    assert pickle.loads(pickle.dumps(study)).said() == study.said()
    data = apc.load_data("digits").take(32, 8)
    run = begin(study, data)
    run.save(tmp_path / "run.h5")
    read = apc.Run.load(tmp_path / "run.h5").study
    assert read == study
    assert read.said() == study.said()
    assert read.but({"substrate.device": "reram-wan"}).substrate.mapping.headroom == 1.0


def test_what_was_said_counts_for_nothing_if_something_else_follows_from_it_today():
    whole = Study(rule="pc", optimiser={"kind": "sgd"}, seed=4)
    recalled = Study.recalled(whole.to_toml(), 'rule = "pc"\nseed = 4\n')
    assert recalled == whole
    assert recalled.but(seed=5).network_seed == 4


def test_what_follows_is_shown_beside_what_was_said():
    text = Study(rule="s+f", substrate={"device": "pcm", "rows": 64}).explained()
    said, follows = text.split("# This leads to")
    assert Study.from_toml(said).substrate.mapping.kind == "one-sided-pair"
    assert 'device = "pcm"' in said
    assert "rows = 64" in said
    assert "mapping" not in said
    assert '# kind = "one-sided-pair"' in follows
    assert '# kind = "stochastic-pulses"' in follows
    assert Study.from_toml(text) == Study.from_toml(said)


@pytest.mark.parametrize("value", [10**20, -(10**20), 2**64])
@pytest.mark.parametrize("path", ["epochs", "substrate.columns", "substrate.mapping.spare_columns", "optimiser.learning_rate"])
def test_whole_numbers_of_more_than_64_bits_are_refused_by_the_name_of_their_field(path, value):
    with pytest.raises(SpecificationError, match=rf"{path} = {value} is not allowed: input should be a valid (integer|number)"):
        Study(rule="pc", substrate="pcm", optimiser="sgd").but({path: value})
    with pytest.raises(SpecificationError, match="widths"):
        apc.mlp([64, value, 10])


def test_a_lone_name_of_a_metric_is_a_list_of_one():
    """As for `fit`; so that options, files and axes can say it, too."""
    study = assemble(None, {}, ["metrics=balanced-accuracy"])
    assert study.metrics == ("balanced-accuracy",)
    assert study == assemble(None, {}, ['metrics=["balanced-accuracy"]'])
    assert Study.from_toml(study.to_toml()) == study
