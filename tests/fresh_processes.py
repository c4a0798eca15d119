"""Processes that have imported the package and done nothing else, for examples that register rules or are killed.

On Linux one process imports the package, and the others are forked from it. Elsewhere forks are not safe, and each process imports it.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
# What most of them need; the package itself imports some of it late.
_NEEDED = [
    "numba",
    "h5py",
    "pandas",
    "matplotlib.pyplot",
    "analogpc.studies.api",
    "analogpc.training.run",
    "analogpc.files.export",
]
if sys.platform == "linux":
    _CONTEXT.set_forkserver_preload(_NEEDED)


def run(function, *arguments, folder, seconds=500):
    """Call a function of a module in a fresh process, with ``folder`` as working directory; after ``seconds`` it is killed.

    Returns
    -------
    exit status (int), standard output (str), standard error (str)
    """
    with tempfile.TemporaryDirectory() as place:
        process = start(_captured, function, arguments, place, folder=folder)
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
        files = [Path(place) / name for name in ("1", "2")]
        return process.exitcode, *(file.read_text(encoding="utf-8") if file.exists() else "" for file in files)


def start(function, *arguments, folder):
    """Start such a process and return it."""
    process = _CONTEXT.Process(target=_inside, args=(str(folder), function, arguments))
    process.start()
    return process


def pipe():
    """Return the two ends of a pipe, of which one may be given to a process: for receiving, and for sending."""
    return _CONTEXT.Pipe(duplex=False)


def _inside(folder, function, arguments):
    os.chdir(folder)
    function(*arguments)


def _captured(function, arguments, place):
    for number in (1, 2):
        os.dup2(os.open(os.path.join(place, str(number)), os.O_WRONLY | os.O_CREAT), number)
    function(*arguments)


def command(*words):
    """Run a command of the package."""
    from analogpc.commands.app import main

    main(list(words))


def write_for_ever(path, ready):
    """Send a message, then write a file again and again."""
    import numpy as np

    from analogpc.files.storage import write_file

    ready.send("ready")
    n = 0
    while True:
        n += 1
        write_file(path, "test", {"n": n, "array": np.full(400_000, n, np.float64)})


def script(path):
    """Run a file as a script."""
    runpy.run_path(path, run_name="page")


def cells(sources):
    """Execute the cells of a notebook in IPython, and show their values."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    for source in sources:
        shell.run_cell(source).raise_error()


def site(pages, folder):
    """Build the documentation site; a warning is an error."""
    from sphinx.cmd.build import main

    sys.exit(main(["-W", "-q", "-b", "html", pages, folder]))
