"""Keyed random numbers.

Contains: generators and distributions that are pure functions of (key, step, index), with their CUDA twins.
A new distribution is a function in `streams`; its use by devices belongs elsewhere.
"""
