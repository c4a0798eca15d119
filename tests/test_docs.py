"""Documentation pages with executable examples: each page runs as one script, in a separate process and folder."""

import re
import shutil
from pathlib import Path

import pytest
from fresh_processes import run, script

ROOT = Path(__file__).parents[1]
AFTERWARDS = {
    "analysis.md": "",
    "calibration.md": """
assert fit.pulses.r_squared > 0.9
assert [run.study.substrate.device.provenance.sources[0].file for run in runs] == ["ibm-reram-gong2018.csv"] * 2
again = apc.preset("gong.toml")
assert again == fit.device and len({device.response.dw_min for device in devices}) == 3
runs[0].save("sf.h5")
assert apc.Run.load("sf.h5").study.substrate.device.provenance == fit.device.provenance
""",
    "hopfield.md": """
assert run.history["test_accuracy"][-1] > 0.2
assert max(feedback_angle(Network(Hopfield(widths=(64, 32, 32, 10), feedback="separate"))).values()) > 60
""",
    "language.md": """
assert run.best[1] < 0.8 * run.history["validation_perplexity"][0]
assert sum(analog.history["pulses"]) > 0
""",
    "rules.md": """
assert run.history["test_accuracy"][-1] > 0.85, run.history["test_accuracy"]
assert ref.history["test_accuracy"][-1] > 0.85, ref.history["test_accuracy"]
again = apc.Run.load("dfa.h5")
assert again.study.rule == named_rule("dfa") and type(again.study.rule) is DirectFeedbackAlignment
""",
}
"""By page: what must be true after its examples."""


@pytest.mark.parametrize("page", sorted(AFTERWARDS))
def test_the_examples_of_a_page_run(page, tmp_path):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    examples = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)) + AFTERWARDS[page]
    (tmp_path / "page.py").write_text(examples, encoding="utf-8")
    if page == "calibration.md":
        shutil.copy(ROOT / "tests" / "data" / "devices" / "ibm-reram-gong2018.csv", tmp_path)
    status, _, told = run(script, "page.py", folder=tmp_path)
    assert status == 0, told


def test_the_table_of_rules_is_complete():
    from analogpc.rules import named_rules

    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "rules.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(.+?)`", row)} == set(named_rules())
