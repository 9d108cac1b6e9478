"""Several values of a setting, as they are written on a command line."""

from __future__ import annotations

from pathlib import Path

from pydantic.fields import FieldInfo

from recurra.errors import ConfigError
from recurra.learning.config import RunConfig, fields, with_settings
from recurra.learning.written import pieces

__all__ = ["several"]


def several(config: RunConfig, assignment: str) -> tuple[str, list[str]]:
    """Return a setting's name, and the value or the values that it is given.

    A comma means several, but in a value that is one as it stands: within brackets or double
    quotes, as the options of a cell; a list of columns; the name of a file that is there; and
    whatever is wholly a number, or of the form that the option has.

    Args:
        config: tells the options' types.
        assignment: `"network.cell=gru,lstm"`.

    Raises:
        ConfigError: it is no assignment, or a value is empty.

    Example:
        >>> from recurra.run.presets import preset
        >>> several(preset("words"), "network.cell=gru,mlstm(num_heads=4, x=1)")
        ('network.cell', ['gru', 'mlstm(num_heads=4, x=1)'])
        >>> several(preset("series"), "data.past_covariates=price,promo")
        ('data.past_covariates', ['price,promo'])
        >>> several(preset("series"), "data.past_covariates=[price,promo],[price]")
        ('data.past_covariates', ['price,promo', 'price'])
    """
    key, equals, text = (part.strip() for part in assignment.partition("="))
    if not equals:
        raise ConfigError(f"got {assignment!r}: a setting is KEY=VALUE, or KEY=A,B,C for several")
    divided = pieces(text)
    field = dict(fields(type(config))).get(key)
    escaped = all(_is_escaped(each) for each in divided)
    if len(divided) > 1 and not escaped and field and _is_one(config, key, text, field):
        return key, [text]
    if len(divided) > 1 and "" in divided:
        raise ConfigError(f"{assignment!r:.120}: a value is empty between its commas")
    return key, [_bare(each) for each in divided]


def _is_escaped(piece: str) -> bool:
    return len(piece) > 1 and (piece[0], piece[-1]) in (("[", "]"), ('"', '"'))


def _bare(piece: str) -> str:
    return piece[1:-1].strip() if _is_escaped(piece) else piece


def _is_one(config: RunConfig, key: str, text: str, field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra.get("by_commas"):
        return True
    free = field.annotation in (str, str | None)
    if free and not any(getattr(rule, "pattern", None) for rule in field.metadata):
        return _is_there(text)
    try:
        with_settings(config, [f"{key}={text}"])
    except ConfigError:
        return False
    return True


def _is_there(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
