"""``python -m analogpc``."""

from analogpc.commands.app import main

main()
