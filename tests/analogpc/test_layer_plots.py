"""Figures of layers show the given numbers."""

import numpy as np
from matplotlib.figure import Figure

from analogpc.analysis import RelaxationRecord
from analogpc.report.layers import draw_by_layer, draw_energy_maps


def test_curves_are_drawn_over_layers_with_gaps_for_zeros():
    axes = Figure().subplots()
    draw_by_layer(axes, {"a": np.array([0.0, 1e-3, 1.0]), "b": np.array([2.0, 1.0, 0.5])}, label="energy")
    one, other = axes.get_lines()
    np.testing.assert_array_equal(one.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(one.get_ydata(), [np.nan, 1e-3, 1.0])
    np.testing.assert_array_equal(other.get_ydata(), [2.0, 1.0, 0.5])
    assert (axes.get_yscale(), axes.get_ylabel()) == ("log", "energy")
    assert one.get_color() != other.get_color()


def test_maps_share_a_scale_and_leave_silence_white(tmp_path):
    energies = np.array([[0.0, 1.0], [1e-2, 0.5], [2e-2, 0.4]])
    records = {
        "PC": RelaxationRecord(energies, energies, energies[-1]),
        "S+F": RelaxationRecord(energies / 4, energies, energies[-1]),
    }
    figure = Figure(layout="constrained")
    draw_energy_maps(figure, records, lowest=1e-4)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["PC", "S+F"]
    for axes, factor in zip(panels, (1, 0.25), strict=True):
        mesh = axes.collections[0]
        shown = mesh.get_array().reshape(2, 3)
        np.testing.assert_array_equal(shown.mask, [[True, False, False], [False] * 3])
        np.testing.assert_allclose(shown.filled(0), factor * energies.T)
        assert (mesh.norm.vmin, mesh.norm.vmax) == (1e-4, 1.0)
    figure.savefig(tmp_path / "maps.png")
