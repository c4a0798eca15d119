"""Studies with axes: many runs from one file, computed by workers, stored, and collected in one table.

Contains the axes of studies, the computation of trials and their comparison. Single runs are in `training`, pages and figures in `report`.
A new kind of axis is a function in `axes`, a new search method a class in `search`.
"""
