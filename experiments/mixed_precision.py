"""Page of mixed_precision.toml: accuracy of each substrate relative to digital with the same optimiser."""

from __future__ import annotations

from tables import Swept, every, main, markdown, pulses_per_weight, within

from analogpc.report.sweeps import interval
from analogpc.studies.comparison import difference


def page(swept: Swept) -> list[str]:
    """Lines of the page, with one table row per optimiser and substrate."""
    rows = []
    for one in swept.settings:
        (digital,) = swept.where(optimiser=one.cells["optimiser"], substrate="digital")
        apart = "" if one is digital else interval(difference(one, digital), "accuracy")
        pulses = pulses_per_weight(swept, one)
        rows.append(
            [one.cells["substrate"], one.cells["optimiser"], within(one), every(one), apart, f"{pulses:,.0f}" if pulses else "–"]
        )
    return [
        "# Mixed precision",
        "",
        "Fashion-MNIST, 784-256-256-10, S+F, 5 epochs; test accuracy of the last epoch: mean with its 95 % interval, every seed, "
        "difference from digital paired by seed with its 95 % interval; pulses per weight.",
        "",
        *markdown(["substrate", "optimiser", "mean", "every seed", "from digital", "pulses per weight"], rows),
    ]


if __name__ == "__main__":
    main(__file__, page)
