"""Write the how-to pages as notebooks: python tools/notebooks.py (needs nbformat, which comes with analogpc[notebook])."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

PAGES = Path(__file__).parents[1] / "docs" / "how-to"


def notebook_of(text: str) -> nbformat.NotebookNode:
    """Convert a page to a notebook: code blocks become code cells, other text becomes Markdown cells."""
    cells = []
    for number, part in enumerate(re.split(r"^```python\n(.*?)^```\n", text, flags=re.DOTALL | re.MULTILINE)):
        if not part.strip():
            continue
        new = nbformat.v4.new_code_cell if number % 2 else nbformat.v4.new_markdown_cell
        cells.append(new(part.strip(), id=f"cell-{len(cells)}"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


def pages() -> list[Path]:
    """Return the pages that contain code."""
    return sorted(page for page in PAGES.glob("*.md") if "```python" in page.read_text(encoding="utf-8"))


def main() -> None:
    """Write all notebooks."""
    for page in pages():
        text = nbformat.writes(notebook_of(page.read_text(encoding="utf-8")))
        (PAGES / "notebooks" / f"{page.stem}.ipynb").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
