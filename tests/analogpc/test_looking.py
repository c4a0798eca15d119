"""Displays of networks, runs, data, devices and crossbars: short texts, tables, figures, the progress bar of a notebook."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.names import unit_of
from analogpc.plot.shared import names_of
from analogpc.training import progress


@pytest.fixture(scope="module")
def runs():
    data = apc.load_data("digits").take(96, 40)
    net = apc.mlp([64, 12, 10], substrate=apc.Analog(device="reram-sb"))
    how = {"epochs": 2, "batch_size": 32, "progress": False, "learning_rate": 0.1, "optimiser": "sgd"}
    return [apc.fit(one, rule, data, **how) for one in (net, net.on(apc.Digital())) for rule in ("bp", "s+f")]


def well_formed(text):
    """HTML as these tables have it is XML."""
    return ET.fromstring(text)


def test_texts_are_one_line_and_tables_are_html(runs):
    data = apc.load_data("digits")
    for thing in (runs[0], runs[0].network, data, apc.Crossbar(np.eye(3)), apc.preset("pcm-inference")):
        assert "\n" not in repr(thing)
        assert len(repr(thing)) < 250
        well_formed(thing._repr_html_())
    assert repr(runs[1]).startswith("Run(digits, rule s+f, crossbars of reram-sb, 2 of 2 epochs, test accuracy ")
    assert "1,437 train, 360 test" in repr(data)
    assert "910 parameters, crossbars of reram-sb" in repr(runs[0].network)
    rows = well_formed(runs[0].network._repr_html_()).findall(".//tr")
    assert len(rows) == 1 + 2
    strange = apc.Dataset.from_arrays(np.eye(2), ["<b>", "&"], name="<script>")
    assert "<script>" not in strange._repr_html_()


def test_runs_are_named_by_what_differs(runs):
    assert names_of(runs) == ["bp, reram-sb", "s+f, reram-sb", "bp, digital", "s+f, digital"]
    assert names_of(runs[:2]) == ["bp", "s+f"]
    twice = names_of([runs[0], runs[0]])
    assert twice == ["1: reram-sb", "2: reram-sb"]


def test_any_number_of_runs_is_drawn(runs):
    figure = runs[0].plot(*runs[1:])
    assert [axes.get_title() for axes in figure.axes] == [
        "Accuracy (dotted: training)",
        "Loss (dotted: training)",
        "Prediction errors, last epoch",
        "Conductances (dotted: window)",
    ]
    drawn = figure.axes[0].get_lines()
    np.testing.assert_array_equal(drawn[0].get_ydata(), runs[0].history["test_accuracy"])
    assert len(drawn) == 8
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(apc.plot.learning(*runs * 5).axes[1].get_lines()) == 40
    with pytest.raises(ValueError, match="at least one run"):
        apc.plot.runs()


def test_devices_crossbars_and_confusions_are_drawn(runs):
    a = apc.Crossbar(np.random.default_rng(0).normal(size=(20, 30)), "pcm-inference", rows=16, columns=16)
    assert len(apc.plot.tiles(a).axes) >= 6
    assert apc.plot.conductances(runs[0], a).axes[0].get_xlabel() == "conductance (µS)"
    assert len(apc.plot.tiles(runs[0], "layer2.0.weight").axes) >= 3
    with pytest.raises(ValueError, match=r"no matrix on crossbars 'layer3\.0\.weight'"):
        apc.plot.tiles(runs[0], "layer3.0.weight")
    with pytest.raises(ValueError, match="the network is digital"):
        apc.plot.conductances(runs[2])
    drawn = apc.plot.pulse_response("reram-sb", "ecram", population=4)
    assert [line.get_label() for line in drawn.axes[0].get_lines() if not line.get_label().startswith("_")] == [
        "reram-sb",
        "ecram",
    ]
    with pytest.raises(ValueError, match="programmed, not pulsed"):
        apc.plot.pulse_response("pcm-inference")
    data = apc.load_data("digits").take(96, 40)
    assert len(apc.plot.confusion(runs[0].confusion(data)).axes) == 2
    x, t = data.inputs("test", np.arange(8)), np.eye(10)[data.test_labels[:8]]
    assert apc.plot.energies(runs[2].network, "pc", x, t).axes


@pytest.mark.parametrize(("value", "unit"), [(3.2e-5, "µ"), (2e-9, "n"), (0.5, "m"), (5, ""), (1e-12, "p"), (1e-15, "f")])
def test_units_read_well(value, unit):
    assert unit_of(value)[1] == unit


def test_the_bar_of_a_notebook_is_html(monkeypatch):
    shown = []

    class Handle:
        def update(self, thing):
            shown.append(thing)

    display = pytest.importorskip("IPython.display")
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(display, "display", lambda thing, display_id: shown.append(thing) or Handle())
    apc.fit(apc.mlp([64, 10]), "bp", apc.load_data("digits").take(96, 40), epochs=2, batch_size=32)
    for thing in shown:
        well_formed(thing.data)
    assert 'value="6" max="6"' in shown[-1].data
    assert "test " in shown[-1].data
