"""Page and figure of vgg_depth.toml: VGG5, VGG7 and VGG10 at a sixteenth of the width on a part of CIFAR-10."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from depth import by_depth, figure
from tables import Swept, main, trained


def page(swept: Swept) -> list[str]:
    """Lines of the page: what was trained, then the tables of the study of depth."""
    study = swept.study(swept.selected().settings[0])
    assert study is not None
    return [
        "# Deeper predictive coding: VGG5, VGG7 and VGG10, a sixteenth of the width",
        "",
        f"{trained(study)}, AdamW at {study.optimiser.learning_rate:g}, not tuned. Accuracy on {study.test_images} test images after the "
        "last epoch: mean with its 95 % interval (every seed). Published, for 5, 7 and 10 layers at full width on all images (Qi et "
        "al., best epoch): BP 89.43, 89.91, 92.21 %; PC 87.98, 84.62, 72.75 %; S+F 89.45, 90.08, 92.07 %.",
        "",
        *by_depth(swept),
    ]


if __name__ == "__main__":
    main(__file__, page, figure)
