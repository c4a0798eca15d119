"""Processes in which nothing has happened but the import of the package, for examples that change what a process knows.

On Linux one process imports the package, and the others are forked from it; elsewhere forks are not safe, and each imports it itself.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":
    _CONTEXT.set_forkserver_preload(["analogpc.training.fit", "analogpc.studies.api", "matplotlib.pyplot", "pandas"])


def run(function, *arguments, folder, seconds=500):
    """Call a function of a module in a fresh process, with ``folder`` as working directory; after ``seconds`` it is killed.

    Returns
    -------
    exit status (int), standard output (str), standard error (str)
    """
    with tempfile.TemporaryDirectory() as place:
        process = _CONTEXT.Process(target=_captured, args=(function, arguments, str(folder), place))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
        files = [Path(place) / name for name in ("1", "2")]
        return process.exitcode, *(file.read_text(encoding="utf-8") if file.exists() else "" for file in files)


def _captured(function, arguments, folder, place):
    for number in (1, 2):
        os.dup2(os.open(os.path.join(place, str(number)), os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    function(*arguments)


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
