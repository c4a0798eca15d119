"""Page and figure of convergence.toml: the number of hyper-parameters for which training converges."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, every, main, markdown, trained, within

from analogpc.studies.comparison import Setting

RATE = "optimiser.learning_rate"


def best(swept: Swept) -> float:
    """Return the best mean accuracy of all settings."""
    return max(one.mean for one in swept.settings if one.values)


def converged(swept: Swept, one: Setting) -> bool:
    """Whether every seed finished and the mean accuracy is at least 90 % of that of the best setting of both rules."""
    return bool(one.values) and not one.other and one.mean >= 0.9 * best(swept)


def page(swept: Swept) -> list[str]:
    """Lines of the page: counts, then every setting."""
    study = swept.study(swept.settings[0])
    assert study is not None
    groups = {rule: [one for one in swept.settings if one.cells["case"].startswith(f"{rule},")] for rule in ("PC", "iPC")}
    counts = {rule: sum(converged(swept, one) for one in group) for rule, group in groups.items()}
    found = ", ".join(f"{rule} {counts[rule]} of {len(groups[rule])}" for rule in groups)
    lines = [
        "# Incremental predictive coding: convergence",
        "",
        f"{trained(study)}, AdamW, T = 8. A setting counts as converged (bold) if all seeds finish and their mean test accuracy is "
        f"at least 90 % of the best mean of both rules ({best(swept):.2%}): {found}. Published: iPC 88 and PC 26 of 96, on a larger grid "
        "(8 learning rates, 4 weight decays, 3 state steps) and by a criterion of their own. Table: mean "
        "with its 95 % interval (every seed).",
        "",
    ]
    rates = swept.values(RATE)
    rows = [[case, *(_cell(swept, case, rate) for rate in rates)] for case in swept.values("case")]
    return [*lines, *markdown(["rule, state step", *(f"rate {rate:g}" for rate in rates)], rows)]


def _cell(swept: Swept, case: str, rate: float) -> str:
    (one,) = swept.where(**{"case": case, RATE: rate})
    return f"**{within(one)}** ({every(one)})" if converged(swept, one) else f"{within(one)} ({every(one)})"


def figure(swept: Swept) -> Figure:
    """Heat maps: state step by learning rate, mean over the seeds."""
    rates = swept.values(RATE)
    drawn = Figure(figsize=(9, 2.6), layout="constrained")
    panels = drawn.subplots(1, 2, sharey=True)
    for panel, rule in zip(panels, ("PC", "iPC"), strict=True):
        cases = [case for case in swept.values("case") if case.startswith(f"{rule},")]
        values = np.array([[_mean(swept.where(**{"case": case, RATE: rate})) for rate in rates] for case in cases])
        image = panel.imshow(100 * values, cmap="cividis", vmin=10, vmax=100 * best(swept), aspect="auto")
        panel.set_title(rule)
        panel.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        panel.set_yticks(range(len(cases)), [case.split(", ")[1] for case in cases])
        panel.set(xlabel="learning rate")
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 * best(swept) else "white"
            panel.text(column, row, "–" if math.isnan(value) else f"{100 * value:.0f}", ha="center", va="center", color=colour)
    panels[0].set_ylabel("state step")
    drawn.colorbar(image, ax=panels, label="test accuracy (%)")
    return drawn


def _mean(group: list[Setting]) -> float:
    return float(np.mean([one.mean if one.values else math.nan for one in group]))


if __name__ == "__main__":
    main(__file__, page, figure)
