"""Operations on channels-last images: patches and pooling, and their transposes.

Contains: operations that depend on the rows and columns of pixels, with their CUDA twins.
A new operation is one new module here; the block that uses it belongs in ``analogpc.blocks``.
"""
