"""Assessments: a small fixed protocol of sweeps for a device; which rules learn on it, its limits and its costs.

Contains analyses of devices that consist of sweeps defined in code (`protocol`) and tables derived from them
(`findings`). Idealisations of hardware are in `imperfections`; pages are in `analogpc.report`.
"""
