"""Page of every_rule.toml: test accuracy of every rule on both substrates, with all seeds."""

from __future__ import annotations

from tables import Swept, every, main, markdown, within

WANTED = 0.9


def page(swept: Swept) -> list[str]:
    """Lines of the page, with one table row per rule."""
    rows = []
    for case in swept.values("case"):
        cells = [case]
        for substrate in swept.values("on"):
            found = swept.where(case=case, on=substrate)
            if not found:
                cells += ["–", "digital only"]
                continue
            (one,) = found
            mark = "" if one.values and min(one.values.values()) >= WANTED else f" (below {WANTED:.0%})"
            cells += [within(one), every(one) + mark]
        rows.append(cells)
    return [
        "# Every rule on digits",
        "",
        "Test accuracy after the last epoch (15): mean with its 95 % interval (Student's t), and every seed. Batches of 32; digital with "
        "AdamW, crossbars of idealized devices with plain SGD in place. Rates and networks as in `experiments/every_rule.toml`.",
        "",
        *markdown(["rule", "digital, mean", "every seed", "crossbar, mean", "every seed"], rows),
    ]


if __name__ == "__main__":
    main(__file__, page)
