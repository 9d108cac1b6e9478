"""Recurra: recurrent networks end to end, on PyTorch.

The public names stand in `__init__.pyi`, each once, and are imported when first used, so that
`import recurra` itself is quick. A cell's states are found by its name too, as
`recurra.LSTMState`, but not listed: plain tuples do as well.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def _public() -> dict[str, str]:
    """Return name -> module, as the lines `from module import name as name` of the stub say."""
    lines = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines if line.startswith("from ")]
    return {name: module for _, module, _, name, *_ in words}


_MODULES = _public()
_PUBLIC = [*sorted(_MODULES), "__version__"]
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    owner = name.removesuffix("State")
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
