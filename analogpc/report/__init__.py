"""Tables, figures and pages about runs, sweeps and devices.

Contains functions that turn results into text, HTML or pictures; they compute nothing that a result file does not hold.
A new page is one module here; figures for notebooks belong in `analogpc.plot`.
"""
