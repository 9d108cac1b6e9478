"""What a file or a command line says, as values of declared kinds: one way for all."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from recurra.errors import CheckpointError, ConfigError, DataError

__all__ = [
    "BOUNDS",
    "as_text",
    "count_of",
    "pieces",
    "placed",
    "require_scalars",
    "scalar",
    "typed",
    "wanted",
]

Kind = TypeVar("Kind")


def typed(kind: type[Kind], value: Any, place: object) -> Kind:
    """Return what a file says as a value of a kind; nothing is taken for what it is not.

    No text becomes a number, no truth value a count, no fraction a whole number.

    Args:
        kind: options, a dataclass, a named tuple or a typed dictionary.
        value: what JSON gave.
        place: the file, and the part of it, for the message.

    Raises:
        CheckpointError: names the place, the field, what was found and what is wrong with it.

    Example:
        >>> from recurra.learning.options import TrainOptions
        >>> typed(TrainOptions, {"epochs": 2}, "config.json").epochs
        2.0
        >>> typed(TrainOptions, {"batch_size": True}, "config.json")
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: config.json: batch_size is True, but must be a whole number
    """
    known = {field.name for field in fields(kind)} if is_dataclass(kind) else value
    if isinstance(value, dict) and (odd := value.keys() - known):  # pydantic leaves them unseen
        raise CheckpointError(f"{place}: there is no {min(odd)!r:.80}")
    try:
        if issubclass(kind, BaseModel):
            return kind.model_validate(value, strict=True)
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("missing", "extra_forbidden"):
            word = "lacks" if first["type"] == "missing" else "has an unknown"
            raise CheckpointError(f"{place} {word} {field!r:.80}") from error
        found = f"{field} is {first['input']!r:.80}" if field else f"found {value!r:.80}"
        raise CheckpointError(f"{place}: {found}, but must be {wanted(first):.200}") from error


def wanted(problem: Mapping[str, Any]) -> str:
    """Return what a value that was refused must be, in words.

    Args:
        problem: one of the `errors()` of pydantic's `ValidationError`.

    Example:
        >>> wanted({"type": "greater_than_equal", "msg": "Input should be ...", "ctx": {"ge": 1}})
        'at least 1'
        >>> wanted({"type": "int_parsing", "msg": "Input should be a valid integer, unable ..."})
        'a whole number'
    """
    kind, context = str(problem["type"]), problem.get("ctx", {})
    for bound, phrase in BOUNDS.items():
        if bound in context:
            return f"{phrase} {context[bound]:,}".removesuffix(".0")
    for begins, words in _KINDS.items():
        if kind.startswith(begins):
            return words
    if (choices := _CHOICES.search(problem["msg"])) is not None:
        return "one of " + choices[1].replace("'", "")
    said = str(problem["msg"])
    if kind == "value_error":
        said = said.partition(", ")[2]
    return said.removeprefix("Input should be ")


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


BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
"""Of a bound as pydantic names it: the words that go before the number."""

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
}
"""Of what problems begin with: what is wanted."""

_CHOICES = re.compile(r"is not one of ('.*')\.$")


@contextmanager
def placed(place: object) -> Iterator[None]:
    """Say which file or directory is damaged, where what is read of it does not know.

    Args:
        place: its path.

    Raises:
        CheckpointError: within, something was refused.

    Example:
        >>> with placed("runs/mine/model"):
        ...     raise CheckpointError("bias[1] is nan")
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: runs/mine/model: bias[1] is nan
    """
    try:
        yield
    except (CheckpointError, DataError) as error:
        if getattr(error, "needs", None) or str(place) in str(error):
            raise
        raise CheckpointError(f"{place}: {error}") from error


MOST_NAMES, MOST_TEXT = 100, 1000
"""Of values that are given by name: how many, and characters of one that is text."""


def require_scalars(values: dict[str, Any]) -> dict[str, Any]:
    """Return names with values, each of which JSON and a command line can hold.

    Args:
        values: none, truth values, whole numbers of 64 bits, finite numbers and text.

    Raises:
        ValueError: another one is among them.

    Example:
        >>> require_scalars({"momentum": 0.9, "nesterov": True})
        {'momentum': 0.9, 'nesterov': True}
    """
    sound = len(values) <= MOST_NAMES and all(map(str.isidentifier, values))
    if not sound or not all(map(_is_scalar, values.values())):
        raise ValueError("names with numbers, text, true, false or none")
    return values


def _is_scalar(value: Any) -> bool:
    match value:
        case None | bool():
            return True
        case int():
            return -(2**63) <= value < 2**63
        case float():
            return math.isfinite(value)
        case str():
            return len(value) <= MOST_TEXT
    return False


def scalar(text: str) -> bool | int | float | str | None:
    """Return what a word of a command line stands for, where no setting says of which kind it is.

    Args:
        text: `true`, `false`, `none`, a number, or a text; one in quotes is a text for certain.

    Example:
        >>> [scalar(text) for text in ("true", "none", "4", "1e-3", "gelu", '"4"')]
        [True, None, 4, 0.001, 'gelu', '4']
    """
    text = text.strip()
    if (word := _WORDS.get(text.lower(), text)) is not text:
        return word
    if text[:1] == '"' and (quoted := _from_json(text)) is not None:
        return quoted
    for kind in () if "_" in text else (int, float):  # Python's own marks are no one else's
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text


def as_text(value: bool | float | str | None) -> str:
    """Return the word that `scalar` reads as a value.

    Args:
        value: as `scalar` returns it.

    Example:
        >>> [as_text(value) for value in (True, None, 4, 0.001, "gelu", "4")]
        ['true', 'none', '4', '0.001', 'gelu', '"4"']
    """
    if isinstance(value, str):
        return value if scalar(value) == value else json.dumps(value, ensure_ascii=False)
    return str(value).lower()


_WORDS = {"true": True, "false": False, "none": None}


def _from_json(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


_OPEN, _CLOSE = "([{", ")]}"
_COUNT = re.compile(r"(\d[\d_,]*(?:\.\d+)?(?:e\+?\d+)?)\s*([kmbg]?)", re.IGNORECASE)
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}
MOST = 10**12
"""Parameters that nobody asks for by mistake."""
