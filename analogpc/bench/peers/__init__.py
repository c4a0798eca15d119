"""Scripts that measure peers; each is run by a Python of its own, in which the peer is installed, and imports nothing of ours.

Modules whose names start with an underscore are no peers, but what their scripts share; `_turns` documents how a script is made.
"""
