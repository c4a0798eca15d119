"""What it costs: counts of reads, conversions and pulses.

Enters: meters, schedules, and technology files with prices.
A new price is an entry of a technology file; a new count goes to `meter`.
"""
