"""How kernels are compiled and called: without a cache, from several threads, after a fork."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

ROOT = Path(__file__).parents[2]

KERNEL = """
import sys
import threading
import warnings
import multiprocessing

import numba as nb
import numpy as np
from numba.core import caching

PREPARE
from analogpc.kernels.compiled import ForkError, compiled

@compiled
def half(x):
    return x / 2

@compiled(parallel=True)
def halve(x):
    for i in nb.prange(x.size):
        x[i] = half(x[i])

def halved(n):
    x = np.full(n, 4.0)
    halve(x)
    return float(x.sum())

if __name__ == "__main__":
    MAIN
"""


def run(tmp_path, prepare, main, **environment):
    """Return the output of a process that defines kernels after ``prepare`` and runs ``main``."""
    script = tmp_path / "script.py"
    script.write_text(KERNEL.replace("PREPARE", prepare).replace("MAIN", main.replace("\n", "\n    ")))
    whole = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": "2", "NUMBA_CACHE_DIR": str(tmp_path), **environment}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=whole, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1], done.stderr


def test_no_place_for_a_cache_costs_compiling_and_one_warning(tmp_path):
    refuse = """
def refuse(self):
    raise OSError("read-only")
for found in vars(caching).values():
    if isinstance(found, type) and issubclass(found, caching._CacheLocator):
        found.ensure_cache_path = refuse
"""
    printed, warned = run(tmp_path, refuse, "print(halved(100))")
    assert printed == ["200.0"]
    assert warned.count("RuntimeWarning") == 1
    assert "NUMBA_CACHE_DIR" in warned


@pytest.mark.parametrize("method", ["save", "load"])
def test_a_cache_that_fails_later_is_given_up(method, tmp_path):
    """A full disk, and damaged entries: whatever goes wrong in the cache, the kernel runs."""
    broken = f"""
def fail(self, *arguments):
    raise {"OSError(28, 'No space left on device')" if method == "save" else "EOFError('Ran out of input')"}
caching.IndexDataCacheFile.{method} = fail
"""
    printed, warned = run(tmp_path, broken, "print(halved(100))\nprint(halved(50))")
    assert printed == ["200.0", "100.0"]
    assert warned.count("RuntimeWarning") == 1


def test_threads_take_turns_where_the_pool_is_not_made_for_several(tmp_path):
    """Numba's own pool ends the process with SIGABRT at the first call that meets another."""
    main = """
def go():
    for _ in range(300):
        results.append(halved(40_000))
results = []
threads = [threading.Thread(target=go) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(nb.threading_layer(), set(results))
"""
    printed, _ = run(tmp_path, "", main, NUMBA_THREADING_LAYER="workqueue")
    assert printed == ["workqueue {80000.0}"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_a_forked_process_computes_or_tells_its_parent_why_not(layer, tmp_path):
    main = """
halved(100)
with multiprocessing.get_context("fork").Pool(1) as pool:
    try:
        print(pool.apply_async(halved, (100,)).get(60))
    except ForkError as error:
        print("forked" if "get_context('spawn')" in str(error) else error)
"""
    printed, _ = run(tmp_path, "warnings.simplefilter('ignore', DeprecationWarning)", main, NUMBA_THREADING_LAYER=layer)
    assert printed in (["200.0"], ["forked"])
    assert layer == "default" or printed == ["200.0"]


def test_kernels_remain_what_numba_made_of_them():
    from analogpc.kernels.compiled import compiled

    @compiled
    def one(x):
        return x + 1

    assert one(1) == one.py_func(1) == 2
    assert isinstance(one, type(numba.njit(one.py_func)))
