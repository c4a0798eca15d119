"""Compilation of a kernel for other kernels that call it.

By default Numba makes a complete function of every kernel, with machine code and a wrapper for Python, also if only other kernels call it.
Here such a kernel becomes code of LLVM alone, which is linked into its callers. Results have the same bits, and compilation takes less
time.
"""

from __future__ import annotations

from typing import Any

from numba.core import typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import LoweringPass, register_pass
from typing_extensions import override


class _Part(JITCodeLibrary):
    """Code of a kernel for its callers, which optimise it together with their own."""

    @override
    def _optimize_final_module(self) -> None:
        pass

    @override
    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=False, analysis_only=False)
class _Declare(LoweringPass):
    """Makes a kernel known to its callers; Numba does so for machine code only."""

    _name = "analogpc_declare"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Register the code under a key of its own, in place of a function for Python."""
        key = object()
        state.targetctx.insert_user_function(key, state["cr"].fndesc, [state.library])
        state["cr"] = state["cr"]._replace(cfunc=key)
        return True


class PartCompiler(Compiler):
    """Compiles a kernel for calls from other kernels."""

    @override
    def define_pipelines(self) -> list[Any]:
        """Return the passes of Numba up to machine code."""
        state = self.state
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags = state.flags.copy()
        state.flags.no_compile = state.flags.no_cpython_wrapper = True
        [passes] = super().define_pipelines()
        passes._finalized = False
        passes.add_pass_after(_Declare, typed_passes.NativeLowering)
        passes.finalize()
        return [passes]
