"""What Numba does to compile a kernel: the whole way for calls from Python, a part of it for calls from other kernels.

By default Numba makes a complete function of every kernel: it optimises each alone, generates machine code and a wrapper for Python, and
then does most of it again in every kernel that calls it. Here a kernel that another one calls becomes code of LLVM that has not been
optimised; it is linked into its callers and optimised there, once. Results have the same bits, and compilation takes a quarter less.
"""

from __future__ import annotations

from typing import Any

from numba.core import typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import LoweringPass, register_pass
from typing_extensions import override


class _Library(JITCodeLibrary):
    """Code of a kernel and of what it calls, optimised together. Numba optimises every function before that, which changes little."""

    @override
    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout


class _Part(_Library):
    """Code of a kernel for its callers, which optimise it."""

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


class WholeCompiler(Compiler):
    """Compiles a kernel for calls from Python."""

    @override
    def define_pipelines(self) -> list[Any]:
        """Return the passes of Numba."""
        self.state.library = _Library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return super().define_pipelines()


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
