"""The how-to pages run as notebooks, each in a separate kernel and folder, and display the expected output."""

import re
import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from notebooks import PAGES, notebook_of, pages  # noqa: E402

MOST_LINES = 15


def executed(page, folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = notebook_of(page.read_text(encoding="utf-8"))
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [page.stem for page in pages()])
def test_a_page_runs_as_a_notebook(page, tmp_path, monkeypatch):
    notebook = executed(PAGES / f"{page}.md", tmp_path, monkeypatch)
    reported = [output for output in outputs(notebook) if output.get("name") == "stderr"]
    assert not reported, reported
    if page != "in-a-notebook":
        return
    html = "".join(output["data"].get("text/html", "") for output in outputs(notebook) if "data" in output)
    assert '<progress value="26" max="26"' in html
    for shown in ("Dataset(digits", "Network(mlp", "Run(digits, rule s+f", "pcm-inference"):
        assert shown in html, shown
    assert any("image/png" in output["data"] for output in outputs(notebook) if "data" in output)


@pytest.mark.parametrize("page", [page.stem for page in pages()])
def test_the_notebook_is_that_of_the_page(page):
    stored = nbformat.read(PAGES / "notebooks" / f"{page}.ipynb", as_version=4)
    made = notebook_of((PAGES / f"{page}.md").read_text(encoding="utf-8"))
    assert [cell.source for cell in stored.cells] == [cell.source for cell in made.cells], (
        "python tools/notebooks.py writes them anew"
    )


def test_tasks_are_short():
    for page in pages():
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            assert len([line for line in block.splitlines() if line.strip()]) <= MOST_LINES, (page.name, block)
