"""How states move: relaxation of predictive-coding networks and equilibration of recurrent ones.

Enters: dynamics that several learning rules share. A schedule that belongs to one rule goes to `rules`.
A new dynamics is a new module here.
"""
