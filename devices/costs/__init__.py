"""Costs: counts of reads, conversions and pulses, and their prices.

Contains: meters, schedules, and technology files with prices.
A new price is an entry of a technology file; a new count belongs in `meter`.
"""
