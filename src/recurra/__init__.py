"""Recurra: recurrent networks end to end, on PyTorch.

The public names stand in `__init__.pyi`, each once, and are imported when first used, so that
`import recurra` itself is quick. A cell's states are found by its name too, as
`recurra.LSTMState`, but not listed: plain tuples do as well.
"""

from __future__ import annotations

import importlib
import os
import sys

__version__ = "0.1.0"


def _public() -> dict[str, str]:
    """Return name -> module, as the lines `from module import name as name` of the stub say.

    Without pathlib, whose import would take longer than all of this.
    """
    with open(f"{__file__}i", encoding="utf-8") as stub:  # noqa: PTH123
        words = [line.split() for line in stub if line.startswith("from ")]
    return {name: module for _, module, _, name, *_ in words}


_MODULES = _public()
_PUBLIC = [*sorted(_MODULES), "__version__"]
__all__ = list(_PUBLIC)


def _use_one_thread() -> None:
    """Have torch do all itself in a process that was forked, where no other thread is left."""
    set_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_threads is not None:
        set_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)


def __getattr__(name: str) -> object:
    owner = name.removesuffix("State") or name
    places = [_MODULES[each] for each in (name, f"{owner}Cell", owner) if each in _MODULES]
    if places == [__name__]:  # a module of our own
        return importlib.import_module(f"{__name__}.{name}")
    module = importlib.import_module(places[0]) if places else None
    if not hasattr(module, name):
        raise AttributeError(f"module 'recurra' has no attribute {name!r}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
