"""Tolerance curves: the amount of a nonideality is that of the study's own devices, and knees are interpolated as they say."""

import math
from pathlib import Path

import numpy as np
import pytest

import analogpc as apc
from analogpc.assessment.tolerances import NONIDEALITIES, Curve, amounts, place_on_curves, tolerance_curves
from analogpc.studies.plan import read_plan
from analogpc.studies.search import study_of
from analogpc.training.fit import begin

STUDY = Path(__file__).parents[2] / "experiments" / "tolerance.toml"


def substrates():
    """The crossbars of the study, by point."""
    plan, found = read_plan(STUDY), {}
    for setting in plan.settings:
        if setting.cells["point"] not in found:
            found[setting.cells["point"]] = study_of(plan, setting.changes).substrate
    return found


def test_amounts_are_those_that_the_study_sets():
    made = substrates()
    ideal = amounts(made["nothing"])
    assert all(
        value == pytest.approx(0, abs=1e-9)
        for name, value in ideal.items()
        if name not in ("states", "bits of the ADC", "bits of the DAC", "on/off ratio")
    )
    assert ideal["on/off ratio"] == pytest.approx(40)
    assert ideal["bits of the ADC"] == ideal["bits of the DAC"] == math.inf
    assert len(made) > 20
    for point, substrate in made.items():
        if point == "nothing":
            continue
        name, amount = point.rsplit(": ", 1)
        if NONIDEALITIES[name].amount is None:
            continue
        # The step towards a bound is read one step before it.
        there = amounts(substrate)
        assert there[name] == pytest.approx(float(amount), rel=5e-3), point
        for other in there.keys() - {name}:
            assert there[other] == pytest.approx(ideal[other], rel=1e-9, abs=1e-9), (point, other)


_SMALL = {"network.widths": [64, 5, 10], "train_images": 32, "test_images": 8, "epochs": 1}


def test_every_nonideality_acts_on_training_except_the_on_off_ratio_by_itself():
    plan, last = read_plan(STUDY, _SMALL), {}
    for setting in plan.settings:
        if setting.cells["rule"] == "pc":
            # The last amount of each nonideality is the largest one.
            last[setting.cells["point"].rsplit(": ", 1)[0]] = setting
    assert set(last) == {"nothing", *NONIDEALITIES}
    data, weights = apc.load_data("digits").take(32, 8), {}
    for name, setting in last.items():
        run = begin(study_of(plan, setting.changes), data).train(data, progress=False)
        weights[name] = np.concatenate([one.weights().ravel() for layer in run.network.layers for one in layer.matrices.values()])
    same = {name for name, found in weights.items() if np.array_equal(found, weights["nothing"])}
    assert same == {"nothing", "on/off ratio"}


def test_drift_is_applied_after_every_batch_of_training():
    leaking = substrates()["leak in an update cycle: 0.03"]
    network = apc.mlp([64, 5, 10], substrate=leaking, seed=0)
    run = apc.fit(
        network,
        "bp",
        apc.load_data("digits").take(96, 8),
        epochs=2,
        batch_size=32,
        optimiser=apc.SGD(learning_rate=1e-12),
        progress=False,
    )
    for before, after in zip(network.layers, run.network.layers, strict=True):
        for name, matrix in before.matrices.items():
            if name.endswith("bias"):
                continue  # kept digitally
            # Six batches without pulses: every weight decays by 1 - 1 / lifetime after each.
            np.testing.assert_allclose(
                after.matrices[name].weights(), matrix.weights() * (1 - 1 / 33.3) ** 6, rtol=1e-5, atol=1e-9
            )


def test_every_curve_has_three_seeds_and_every_nonideality_its_amount():
    curves = tolerance_curves()
    assert {one.name for one in curves} == set(NONIDEALITIES)
    assert all(len(values) == 3 for one in curves for values in one.relative)
    assert all(len(one.amounts) == len(one.relative) for one in curves)


def test_knees_are_interpolated_in_what_does_the_harm():
    # 5 % are lost half way from 1.00 to 0.90, and half way from the ideal device to 0.90.
    assert Curve("bp", "stuck devices", [1.0, 2.0], [[1.0], [0.9]]).knees == pytest.approx([1.5])
    assert Curve("bp", "stuck devices", [1.0, 2.0], [[0.9], [0.5]]).knees == pytest.approx([0.5])
    # Harm of n states is 1/n: half way between 1/50 and 1/25 are 100/3 states; of b bits 2^-b, half way to 2^-4 is 2^-5.
    assert Curve("bp", "states", [50.0, 25.0], [[1.0], [0.9]]).knees == pytest.approx([100 / 3])
    assert Curve("bp", "bits of the ADC", [4.0], [[0.9]]).knees == pytest.approx([5.0])
    assert math.isnan(Curve("bp", "stuck devices", [1.0], [[0.96]]).knees[0])
    assert Curve("bp", "stuck devices", [1.0, 2.0], [[0.9, 1.0], [0.5, 0.9]]).range == "0.5 – 1.5"
    assert Curve("bp", "states", [50.0, 20.0], [[1.0, 1.0], [0.9, 0.97]]).range == "29 – < 20"
    assert Curve("bp", "stuck devices", [1.0, 3.0], [[1.0, 1.0], [1.0, 0.99]]).said == "> 3"
    assert Curve("bp", "stuck devices", [1.0, 3.0], [[1.0, 0.9], [0.8, 1.0]]).said == "> 3 (1 of 2 seeds; else 1.5)"
    # Harms 1/40 and 1/20: mean 3/80, interval 3/80 ± 12.7 (1/80), whose lower end is below that of the ideal device.
    assert Curve("bp", "states", [10.0], [[0.8, 0.9]]).said == "27 [5.1, ∞]"
    assert Curve("bp", "stuck devices", [1.0], [[0.9, 0.9]]).said == "0.5 [0.5, 0.5]"
    assert Curve("bp", "states", [10.0], [[0.8, 0.9]]).strictest == pytest.approx(40)
    # A loss that later amounts regain is no knee.
    assert math.isnan(Curve("bp", "stuck devices", [1.0, 2.0], [[0.9], [1.0]]).knees[0])


@pytest.mark.parametrize(
    ("amount", "judged"),
    [(0.0, "within"), (0.4, "within"), (0.6, "at the knee"), (1.2, "at the knee"), (1.6, "beyond"), (9.0, "beyond")],
)
def test_a_device_is_within_at_or_beyond_the_knees_of_the_seeds(amount, judged):
    curve = Curve("bp", "stuck devices", [1.0, 2.0], [[0.9, 1.0], [0.5, 0.9]])
    assert curve.judge(amount) == judged


def test_more_than_was_tried_is_not_judged_where_a_seed_bore_all():
    curve = Curve("bp", "states", [50.0, 20.0], [[1.0, 1.0], [0.9, 0.97]])
    assert [curve.judge(amount) for amount in (1000.0, 25.0, 20.0, 10.0)] == [
        "within",
        "at the knee",
        "at the knee",
        "not measured",
    ]


def test_presets_have_places_unless_they_are_programmed():
    places = {one.name: one for one in place_on_curves(apc.Analog(device="reram-sb"))}
    # dw_min_std = 3.75; write noise 56 steps of 0.002 on a range of 2 (Gong et al. 2022, as in the preset).
    assert places["noise of a pulse, in steps"].amount == pytest.approx(3.75)
    assert places["loss of the step at the bounds"].judged["bp"] == "at the knee"
    assert place_on_curves(apc.Analog(device="pcm-inference")) == []
