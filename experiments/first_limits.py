"""Page of first_limits.toml: accuracy lost to each nonideality, with all seeds."""

from __future__ import annotations

from tables import Swept, every, main, markdown, within


def page(swept: Swept) -> list[str]:
    """Lines of the page, with one table row per substrate."""
    return [
        "# What limits S+F on reram-sb",
        "",
        "Fashion-MNIST, the first 20,000 training images, two epochs, 784-256-256-10; test accuracy on all 10,000 test images: "
        "mean with its 95 % interval (Student's t), and every seed.",
        "",
        *markdown(
            ["substrate", "mean", "every seed"], [[one.cells["without"], within(one), every(one)] for one in swept.settings]
        ),
    ]


if __name__ == "__main__":
    main(__file__, page)
