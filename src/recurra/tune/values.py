"""What is written on a command line, as values: several of a setting by commas, and counts."""

from __future__ import annotations

import math
import re
from pathlib import Path

from pydantic.fields import FieldInfo

from recurra.errors import ConfigError
from recurra.learning.config import RunConfig, fields, with_settings

__all__ = ["count_of", "pieces", "several"]

_OPEN, _CLOSE = "([{", ")]}"
_COUNT = re.compile(r"(\d[\d_,]*(?:\.\d+)?(?:e\+?\d+)?)\s*([kmbg]?)", re.IGNORECASE)
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}
MOST = 10**12
"""Parameters that nobody asks for by mistake."""


def count_of(text: str) -> int:
    """Return a number as people write large ones.

    Args:
        text: digits, perhaps parted, perhaps with a letter for a thousand, a million or more.

    Raises:
        ConfigError: it is none, or less than 1.

    Example:
        >>> count_of("500k"), count_of("1.2M"), count_of("500_000"), count_of("26000")
        (500000, 1200000, 500000, 26000)
    """
    found = _COUNT.fullmatch(text.strip())
    try:
        number = float(re.sub("[_,]", "", found[1])) * _TIMES[found[2].lower()] if found else 0.0
    except ValueError:
        number = 0.0
    if not (math.isfinite(number) and 1 <= round(number) <= MOST):
        raise ConfigError(f"got {text!r:.80}, expected a number of parameters, as 500k or 1.2M")
    return round(number)


def pieces(text: str) -> list[str]:
    """Divide a text at its commas; those within brackets or double quotes divide nothing.

    Args:
        text: of one setting or several.

    Raises:
        ConfigError: a bracket is not closed.

    Example:
        >>> pieces('gru, mlstm(num_heads=4,bias=0),"a,b",[c,d]')
        ['gru', 'mlstm(num_heads=4,bias=0)', '"a,b"', '[c,d]']
    """
    found, closing, quoted = [""], list[str](), False
    for letter in text:
        if letter == '"' and (quoted or not found[-1].strip() or closing):
            quoted = not quoted
        elif not quoted and letter in _OPEN:
            closing.append(_CLOSE[_OPEN.index(letter)])
        elif not quoted and closing and letter == closing[-1]:
            closing.pop()
        if letter == "," and not closing and not quoted:
            found.append("")
        else:
            found[-1] += letter
    if (closing or quoted) and "," in text:
        missing = closing[-1] if closing else '"'
        raise ConfigError(f"{text!r:.120} divides nowhere: a {missing} is missing")
    return [each.strip() for each in found]


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
