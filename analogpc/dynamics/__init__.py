"""Dynamics of states: relaxation of predictive-coding networks and equilibration of recurrent ones.

Contains dynamics shared by several learning rules. A schedule of a single rule belongs to `rules`.
To add a dynamics, add a module here.
"""
