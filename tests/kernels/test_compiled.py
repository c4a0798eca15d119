"""How kernels are compiled and called: without a cache, and with one that fails."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from analogpc.kernels.compiled import intrinsic

ROOT = Path(__file__).parents[2]

KERNEL = """
import numpy as np
from numba.core import caching

PREPARE
from analogpc.kernels.compiled import compiled

@compiled
def half(x):
    return x / 2

@compiled
def halve(x):
    for i in range(x.size):
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
    text = KERNEL.replace("PREPARE", prepare).replace("MAIN", main.replace("\n", "\n    "))
    # A file that is written again has a new time, which makes what older versions of Numba kept of it useless.
    if not script.exists() or script.read_text() != text:
        script.write_text(text)
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
    """The kernel runs if the disk is full, and if entries of the cache are damaged."""
    broken = f"""
def fail(self, *arguments):
    raise {"OSError(28, 'No space left on device')" if method == "save" else "EOFError('Ran out of input')"}
caching.IndexDataCacheFile.{method} = fail
"""
    printed, warned = run(tmp_path, broken, "print(halved(100))\nprint(halved(50))")
    assert printed == ["200.0", "100.0"]
    assert warned.count("RuntimeWarning") == 1


def test_functions_of_users_may_call_kernels():
    from analogpc.kernels.compiled import compiled

    @compiled
    def one(x):
        return x + 1

    @numba.njit
    def twice(x):
        return one(one(x))

    assert one(1) == one.py_func(1) == 2
    assert twice(1) == 3


@intrinsic("int32(int32, int32)")
def product(builder, x, y):
    return builder.mul(x, y)


@intrinsic(lambda kind: kind(kind))
def negative(builder, x):
    return builder.neg(x)


def test_operations_in_code_of_llvm_have_the_types_of_their_signatures():
    from analogpc.kernels.compiled import compiled

    @compiled
    def both(x):
        return product(x, 3), negative(x)

    assert [both(np.int64(2**32 + 5)), both(np.int16(7))] == [(15, -(2**32) - 5), (21, -7)]


def test_kernels_take_no_kernels_from_the_function_around_them():
    """Numba pickles what a function takes from there into its key, and a kernel is pickled with a random number."""
    from analogpc.kernels.compiled import compiled

    def kernel():
        @compiled
        def inner(x):
            return x + 1

        @compiled
        def outer(x):
            return inner(x)

        return outer

    with pytest.raises(TypeError, match="outer takes the kernel inner"):
        kernel()


def test_functions_for_different_constants_have_different_symbols():
    """Numba numbers its symbols in every process anew, so that equal names from two processes would be one symbol in a third."""
    from analogpc.kernels.compiled import compiled

    def kernel(factor):
        @compiled
        def times(x):
            return factor * x

        return times

    names = [kernel(factor).py_func.__qualname__ for factor in (2, 3, 2)]
    assert names[0] == names[2] != names[1]


def test_nothing_is_compiled_where_only_kept_kernels_are_wanted(tmp_path):
    wanted = """
import gc
from analogpc.kernels.compilers import KernelNotKeptError, only_kept_kernels
for attempt in range(2):
    try:
        with only_kept_kernels():
            print(halved(100))
    except KernelNotKeptError:
        print("compiled", halved(50), gc.isenabled())
"""
    assert run(tmp_path, "", wanted)[0] == ["compiled 100.0 True", "200.0"]
    assert run(tmp_path, "", wanted)[0] == ["200.0", "200.0"]


def test_operations_on_equal_types_may_differ_in_what_they_do_about_division_by_zero():
    """The rules that Numba found for an operation are remembered; this option decides what they mean."""
    from analogpc.kernels.compiled import compiled

    @compiled(error_model="numpy")
    def unchecked(x, y):
        return x / y + x // y

    @compiled
    def checked(x, y):
        return x / y + x // y

    assert np.isinf(unchecked(1.0, 0.0))
    with pytest.raises(ZeroDivisionError):
        checked(1.0, 0.0)
