"""Analysis of networks and rules without weight updates: energies, alignment, residuals, curvature, reads, calibration, robustness.

Contains functions that take a network or a run and return numbers or arrays; they leave the network unchanged.
A new analysis is one module here with its name in the table below; its figure belongs in `analogpc.plot`.
"""

from analogpc.analysis.alignment import Alignment, gradient_alignment
from analogpc.analysis.confidence import Reliability, adaptive_calibration_error, reliability, reliability_curve
from analogpc.analysis.corruption import corrupted, corruption_names
from analogpc.analysis.costs import ReadCounts, read_counts
from analogpc.analysis.curvature import StateHessian, state_hessian_extremes
from analogpc.analysis.energies import RelaxationRecord, energy_profile
from analogpc.analysis.increments import IncrementComparison, ep_against_bptt
from analogpc.analysis.residuals import Residual, residual
from analogpc.analysis.transformations import recoloured, rotated
from analogpc.analysis.undisturbed import directions, exact_copy, undisturbed

__all__ = [
    "Alignment",
    "IncrementComparison",
    "ReadCounts",
    "RelaxationRecord",
    "Reliability",
    "Residual",
    "StateHessian",
    "adaptive_calibration_error",
    "corrupted",
    "corruption_names",
    "directions",
    "energy_profile",
    "ep_against_bptt",
    "exact_copy",
    "gradient_alignment",
    "read_counts",
    "recoloured",
    "reliability",
    "reliability_curve",
    "residual",
    "rotated",
    "state_hessian_extremes",
    "undisturbed",
]
