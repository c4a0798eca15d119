"""Bills of language models: recorded with every batch, kept by files, by column of the history and by command."""

from __future__ import annotations

import json

import pytest
from token_networks import small_text

from analogpc import transformer
from analogpc.commands.app import main
from analogpc.devices.costs.technology import TechnologyError
from analogpc.devices.substrate import Analog
from analogpc.training.language import LanguageRun
from analogpc.training.language_fit import begin_text, fit_text

SMALL = {"positions": 8, "features": 8, "hidden": 8, "blocks": 1, "dtype": "float32"}
FIELDS = {"batches": 4, "batch_size": 40, "evaluate_every": 2, "learning_rate": 0.1, "technology": "isaac-32nm"}


def test_a_language_model_on_crossbars_is_billed_by_epoch_and_after_a_break(tmp_path, capsys):
    data, network = small_text(), transformer(40, task="conditional", **SMALL).on(Analog(device="idealized"))
    whole = fit_text(network, "bp", data, **FIELDS)
    bill = whole.bill("isaac-32nm")
    assert whole.history["joules"][-1] == bill.joules > whole.history["joules"][0] > 0
    assert whole.history["latency_seconds"][-1] == bill.seconds > 0
    assert bill.by_part()["pulses"] > 0
    # Two batches are an epoch of the 80 sentences.
    assert whole.bill(epochs=1).joules == pytest.approx(whole.history["joules"][0], rel=1e-12)
    assert sum(tally.samples for tally in whole.ledger.epochs) == 160
    part = begin_text(whole.study, data, network).train(data, batches=3, checkpoint=tmp_path / "run.h5")
    assert part.bill().joules < bill.joules
    rest = LanguageRun.load(tmp_path / "run.h5").train(data, checkpoint=tmp_path / "run.h5")
    assert rest.history["joules"] == whole.history["joules"]
    with pytest.raises(SystemExit) as ended:
        main(["bill", str(tmp_path / "run.h5"), "--json"])
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["bill"]["joules"] == pytest.approx(bill.joules, rel=1e-12)


def test_a_look_up_is_billed_as_one_word_line():
    """A look-up drives one line, fetches one index, and converts the outputs of the one array that the line crosses."""
    data, substrate = small_text(), Analog(device="idealized", rows=16, columns=16)
    run = fit_text(transformer(40, task="conditional", **SMALL).on(substrate), "bp", data, **{**FIELDS, "batches": 1})
    meter, count = run.network.matrices()["layer1.0.weight"].meter, 40 * 8
    assert meter.look_ups == meter.forward_reads == count
    assert meter.conversions_in == count
    assert meter.conversions_out == count * 8
    moved = {one.what: one.count for one in run.bill().trace("buffers") if one.matrix == "layer1.0.weight"}
    assert moved == {"inputs and outputs": count * (1 + 8)}


def test_an_unknown_technology_is_refused_before_training():
    data, network = small_text(), transformer(40, task="conditional", **SMALL)
    with pytest.raises(TechnologyError, match="no technology"):
        fit_text(network, "bp", data, **{**FIELDS, "technology": "isaac"})
