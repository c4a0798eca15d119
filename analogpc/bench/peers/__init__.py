"""Scripts that measure peers; each is run by a Python of its own, in which the peer is installed, and imports nothing of ours."""
