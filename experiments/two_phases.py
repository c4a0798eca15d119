"""Page and figure of two_phases.toml: noise and errors of reads for rules with one phase and with two."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from tables import Swept, every, main, markdown, selection, trained, within

from analogpc.report.page_pictures import style


def page(swept: Swept) -> list[str]:
    """Lines of the page."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    points = swept.values("point")
    lines = [
        "# One phase and two phases",
        "",
        f"{trained(study)}, plain SGD; ideal devices, written exactly, and exact converters. Read noise: standard deviation of every "
        "analog sum, drawn anew at every read, thus noise of the states at every step. Gain error and offset: standard deviation over the "
        "columns of an ADC of 12 bits, drawn once, thus equal in all phases; the offset is in units of a sum. `ep`: centered equilibrium "
        "propagation on the energies of predictive coding; Hopfield: centered, in a Hopfield network. "
        f"{selection(swept, study)} Test accuracy: mean with its 95 % interval (every seed); learning rate.",
        "",
    ]
    rows = []
    for case in swept.values("case"):
        found = [one for point in points for one in chosen.where(case=case, point=point)]
        rows.append(
            [
                case,
                *(
                    f"**{within(one)}** ({every(one)}); {one.cells['optimiser.learning_rate']}" if one.values else "diverged"
                    for one in found
                ),
            ]
        )
    return [*lines, *markdown(["rule", *points], rows)]


def figure(swept: Swept) -> Figure:
    """Accuracy of every rule at every point."""
    chosen, points = swept.selected(), swept.values("point")
    drawn = Figure(figsize=(10, 4.2), layout="constrained")
    panel = drawn.subplots()
    cases = swept.values("case")
    for number, case in enumerate(cases):
        for place, point in enumerate(points):
            (one,) = chosen.where(case=case, point=point)
            values = 100 * np.array(list(one.values.values()))
            where = place + 0.08 * (number - (len(cases) - 1) / 2)
            look = style(number) | {"linestyle": "none"}
            panel.plot([where] * len(values), values, **look | {"markersize": 3, "alpha": 0.6})
            panel.plot([where], [100 * one.mean], **look, label=case if place == 0 else None)
    panel.set_xticks(range(len(points)), points)
    panel.set(ylabel="test accuracy (%)")
    panel.grid(axis="y", alpha=0.3)
    drawn.legend(loc="outside right center", fontsize=8, frameon=False)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
