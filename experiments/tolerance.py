"""Page and figure of tolerance.toml: the tolerance of every rule to each nonideality, and the requirements on a device."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tables import Swept, every, main, markdown

from analogpc.assessment.tolerances import LOSS, NONIDEALITIES, Curve
from analogpc.report.page_pictures import style
from analogpc.studies.comparison import Setting, mean_interval

BASE = "nothing"
"""The point without any nonideality."""

STORED = Path(__file__).parents[1] / "analogpc" / "assessment" / "tolerances.json"


def curves(swept: Swept) -> list[Curve]:
    """All curves, in the order of the study file."""
    made: dict[tuple[str, str], Curve] = {}
    for one in swept.settings:
        point, rule = str(one.cells["point"]), str(one.cells["rule"])
        if point == BASE or not one.values:
            continue
        (base,) = swept.where(point=BASE, rule=rule)
        name, amount = point.rsplit(": ", 1)
        curve = made.setdefault((name, rule), Curve(rule, name, [], []))
        curve.amounts.append(float(amount))
        curve.relative.append(_relative(one, base))
    return list(made.values())


def _relative(one: Setting, base: Setting) -> list[float]:
    return [value / base.values[seed] for seed, value in one.values.items() if base.values.get(seed)]


def store(swept: Swept) -> None:
    """Write the curves where `analogpc.assess` finds them."""
    found = [asdict(one) for one in curves(swept)]
    for one in found:
        one["relative"] = [[round(value, 6) for value in values] for values in one["relative"]]
    document = {"made by": "python experiments/tolerance.py", "analogpc": swept.record["analogpc"], "curves": found}
    STORED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def page(swept: Swept) -> list[str]:
    """Lines of the page: the requirements, then all points."""
    rules, found = swept.values("rule"), curves(swept)
    study = swept.study(swept.settings[0])
    assert study is not None
    network = "-".join(map(str, study.network.widths))
    lines = [
        "# Requirements on a device",
        "",
        f"{study.dataset.capitalize()}, the first {study.train_images} training images, {network}, {study.epochs} epochs, batches of "
        f"{study.batch_size}, learning in place by stochastic pulses on a noiseless device with 2,000 equal states and ideal "
        "converters; then one nonideality at a time. The learning rate is the default of the rule and is not adjusted. Test "
        "accuracy on 360 images relative to that of the ideal device, paired by seed.",
        "",
        "## What your device must reach",
        "",
        "The knee: the amount from which on 5 % of the accuracy are lost, for every seed interpolated between the amounts tried, of "
        "which the ideal device is the first: linearly in the amount, in the reciprocal of the states and of the on/off ratio, and in "
        "the step of a converter or of a state. Mean and 95 % interval over the seeds (Student's t, on the same scale). > and < where "
        "some seed bears all amounts tried. Last column: what the most sensitive seed of the most sensitive rule bears. "
        "`analogpc assess` compares a device with these knees.",
        "",
    ]
    names = list(dict.fromkeys(one.name for one in found))
    by = {(one.name, one.rule): one for one in found}
    rows = [
        [name, *(by[name, rule].said if (name, rule) in by else "–" for rule in rules), _required(name, found)] for name in names
    ]
    lines += [*markdown(["nonideality", *rules, "every rule and seed"], rows), "", "## All points", ""]
    rows = [
        [str(point), *("; ".join(_cell(swept, one) for one in swept.where(point=point, rule=rule)) or "–" for rule in rules)]
        for point in swept.values("point")
    ]
    return [*lines, *markdown(["point", *rules], rows)]


def _required(name: str, found: Sequence[Curve]) -> str:
    """What the most sensitive seed of all rules bears."""
    own, harm = [one for one in found if one.name == name], NONIDEALITIES[name].harm
    knees = [one.strictest for one in own if not math.isnan(one.strictest)]
    bound = "at least" if harm.sign == "<" else "at most"
    if knees:
        return f"{bound} {min(knees, key=harm.of_amount):.2g}"
    return f"{own[0].amounts[-1]:g} is borne"


def _cell(swept: Swept, one: Setting) -> str:
    (base,) = swept.where(point=BASE, rule=one.cells["rule"])
    if one is base or not one.values:
        return every(one)
    relative = _relative(one, base)
    low, high = mean_interval(relative)
    interval = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{np.mean(relative):.2f}{interval} ({every(one)})"


def figure(swept: Swept) -> Figure:
    """One panel per nonideality and one line per rule, with mean and range over the seeds; harm increases to the right."""
    found = curves(swept)
    names = list(dict.fromkeys(one.name for one in found))
    columns = min(4, len(names))
    drawn = Figure(figsize=(3.1 * columns, 2.6 * math.ceil(len(names) / columns)), layout="constrained")
    panels = drawn.subplots(math.ceil(len(names) / columns), columns, sharey=True, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        _panel(panel, name, [one for one in found if one.name == name], swept.values("rule"))
    for panel in panels[len(names) :]:
        panel.axis("off")
    for panel in panels[::columns]:
        panel.set_ylabel("% of the ideal device")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9)
    return drawn


def _panel(panel: object, name: str, drawn: Sequence[Curve], rules: Sequence[str]) -> None:
    for curve in drawn:
        number = rules.index(curve.rule)
        places = np.arange(1, len(curve.amounts) + 1) + 0.06 * (number - (len(rules) - 1) / 2)
        values = [100 * np.array(one) for one in curve.relative]
        means = np.array([one.mean() for one in values])
        ends = [
            [m - one.min() for m, one in zip(means, values, strict=True)],
            [one.max() - m for m, one in zip(means, values, strict=True)],
        ]
        panel.errorbar(
            [0, *places], [100, *means], np.c_[[0, 0], ends], label=curve.rule, markersize=4, linewidth=1.2, **style(number)
        )
    panel.axhline(100 * (1 - LOSS), color="0.4", linestyle="--", linewidth=1)
    panel.set_xticks(range(len(drawn[0].amounts) + 1), ["ideal", *(f"{amount:g}" for amount in drawn[0].amounts)], fontsize=8)
    panel.set_title(name, fontsize=9)
    panel.set_ylim(0, 112)
    panel.grid(alpha=0.3)


if __name__ == "__main__":
    main(__file__, page, figure, store)
