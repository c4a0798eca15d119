"""Assessments: only the named imperfection is removed, choices use validation data, and numbers agree with the sweeps."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import analogpc as apc
from analogpc.assessment import assess
from analogpc.assessment.doubts import doubts
from analogpc.assessment.findings import Interval, Learning, Limit, allowed_verdicts, best_learning
from analogpc.assessment.imperfections import imperfections, without_all
from analogpc.assessment.protocol import Protocol, learning_plan, limits_plan, schemes
from analogpc.commands.app import main
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.device_numbers import device_numbers, mean_steps
from analogpc.devices.presets import PRESETS, preset
from analogpc.devices.responses import ConstantStep, PulseResponse, SoftBounds
from analogpc.devices.substrate import Analog
from analogpc.kernels.random.streams import Key
from analogpc.report.assessment_answers import answers
from analogpc.studies import trials
from analogpc.studies.search import conversations

FITTED = Path(__file__).parents[2] / "experiments" / "fitted"

NUMBERS = {
    "noise of pulses": "step_ctoc",
    "spread between devices": "step_dtod",
    "write noise": "write_noise",
    "read noise": "read_noise",
}
"""The number of a device that an imperfection is."""


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_taken_away_is_gone_and_the_rest_stays(name):
    device = preset(name)
    before = device_numbers(device)
    for what, made in imperfections(Analog(device=device)).items():
        after = device_numbers(made.device)
        if what in NUMBERS:
            assert not getattr(after, NUMBERS[what]), what
            assert after.states == pytest.approx(before.states) or what == "write noise"
        for other, number in NUMBERS.items():
            # Steps of another size or place have the same noise in units of the step, and of the range.
            if other != what and getattr(before, number) is not None:
                assert getattr(after, number) == pytest.approx(getattr(before, number), rel=1e-6), (what, other)


def test_even_steps_are_those_at_zero_weight_in_both_directions():
    device = Device(
        name="soft", response=SoftBounds(dw_min=0.01, up_down=0.2, w_max=0.8, w_min=-0.5), g_min_siemens=1e-6, g_max_siemens=2e-6
    )
    even = imperfections(Analog(device=device))["steps that depend on state and direction"].device.response
    up, down = mean_steps(even, np.linspace(-0.45, 0.75, 7))
    # At w = 0 soft bounds move by dw (1 ± up_down); their mean is dw.
    np.testing.assert_allclose(up, 0.01, rtol=1e-9)
    np.testing.assert_allclose(down, 0.01, rtol=1e-9)
    assert (even.w_max, even.w_min) == pytest.approx((0.8, -0.5))


def test_without_spread_all_devices_are_alike():
    for device in PRESETS.values():
        made = imperfections(Analog(device=device)).get("spread between devices")
        if made is not None and isinstance(made.device.response, PulseResponse):
            drawn = made.device.response.sample(Key(3), (4, 5), np.dtype(np.float64))
            assert all(np.ptp(values) == 0 for values in drawn.values()), device.name


def test_ideal_converters_leave_the_read_noise_of_small_vectors_as_it_was():
    """A vector a thousandth as large is scaled to the same range, and its read has a thousandth of the noise."""
    substrate = imperfections(Analog(device="reram-sb"))["resolution of converters"]
    matrix = make_matrix(substrate, np.zeros((20, 30), np.float32), Key(0))
    x = np.random.default_rng(0).normal(size=(200, 30)).astype(np.float32)
    large, small = matrix.forward(x), matrix.forward(x / 1000)
    assert 900 < large.std() / small.std() < 1100


def test_nothing_is_left_in_the_end_and_perfect_crossbars_have_nothing():
    for device in PRESETS.values():
        left = imperfections(without_all(Analog(device=device)))
        assert set(left) <= {"few states"}, device.name
    fine = Device(name="fine", response=ConstantStep(dw_min=1e-4), g_min_siemens=1e-6, g_max_siemens=2e-6)
    assert not imperfections(
        Analog(device=fine, dac_bits=None, adc_bits=None, read_noise=0.0).but({"dac.bound": math.inf, "adc.bound": math.inf})
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_setting_of_the_protocol_is_allowed_or_refused_for_physical_reasons(name):
    device = preset(name)
    for plan in (learning_plan(device, Protocol()), limits_plan(device, Protocol(), "pc", next(iter(schemes(device))))):
        laid = [trial for talk in conversations(plan) for trial in next(talk)]
        refused = {trial.cells["on"] for trial in laid if trial.study is None}
        assert refused == ({"Tiki-Taka v2"} if name == "pcm" and plan.name == "learning" else set())


def test_the_interval_is_that_of_student():
    values = [0.9, 0.94, 0.95]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert Interval.of(values) == Interval(pytest.approx(np.mean(values)), pytest.approx(low), pytest.approx(high))
    assert math.isnan(Interval.of([math.nan]).mean)


def test_a_verdict_comes_with_those_that_its_interval_allows():
    assert allowed_verdicts(Interval(0.96, 0.90, 1.02), 0.9) == ("learns in part", "learns")
    assert allowed_verdicts(Interval(0.88, 0.70, 1.06), 0.9) == ("does not learn", "learns")
    assert allowed_verdicts(Interval(0.90, 0.85, 0.94), 0.9) == ()
    assert allowed_verdicts(Interval(0.96, math.nan, math.nan), 0.9) == ()


def test_the_best_is_chosen_by_validation_data():
    def learning(rule, validation, test):
        return Learning(rule, "pulses in place", 0.1, (test,), validation, Interval(test, test, test), 1.0, 1.0, "learns")

    rows = [learning("bp", 0.8, 0.99), learning("pc", 0.9, 0.7), learning("ep", math.nan, math.nan)]
    assert best_learning(rows, "pulses in place").rule == "pc"
    assert best_learning(rows, "mixed precision") is None


@pytest.fixture(scope="module")
def assessed(tmp_path_factory):
    """A device that is programmed and ages, in the short mode."""
    return apc.assess("pcm-inference", quick=True, workers=0, out=tmp_path_factory.mktemp("assessed") / "out", progress=False)


def test_numbers_are_those_of_the_sweep(assessed):
    rows = assessed.found["learning"].rows
    for one in assessed.learning:
        mine = [row for row in rows if row["rule"] == one.rule and row["on"] == one.scheme]
        twins = [row for row in rows if row["rule"] == one.rule and row["on"] == "digital"]
        assert one.accuracies == tuple(row["test_accuracy"] for row in mine)
        assert one.relative.mean == pytest.approx(
            np.mean([a["test_accuracy"] / b["test_accuracy"] for a, b in zip(mine, twins, strict=True)])
        )
        assert one.joules == pytest.approx(np.mean([row["joules"] for row in mine]))
    base, last = assessed.limits[0], assessed.limits[-1]
    assert (base.without, last.without) == ("as it is", "none of these")
    assert last.gained.mean == pytest.approx(np.mean(last.accuracies) - np.mean(base.accuracies))
    # At once after programming nothing has drifted yet.
    at_once = {one.compensated: one.accuracies for one in assessed.kept if one.seconds == 0}
    assert at_once[False] == at_once[True]
    assert {one.seconds for one in assessed.kept} == {0.0, 3600.0, 86400.0, 2629800.0, 31557600.0}


def test_the_same_call_computes_nothing_again(assessed, monkeypatch):
    monkeypatch.setattr(trials, "_computed", lambda *_: pytest.fail("a trial is computed again"))
    again = apc.assess("pcm-inference", quick=True, workers=0, out=assessed.folder, progress=False)
    assert again.to_dict() == assessed.to_dict()


def test_the_page_and_the_file_say_it(assessed):
    page = assessed.page.read_text(encoding="utf-8")
    for text in ("program and verify", "What limits it", "Inference over time", "selected from 0.1 by the validation"):
        assert text in page
    assert "says nothing" not in page.split("<h2")[0]
    reported = json.loads((assessed.folder / "assessment.json").read_text(encoding="utf-8"))
    assert reported["learning"][0]["accuracies"] == list(assessed.learning[0].accuracies)


VERDICTS = {
    ("learns", "learns"): "Every rule that could be judged learns on 'pcm-inference'",
    ("learns in part", "does not learn"): "No rule learns on 'pcm-inference', with any scheme; some learn in part",
    ("does not learn", "does not learn"): "No rule learns on 'pcm-inference', with any scheme.",
    ("undetermined", "undetermined"): "where its digital twin does not learn either",
    ("is refused", "is refused"): "Nothing could be trained on 'pcm-inference': not possible",
}


@pytest.mark.parametrize("verdicts", VERDICTS, ids=" and ".join)
def test_the_answer_says_if_everything_learns_or_nothing(assessed, verdicts):
    learning = [
        Learning(
            "bp",
            f"scheme {number}",
            0.1,
            (),
            math.nan,
            Interval(*[math.nan] * 3),
            math.nan,
            math.nan,
            verdict,
            (),
            "not possible",
        )
        if verdict == "is refused"
        else Learning("bp", f"scheme {number}", 0.1, (0.4,), 0.5, Interval(0.9, 0.8, 1.0), 1e-6, 1e-3, verdict)
        for number, verdict in enumerate(verdicts)
    ]
    said = answers(dataclasses.replace(assessed, quick=False, learning=learning))
    assert sum(VERDICTS[verdicts] in sentence for sentence in said) == 1
    assert not any(words in sentence for sentence in said for other, words in VERDICTS.items() if VERDICTS[verdicts] not in words)
    assert any("no place on the tolerance curves" in sentence for sentence in said) == (verdicts[0] != "is refused")


@pytest.mark.parametrize(
    ("gained", "words"),
    [
        (
            Interval(0.08, 0.02, 0.14),
            "Main limit of bp, in place (90.0 %): write noise. Without it the accuracy changes by +8.0 points",
        ),
        (Interval(0.08, -0.02, 0.18), "with these seeds this may be chance"),
        (Interval(0.002, -0.01, 0.014), "No single imperfection measurably limits bp, in place (90.0 %)"),
        (Interval(-0.01, -0.02, 0.0), "regains nothing by the removal of any single imperfection"),
    ],
)
def test_a_limit_is_named_as_surely_as_its_interval_allows(assessed, gained, words):
    nothing = Interval(0.0, 0.0, 0.0)
    limited = Learning("bp", "in place", 0.1, (0.9,), 0.9, Interval(0.9, 0.8, 1.0), 1e-6, 1e-3, "learns in part")
    limits = [Limit("as it is", 0.1, (0.9,), nothing), Limit("write noise", 0.1, (0.98,), gained)]
    said = " ".join(answers(dataclasses.replace(assessed, quick=False, limited=limited, learning=[limited], limits=limits)))
    assert words in said
    assert ("Main limit" in said) == (gained.mean >= 0.01)
    assert ("chance" in said) == (gained.low < 0 and gained.mean >= 0.01)


def test_doubts_about_the_description_of_a_device_are_named():
    fitted = Device.from_toml((FITTED / "ibm-reram-gong2018.toml").read_text(encoding="utf-8"))
    assert "assumptions about what was not measured" in doubts(fitted)[0]
    assert doubts(preset("reram-sb")) == []
    for low, high in ((1.0, 80.0), (1e-15, 1e-13)):
        (sentence,) = doubts(preset("reram-sb").but(g_min_siemens=low, g_max_siemens=high))
        assert "hardly possible" in sentence


def test_bad_input_is_one_sentence(assessed, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for name, text in (
        ("empty.toml", ""),
        ("table.toml", "1,2"),
        ("misspelt.toml", preset("reram-sb").to_toml().replace("g_max_siemens", "g_max_siemen")),
        ("study.toml", "epochs = 2"),
        ("series.csv", "1,2"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    for arguments, words in (
        (["reram"], "no device preset 'reram'"),
        (["missing.toml"], "missing.toml"),
        ([str(tmp_path)], "is a folder"),
        ([str(tmp_path / "series.csv")], "series.csv is no device file (.toml): analogpc calibrate makes one"),
        ([str(tmp_path / "empty.toml")], "empty.toml describes no device: Device needs the field 'name'"),
        ([str(tmp_path / "table.toml")], "table.toml describes no device: Device: this is not TOML"),
        ([str(tmp_path / "misspelt.toml")], "Device has no field 'g_max_siemen'; did you mean 'g_max_siemens'?"),
        ([str(tmp_path / "study.toml")], "Device has no field 'epochs'"),
        (["reram-sb", "--technology", "nobody"], "nobody"),
        (["reram-sb", "--out", str(tmp_path / "other")], "is not the folder of an assessment"),
        (["reram-sb", "--quick", "--out", str(assessed.folder)], "assessment of another device"),
        (["pcm-inference", "--out", str(assessed.folder)], "another device, mode or seed"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["assess", *arguments])
        reported = capsys.readouterr().err
        assert end.value.code == 1
        assert words in reported
        assert reported.count("\n") == 1


def test_a_folder_name_comes_from_any_device_name():
    assert assess._as_file("my device/2") == "my-device-2"
    assert assess._as_file("") == "device"
    assert len(assess._as_file("a" * 400)) < 100
