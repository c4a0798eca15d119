"""Arrays of devices: conductances, per-device parameters, cells of several devices, reads and ageing.

Enters: whatever holds device state or acts on it with physical verbs (read, pulse, program, elapse).
What a device *is* goes to the rooms of specifications (`responses`, `nonidealities`); what an array is used for goes to `crossbars`.
"""
