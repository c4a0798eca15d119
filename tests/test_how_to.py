"""The how-to pages run cell by cell, each in a process and folder of its own; the page on notebooks displays what it should."""

import re
import sys
from pathlib import Path

import pytest
from fresh_processes import cells, run

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from notebooks import PAGES, notebook_of, pages  # noqa: E402

MOST_LINES = 15


NOTEBOOK = "in-a-notebook"
"""The page on what a notebook shows, which needs one."""


@pytest.mark.parametrize("page", [page.stem for page in pages() if page.stem != NOTEBOOK])
def test_the_cells_of_a_page_run(page, tmp_path):
    """In IPython, in a fresh process and folder, without a warning or another word on standard error."""
    notebook = notebook_of((PAGES / f"{page}.md").read_text(encoding="utf-8"))
    status, out, told = run(cells, [cell.source for cell in notebook.cells if cell.cell_type == "code"], folder=tmp_path)
    assert (status, told) == (0, ""), out


@pytest.mark.filterwarnings("ignore")
def test_the_page_on_notebooks_runs_as_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = notebook_of((PAGES / f"{NOTEBOOK}.md").read_text(encoding="utf-8"))
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    told = [output for output in outputs if output.get("name") == "stderr"]
    assert not told, told
    html = "".join(output["data"].get("text/html", "") for output in outputs if "data" in output)
    assert '<progress value="26" max="26"' in html
    for shown in ("Dataset(digits", "Network(mlp", "Run(digits, rule s+f", "pcm-inference"):
        assert shown in html, shown
    assert any("image/png" in output["data"] for output in outputs if "data" in output)


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
