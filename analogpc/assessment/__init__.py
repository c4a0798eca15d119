"""Assessments: a device through a small fixed protocol of sweeps; what learns on it, what limits it, what it costs.

A question about every device enters here if its answer is a sweep that code lays out (`protocol`) and a table that follows from it
(`findings`). What can be made ideal in hardware is in `imperfections`; pages are in `analogpc.report`.
"""
