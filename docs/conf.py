"""The documentation site: ``python -m sphinx -W -b html docs build/site``."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from analogpc import __version__

project = "analogpc"
author = "the analogpc developers"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = []
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "model_config, model_post_init"}
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# A name in backticks becomes a link where there is something to link to.
default_role = "py:obj"
suppress_warnings = ["ref.python"]
html_theme = "pydata_sphinx_theme"
html_title = "analogpc"
html_theme_options = {"show_prev_next": True, "navigation_with_keys": False, "header_links_before_dropdown": 6}
html_static_path = []


def _starred_shapes(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Shapes such as (n, *input_shape) are no emphasis."""
    lines[:] = [re.sub(r"(?<=[ (,])\*(?=[a-z_])", r"\\*", line) for line in lines]


def _files_of_the_repository(app: Any, name: str, source: list[str]) -> None:
    """Links to files outside of this folder name them instead."""
    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2` in the repository)", source[0])


def setup(app: Any) -> None:
    """Connect what changes texts before Sphinx reads them."""
    app.connect("autodoc-process-docstring", _starred_shapes, priority=100)
    app.connect("source-read", _files_of_the_repository)
