"""Page and figure of atlas_fashion.toml: every rule on every device on Fashion-MNIST."""

from functools import partial

from atlases import figure, page
from tables import main

FURTHER = (
    "Each device has one scheme: mixed precision, which was the best on most devices in the [atlas on digits](atlas.md), or, on the three "
    "with the finest steps, pulses in place. "
)

if __name__ == "__main__":
    main(__file__, partial(page, title=" on Fashion-MNIST", further=FURTHER), partial(figure, title=" on Fashion-MNIST"))
