"""Pictures of runs, devices and crossbars: functions that return a matplotlib figure.

Enters: what draws. Each function takes things of the other rooms and gives a `Figure` that shows itself in a notebook and can be
saved with ``figure.savefig``. No function needs a display, or changes matplotlib's settings.
"""
