"""Page and figure of atlas_cnn.toml: a small convolutional network."""

from functools import partial

from atlases import figure, page
from tables import main

FURTHER = "Every device has the scheme mixed precision. "

if __name__ == "__main__":
    main(
        __file__,
        partial(page, title=" with a small convolutional network", further=FURTHER),
        partial(figure, title=" with a small CNN"),
    )
