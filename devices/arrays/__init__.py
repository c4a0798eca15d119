"""Arrays of devices: conductances, per-device parameters, cells of several devices, reads and ageing.

Contains: code that holds device state or acts on it physically (read, pulse, program, elapse).
Device specifications belong in `responses` and `nonidealities`; uses of arrays belong in `crossbars`.
"""
