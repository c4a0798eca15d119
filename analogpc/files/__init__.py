"""Files: atomic replacement, trees in HDF5, run files, exports.

Contains all code that writes or reads files of this project.
To add a file format, add a module here and document it in ``docs/files.md``.
"""
