"""N-best lists: what recognisers and translators write of the hypotheses they chose among.

H hypotheses in one list.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import NamedTuple

from recurra.errors import DataError

__all__ = ["LONGEST_LINE", "Hypothesis", "NBest", "read_costs", "read_nbest"]

LONGEST_LINE = 2**18
"""Characters of a line of a list."""

MOST_HYPOTHESES = 100_000
"""Of one id."""

FAIRSEQ = re.compile(r"([A-Z])-(\d+)\t(.*)", re.DOTALL)
KALDI = re.compile(r"(\S+)-(\d+)(?:\s+(.*))?", re.DOTALL)
LOGGED = re.compile(r"\d{4}-\d\d-\d\d .*\||\||(Generate|Translated|Namespace)\b")
"""What fairseq says beside hypotheses."""


class Hypothesis(NamedTuple):
    """A text, and the score of the system that found it: a log-probability or another sum."""

    text: str
    score: float

    @property
    def words(self) -> int:
        """How many, by white space."""
        return len(self.text.split())


@dataclass(frozen=True)
class NBest:
    """What a system took one utterance or sentence for.

    Args:
        id: its name.
        hypotheses: one or more, in any order.
        reference: what it was, where that is known.
        log_probs: of each hypothesis by a language model, once they are known.
    """

    id: str
    hypotheses: Sequence[Hypothesis]
    reference: str | None = None
    log_probs: Sequence[float] = ()


class _Row(NamedTuple):
    """A line's id, and what it says of it: a hypothesis, a reference, or both."""

    line: int
    id: str
    hypothesis: Hypothesis | None
    reference: str | None = None


