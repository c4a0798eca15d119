"""Published results that describe the same cells: assessments of devices and the atlas."""

import csv
import json
from pathlib import Path

import pytest

from analogpc.assessment.findings import Interval
from analogpc.studies.comparison import settings

RESULTS = Path(__file__).parents[2] / "experiments/results"
VARIED = ["device", "case", "scheme", "optimiser.learning_rate", "seed"]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RESULTS.parent))
        from atlases import cells
        from tables import Swept
    rows = []
    with (RESULTS / "atlas.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            numbers = {name: float(line[name]) for name in ("validation_accuracy", "test_accuracy") if line[name]}
            rows.append({**line, "trial": int(line["trial"]), "setting": int(line["setting"]), **numbers})
    swept = Swept("atlas", {"rows": rows, "varied": VARIED}, settings(rows, "validation_accuracy", VARIED))
    return cells(swept)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("assess-*/assessment.json")), ids=lambda path: path.parent.name)
def test_assessments_agree_with_the_atlas(path, atlas):
    """In every cell that both have, the 95 % intervals overlap, so that they allow a common verdict."""
    found = json.loads(path.read_text(encoding="utf-8"))
    assert len(found["learning"]) == 12
    for one in found["learning"]:
        here, there = one["relative"], Interval.of(atlas[one["scheme"], found["device"], one["rule"]][1])
        assert max(here["low"], there.low) <= min(here["high"], there.high), (one, there)
