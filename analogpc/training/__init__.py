"""Training: studies, runs, training steps, optimisers, schedules, evaluation.

Contains everything that repeats training steps over data. A single step is defined in `rules`; storage is in `files`.
A new optimiser is a class in `optimisers`, a new schedule a class in `schedules`.
"""
