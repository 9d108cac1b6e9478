"""How large a network is before it is made, and the width at which it has so many parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from torch import nn

from recurra.errors import ConfigError, RecurraError
from recurra.learning.config import RunConfig
from recurra.nn.state import flatten
from recurra.nn.width import Widths
from recurra.table import imported

__all__ = [
    "Counted",
    "Sketch",
    "counted",
    "described",
    "require_unset",
    "sketch_of",
    "told",
    "with_parameters",
]

Sketch = Callable[[Any], nn.Module]
"""Draws the network of some `network` options: shapes without memory."""
Config = TypeVar("Config", bound=RunConfig)

SETTING = "network.hidden_size"
OFF = 0.02
"""From this share on it is said how far a network is from the number that was asked for."""


class Counted(NamedTuple):
    """How many numbers a network learns, and how many the state of one row holds."""

    parameters: int
    state: int


def counted(network: nn.Module) -> Counted:
    """Return how many numbers a network learns, and how many the state of one row holds.

    Args:
        network: may be on the meta device.

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> counted(LSTMCell(3, 5))
        Counted(parameters=200, state=10)
    """
    learned = (each.numel() for each in network.parameters() if each.requires_grad)
    held = (t.numel() for state in _states(network) for t in flatten(state).values())
    return Counted(sum(learned), sum(held))


def _states(module: Any) -> Iterator[Any]:
    if hasattr(module, "initial_state"):
        yield module.initial_state(1)
        return
    for child in module.children():
        yield from _states(child)


def sketch_of(config: RunConfig) -> Sketch | None:
    """Return what draws networks for a config's data, which it opens; None where there are none.

    Args:
        config: of a run.

    Raises:
        DataError: the data cannot be used.
    """
    if config.sketch is None:
        return None
    found: Sketch = imported(config.sketch, "sketch")(config)
    return found


def described(config: RunConfig, sketch: Sketch | None) -> Counted | None:
    """Return the counts of a config's network; None where there is none.

    Args:
        config: of a run.
        sketch: as `sketch_of` gives it, for the same data.

    Raises:
        ConfigError: no such network can be made; says why.
    """
    if sketch is None:
        return None
    options: Any = config
    try:
        return counted(sketch(options.network))
    except RecurraError:
        raise
    except Exception as error:  # a cell of someone's own may raise anything
        named = getattr(options.network, "cell", "the network")
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"network.cell={named} cannot be made: {said:.400}") from error


def with_parameters(config: Config, wanted: int, sketch: Sketch | None) -> tuple[Config, Counted]:
    """Return a config of the width at which its network has about so many parameters.

    Of the widths that the cell takes, the one whose number is nearest.

    Args:
        config: of a run; what it says of its width is not looked at.
        wanted: parameters.
        sketch: as `sketch_of` gives it.

    Raises:
        ConfigError: there is no network, its width is given otherwise or changes nothing, or the
            least network is twice as large.

    Example:
        >>> from recurra.run.presets import preset
        >>> iris = preset("iris").model_copy(update={"start_from": None})
        >>> with_parameters(iris, 1000, sketch_of(iris))
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: --parameters: network.hidden_size changes nothing in this ...
    """
    _require_free(config, sketch)
    assert sketch is not None
    options: Any = config

    def at(width: int) -> Any:
        return options.network.model_copy(update={"hidden_size": width})

    def of(width: int) -> int:
        found = widths.at(width)
        assert found is not None
        return found.parameters

    widths = Widths(lambda width: counted(sketch(at(width))))
    first = widths.taken(1)
    if first is None:
        raise ConfigError(f"--parameters: {widths.refusal()}")
    if (other := widths.taken(first + 1)) is not None and of(other) == of(first):
        raise ConfigError(f"--parameters: {SETTING} changes nothing in this network")
    width = widths.nearest(lambda each: each.parameters, wanted) or first
    both = widths.at(width)
    assert both is not None
    found = both.parameters
    if found > 2 * wanted:
        raise ConfigError(
            f"--parameters is {wanted:,}, but the least network, of {SETTING}={width}, has "
            f"{found:,} for these data"
        )
    return config.model_copy(update={"network": at(width)}), both


def _require_free(config: RunConfig, sketch: Sketch | None) -> None:
    """Refuse where something else says how wide the network is."""
    values: Any = config
    if sketch is None:
        raise ConfigError(f"--parameters: {config.preset} has no network whose width could be set")
    if getattr(values.network, "kind", "recurrent") == "softmax":
        raise ConfigError(f"--parameters: {SETTING} changes nothing in this softmax regression")
    for said, given in (
        ("network.layer_sizes names", getattr(values.network, "layer_sizes", None)),
        ("train.sized measures", values.train.sized),
        ("--from takes the weights, and so", config.start_from),
    ):
        if given:
            raise ConfigError(f"--parameters finds the width, but {said} it; leave one of them")


def require_unset(assignments: Sequence[str]) -> None:
    """Refuse settings that name the width which is to be found.

    Args:
        assignments: as after `--set`.

    Raises:
        ConfigError: one of them does.

    Example:
        >>> require_unset(["network.cell=gru"])
    """
    if any(each.partition("=")[0].strip() == SETTING for each in assignments):
        raise ConfigError(f"--parameters finds {SETTING}, which is set too; leave one of them")


def told(config: RunConfig, found: Counted, wanted: int) -> str:
    """Return in words which width was found, and what it comes to.

    Args:
        config: as `with_parameters` returned it.
        found: its counts.
        wanted: parameters that were asked for.

    Example:
        >>> from recurra.run.presets import preset
        >>> told(preset("words"), Counted(499_812, 400), 500_000)
        'hidden_size 200, 499,812 parameters'
    """
    values: Any = config
    off = found.parameters / wanted - 1
    far = f", {off:+.0%} of what was asked for" if abs(off) > OFF else ""
    return f"hidden_size {values.network.hidden_size}, {found.parameters:,} parameters{far}"
