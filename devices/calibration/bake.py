"""Fit of conductances before and after a bake or a rest: an exponential loss, or a spread about the initial values."""

from __future__ import annotations

import numpy as np

from analogpc.devices.calibration.parts import Z_90, Panel, Part, column, interval
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.nonidealities import Relaxation, Retention
from analogpc.devices.provenance import Interval

FEWEST = 5
_MOVED = 0.005


def pairs_part(part: Understood) -> Part:
    """Fit drift to pairs with one bake time: the lifetime of the mean loss, or the spread if the mean does not change.

    Raises
    ------
    CalibrationError
        If there are too few pairs, nonpositive conductances, or several times.
    """
    before, after = column(part, "before"), column(part, "after")
    if "seconds" not in part.columns:
        raise CalibrationError("pairs before and after need the time between them: a column of seconds")
    times = np.unique(part.columns["seconds"])
    if len(times) != 1 or times[0] <= 0:
        raise CalibrationError(f"pairs before and after need one positive time; there are {len(times)}, from {times[0]:g} s")
    if len(before) < FEWEST:
        raise CalibrationError(f"the data hold {len(before)} pairs before and after; at least {FEWEST} are needed")
    if min(before.min(), after.min()) <= 0:
        raise CalibrationError("pairs before and after need conductances that are positive")
    seconds, logs = float(times[0]), np.log(after / before)
    mean, error = float(logs.mean()), float(logs.std(ddof=1) / np.sqrt(len(logs)))
    panel = Panel("Before and after", "before (µS)", "after (µS)")
    panel.points.append((before * 1e6, after * 1e6, "measured"))
    ends = np.array([before.min(), before.max()])
    panel.lines.extend([(ends * 1e6, ends * 1e6, "no change"), (ends * 1e6, ends * np.exp(mean) * 1e6, "mean change")])
    window = (float(min(before.min(), after.min())), float(max(before.max(), after.max())))
    if mean > max(2 * error, _MOVED):
        grown = f"conductances grow by {np.expm1(mean):.1%} ± {error:.1%} in {seconds:.3g} s, which no drift model here describes"
        return Part("drift", {}, (), panel, failures=(grown,), window=window)
    if mean < -max(2 * error, _MOVED):
        life = -seconds / mean
        low, high = seconds / (-mean + Z_90 * error), seconds / max(-mean - Z_90 * error, 1e-12)
        estimate = Interval(name="lifetime", value=life, low=low, high=high, unit="seconds", field="drift.lifetime_seconds")
        return Part(
            "drift",
            {"drift": Retention(lifetime_seconds=life, rest_siemens=0.0)},
            (estimate,),
            panel,
            assumptions=(
                "two times do not determine the law of the loss: it is assumed exponential, towards zero, at the temperature of the bake",
            ),
            remarks=(f"losses of devices differ by {logs.std(ddof=1):.1%}, which is ignored",),
            window=window,
        )
    sigma = float((after - before).std(ddof=1)) * 1e6
    model = Relaxation(
        times_seconds=(seconds / 2, seconds), coefficients=((1e-6 * sigma,), (sigma,)), reference_siemens=window[1]
    )
    known = interval(f"spread after {seconds:.3g} s", sigma * 1e-6, sigma * 1e-6 / np.sqrt(2 * len(logs)), "siemens", least=0.0)
    return Part(
        "drift",
        {"drift": model},
        (known,),
        panel,
        assumptions=(f"conductances are constant until {seconds / 2:.3g} s, half of the measured time",),
        remarks=("the mean stays and the spread grows: relaxation",),
        window=window,
    )
