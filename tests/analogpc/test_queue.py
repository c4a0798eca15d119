"""The queue of GPU jobs (tools/gpu): its page, the order of jobs, and jobs that run programs."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from queue_pages import (
    PAGE,
    ROOT,
    TRAIN,
    WRITES,
    bench,
    called,
    page_in,
    queue_machine,
    queue_page,
    queue_programs,
    run_next,
    section,
    states,
)

from analogpc.bench import WORKLOADS
from analogpc.kernels.gpu import arrays as gpu
from analogpc.networks.crnn import hopfield_cnn
from analogpc.networks.hopfield_resnet import hopfield_resnet
from analogpc.training.study import Study


@pytest.fixture
def page(tmp_path):
    return page_in(tmp_path)


# --- the page


def test_the_page_of_the_repository_can_be_run():
    entries = queue_page.read_page(PAGE)
    first = ["gpu-tests", "bench", "epochs-small", "epochs-large", "ipc", "vgg5-sf", "vgg5-pc", "mlp-reram-sb", "vgg5-idealized"]
    assert [entry.name for entry in entries][: len(first)] == first
    for entry in entries:
        assert entry.words, entry.name
        for pointer in re.findall(r"\]\((.+?)\)", entry.remark):
            assert (PAGE.parent / pointer).stat().st_size < 5e6
        if isinstance(entry.job, queue_page.TrainJob):
            for seed in entry.job.seeds:
                assert Study.from_toml(entry.job.with_seed(seed).to_toml()).seed == seed
        elif isinstance(entry.job, queue_page.BenchJob):
            assert "{out}" in entry.job.arguments
            named = [word for word in entry.job.arguments if word.endswith(".py")]
            assert all((ROOT / script).exists() for script in named)
            if not named:
                chosen = entry.job.arguments[entry.job.arguments.index("bench") + 1 : entry.job.arguments.index("--backend")]
                assert set(chosen) <= set(WORKLOADS)


def test_published_settings_are_those_of_the_sources():
    jobs = {entry.name: entry.job for entry in queue_page.read_page(PAGE)}
    sf, pc = (jobs[name].with_seed(0) for name in ("vgg5-sf", "vgg5-pc"))
    # DeepPCNs, hps/example.yaml; T as in their Table 6.
    assert (sf.rule.steps, sf.rule.step_size, sf.rule.momentum, sf.rule.base_precision) == (5, 0.803756844383156, 0.1, 0.001)
    assert (sf.optimiser.learning_rate, sf.optimiser.weight_decay) == (0.0007512356633853034, 3.173334999061517e-05)
    assert (sf.rule.precision, sf.rule.update, sf.rule.nesterov) == ("spiking", "forward", True)
    # PCX 0.6.1, VGG5_PCN_SE.yaml.
    assert (pc.rule.steps, pc.rule.step_size, pc.rule.momentum, pc.rule.precision) == (7, 0.02348681827141059, 0.3, "standard")
    assert (pc.optimiser.learning_rate, pc.optimiser.weight_decay, pc.epochs) == (
        0.0002657691155688603,
        0.0066559627972820395,
        50,
    )
    assert {(case.network.depth, case.network.activation, case.batch_size) for case in (sf, pc)} == {(5, "gelu", 128)}
    # dhcnresnet.py of Elayedam and Srinivasan.
    residual = jobs["hopfield-resnet13"].with_seed(0)
    assert residual.network == hopfield_resnet()
    assert (residual.rule.beta, residual.rule.steps, residual.optimiser.weight_decay) == (0.1, 50, 2.5e-4)
    # Lin et al., and the rates of Kerjan et al. (Tables 7 and 8), which end at 1e-6 and 2e-6.
    for depth, steps in ((11, 400), (13, 140)):
        local = jobs[f"lin-vgg{depth}-local-errors"].with_seed(0)
        assert local.network == hopfield_cnn(f"crnn-vgg{depth}", classes=100, steps=steps, heads=(2, 4, 6, 8))
    for name, end in (("kerjan-vgg5", 1e-6), ("kerjan-vgg5-ce", 1e-6), ("kerjan-vgg5-imagenet32", 1e-6), ("kerjan-vgg10", 2e-6)):
        optimiser = jobs[name].with_seed(0).optimiser
        assert optimiser.learning_rate * optimiser.schedule.end == pytest.approx(end)


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ([], "has no job below the heading '## Jobs'"),
        ([section("a", bench(1)), section("a", bench(1))], "there are two jobs with the name 'a'"),
        ([section("A b", bench(1))], "'A b' cannot be the name of a job"),
        (
            [section("a", bench(1), state="ready")],
            "the job 'a' has the state 'ready', which is not one of open, begun, done, failed",
        ),
        ([section("a", bench(1)) + "State: open\n"], "it has 2 and 1"),
        ([section("a", "kind = ")], "the settings of the job 'a' are not TOML"),
        ([section("a", 'kind = "walk"')], "the job 'a' has the kind 'walk', which is not one of tests, bench, train"),
        ([section("a", bench(-1))], "the job 'a': BenchJob: minutes = -1 is not allowed"),
        ([section("a", TRAIN.replace("epochs = 3", "epochs = 0"))], "the job 'a': Study: epochs = 0 is not allowed"),
        ([section("a", TRAIN + "seed = 3")], "study.seed has no place beside 'seeds'"),
        ([section("a", TRAIN.replace("[0, 1]", "[]"))], "seeds = "),
    ],
)
def test_a_page_that_cannot_be_is_refused_in_a_sentence(page, capsys, sections, sentence):
    assert called(page(*sections), "--list") == 1
    error = capsys.readouterr().err
    assert error.startswith("run_next: ")
    assert sentence in error
    assert error.count("\n") == 1


def test_a_state_is_one_line_of_one_job(page):
    path = page(section("a", bench(1)), section("b", bench(1), state="begun: yesterday"), section("c", bench(1)))
    before = path.read_text(encoding="utf-8").splitlines()
    queue_page.write_state(path, "b", "done", "today;\n[x](y)")
    after = path.read_text(encoding="utf-8").splitlines()
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert changed == [("State: begun: yesterday", "State: done: today; [x](y)")]
    assert [(e.state, e.remark) for e in queue_page.read_page(path)] == [("open", ""), ("done", "today; [x](y)"), ("open", "")]


# --- what comes next


def test_the_first_job_that_waits_and_fits_comes_next(page, capsys):
    path = page(
        section("finished", bench(1), state="done"),
        section("broken", bench(1), state="failed: why"),
        section("long", bench(8)),
        section("short", bench(2), state="begun"),
        section("shorter", bench(1)),
    )
    entries = queue_page.read_page(path)

    def following(minutes, *passed_over, wanted=None):
        return run_next.next_job(entries, minutes, set(passed_over), wanted).name

    assert following(8.0) == following(7.99) == "long"  # the clock has begun to run
    assert following(5.0) == "short"
    assert following(8.0, "long", "short") == "shorter"
    assert following(2.0, wanted="broken") == "broken"
    assert run_next.next_job(entries, 9.0, {"long", "short", "shorter"}) is None
    for minutes, wanted, sentence in [
        (0.5, None, "0.5 minutes are too few: of the pending jobs, 'shorter' needs the least, 1 minutes"),
        (5.0, "long", "5.0 minutes are too few: 'long' needs 8 minutes"),
        (5.0, "none", "there is no job 'none'; the jobs are finished, broken, long, short, shorter"),
        (5.0, "finished", "the job 'finished' is done: set its state to open to run it again"),
    ]:
        with pytest.raises(queue_page.QueueError, match=re.escape(sentence)):
            run_next.next_job(entries, minutes, set(), wanted)
    assert called(path, "--dry-run", minutes=5) == 0
    assert re.findall(r"^\w+", capsys.readouterr().out, re.MULTILINE) == ["short", "shorter"]
    assert called(path, minutes=-1) == 1
    assert "--minutes = -1 is not allowed" in capsys.readouterr().err


def test_programs_run_one_after_the_other_and_leave_results(page, tmp_path, capsys):
    path = page(
        section("good", bench(0, WRITES)),
        section("silent", bench(0)),
        section("bad", bench(0, "import sys; print('before'); sys.exit('it broke')")),
    )
    assert called(path, "--out", str(tmp_path / "out")) == 1
    assert states(path) == {"good": "done", "silent": "failed", "bad": "failed"}
    records = {name: json.loads((path.parent / "results" / f"{name}.json").read_text()) for name in states(path)}
    assert (records["good"]["measured"], records["good"]["job"]) == (7, "good")
    assert records["good"]["queue"]["machine"]["numpy"] == np.__version__
    assert (records["bad"]["exit_status"], records["bad"]["tail"]) == (1, ["before", "it broke"])
    remarks = {entry.name: entry.remark for entry in queue_page.read_page(path)}
    assert "it broke; [results/bad.json](results/bad.json)" in remarks["bad"]
    assert "it wrote no results" in remarks["silent"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["QUEUE.md", "bad.json", "good.json", "silent.json"]
    assert (tmp_path / "out" / "QUEUE.md").read_bytes() == path.read_bytes()
    capsys.readouterr()
    assert called(path) == 0
    assert capsys.readouterr().out == "No pending jobs: every job is done or has failed.\n"


def test_without_a_gpu_nothing_is_begun(page, monkeypatch, capsys):
    path = page(section("a", bench(0, WRITES, backend="gpu")))
    before = path.read_bytes()
    monkeypatch.setitem(sys.modules, "cupy", None)
    gpu.cupy.cache_clear()
    try:
        assert called(path) == 1
    finally:
        gpu.cupy.cache_clear()
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("run_next: the backend 'gpu' needs CuPy")
    assert path.read_bytes() == before


def test_a_job_without_its_data_is_passed_over(page, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    path = page(section("a", TRAIN.replace('"digits"', '"mnist"').replace("64, 12", "784, 12")), section("b", bench(0, WRITES)))
    assert called(path, "--data-dir", str(tmp_path / "empty")) == 1
    assert "a is skipped" in capsys.readouterr().err
    assert states(path) == {"a": "open", "b": "done"}


# --- tests as jobs


def test_tests_are_counted_and_failures_named(page, tmp_path):
    script = tmp_path / "test_three.py"
    script.write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 == 2, 'one is not two'\n"
        "def test_left_out(): pytest.skip('no reason')\n"
    )
    settings = 'kind = "tests"\nbackend = "cpu"\nminutes = 0\narguments = {}'
    path = page(
        section("all", settings.format(json.dumps([str(script)]))),
        section("some", settings.format(json.dumps([str(script), "-k", "not bad"]))),
        section("none", settings.format(json.dumps([str(script), "-k", "left_out"]))),
    )
    assert called(path, minutes=5) == 1
    assert states(path) == {"all": "failed", "some": "done", "none": "failed"}
    record = json.loads((path.parent / "results" / "all.json").read_text())
    assert (record["passed"], record["failed"], record["skipped"]) == (1, 1, 1)
    assert record["failures"][0]["test"].endswith("test_three::test_bad")
    assert "one is not two" in record["failures"][0]["message"]
    assert "no reason" in next(iter(record["skip_reasons"]))


def test_tests_that_outlast_the_budget_are_stopped(tmp_path, monkeypatch):
    script = tmp_path / "test_long.py"
    script.write_text("import time\ndef test_good(): pass\ndef test_long(): time.sleep(600)\n")
    monkeypatch.setattr(queue_programs, "_RESERVE", 0.0)
    job = queue_page.PytestJob(minutes=0, backend="cpu", arguments=(str(script),))
    outcome = queue_programs.run_tests(job, queue_machine.Budget(5.0))
    assert outcome.state == "begun"
    assert "needs a larger budget" in outcome.remark
    assert outcome.record["stopped_by_budget"]
    assert outcome.record["seconds"] < 60
    # If pytest was up within that time, which on a busy machine it may not be, it has told what it found.
    assert outcome.record.get("passed", 1) == 1
