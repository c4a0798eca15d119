"""``python -m analogpc``."""

from analogpc.cli import main

main()
