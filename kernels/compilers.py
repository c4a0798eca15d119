"""Compilation of kernels by Numba, in less time and with the same result.

By default Numba makes a complete function of every kernel, with machine code and a wrapper for Python, also if only other kernels call it.
Here such a kernel becomes code of LLVM alone, which is linked into its callers.

For every operation, Numba tries its rules one after the other until one fits, dozens for an addition, and again for every addition. Here
the result is remembered for the types of the operands.

Numba passes over a function 27 times. Here those passes are left out that have nothing to do in kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import typed_passes, types, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.targetconfig import ConfigStack
from numba.core.typing import Context
from typing_extensions import override

_IDLE = (
    untyped_passes.WithLifting,
    untyped_passes.MakeFunctionToJitFunction,
    untyped_passes.InlineInlinables,
    untyped_passes.FindLiterallyCalls,
    untyped_passes.LiteralUnroll,
    untyped_passes.LiteralPropagationSubPipelinePass,
    typed_passes.AnnotateTypes,
    typed_passes.DumpParforDiagnostics,
)
"""Passes for blocks of "with", functions within functions, kernels that Numba and not LLVM is to inline, calls of `literally` and
`literal_unroll`, and for listings of types and of parallel loops."""
_IDLE_WITHOUT_ARRAYS = (untyped_passes.InlineClosureLikes, typed_passes.NopythonRewrites)
"""Passes for comprehensions and for expressions of whole arrays, which make arrays."""

_signatures: dict[Any, Any] = {}
"""Signatures of operations, by operation, types of operands and options of the kernel."""


class _Context(Context):
    """Numba's rules for types, with what they gave before: one view of the context that all functions share."""

    def __init__(self, shared: Context) -> None:
        self.__dict__ = shared.__dict__
        self._shared = shared

    @override
    def __eq__(self, other: object) -> bool:
        return other is self._shared or (isinstance(other, _Context) and other._shared is self._shared)

    @override
    def __hash__(self) -> int:
        return hash(self._shared)

    @override
    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call."""
        operation = isinstance(func, types.Function) or not isinstance(func, types.Type)
        if kws or not operation or not all(isinstance(one, types.Type) and one.is_precise() for one in args):
            return super().resolve_function_type(func, args, kws)
        flags = ConfigStack.top_or_none()
        key = func, args, flags and (flags.error_model, flags.nrt)
        if key not in _signatures:
            _signatures[key] = super().resolve_function_type(func, args, kws)
        return _signatures[key]


class KernelNotKeptError(Exception):
    """A kernel is not in the cache, where nothing is to be compiled."""


_only_kept: list[bool] = []


@contextmanager
def only_kept_kernels() -> Iterator[None]:
    """Within this context, calls of kernels that the cache lacks raise `KernelNotKeptError`."""
    _only_kept.append(True)
    try:
        yield
    finally:
        _only_kept.pop()


class KernelCompiler(Compiler):
    """Compiles a kernel for calls from Python."""

    def __init__(self, typingctx: Any, *rest: Any) -> None:
        if _only_kept:
            raise KernelNotKeptError
        super().__init__(_Context(typingctx), *rest)

    @override
    def define_pipelines(self) -> list[Any]:
        """Return the passes of Numba without those that have nothing to do."""
        idle = _IDLE if self.state.flags.nrt else _IDLE + _IDLE_WITHOUT_ARRAYS
        [passes] = super().define_pipelines()
        passes.passes = [one for one in passes.passes if one[0] not in idle]
        passes._finalized = False
        passes.finalize()
        return [passes]


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


class PartCompiler(KernelCompiler):
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
