"""Page and figures of atlas.toml: every rule on every device, with three update schemes."""

from atlases import figure, page, schemes_figure
from tables import main

if __name__ == "__main__":
    main(__file__, page, figure, further={"schemes": schemes_figure})
