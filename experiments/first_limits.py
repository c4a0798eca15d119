"""Page of first_limits.toml: accuracy lost to each nonideality, with all seeds."""

from __future__ import annotations

from tables import Swept, every, main, markdown, mean


def page(swept: Swept) -> list[str]:
    """Lines of the page, with one table row per substrate."""
    return [
        "# What limits S+F on reram-sb",
        "",
        "Fashion-MNIST, the first 20,000 training images, two epochs, 784-256-256-10; test accuracy on all 10,000 test images.",
        "",
        *markdown(["substrate", "mean", "every seed"], [[one.cells["without"], mean(one), every(one)] for one in swept.settings]),
    ]


if __name__ == "__main__":
    main(__file__, page)
