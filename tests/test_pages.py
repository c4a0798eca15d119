"""The documentation site: blocks of pages are executed in order, and the build treats warnings as errors."""

import re
import shlex
from pathlib import Path

import pytest
from fresh_processes import run, site

from analogpc.commands.app import main

ROOT = Path(__file__).parents[1]
EXECUTED = ("installation.md", "tour.md", "studies.md", "assess.md", "inference.md")
"""Pages of which every block between fences is executed; those of other pages are executed in test_docs."""
IN_PROCESS = ("sweep", "compare", "assess")
"""Commands that the tests compute in their own process: worker processes have tests of their own."""


def blocks(page):
    """Return the fenced blocks of a page with their languages."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```(python|sh|toml)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def execute(language, block, names):
    """Execute a block: save a file, run commands, or run Python."""
    if language == "toml":
        name = re.match(r"# (\S+\.toml)\n", block)
        assert name, "a TOML block begins with the name of its file"
        Path(name[1]).write_text(block, encoding="utf-8")
    elif language == "python":
        exec(compile(block, "page", "exec"), names)
    else:
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "analogpc"
            if arguments[0] in IN_PROCESS:
                arguments += ["--workers", "0"]
            with pytest.raises(SystemExit) as end:
                main(arguments)
            assert not end.value.code, line


@pytest.mark.parametrize("page", EXECUTED)
def test_every_block_of_a_page_is_executed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for language, block in blocks(page):
        execute(language, block, names)
    for file in tmp_path.glob("*.toml"):
        from analogpc.studies.plan import read_plan

        assert read_plan(file).trials >= 1


def test_the_files_of_the_page_on_studies_are_what_it_says(tmp_path, monkeypatch):
    """The search and the exceptions of the page, counted."""
    from analogpc.studies.plan import read_plan

    monkeypatch.chdir(tmp_path)
    for language, block in blocks("studies.md"):
        if language == "toml":
            execute(language, block, {})
    assert read_plan("search.toml").trials == 2 * (8 + 2)
    assert read_plan("exceptions.toml").trials == 5


def test_every_axis_of_the_page_on_studies_is_read():
    """Read the entries in the first column of the table."""
    import tomllib

    from analogpc.studies.plan import read_plan

    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    table = text.split("## What can vary")[1].split("##")[0]
    entries = re.findall(r"^\| `([^`]+ = [^`]+)` \|", table, re.MULTILINE)
    assert len(entries) == 11
    for entry in entries:
        plan = read_plan({**tomllib.loads(f"holdout = 0.1\n[axes]\n{entry}\n")})
        assert plan.axes or plan.ranges


def test_the_site_is_built_without_a_warning(tmp_path):
    status, _, told = run(site, str(ROOT / "docs"), str(tmp_path), folder=ROOT)
    assert status == 0, told
    text = (tmp_path / "api.html").read_text(encoding="utf-8")
    for name in ("analogpc.fit", "analogpc.sweep", "analogpc.Analog"):
        assert f'id="{name}"' in text or name in text
    assert (tmp_path / "studies.html").exists()


def test_links_to_files_of_the_repository_lead_somewhere():
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\(((?!https?:|#)[^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists() or (page.parent / f"{target}.md").exists(), f"{page.name}: {target}"
