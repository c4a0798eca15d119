"""Axes of study files: parsing, derived fields, and refusals."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analogpc.studies.axes import AxesError
from analogpc.studies.plan import read_plan
from analogpc.studies.search import conversations
from analogpc.studies.values import refuse_impossible_values
from analogpc.training.study import Study

BASE = {"rule": "s+f", "epochs": 1, "network": {"kind": "mlp", "widths": [64, 8, 10]}}
HOPFIELD = {
    "kind": "hopfield",
    "input_shape": [64],
    "blocks": [{"kind": "dense", "features": 8}, {"kind": "dense", "features": 10}],
}


def trials(axes, **fields):
    """The trials of a plan without a search."""
    return [trial for talk in conversations(read_plan({**BASE, **fields, "axes": axes})) for trial in next(talk)]


def test_every_value_meets_every_other_and_seeds_run_fastest():
    made = trials({"rule": ["bp", "s+f"], "batch_size": [16, 32, 64], "seed": 2}, seed=5)
    assert [trial.number for trial in made] == list(range(12))
    assert [trial.study.seed for trial in made] == [5, 6] * 6
    assert [trial.study.batch_size for trial in made] == [16, 16, 32, 32, 64, 64] * 2
    assert [trial.study.rule.kind for trial in made] == ["backprop"] * 6 + ["predictive-coding"] * 6
    assert [trial.setting for trial in made] == [n // 2 for n in range(12)]


def test_what_follows_from_a_choice_follows_in_every_trial():
    made = trials({"substrate": ["digital", "reram-sb", "pcm"]})
    by_hand = [Study.from_dict({**BASE, "substrate": name}) for name in ("digital", "reram-sb", "pcm")]
    assert [trial.study for trial in made] == by_hand
    assert made[0].study.optimiser.kind != made[1].study.optimiser.kind
    assert made[1].study.substrate.mapping != made[2].study.substrate.mapping


def test_a_path_opens_a_short_name_and_keeps_its_consequences():
    made = trials({"substrate.device": ["reram-sb", "pcm"], "substrate.adc.bits": [4, 6]})
    for trial in made:
        name, bits = trial.cells["substrate.device"], trial.cells["substrate.adc.bits"]
        alone = Study.from_dict({**BASE, "substrate": {"kind": "analog", "device": name, "adc": {"bits": bits}}})
        assert trial.study == alone


def test_paired_named_and_special():
    axes = {
        "epochs, batch_size": [[1, 16], [2, 32]],
        "substrate": {"none": "digital", "noisy": {"kind": "analog", "device": "reram-sb"}},
        "case": {"slow": {"rule": {"kind": "predictive-coding", "steps": 9}}, "fast": {"rule": "bp", "holdout": 0.5}},
    }
    specials = [
        {"where": {"case": "fast", "substrate": "noisy"}, "set": {"optimiser.learning_rate": 0.7}},
        {"where": {"case": "slow", "epochs": [2]}, "skip": True},
    ]
    made = trials(axes, exceptions=specials)
    assert len(made) == 6
    rows = {(t.cells["epochs"], t.cells["substrate"], t.cells["case"]): t.study for t in made}
    assert (2, "none", "slow") not in rows
    assert rows[1, "none", "slow"].rule.steps == 9
    assert rows[2, "noisy", "fast"].batch_size == 32
    assert rows[2, "noisy", "fast"].optimiser.learning_rate == 0.7
    assert rows[2, "none", "fast"].optimiser.learning_rate != 0.7
    assert rows[2, "none", "fast"].holdout == 0.5


def test_a_study_that_cannot_be_is_a_trial_with_its_sentence():
    made = trials({"substrate": ["digital", "missing.toml"], "rule": ["bp"]})
    assert made[0].study is not None
    assert made[1].study is None
    assert "missing.toml" in made[1].refusal
    assert "\n" not in made[1].refusal


IMPOSSIBLE = [
    ({"rule": ["bp", "nope"]}, {}, "rule = nope is not allowed in any setting"),
    ({"rule": ["bp", ""]}, {}, "rule = '' is not allowed in any setting"),
    ({"substrate": ["digital", "missing.toml"], "batch_size": [1, 2]}, {}, "substrate = missing.toml"),
    ({"dataset": ["digits", "nope"]}, {}, "dataset = nope"),
    ({"technology": ["", "nope"]}, {}, "technology = nope"),
    ({"monitor": ["loss", "nope"]}, {}, "monitor = nope"),
    ({"metrics": ["loss", "r2"]}, {}, "metrics = r2"),
    ({"epochs": [1, 0]}, {}, "epochs = 0"),
    ({"epochs, batch_size": [[1, 16], [2, 0]]}, {}, "epochs, batch_size = 2, 0"),
    ({"case": {"right": {"rule": "bp"}, "wrong": {"rule": "nope"}}}, {}, "case = wrong"),
    ({"optimiser.learning_rate": {"low": -0.1, "high": 0.1}}, {"holdout": 0.1}, "optimiser.learning_rate = -0.1"),
    ({"rule": {"choices": ["bp", "nope"]}}, {"holdout": 0.1}, "rule = nope"),
    ({"network_seed": [1, -1]}, {}, "network_seed = -1"),
]


@pytest.mark.parametrize(("axes", "fields", "sentence"), IMPOSSIBLE)
def test_a_value_that_no_setting_allows_is_refused_before_the_first_trial(axes, fields, sentence):
    with pytest.raises(AxesError, match=re.escape(f"axes: {sentence}")) as refusal:
        refuse_impossible_values(read_plan({**BASE, **fields, "axes": axes}))
    assert "\n" not in str(refusal.value)


def test_a_value_that_some_settings_allow_stays():
    """What a scheme and a device forbid each other is a row of the table."""
    case = {"scheme": {"sign": {"substrate.scheme.kind": "sign-pulses"}, "usual": {}}, "substrate": ["digital", "reram-sb"]}
    plan = read_plan({**BASE, "axes": case, "exceptions": [{"where": {"scheme": "sign", "substrate": "reram-sb"}, "skip": True}]})
    with pytest.raises(AxesError, match="scheme = sign is not allowed in any setting"):
        refuse_impossible_values(plan)
    refuse_impossible_values(read_plan({**BASE, "axes": {"rule": ["bp", "ep-hopfield"], "network": ["64-8-10", HOPFIELD]}}))


def test_keys_name_what_is_computed_and_not_where_it_stands():
    few = {trial.key: trial.study for trial in trials({"rule": ["bp", "s+f"], "seed": 2})}
    many = {trial.key: trial.study for trial in trials({"seed": 3, "rule": ["ep", "s+f", "bp"]})}
    assert set(few) < set(many)
    assert all(many[key] == study for key, study in few.items())
    assert len(many) == 9


REFUSALS = [
    ({"axes": {"epoch": [1, 2]}}, "did you mean 'epochs'"),
    ({"axes": {"epochs": 3}}, "only the seed takes a number of values"),
    ({"axes": {"epochs": []}}, "at least one value"),
    ({"axes": {"seed": 0}}, "at least 1"),
    ({"axes": {"epochs": [1, 1]}}, "twice"),
    ({"axes": {"epochs, batch_size": [[1]]}}, "lists of 2"),
    ({"axes": {"epochs": [1], "epochs, batch_size": [[1, 2]]}}, "varied by two axes"),
    ({"axes": {"case": {"a": {"speed": 3}}}}, "'speed'"),
    ({"axes": {"case": {"a": 3}}}, "'case'"),
    ({"axes": {"optimiser.learning_rate": {"low": 1, "high": 1}}}, "low is below high"),
    ({"axes": {"optimiser.learning_rate": {"low": 0, "high": 1, "log": True}}}, "above 0 if log"),
    ({"axes": {"optimiser.learning_rate": {"low": True, "high": 2}}}, "are numbers"),
    ({"axes": {"optimiser.learning_rate": {"low": 0.1, "high": 1}}}, "must not use test data"),
    ({"axes": {"rule": ["bp"]}, "search": {"trials": 3}}, "needs a searched field"),
    ({"axes": {"rule": ["bp"]}, "search": {"trial": 3}}, "needs a searched field"),
    (
        {"axes": {"optimiser.learning_rate": {"low": 0.1, "high": 1}}, "holdout": 0.1, "search": {"trial": 3}},
        "did you mean 'trials'",
    ),
    ({"axes": {"rule": ["bp"]}, "prune": {"quantile": 0.5}}, "use below"),
    ({"axes": {"rule": ["bp"]}, "exceptions": [{"where": {"rule": "bp"}, "skip": True}]}, "every setting is skipped"),
    ({"axes": {"rule": ["bp"]}, "exceptions": [{"where": {"device": "bp"}, "skip": True}]}, "there is no axis 'device'"),
    ({"axes": {"rule": ["bp"]}, "exceptions": [{"where": {"rule": "bp"}}]}, "either set"),
    ({"axis": {"rule": ["bp"]}}, "did you mean 'axes'"),
    ({"axes": ["rule"]}, "a table of fields"),
]


@pytest.mark.parametrize(("tables", "sentence"), REFUSALS)
def test_what_is_refused(tables, sentence):
    with pytest.raises(ValueError) as refused:
        read_plan({**BASE, **tables})
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


names = st.sampled_from(["rule", "epochs", "axes", "substrate.adc.bits", "seed", "case", "a, b", "epochs, batch_size", "", "."])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["low", "high", "choices", "log", "rule", ""]), inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(names, values, max_size=3))
def test_no_axes_end_in_a_traceback(axes):
    """Whatever stands in a file, a sentence or trials come out, each with a study or a sentence."""
    try:
        plan = read_plan({**BASE, "axes": axes})
    except ValueError:
        return
    if plan.ranges or plan.trials > 50:
        return
    for talk in conversations(plan):
        for trial in next(talk):
            assert (trial.study is None) == bool(trial.refusal)


def test_files_with_a_byte_order_mark_are_read(tmp_path):
    file = tmp_path / "study.toml"
    file.write_bytes(b"\xef\xbb\xbfrule = 'bp'\n[axes]\nseed = 3\n")
    assert read_plan(file).trials == 3
    for content, sentence in ((b"rule = ", "is not TOML"), (b"\xff\xfe", "UTF-16"), (b"\xff", "is not text in UTF-8")):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=sentence):
            read_plan(file)
    with pytest.raises(ValueError, match=r"no\.toml cannot be read: No such file"):
        read_plan(tmp_path / "no.toml")


def test_metrics_of_which_less_is_better():
    for metric, maximise in (("test_accuracy", True), ("test_loss", False), ("joules", False)):
        assert read_plan({**BASE, "sweep": {"metric": metric}}).maximise is maximise
    assert read_plan({**BASE, "holdout": 0.2}).metric == "validation_accuracy"
    assert math.isinf(Study.from_dict({**BASE, "substrate": {"kind": "analog", "adc": {"bits": math.inf}}}).substrate.adc.bits)
