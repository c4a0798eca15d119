"""Operations on channels-last images: patches and pooling, and their transposes.

Enters: every operation that needs to know rows and columns of pixels, with its CUDA twin.
A new operation is a new module here; the block that uses it goes to ``analogpc.blocks``.
"""
