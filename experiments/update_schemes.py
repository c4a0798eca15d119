"""Page and figure of update_schemes.toml: accuracy and pulses of every scheme on every device."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from tables import Swept, every, main, markdown, pulses_per_weight, within

from analogpc.report.page_pictures import MARKS, PALETTE
from analogpc.studies.comparison import Setting


def page(swept: Swept) -> list[str]:
    """Lines of the page: one table per rule, then the reasons for refused combinations."""
    devices = [name for name in swept.values("device") if name != "digital"]
    lines = [
        "# Update schemes",
        "",
        "Fashion-MNIST, the first 5,000 training images, 2 epochs, 784-128-10; test accuracy on all 10,000 test images: mean "
        "with its 95 % interval (Student's t), every seed; then pulses received per weight. "
        "Plain SGD with a rate of 0.1 unless noted; headroom of the ranges as in the "
        "study file.",
        "",
        "`ep` is centered equilibrium propagation on the energies of predictive coding: the product of each phase is error times activity, "
        "and errors are of the order of the nudge, so two opposite pulse trains carry no more noise than the single product of "
        "`s+f`. In Hopfield-type networks the products s sᵀ of both phases are of order 1 and nearly cancel: two trains then have "
        "a variance of about 2 |s sᵀ| Δw η / (2 β) per weight and update, for a mean of order η (tests/devices/test_schemes_pulses.py).",
    ]
    refused: dict[str, None] = {}
    for rule in swept.values("rule"):
        (digital,) = swept.where(rule=rule, device="digital")
        rows = []
        for scheme in swept.values("scheme"):
            found = [one for device in devices for one in swept.where(rule=rule, scheme=scheme, device=device)]
            if found:
                rows.append([scheme, *(_cell(swept, one) for one in found)])
                refused |= dict.fromkeys(sentence for one in found if not one.values for sentence in one.other)
        lines += ["", f"## {rule}", "", f"Ideal-digital, plain SGD: {within(digital)} ({every(digital)}).", ""]
        lines += markdown(["scheme", *devices], rows)
    short = sorted({sentence.rsplit("is not allowed: ", 1)[-1] for sentence in refused})
    return [*lines, "", "Refused:", "", *(f"- {sentence}" for sentence in short)] if short else lines


def _cell(swept: Swept, one: Setting) -> str:
    return f"**{within(one)}** ({every(one)}); {pulses_per_weight(swept, one):,.0f}" if one.values else "refused"


def figure(swept: Swept) -> Figure:
    """Accuracy against pulses per weight: one panel per device and rule, one marker per scheme (mean and range over the seeds)."""
    devices, rules = [name for name in swept.values("device") if name != "digital"], swept.values("rule")
    drawn = Figure(figsize=(13, 3.6 * len(rules)), layout="constrained")
    panels = drawn.subplots(len(rules), len(devices), sharey=True, squeeze=False)
    schemes = [name for name in swept.values("scheme") if name != "ideal-digital"]
    for row, rule in zip(panels, rules, strict=True):
        (digital,) = swept.where(rule=rule, device="digital")
        for panel, device in zip(row, devices, strict=True):
            panel.axhline(100 * digital.mean, color="0.5", linestyle="--", linewidth=1, label="ideal-digital, SGD")
            for number, scheme in enumerate(schemes):
                (one,) = swept.where(rule=rule, scheme=scheme, device=device)
                values = 100 * np.array(list(one.values.values()) or [np.nan])
                ends = [[values.mean() - values.min()], [values.max() - values.mean()]]
                look = {"marker": MARKS[number % len(MARKS)], "color": PALETTE[number % len(PALETTE)], "linestyle": "none"}
                hollow = {"markerfacecolor": "white"} if number >= len(PALETTE) else {}
                pulses = max(pulses_per_weight(swept, one), 0.1)
                panel.errorbar(pulses, values.mean(), ends, label=scheme, **look, **hollow)
            panel.set(xscale="log", xlabel="pulses per weight (0.1: none)")
            panel.set_title(f"{device}, {rule}", fontsize=10)
            panel.grid(alpha=0.3)
        row[0].set_ylabel("test accuracy (%)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
