"""Page and figure of calibration.toml: calibration of BP and incremental predictive coding on transformed images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, every, main, markdown, plus_minus, selection, trained, within

from analogpc import Run, load_data
from analogpc.analysis import recoloured, reliability, rotated
from analogpc.data import Dataset
from analogpc.report.page_pictures import style
from analogpc.studies.comparison import Setting
from analogpc.training.study import Study

DEGREES, TURNS = (0, 15, 30, 45, 60), (0.0, 0.1, 0.2, 0.3, 0.5)
PUBLISHED = "0.05 (iPC) and 0.12 (BP) on unchanged images"


def changed(study: Study) -> dict[str, dict[float, Dataset]]:
    """Return the test images of a study, transformed, by kind and strength of the transformation."""
    data = load_data(study.dataset)
    data = data.take(len(data.train_labels), study.test_images)
    found = {"rotation (degrees)": {float(angle): rotated(data, angle) for angle in DEGREES}}
    if data.input_shape[2] == 3:
        found["hue (turns)"] = {turns: recoloured(data, turns) for turns in TURNS}
    return found


def errors(swept: Swept, one: Setting, data: Dataset) -> np.ndarray:
    """Return the calibration error and the accuracy of every seed: (2, seeds)."""
    found = []
    for row in one.rows:
        if row["status"] == "finished":
            curve = reliability(Run.load(swept.folder / "runs" / f"{row['trial']:04d}.h5").network, data)
            found.append((curve.error, np.average(curve.accuracy, weights=curve.count)))
    return np.array(found).T


Measured = dict[str, dict[float, dict[str, np.ndarray]]]
_MEASURED: dict[Path, Measured] = {}
"""Results by the folder of the sweep: the page and the figure need the same."""


def measured(swept: Swept) -> Measured:
    """Return `errors` by transformation, strength and rule."""
    if swept.folder not in _MEASURED:
        chosen = swept.selected()
        study = swept.study(chosen.settings[0])
        assert study is not None
        _MEASURED[swept.folder] = {
            kind: {
                strength: {one.cells["case"]: errors(swept, one, data) for one in chosen.settings}
                for strength, data in strengths.items()
            }
            for kind, strengths in changed(study).items()
        }
    return _MEASURED[swept.folder]


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracies, then calibration errors."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    lines = [
        "# Incremental predictive coding: calibration",
        "",
        f"{trained(study)}, AdamW, cross-entropy; the convolutional network of the width study with C = {study.network.width:g}. "
        f"{selection(swept, study)} Test accuracy of the last epoch on {study.test_images} images, mean with its 95 % interval:",
        "",
    ]
    for one in chosen.settings:
        lines.append(f"- {one.cells['case']}: {within(one)} ({every(one)}), rate {one.cells['optimiser.learning_rate']}")
    lines += [
        "",
        "Adaptive calibration error (15 bins with equal numbers of predictions, of the predicted class): mean with its 95 % "
        "interval; "
        f"then the mean accuracy. Published: {PUBLISHED}.",
        "",
    ]
    rows = []
    for kind, strengths in measured(swept).items():
        for strength, rules in strengths.items():
            cells = [f"{plus_minus(found[0])}; {found[1].mean():.1%}" for found in rules.values()]
            rows.append([f"{kind.split(' (')[0]} {strength:g}", *cells])
    return [*lines, *markdown(["images", *swept.values("case")], rows)]


def figure(swept: Swept) -> Figure:
    """Calibration error against the strength of every transformation."""
    found = measured(swept)
    drawn = Figure(figsize=(4.6 * len(found), 3.6), layout="constrained")
    for panel, (kind, strengths) in zip(drawn.subplots(1, len(found), squeeze=False, sharey=True)[0], found.items(), strict=True):
        for number, case in enumerate(swept.values("case")):
            values = [rules[case][0] for rules in strengths.values()]
            panel.plot(list(strengths), [one.mean() for one in values], **style(number), label=f"{case}, mean")
            for strength, seeds in zip(strengths, values, strict=True):
                panel.plot([strength] * len(seeds), seeds, ".", color=style(number)["color"], alpha=0.5)
        panel.set(xlabel=kind)
        panel.grid(alpha=0.3)
    drawn.axes[0].set(ylabel="adaptive calibration error", ylim=(0, None))
    drawn.axes[0].legend(fontsize=9)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
