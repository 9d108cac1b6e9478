"""Cells made of what one writes: a name or a place, and options.

I inputs, O outputs.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from recurra.errors import ConfigError
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import require_recurrence
from recurra.table import require_options

__all__ = [
    "keeps_own_start",
    "make_cell",
    "own_place",
    "recipes_of",
    "require_cell",
    "start_in_words",
    "written",
]


def make_cell(
    spec: str,
    input_size: int,
    output_size: int,
    options: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
) -> Any:
    """Return the cell that is written so.

    One of the package's table has its weights drawn from torch's own generator, to be drawn anew
    by `reset_parameters`. One's own keeps what its constructor gave it, whatever it draws from.

    Args:
        spec: a name of `CELLS`, `module:Name` of a class, or of a function that makes a cell; and
            options, as `"mlstm(num_heads=4)"`.
        input_size: I.
        output_size: O.
        options: more of them.
        generator: from which a constructor of one's own gets the seed of all that it draws; it
            draws from torch's own generator, as it stands, by default.

    Raises:
        ConfigError: there is no such cell, it takes no such option, or what comes of it is no cell
            of those sizes.

    Example:
        >>> make_cell("mlstm(num_heads=2)", 3, 4, {"forget_bias": 1.0}).num_heads
        2
        >>> make_cell("mlstm(heads=2)", 3, 4)
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: mlstm takes no option 'heads'. Did you mean 'num_heads'? It ...
    """
    name = written(spec)[0]
    make, given = require_cell(spec, options)
    with _seeded(generator if keeps_own_start(spec) else None):
        cell = make(input_size, output_size, **given)
    require_recurrence(cell, name)
    sizes = cell.input_size, cell.output_size
    if cell.input_size != input_size:
        raise ConfigError(
            f"{name}({input_size}, {output_size}) is a cell of {sizes[0]} inputs and {sizes[1]} "
            "outputs; it is made of input_size and output_size"
        )
    return cell


def require_cell(
    spec: str, options: Mapping[str, Any] | None = None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return what makes a cell, and its options, once it is seen to take them.

    Args:
        spec: as `make_cell` takes it.
        options: more of them.

    Raises:
        ConfigError: there is no such cell, or it takes no such option.

    Example:
        >>> require_cell("gru(reset_after=False)")[1]
        {'reset_after': False}
    """
    name, given = written(spec)
    if twice := given.keys() & (options or {}):
        raise ConfigError(f"{spec}: {min(twice)} is given twice")
    given |= options or {}
    make = CELLS[name]
    require_options(name, make, given, placed=2)
    return make, given


def written(spec: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the options that a cell is written with.

    A word that is neither a number nor in quotes stands for itself.

    Args:
        spec: as `make_cell` takes it.

    Raises:
        ConfigError: it cannot be read.

    Example:
        >>> written("mlstm(num_heads=4)"), written("mine:Cell"), written("rnn(nonlinearity=relu)")
        (('mlstm', {'num_heads': 4}), ('mine:Cell', {}), ('rnn', {'nonlinearity': 'relu'}))
    """
    name, opened, rest = spec.strip().partition("(")
    if not opened:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        pairs = {str(each.arg): _value(each.value) for each in call.keywords if each.arg}
        if len(pairs) < len(call.keywords):
            raise ValueError
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ConfigError(
            f"{spec!r:.80} cannot be read: options are written name(option=value), as "
            "mlstm(num_heads=4)"
        ) from error
    return name.strip(), pairs


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "none": None}.get(node.id.lower(), node.id)
    return ast.literal_eval(node)


def own_place(spec: str) -> str | None:
    """Return the `module:Name` of a cell of one's own, without options; None of the package's.

    Args:
        spec: as `make_cell` takes it.

    Example:
        >>> own_place("mine:Cell(depth=2)"), own_place("lstm")
        ('mine:Cell', None)
    """
    name = written(spec)[0]
    return name if ":" in name and not name.startswith("recurra.") else None


def keeps_own_start(spec: str) -> bool:
    """Return whether nothing is drawn over the weights that a cell's constructor gave it.

    So it is of one's own, and of one of the package's that neither draws them itself nor takes
    recipes, whatever the class that it derives from does.

    Args:
        spec: as `make_cell` takes it.

    Example:
        >>> keeps_own_start("mine:Cell"), keeps_own_start("lstm")
        (True, False)
    """
    if own_place(spec) is not None:
        return True
    return not {"recipes", "reset_parameters"} & vars(CELLS[written(spec)[0]]).keys()


def recipes_of(spec: str) -> tuple[str, ...]:
    """Return what a network's recipes may draw over of a cell: `"weights"`, `"biases"`.

    Only a class of the package's own says so, for itself and not for what derives from it.

    Args:
        spec: as `make_cell` takes it.

    Example:
        >>> recipes_of("lstm"), recipes_of("slstm"), recipes_of("mine:Cell")
        (('weights', 'biases'), (), ())
    """
    if own_place(spec) is not None:
        return ()
    return tuple(vars(CELLS[written(spec)[0]]).get("recipes", ()))


def start_in_words(spec: str) -> str:
    """Return whose start a cell has that no recipe draws over.

    Args:
        spec: as `make_cell` takes it.

    Example:
        >>> start_in_words("mine:Cell"), start_in_words("slstm")
        ("mine:Cell's own, as its constructor leaves it", "slstm's own")
    """
    place = own_place(spec)
    return f"{place}'s own, as its constructor leaves it" if place else f"{written(spec)[0]}'s own"


@contextmanager
def _seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Let torch's own generator follow from another one within, and be as before afterwards."""
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
