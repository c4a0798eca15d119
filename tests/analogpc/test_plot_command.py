"""`analogpc plot`, and the help of the command line."""

import json

import pytest

import analogpc as apc
from analogpc.commands.app import main


def called(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.fixture
def runs(tmp_path):
    data = apc.load_data("digits").take(64, 20)
    files = []
    for rule in ("bp", "s+f"):
        files.append(str(tmp_path / f"{rule}.h5"))
        apc.fit(apc.mlp([64, 8, 10]), rule, data, epochs=1, progress=False).save(files[-1])
    return files


def test_runs_are_drawn_and_named_by_what_differs(runs, tmp_path, capsys):
    out = str(tmp_path / "two.png")
    code, text, _ = called(capsys, "plot", *runs, "--out", out, "--json")
    assert (code, json.loads(text)["runs"]) == (0, dict(zip(runs, ("bp", "s+f"), strict=True)))
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")
    assert called(capsys, "plot", *runs, "--out", out)[2].count("exists: name another file") == 1
    assert "3 names" in called(capsys, "plot", *runs, *["--name", "a"] * 3, "--out", str(tmp_path / "x.svg"))[2]
    assert "the file name must end in" in called(capsys, "plot", runs[0], "--out", "x.txt")[2]


def test_the_command_line_tells_of_itself(capsys):
    assert called(capsys, "--version")[1] == f"analogpc {apc.__version__}\n"
    assert "plot" in called(capsys, "-h")[1]
    assert "--learning-rate" in called(capsys, "train", "-h")[1]
    for arguments, suggestion in (
        (("trian",), "'train'"),
        (("train", "--epoch", "3"), "--epochs"),
        (("train", "--rule", "s_f"), "did you mean 's+f'?"),
        (("train", "--device", "reramsb"), "did you mean 'reram-sb'?"),
        (("train", "--dataset", "digit"), "did you mean 'digits'?"),
    ):
        code, _, error = called(capsys, *arguments)
        assert code != 0
        assert suggestion in error


def test_names_at_the_top_level_are_found_and_suggested():
    assert {"Crossbar", "preset", "presets", "analysis", "plot", "sklearn", "fit"} <= set(dir(apc))
    assert apc.preset(apc.presets()[0]).name == apc.presets()[0]
    with pytest.raises(AttributeError, match="did you mean 'Crossbar'"):
        _ = apc.crossbr
    assert "apc.sklearn" in apc.__doc__
