"""Files: atomic replacement, trees in HDF5, run files, exports.

Enters: everything that writes or reads files of this project.
A new file format is a new module here, documented in ``docs/files.md``.
"""
