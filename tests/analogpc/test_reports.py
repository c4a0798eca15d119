"""Reports: one self-contained page with the contents of the runs and tables, also tested in a browser if there is one."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import analogpc as apc
from analogpc.commands.app import main
from analogpc.report.page import Part, TablePart, readable, render
from analogpc.report.report import ReportError, read_record, write_report

BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


class Page(html.parser.HTMLParser):
    """Parser for the contents of a page: tags with their attributes, and the text of cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self._open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag in ("td", "th")
        if self._open:
            self.cells.append("")

    def handle_data(self, data):
        if self._open:
            self.cells[-1] += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two rules on two substrates, three seeds, with one combination that does not fit."""
    odd = "<b>none</b>"
    study = {
        "epochs": 2,
        "batch_size": 256,
        "network": {"kind": "mlp", "widths": [64, 10]},
        "axes": {
            "rule": ["bp", "s+f"],
            "substrate": {name: name for name in ("digital", "idealized")} | {odd: "idealized"},
            "seed": 2,
        },
        "exceptions": [{"where": {"substrate": odd}, "set": {"optimiser": {"kind": "adamw"}}}],
    }
    return apc.sweep(study, out=tmp_path_factory.mktemp("report") / "out", workers=0, progress=False)


@pytest.fixture(scope="module")
def sweep_page(swept):
    return write_report([swept.folder], swept.folder / "report")


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    files = []
    for device, faults in (("idealized", {}), ("pcm-inference", {"stuck_low": 0.02})):
        chosen = apc.Device.from_dict({**apc.devices.presets.preset(device).to_dict(), "faults": faults})
        net = apc.mlp([64, 16, 10], substrate=apc.Analog(device=chosen))
        run = apc.fit(net, "s+f", "digits", epochs=2, progress=False)
        files.append(folder / f"{device}.h5")
        run.save(files[-1])
    return write_report(files, folder / "page")


@pytest.mark.parametrize("made", ["sweep_page", "run_page"])
def test_a_page_needs_no_other_file_and_says_what_its_pictures_show(made, request):
    path = request.getfixturevalue(made)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    pictures = page.of("img")
    assert len(pictures) == len(list(path.parent.glob("*.png"))) >= 5
    for one in pictures:
        assert one["src"].startswith("data:image/png;base64,")
        assert len(one["alt"]) > 15
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text)
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]*", "", text)
    assert page.of("html")[0]["lang"] == "en"
    assert {"table", "button", "nav", "main", "h1"} <= {tag for tag, _ in page.tags}


def test_the_page_of_a_sweep_shows_its_table(swept, sweep_page):
    text = sweep_page.read_text(encoding="utf-8")
    page = Page(text)
    for row in swept.rows:
        if row["status"] == "finished":
            assert f"{100 * row['test_accuracy']:.2f} %" in page.cells
        else:
            assert any(row["sentence"] in cell for cell in page.cells)
    best = swept.best
    assert f"{100 * best.mean:.2f} ± {100 * best.deviation:.2f} %" in page.cells
    assert "<b>none" not in text  # Texts of files are text, never tags.
    names = {file.stem for file in sweep_page.parent.glob("*.png")}
    assert names >= {"settings", "curves", "heat-map", "field-rule", "field-substrate"}


def test_the_page_of_runs_shows_devices_and_drift(run_page):
    names = {file.stem for file in run_page.parent.glob("*.png")}
    assert names == {
        "learning-curves",
        "energies",
        "conductances",
        "tiles-idealized",
        "tiles-pcm-inference",
        "pulses",
        "drift",
    }
    text = run_page.read_text(encoding="utf-8")
    assert re.search(r"pcm-inference: [1-9]\d* stuck weights", text)
    assert "idealized: 0 stuck weights" in text
    assert "Study of pcm-inference" in text


def browse(path, script, folder):
    """Run a script in the page; return its result and the errors of the browser."""
    text = path.read_text(encoding="utf-8").replace(
        "</body>", f"<script>const said = (() => {{{script}}})(); document.title = JSON.stringify(said);</script></body>"
    )
    copy = folder / "copy.html"
    copy.write_text(text, encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={folder}/profile",
    ]
    command += ["--window-size=390,800", "--virtual-time-budget=3000", "--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(title[1])), console


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("made", ["sweep_page", "run_page"])
def test_a_browser_shows_it_all_and_the_tables_answer(made, request, tmp_path):
    found, console = browse(
        request.getfixturevalue(made),
        """
        const broken = [...document.images].filter(i => !(i.complete && i.naturalWidth > 100)).length;
        const overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        const box = [...document.querySelectorAll(".sorted")].at(-1);
        const column = [...box.querySelectorAll("th")].findIndex(h => h.textContent.includes("test accuracy"));
        const button = box.querySelectorAll("th button")[column];
        button.focus();
        const focused = document.activeElement === button;
        button.click();
        const read = () => [...box.querySelectorAll("tbody tr")].filter(r => !r.hidden).map(r => r.cells[column].dataset.value);
        const up = read(); button.click(); const down = read();
        const input = box.querySelector("input");
        let shown = -1, told = "";
        if (input) {
            input.value = "S+F idealized"; input.dispatchEvent(new Event("input"));
            shown = read().length; told = box.querySelector("output").textContent;
        }
        return {broken, overflow, focused, up, down, shown, told, sort: box.querySelectorAll("th")[column].getAttribute("aria-sort")};
        """,
        tmp_path,
    )
    assert console == []
    assert found["broken"] == 0
    assert found["overflow"] <= 0  # Also in a narrow window only tables scroll sideways.
    assert found["focused"]
    assert found["sort"] == "descending"
    numbers = [float(value) for value in found["up"] if value]
    assert numbers == sorted(numbers)
    assert [float(value) for value in found["down"] if value] == numbers[::-1]
    if made == "sweep_page":
        assert found["shown"] == 2
        assert found["told"] == "2 of 12 rows"


def test_the_command_and_its_refusals(swept, tmp_path, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["report", *map(str, arguments)])
        reported = capsys.readouterr()
        return end.value.code or 0, reported.out, reported.err

    status, out, _ = call(swept.folder, "--out", tmp_path / "page", "--json")
    assert status == 0
    assert Path(json.loads(out)["page"]).exists()
    (tmp_path / "empty").mkdir()
    untrained = tmp_path / "untrained.h5"
    apc.fit(apc.mlp([64, 10]), "bp", "digits", batches=1, progress=False).save(untrained)
    for arguments, sentence in (
        ((tmp_path / "none.h5",), "does not exist"),
        ((tmp_path / "empty",), "is not the folder of a sweep"),
        ((swept.folder, swept.folder), "name one folder"),
        ((untrained,), "no finished epoch"),
    ):
        status, _, err = call(*arguments)
        assert status == 1
        assert sentence in err
        assert "\n" not in err.strip()


def test_records_of_other_versions_are_refused(swept, tmp_path):
    record = json.loads((swept.folder / "sweep.json").read_text())
    for change, sentence in (({"format_version": 2}, "another version"), ({"format": "x"}, "not the record")):
        (tmp_path / "sweep.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(ReportError, match=sentence):
            read_record(tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(ReportError, match="cannot be read"):
        read_record(tmp_path)


def test_values_read_well():
    assert readable(0.98765, True) == "98.77 %"
    assert readable(1234567) == "1,234,567"
    assert readable(1234567.8) == "1,234,568"
    assert readable(0.000123456) == "0.0001235"
    assert readable(True) == "True"
    text = render("<&>", "", [Part("a", "A", tables=[TablePart("t", [{"x": float("nan"), "y": (2.0, "two")}], ["x", "y"])])])
    assert "<&>" not in text
    assert 'data-value="2.0">two<' in text
