"""Texts: splitting, masking and refusals; stopped and resumed runs; generated text."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from token_networks import small_text

import analogpc as apc
from analogpc.commands.app import main
from analogpc.data.samples import DataError
from analogpc.data.text import TextData, text_data
from analogpc.data.text_files import load_text, sentences
from analogpc.data.tokeniser import END, MASK, PAD, SPECIAL, START
from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.random.streams import Key
from analogpc.networks.zoo import transformer
from analogpc.training.language import LanguageRun
from analogpc.training.language_fit import fit_text
from analogpc.training.perplexity import Perplexity, perplexity

pytest.importorskip("tokenizers")
SMALL = {"positions": 8, "features": 8, "hidden": 8, "blocks": 1}


def lines(count=60, seed=0):
    rng = np.random.default_rng(seed)
    words = ["one", "two", "red", "blue", "old", "new", "house", "tree", "river", "stone"]
    return [f"{' '.join(rng.choice(words, rng.integers(3, 7)))} {number}." for number in range(count)]


def test_sentences_end_where_they_should():
    text = "He came. “Who is\nit?” she asked. Mr\n\nNew paragraph! And 3.5 is a number. One"
    assert sentences(text) == ["He came.", "“Who is it?” she asked.", "New paragraph!", "And 3.5 is a number."]


def test_instances_are_marked_and_cut():
    data = small_text()
    for row in np.concatenate([data.train, data.validation, data.test]):
        real = row[row != PAD]
        assert row[0] == START
        assert (row[len(real) :] == PAD).all()
        # One that is cut off has no end.
        assert (real[-1] == END) or len(real) == len(row)
        assert not set(real[1:-1]) & {PAD, START, END, MASK}
    packed = text_data("packed", {"train": lines(), "validation": lines(20, 1), "test": lines(20, 2)}, 40, 8, packed=True)
    assert (packed.train != PAD).all()
    assert (packed.train == END).sum() in (58, 59, 60)


def test_conditional_targets_are_the_next_tokens():
    data = small_text()
    ids, target = data.batch("train", np.arange(5), "conditional", Key(0))
    assert ids.dtype == target.dtype == np.int32
    whole = data.train[:5].astype(int)
    np.testing.assert_array_equal(target[:, 0], np.arange(ids.size))
    np.testing.assert_array_equal(target[:, 1].reshape(ids.shape), np.where(whole[:, 1:] == PAD, -1, whole[:, 1:]))


def test_masked_targets_are_hidden_and_always_the_same_by_key():
    data = small_text(positions=20)
    indices = np.arange(40)
    ids, target = data.batch("train", indices, "masked", Key(3), 7)
    np.testing.assert_array_equal(data.batch("train", indices, "masked", Key(3), 7)[1], target)
    assert (data.batch("train", indices, "masked", Key(3), 8)[1] != target).any()
    whole, counted = data.train[indices][:, :-1].astype(int), target[:, 1] >= 0
    places, labels = target[counted].T
    np.testing.assert_array_equal(whole.reshape(-1)[places], labels)
    assert (ids.reshape(-1)[places] == MASK).all()
    assert (labels >= len(SPECIAL)).all()
    assert len(set(places)) == len(places)
    untouched = np.delete(np.arange(ids.size), places)
    np.testing.assert_array_equal(ids.reshape(-1)[untouched], whole.reshape(-1)[untouched])
    real = (whole >= len(SPECIAL)).sum(axis=1)
    np.testing.assert_array_equal(np.bincount(places // 20, minlength=40), np.maximum(1, np.rint(0.15 * real)))
    as_bert, same = data.batch("train", indices, "masked", Key(3), 7, bert=True)
    np.testing.assert_array_equal(same, target)
    shown = as_bert.reshape(-1)[places]
    assert 0 < (shown != MASK).sum() < len(shown)


def test_tokens_survive_a_file_and_count_characters(tmp_path):
    data = small_text()
    data.save(tmp_path / "tokens.h5")
    other = TextData.load(tmp_path / "tokens.h5")
    assert other.fingerprint == data.fingerprint
    ids = data.train[0]
    said = data.tokeniser.decode(ids)
    assert set(said.split()) <= {"the", "a", "red", "old", "dog", "cat", "sees", "hears", "bird", "."}
    assert data.tokeniser.lengths[ids.astype(int)].sum() == len(said) + 1


def test_perplexity_is_a_mean_over_targets():
    assert Perplexity(10 * np.log(7), 10, 20).value == pytest.approx(7)
    assert Perplexity(10 * np.log(2), 10, 20).bits_per_character == pytest.approx(0.5)
    assert Perplexity(1e6, 10, 20).value == np.inf
    data = small_text()
    network = transformer(40, task="conditional", **SMALL)
    whole = perplexity(network, data, "train")
    assert whole.targets == (data.train[:, 1:] != PAD).sum()
    assert 20 < whole.value < 80
    assert sum(matrix.meter.forward_reads for matrix in network.matrices().values()) == 0


@pytest.mark.parametrize("task", ["masked", "conditional"])
def test_a_run_goes_on_to_the_same_bits(tmp_path, task):
    data, network = small_text(), transformer(40, task=task, **SMALL)
    fields = {"batches": 8, "batch_size": 30, "evaluate_every": 2, "learning_rate": 0.01}
    whole = fit_text(network, "ipc", data, **fields)
    part = LanguageRun(whole.study, network.copy(trained=True), data.tokeniser, data.fingerprint)
    part.network.key_streams(Key(0).fold("run"))
    part.train(data, batches=5, checkpoint=tmp_path / "run.h5")
    rest = LanguageRun.load(tmp_path / "run.h5").train(data)
    assert rest.finished
    assert rest.history["validation_perplexity"] == whole.history["validation_perplexity"]
    for name, matrix in whole.network.matrices().items():
        np.testing.assert_array_equal(rest.network.matrices()[name].weights(), matrix.weights())
    best = int(np.argmin(whole.history["validation_perplexity"]))
    assert whole.best[0] == whole.history["batch"][best]
    assert perplexity(whole.best_network, data, "validation").value == pytest.approx(whole.best[1], rel=1e-6)


def test_models_learn_and_say_something():
    data = small_text()
    run = fit_text(transformer(40, task="conditional", **SMALL), "bp", data, batches=60, learning_rate=0.02)
    assert run.best[1] < 0.6 * run.history["validation_perplexity"][0] or run.best[1] < 12
    said = run.generate("the old", tokens=5, seed=1)
    assert said.startswith("the old")
    assert run.generate("the old", tokens=5, seed=1) == said
    assert run.generate("the", tokens=4, temperature=0) == run.generate("the", tokens=4, temperature=0, seed=9)
    with pytest.raises(DataError, match="generate continues a text"):
        run.fill("the <mask> dog")
    masked = fit_text(transformer(40, task="masked", **SMALL), "bp", data, batches=5, learning_rate=0.02)
    filled = masked.fill("the <mask> dog")
    assert "<mask>" not in filled
    assert filled.startswith("the")
    for text, sentence in (("the dog", "there is no <mask>"), ("the " * 20 + "<mask>", "the model takes 8")):
        with pytest.raises(DataError, match=sentence):
            masked.fill(text)
    with pytest.raises(DataError, match="fill finds its masked tokens"):
        masked.generate("the")


@pytest.mark.parametrize("substrate", [Digital(), Analog(device="idealized")], ids=["digital", "crossbars"])
@pytest.mark.parametrize("task", ["conditional", "masked"])
def test_networks_speak_as_their_runs_do(tmp_path, capsys, task, substrate):
    """From Python, from a file, on other hardware and on the command line: the words of the best evaluation."""
    data = small_text()
    rate = 0.02 if isinstance(substrate, Digital) else 0.5
    run = fit_text(transformer(40, task=task, **SMALL).on(substrate), "bp", data, batches=4, learning_rate=rate)
    file = tmp_path / "run.h5"
    run.save(file)
    network = apc.load(file)
    command = "generate" if task == "conditional" else "fill"
    given = "the old" if task == "conditional" else "the <mask> dog"
    said = getattr(run, command)(given)
    assert said
    for one in (network, run.best_network, network.copy(), pickle.loads(pickle.dumps(network))):
        assert getattr(one, command)(given) == said
    assert getattr(network.on(Analog(device="reram-sb")), command)(given)
    for options, expected in (([], said), (["--device", "idealized"], None)):
        with pytest.raises(SystemExit) as ended:
            main([command, str(file), given, "--json", *options])
        assert not ended.value.code
        reported = json.loads(capsys.readouterr().out)["said"]
        assert reported == expected if expected is not None else reported
    with pytest.raises(DataError, match="so it has no tokeniser"):
        getattr(transformer(40, task=task, **SMALL), command)(given)
    with pytest.raises(DataError, match="networks of the architecture 'mlp' do not model text"):
        getattr(apc.mlp([4, 3]), command)(given)


def test_commands_for_labelled_samples_refuse_language_models(tmp_path, capsys):
    file = tmp_path / "run.h5"
    fit_text(transformer(40, **SMALL), "bp", small_text(), batches=1, learning_rate=0.02).save(file)
    with pytest.raises(SystemExit) as ended:
        main(["plot", str(file)])
    assert ended.value.code
    reported = capsys.readouterr().err
    assert "of language models there are train --resume, eval, generate, fill, report, bill, export and inspect" in reported
    assert "Traceback" not in reported


def test_eval_tells_the_perplexity_after_time_and_on_other_hardware(tmp_path, capsys):
    text, out = tmp_path / "text.txt", tmp_path / "run.h5"
    text.write_text("\n".join(line.capitalize() for line in lines(200)), encoding="utf-8")
    settings = [f"network.{name}={value}" for name, value in {**SMALL, "vocabulary": 60}.items()]
    options = [part for one in settings for part in ("--set", one)]

    def said(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        assert (ended.value.code or 0) == code
        return capsys.readouterr()

    trained = json.loads(
        said("train", "--dataset", f"text:{text}", "--rule", "bp", "--batches", 2, *options, "--out", out, "--json").out
    )
    (found,) = json.loads(said("eval", out, "--json").out)["evaluations"]
    assert found["mean"]["perplexity"] == pytest.approx(trained["run"]["test_perplexity"], rel=1e-6)
    later = json.loads(said("eval", out, "--device", "pcm-inference", "--after", "30d", "--json").out)["evaluations"]
    assert [one["drift_compensation"] for one in later] == [False, True]
    assert all(1 < one["mean"]["perplexity"] < 200 for one in later)
    assert "a digital network does not age" in said("eval", out, "--after", "1d", code=1).err
    assert "--confusion and --data-dir apply to labelled samples" in said("eval", out, "--confusion", code=1).err
    other = tmp_path / "other.txt"
    other.write_text("\n".join(line.upper() for line in lines(200, 5)), encoding="utf-8")
    assert "is not the training text of this run" in said("eval", out, "--data", f"text:{other}", code=1).err
    assert "there is no text" in said("eval", out, "--data", "text:nowhere.txt", code=1).err


def test_rules_that_need_states_behind_layers_are_refused():
    with pytest.raises(ValueError, match="which transformers lack: use bp, pc, ipc or zil"):
        fit_text(transformer(40, **SMALL), "epc", small_text())
    with pytest.raises(DataError, match="the network takes 8 positions of 50 tokens"):
        fit_text(transformer(50, **SMALL), "bp", small_text())


BAD = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\n ", "is empty"),
    "latin": ("Höhle. Über uns.\n".encode("latin-1") * 30, "is not UTF-8: byte 0xf6 at position 1"),
    "utf-16": ("Some text. ".encode("utf-16") * 30, "is not UTF-8"),
    "binary": (bytes(range(256)) * 40, "is not UTF-8"),
    "one short line": (b"Only one sentence is here.", "has only 1 sentence: at least 20 are needed"),
    "null": (b"abc\0def. " * 30, "null character at position 3"),
    "megabyte": (b"word " * 200_000, "has only 1 sentence: at least 20 are needed; for running text without sentences use"),
    "small vocabulary": (
        "\n".join(line.capitalize() for line in lines(200)).encode(),
        "vocabulary = 1000 is more than the training text gives",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_texts_get_one_sentence(tmp_path, capsys, name):
    content, sentence = BAD[name]
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--dataset", f"text:{file}", "--out", str(tmp_path / "run.h5")])
    assert ended.value.code == 1
    reported = capsys.readouterr().err.strip()
    assert sentence in reported
    assert "Traceback" not in reported
    assert not (tmp_path / "run.h5").exists()


@pytest.mark.parametrize("name", BAD)
def test_bad_texts_get_the_same_sentence_from_python(tmp_path, name):
    content, sentence = BAD[name]
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        load_text(tmp_path / "text.txt")


def test_texts_that_are_too_short_get_one_sentence(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("One two. Three four.", encoding="utf-8")
    with pytest.raises(DataError, match=r"has only 1 piece: at least 20 are needed$"):
        load_text(file, instances="packed")
    file.write_text("\n".join(line.capitalize() for line in lines(60)), encoding="utf-8")
    with pytest.raises(DataError, match="held_out = 30 of 60 sentences leaves no training instances"):
        load_text(file, vocabulary=60, held_out=30)
    # Packed text of one window and less has no second one to hold out.
    file.write_text("a b c " * 20, encoding="utf-8")
    with pytest.raises(DataError, match="has only 3 pieces"):
        load_text(file, vocabulary=8, positions=500, instances="packed")


def test_prompts_that_cannot_be_used_get_one_sentence(tmp_path, capsys):
    data, file = small_text(), tmp_path / "run.h5"
    runs = {task: fit_text(transformer(40, task=task, **SMALL), "bp", data, batches=1) for task in ("conditional", "masked")}
    known, unknown = "the old", "日 dog"
    # An empty prompt starts at the beginning; of a long one the last tokens are seen; white space does not matter.
    assert runs["conditional"].generate("", tokens=3) == runs["conditional"].generate("", tokens=3)
    assert runs["conditional"].generate("dog " * 50, tokens=2).startswith("dog dog")
    assert runs["conditional"].generate(" the\n\told ", tokens=3) == runs["conditional"].generate(known, tokens=3)
    assert "<mask>" not in runs["masked"].fill("<mask> a <mask>")
    assert runs["masked"].fill("<mask>")
    for task, command, given, sentence in (
        ("conditional", "generate", unknown, "contains '日', which does not occur in the training text"),
        ("conditional", "generate", "the <mask>", "contains '<mask>', which is not a word but a special token"),
        ("conditional", "fill", "the <mask>", "generate continues a text"),
        ("masked", "fill", "日 <mask>", "contains '日', which does not occur in the training text"),
        ("masked", "fill", "<s> <mask>", "contains '<s>', which is not a word but a special token"),
        ("masked", "fill", "the dog", "there is no <mask>"),
        ("masked", "fill", "", "there is no <mask>"),
        ("masked", "fill", "the " * 20 + "<mask>", "the model takes 8"),
        ("masked", "generate", "the", "fill finds its masked tokens"),
    ):
        with pytest.raises(DataError, match=sentence):
            getattr(runs[task], command)(given)
    runs["masked"].save(file)
    with pytest.raises(SystemExit) as ended:
        main(["fill", str(file), "日 <mask>"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("analogpc: the text contains '日'")


def test_networks_and_data_that_do_not_belong_together_get_one_sentence(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(line.capitalize() for line in lines(60)), encoding="utf-8")
    small = [part for one in ("network.vocabulary=60", "batches=1") for part in ("--set", one)]
    for arguments, sentence in (
        (["--dataset", "digits", "--network", "transformer"], "--network transformer is for texts only"),
        (["--dataset", f"text:{text}", "--network", "mlp", *small], "use --network transformer"),
        # Before the training, not after it.
        (["--dataset", f"text:{text}", "--task", "masked", "--prompt", "one", *small], "there is no <mask> in the text"),
        (["--dataset", f"text:{text}", "--prompt", "日", *small], "does not occur in the training text"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["train", *arguments, "--out", str(tmp_path / "run.h5")])
        assert ended.value.code == 1
        reported = capsys.readouterr().err.strip()
        assert sentence in " ".join(reported.split())
        assert "Traceback" not in reported
        assert "batches:" not in reported
    with pytest.raises(DataError, match="texts need a transformer, not a network of the architecture 'mlp'"):
        fit_text(apc.mlp([4, 3]), "bp", small_text())


def test_texts_that_are_not_there_get_one_sentence(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for path, sentence in ((tmp_path / "none.txt", "there is no text"), (tmp_path / "empty", "contains no text"), ("", "")):
        with pytest.raises(SystemExit) as ended:
            main(["train", "--dataset", f"text:{path}", "--out", str(tmp_path / "run.h5")])
        assert ended.value.code == 1
        reported = capsys.readouterr().err.strip()
        assert sentence in reported
        assert "Traceback" not in reported
        assert len(reported.splitlines()) == 1


def test_one_command_trains_evaluates_and_generates(tmp_path, capsys):
    file, out = tmp_path / "text.txt", tmp_path / "run.h5"
    file.write_text("\n".join(line.capitalize() for line in lines(200)), encoding="utf-8")
    settings = [f"network.{name}={value}" for name, value in {**SMALL, "vocabulary": 60}.items()]
    options = [part for one in settings for part in ("--set", one)]
    common = ["train", "--dataset", f"text:{file}", "--network", "transformer", "--task", "conditional", "--rule", "pc", "--json"]
    # Fields of the rule are laid over the one that is named.
    options += ["--set", "rule.steps=4", "--set", "rule.step_size=0.1"]
    with pytest.raises(SystemExit) as ended:
        main([*common, "--batches", "4", "--prompt", "The", *options, "--out", str(out)])
    assert not ended.value.code
    reported = json.loads(capsys.readouterr().out)
    assert reported["run"]["batches"] == 4
    assert 1 < reported["run"]["test_perplexity"] < 200
    assert reported["run"]["said"]
    assert LanguageRun.load(out).finished
    assert LanguageRun.load(out).study.rule.steps == 4
    # The study of a run is a file from which the same run is made again.
    study = tmp_path / "study.toml"
    study.write_text(LanguageRun.load(out).study.to_toml(), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["train", str(study), "--json", "--out", str(tmp_path / "again.h5")])
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["run"]["test_perplexity"] == reported["run"]["test_perplexity"]
    with pytest.raises(SystemExit):
        main(["train", str(study), "--dataset", "digits", "--out", str(tmp_path / "other.h5")])
    assert "--dataset digits is not a text" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--task", "masked", "--out", str(tmp_path / "other.h5")])
    assert "--task applies to texts" in capsys.readouterr().err


def test_layouts_of_published_texts(tmp_path):
    for folder, names in (
        ("own", ("train.txt", "valid.txt", "test.txt")),
        ("ptb", ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")),
        ("wiki", ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens")),
    ):
        place = tmp_path / folder
        place.mkdir()
        for number, name in enumerate(names):
            (place / name).write_text("\n".join([" = Heading = ", "", *lines(50, number)]), encoding="utf-8")
        data = load_text(place, vocabulary=50, positions=8)
        assert len(data.train) == len(data.test) == (50 if folder == "wiki" else 51)
    (tmp_path / "ptb" / "ptb.test.txt").unlink()
    with pytest.raises(DataError, match=r"ptb.test.txt is missing in the folder of ptb.train.txt"):
        load_text(tmp_path / "ptb")
    billion = tmp_path / "billion"
    for name, files in (("training-monolingual.tokenized.shuffled", 3), ("heldout-monolingual.tokenized.shuffled", 2)):
        (billion / name).mkdir(parents=True)
        for number in range(files):
            path = billion / name / f"news.en.heldout-0000{number}-of-00050"
            path.write_text("\n".join(lines(40, number)), encoding="utf-8")
    data = load_text(billion, vocabulary=50, positions=8, held_out=10, take=70)
    assert (len(data.train), len(data.validation), len(data.test)) == (70, 10, 10)
    with pytest.raises(DataError, match="contains no text"):
        load_text(tmp_path)
