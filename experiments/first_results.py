"""Page of first_results.toml: test accuracy of each rule on each substrate, with all seeds."""

from __future__ import annotations

from tables import Swept, every, main, markdown, pulses_per_weight, saturated, within


def page(swept: Swept) -> list[str]:
    """Lines of the page, with one table row per case."""
    rows = []
    for one in swept.settings:
        study, pulses = swept.study(one), pulses_per_weight(swept, one)
        kind = study.optimiser.kind if study is not None else "–"
        rows.append([one.cells["case"], kind, within(one), every(one), f"{pulses:,.0f}" if pulses else "–", saturated(one)])
    columns = ["case", "optimiser", "mean", "every seed", "pulses per weight", "ADC conversions saturated"]
    return [
        "# Fashion-MNIST, 784-256-256-10, batch 128",
        "",
        "Test accuracy after 5 epochs (the last epoch, not the best): mean with its 95 % interval (Student's t), and every seed.",
        "",
        *markdown(columns, rows),
    ]


if __name__ == "__main__":
    main(__file__, page)
