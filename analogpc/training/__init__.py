"""Training: studies, runs, training steps, optimisers, schedules, evaluation.

Enters: what repeats training steps over data. What one step does is in `rules`; where results are stored is in `files`.
A new optimiser or schedule is a class in `optimisers`.
"""
