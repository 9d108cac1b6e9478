"""A cell as it is written: a name, `module:Name`, `module:function`, each with options or not."""

from __future__ import annotations

import ast
import inspect
from typing import Any

from recurra.errors import ConfigError
from recurra.nn.cells import CELLS
from recurra.table import imported

__all__ = ["make_cell", "require_cell", "split_names"]


def make_cell(spec: str, input_size: int, output_size: int) -> Any:
    """Return a cell of a name, or of anyone's own class or function.

    Args:
        spec: `"gru"`, `"mlstm(num_heads=4)"`, `"mine:Cell"`, `"mine:make(depth=2)"`.
        input_size: I.
        output_size: O.

    Raises:
        ConfigError: no cell is named so, or its options cannot be read.

    Example:
        >>> make_cell("mlstm(num_heads=4)", 3, 8).num_heads
        4
    """
    make, options = require_cell(spec)
    return make(input_size, output_size, **options)


def require_cell(spec: str) -> tuple[Any, dict[str, Any]]:
    """Return what makes a cell, and its options.

    Args:
        spec: as `make_cell` takes it.

    Raises:
        ConfigError: no cell is named so, or its options cannot be read.

    Example:
        >>> require_cell("gru(reset_after=False)")[1]
        {'reset_after': False}
    """
    name, bracket, rest = spec.strip().partition("(")
    options = _options(f"f({rest}") if bracket else {}
    if options is None:
        raise ConfigError(
            f"the options of {spec!r:.80} cannot be read; they are written as in mlstm(num_heads=4)"
        )
    if ":" in name and inspect.isfunction(found := _own(name)):
        return found, options
    return CELLS[name], options


def _options(text: str) -> dict[str, Any] | None:
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        found = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError):
        return None
    options = {name: value for name, value in found.items() if name is not None}
    return options if len(options) == len(call.keywords) else None


def _own(name: str) -> Any:
    try:
        return CELLS[name]
    except ConfigError as error:
        if error.__cause__ is not None:  # it cannot be imported
            raise
    return imported(name, "cell")


def split_names(text: str) -> list[str]:
    """Return the names between commas, none of which stands within brackets.

    Args:
        text: of one or more.

    Example:
        >>> split_names("gru, mlstm(num_heads=4, other=(1, 2)),a:B")
        ['gru', 'mlstm(num_heads=4, other=(1, 2))', 'a:B']
    """
    names, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            names.append("")
        else:
            names[-1] += letter
    return [name.strip() for name in names if name.strip()]