def read_nbest(
    lines: Iterable[str], name: str = "n-best list", costs: Sequence[Mapping[str, float]] = ()
) -> Iterator[NBest]:
    """Yield n-best lists of a text that has one hypothesis a line.

    The hypotheses of one id stand together; empty lines do not count. The first line tells of
    which form they all are:

    * `id ||| text ||| score`, or `id ||| text ||| features ||| score` as Moses and Marian write
      it, with or without an alignment beside; or JSON objects with `id`, `text`, `score` and
      perhaps `reference`;
    * fairseq's: `H-id`, the score, and the text in pieces; `D-id` the same put together, which is
      taken where it is there, `T-id` the reference. Other lines of it are passed over;
    * Kaldi's: `id-n` and the words, their scores being negated `costs`, and 0 without those.

    Args:
        lines: the text's.
        name: what the text is called in errors.
        costs: of Kaldi's hypotheses, each by its `id-n`, as `read_costs` returns them.

    Raises:
        DataError: a line is of another form, or an id comes back later; names the line.

    Example:
        >>> found, = read_nbest(["7 ||| the cat ||| -3.5", "7 ||| the hat ||| -3.25"])
        >>> found.id, found.hypotheses[1]
        ('7', Hypothesis(text='the hat', score=-3.25))
    """
    numbered = ((n, line.rstrip("\r\n")) for n, line in enumerate(lines, 1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    line, every = first[1], chain([first], numbered)
    if FAIRSEQ.match(line) or LOGGED.match(line):
        rows = _fairseq(every, name)
    elif "|||" not in line and not line.lstrip().startswith("{") and KALDI.fullmatch(line.strip()):
        rows = _kaldi(every, name, costs)
    else:
        rows = (_parsed(n, line, f"{name}, line {n}") for n, line in every)
    yield from _lists(rows, name)


def _lists(rows: Iterable[_Row], name: str) -> Iterator[NBest]:
    seen: set[str] = set()
    for identity, group in groupby(rows, key=lambda row: row.id):
        found = list(islice(group, MOST_HYPOTHESES + 1))
        place = f"{name}, line {found[0].line}: the id {identity!r:.80}"
        if len(found) > MOST_HYPOTHESES:
            raise DataError(
                f"{name}, line {found[-1].line}: the id {identity!r:.80} has more than "
                f"{MOST_HYPOTHESES:,} hypotheses; leave the least likely out"
            )
        if identity in seen:
            raise DataError(f"{place} was there before; hypotheses of one id must stand together")
        seen.add(identity)
        references = dict.fromkeys(row.reference for row in found if row.reference is not None)
        if len(references) > 1:
            raise DataError(f"{place} has {len(references)} different references, expected one")
        hypotheses = [row.hypothesis for row in found if row.hypothesis is not None]
        if not hypotheses:
            raise DataError(f"{place} has no hypothesis")
        yield NBest(identity, hypotheses, next(iter(references), None))


def _require_short(line: str, place: str) -> None:
    if len(line) > LONGEST_LINE:
        raise DataError(f"{place}: longer than {LONGEST_LINE:,} characters, of a single hypothesis")


def _number(number: object, place: str) -> float:
    try:
        value = float(number)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value) or isinstance(number, bool):
        raise DataError(f"{place}: the score is {number!r:.80}, expected a number")
    return value


def _parsed(n: int, line: str, place: str) -> _Row:
    """Return what a line with bars, or a JSON object, says."""
    _require_short(line, place)
    if not line.lstrip().startswith("{"):
        parts = [part.strip() for part in line.split("|||")]
        if len(parts) < 3:
            raise DataError(
                f"{place}: expected 'id ||| text ||| score', got {len(parts)} part"
                f"{'s' * (len(parts) != 1)}"
            )
        return _Row(n, parts[0], Hypothesis(parts[1], _number(_total(parts[2:]), place)))
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON: {error}") from error
    identity, text, reference = row.get("id"), row.get("text"), row.get("reference")
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    strings = isinstance(identity, str) and isinstance(text, str)
    if not strings or not isinstance(reference, str | None):
        raise DataError(f'{place}: expected {{"id", "text", "score", "reference"?}}')
    return _Row(n, identity, Hypothesis(text, _number(row.get("score"), place)), reference)


def _total(parts: Sequence[str]) -> str:
    """Return which of the parts after the text is the score of it all.

    Features come before it; an alignment stands after it (Moses) or before the features (Marian).
    """
    if len(parts) < 3:
        return parts[-1]
    return next((part for part in parts[1:] if _is_number(part)), parts[1])


def _is_number(part: str) -> bool:
    try:
        return math.isfinite(float(part))
    except ValueError:
        return False


def _fairseq(numbered: Iterable[tuple[int, str]], name: str) -> Iterator[_Row]:
    """Yield what lines of fairseq say, those of one sentence once all of them are known."""

    def sentences() -> Iterator[tuple[int, str, str, str]]:
        for n, line in numbered:
            _require_short(line, place := f"{name}, line {n}")
            if found := FAIRSEQ.fullmatch(line):
                yield n, found[1], found[2], found[3]
            elif not LOGGED.match(line):
                raise DataError(
                    f"{place}: expected a letter, a sentence's number and a tab, as 'H-0', "
                    f"got {line!r:.60}"
                )

    for identity, group in groupby(sentences(), key=lambda row: row[2]):
        told: dict[str, list[tuple[int, str]]] = {"H": [], "D": [], "T": []}
        for n, letter, _, rest in group:
            if letter in told:
                told[letter].append((n, rest))
        if told["D"] and told["H"] and len(told["D"]) != len(told["H"]):
            raise DataError(
                f"{name}, line {told['D'][-1][0]}: sentence {identity} has {len(told['D'])} lines "
                f"of D and {len(told['H'])} of H, expected one for each hypothesis"
            )
        for n, rest in told["T"]:
            yield _Row(n, identity, None, rest)
        for n, rest in told["D"] or told["H"]:
            score, _, text = rest.partition("\t")
            yield _Row(n, identity, Hypothesis(text, _number(score, f"{name}, line {n}")))


def _kaldi(
    numbered: Iterable[tuple[int, str]], name: str, costs: Sequence[Mapping[str, float]]
) -> Iterator[_Row]:
    for n, line in numbered:
        _require_short(line, place := f"{name}, line {n}")
        found = KALDI.fullmatch(line.strip())
        if not found:
            raise DataError(f"{place}: expected an id with a number, as 'id-1', got {line!r:.60}")
        key = f"{found[1]}-{found[2]}"
        if any(key not in each for each in costs):
            raise DataError(f"{place}: the hypothesis {key!r:.80} has no cost")
        yield _Row(n, found[1], Hypothesis(found[3] or "", -sum(each[key] for each in costs)))


def read_costs(lines: Iterable[str], name: str = "costs") -> dict[str, float]:
    """Return the costs of Kaldi's hypotheses, negative log-probabilities, by their `id-n`.

    Args:
        lines: of `id-n` and a number.
        name: what the text is called in errors.

    Raises:
        DataError: a line is of another form, or a hypothesis is there twice; names the line.

    Example:
        >>> read_costs(["talk-1 12.5", "talk-2 13"])
        {'talk-1': 12.5, 'talk-2': 13.0}
    """
    found: dict[str, float] = {}
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place, fields = f"{name}, line {n}", line.split()
        if len(fields) != 2 or fields[0] in found:
            twice = "which is there already" if fields[0] in found else "with its cost"
            raise DataError(f"{place}: expected one hypothesis {twice}, got {line.strip()!r:.60}")
        found[fields[0]] = _number(fields[1], place)
    return found
