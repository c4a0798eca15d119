"""Scripts that measure other libraries; each runs in the Python environment of its library and imports nothing from analogpc.

Modules with a leading underscore are shared by the scripts; `_turns` documents how to write a script.
"""
