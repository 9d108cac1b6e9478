"""Machine code that stands alone: what it calls is inside of it, whatever else was loaded.

Where compiled functions call one another, numba keeps a copy of what is called in each that calls
it, and the first copy that is loaded in a process serves them all. Every copy was optimised along
with what is around it, so the last places of a result would depend on what ran before, and on
what was compiled here and what was read from the disk. Here a function's copies are its own.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["packed", "pipeline", "unpacked"]

NUMBERS = ("none", "boolean", "int16", "int32", "int64", "uint64", "float32", "float64")
"""The types that what is kept may name."""


def pipeline(mark: str | None) -> Any:
    """Return the class by which numba compiles a function into code that stands alone.

    Args:
        mark: tells the function from all others, in any process; without one a number does,
            which is of this process.
    """
    core, bytecode = (import_module(f"numba.core.{name}") for name in ("compiler", "bytecode"))

    class Alone(core.Compiler):  # type: ignore[misc,name-defined]
        def compile_extra(self, function: Any) -> Any:
            state = self.state
            state.func_id = bytecode.FunctionIdentity.from_function(function)
            if mark is not None:
                state.func_id.unique_id = mark
                state.func_id.unique_name = f"{state.func_id.func_qualname}${mark}"
            # What numba writes itself is compiled as the first that asks for it is: never shared.
            state.targetctx = state.targetctx.subtarget(mangler=_named, cached_internal_func={})
            core.ExtractByteCode().run_pass(state)
            state.lifted, state.lifted_from = (), None
            state.library = _library()(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            return self._compile_bytecode()

    return Alone


def _named(name: str, kinds: Any, *, abi_tags: Any = (), uid: Any = None) -> str:
    """Return the name of a function's code, which numba's flags have no part in, as a set's text
    changes from process to process."""
    found: str = import_module("numba.core.itanium_mangler").mangle(name, kinds, uid=uid)
    return found


@cache
def _library() -> Any:
    binding, codegen = import_module("llvmlite.binding"), import_module("numba.core.codegen")

    class Library(codegen.JITCodeLibrary):  # type: ignore[misc,name-defined]
        """One function's code; its names are its own, all that was linked to it is internal."""

        own: frozenset[str] = frozenset()
        bitcode: bytes = b""

        def finalize(self) -> None:
            parts = (self._final_module.functions, self._final_module.global_variables)
            self.own = frozenset(
                each.name for part in parts for each in part if not each.is_declaration
            )
            super().finalize()
            # As when it is read: those that link it get what was written, not what wrote it.
            self.bitcode = super()._get_module_for_linking().as_bitcode()
            self._shared_module = None

        def _finalize_final_module(self) -> None:
            module = self._final_module
            for each in (*module.functions, *module.global_variables):
                if not each.is_declaration and each.name not in self.own:
                    each.linkage = "internal"
            super()._finalize_final_module()

        def _get_module_for_linking(self) -> Any:
            self._ensure_finalized()
            if self._shared_module is None:
                self._shared_module = binding.parse_bitcode(self.bitcode)
            return self._shared_module

        def load(self, code: bytes, bitcode: bytes, names: tuple[str, ...]) -> None:
            """Take machine code that was made before, and what others may link."""
            self.bitcode = bitcode
            self.enable_object_caching()
            self._set_compiled_object(code)
            self._finalize_final_module()
            self._codegen._engine._defined_symbols.update(names)

    return Library


def packed(result: Any) -> bytes | None:
    """Return what numba compiled as bytes; None where it holds what is of this process alone.

    A line of JSON says what the function returns, its names and how long its code is; the machine
    code follows, and then what those that call it link.

    Args:
        result: a `CompileResult` of `pipeline`.
    """
    library, names = result.library, result.fndesc
    environments = [result.environment, *result._find_referenced_environments()]
    if library.has_dynamic_globals or result.reload_init or any(e.consts for e in environments):
        return None
    returns = _said(result.signature.return_type)
    if returns is None:
        return None
    code: bytes = library._get_compiled_object()
    head = {
        "returns": returns,
        "name": names.mangled_name,
        "environment": names.env_name,
        "bytes": len(code),
    }
    return b"".join((json.dumps(head).encode(), b"\n", code, library.bitcode))


def unpacked(content: bytes, function: Any, kinds: tuple[Any, ...], context: Any) -> Any:
    """Return the `CompileResult` whose `packed` is given.

    Args:
        content: as it was kept.
        function: the one in Python.
        kinds: numba's types of its arguments.
        context: numba's, for this processor.

    Raises:
        ValueError: it is not such content.
        KeyError: its first line lacks something.
    """
    import_ = import_module
    core, funcdesc = import_("numba.core.compiler"), import_("numba.core.funcdesc")
    environment, typing = import_("numba.core.environment"), import_("numba.core.typing")
    line, _, rest = content.partition(b"\n")
    head = json.loads(line)
    name, env_name, size = str(head["name"]), str(head["environment"]), int(head["bytes"])
    described = funcdesc.PythonFunctionDescriptor(
        native=True,
        modname=function.__module__,
        qualname=function.__qualname__,
        unique_name=name,
        doc="",
        typemap=None,
        restype=_understood(head["returns"]),
        calltypes=None,
        args=function.__code__.co_varnames[: len(kinds)],
        kws=(),
        mangler=lambda *_, **__: name,
        argtypes=kinds,
        env_name=env_name,
    )
    names = name, described.llvm_cpython_wrapper_name, env_name
    library = _library()(context.codegen(), function.__qualname__)
    library.load(rest[:size], rest[size:], names)
    env = environment.Environment.from_fndesc(described)
    return core.compile_result(
        typing_context=context.typing_context,
        target_context=context,
        library=library,
        environment=env,
        entry_point=context.get_executable(library, described, env),
        fndesc=described,
        signature=typing.signature(described.restype, *kinds),
        objectmode=False,
        lifted=(),
        reload_init=[],
        referenced_envs=[],
    )


def _said(kind: Any) -> Any:
    """Return a numba type in words of JSON; None for one that has none."""
    types = import_module("numba").types
    if isinstance(kind, types.BaseTuple):
        said = [_said(each) for each in kind.types]
        found: Any = None if None in said else said
    elif isinstance(kind, types.Array):
        found = {"of": str(kind.dtype), "axes": kind.ndim, "layout": kind.layout}
    else:
        found = str(kind)
    try:
        return found if found is not None and _understood(found) == kind else None
    except ValueError:
        return None


def _understood(said: Any) -> Any:
    types = import_module("numba").types
    if isinstance(said, list):
        return types.BaseTuple.from_types([_understood(each) for each in said])
    if isinstance(said, dict):
        return types.Array(_understood(said["of"]), int(said["axes"]), str(said["layout"]))
    if said not in NUMBERS:
        raise ValueError(f"{said!r:.40} is no type that a kept function returns")
    return getattr(types, said)
