"""Studies with axes: many runs from one file, computed by workers, remembered, and brought into one table.

Enters: what varies a study, computes its trials and compares them. A single run is in `training`; pages and pictures are in `report`.
A new kind of axis is a function in `axes`, a new way of proposing values a class in `search`.
"""
