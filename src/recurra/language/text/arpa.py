r"""ARPA files: how n-gram models travel between tools.

    \data\
    ngram 1=3
    ngram 2=1

    \1-grams:
    -99	<s>	-0.3010299956639812
    -0.3010299956639812	</s>
    -0.3010299956639812	<unk>

    \2-grams:
    -0.1	<s> </s>

    \end\

A line is a logarithm to base 10, the n-gram, and the back-off weight of what it begins, 0 where
left out. A file whose name ends in `.gz` is compressed.

* `<eos>` is `</s>` where it is predicted and `<s>` where it opens a sentence; `<s>` itself is never
  predicted, and its probability in a file is not read.
* `<unk>` is an ordinary word; a file may call it `<UNK>`. Where it has none, `<unk>` gets 10^-99.
* N-grams with `<s>` after their first word, or `</s>` before their last, can never be met, and
  are left out in reading.
* The words of a file stand between ASCII white space, in UTF-8. A token that could not be told
  there (one with white space in it, or named as the three above) is refused in writing, so models
  of characters cannot be written.
"""

from __future__ import annotations

import math
import re
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from recurra.errors import DataError
from recurra.language.text.tokenization import EOS, UNK
from recurra.language.text.vocabulary import LARGEST, Vocabulary
from recurra.ngram.arrays import LAST_KEY, Floats, Integers
from recurra.ngram.backoff import BackoffLevel, BackoffNgrams
from recurra.storage.files import Sink, write_bytes
from recurra.storage.reading import unpacked

__all__ = ["read_arpa", "write_arpa"]

LONGEST = 1 << 20  # bytes of a line
MOST_SKIPPED = 100_000  # lines before the data, or blank ones
LONGEST_NGRAM = 100  # words
NEVER = -99.0  # the base-10 logarithm of what has no probability
FURTHEST = 1e6  # from 0: no logarithm is further
ROUNDING = 1e-5  # above 0, which other tools' single precision may leave
CHUNK = 65_536  # n-grams written at once
START, END, CAPITAL_UNK = "<s>", "</s>", "<UNK>"
LN10 = math.log(10)


def write_arpa(
    path: Path | str, ngrams: BackoffNgrams, vocabulary: Vocabulary, digits: int = 15
) -> None:
    """Write n-grams as an ARPA file.

    Args:
        path: the file; compressed if its name ends in `.gz`. What is there is replaced.
        ngrams: what to write.
        vocabulary: their words.
        digits: of each logarithm, 1 to 17.

    Raises:
        DataError: a token cannot stand in such a file.
        OSError: the disk refuses.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "coin.arpa"
        >>> coin = BackoffNgrams(np.log([0.5, 0.5]), (), eos=0)
        >>> write_arpa(path, coin, Vocabulary(["<eos>", "<unk>"]), digits=4)
        >>> path.read_text().split()[4:8]
        ['-99', '<s>', '-0.301', '</s>']
    """
    words = [_written(token) for token in vocabulary.tokens]

    def content(sink: Sink) -> None:
        packed = zlib.compressobj(6, zlib.DEFLATED, 31) if _is_packed(Path(path)) else None
        for text in _sections(ngrams, words, f"%.{digits}g"):
            data = text.encode()
            sink.write(packed.compress(data) if packed else data)
        if packed:
            sink.write(packed.flush())

    write_bytes(Path(path), content)


def _written(token: str) -> str:
    if token == EOS:
        return END
    word = token.encode(errors="surrogatepass")
    surrogate = token.encode(errors="replace") != word
    if token in (START, END, CAPITAL_UNK) or surrogate or b"\0" in word or word.split() != [word]:
        raise DataError(
            f"the token {token[:40]!r} cannot stand in an ARPA file, whose words are UTF-8 without "
            f"white space, and where {START}, {END} and {CAPITAL_UNK} have a meaning of their own"
        )
    return token


def _sections(ngrams: BackoffNgrams, words: list[str], number: str) -> Iterator[str]:
    sizes = [ngrams.vocabulary_size + 1, *ngrams.sizes[1:]]  # <eos> is two words here
    yield "\\data\\\n" + "".join(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))
    first = words.copy()
    first[ngrams.eos] = START
    for n in range(1, ngrams.order + 1):
        yield f"\n\\{n}-grams:\n"
        log_probs = ngrams.levels[n - 2].log_probs if n > 1 else ngrams.log_unigrams
        longer = ngrams.levels[n - 1].log_backoffs if n < ngrams.order else np.zeros(sizes[n - 1])
        for start in range(0, ngrams.sizes[n - 1], CHUNK):
            stop = min(start + CHUNK, ngrams.sizes[n - 1])
            rows = ngrams.grams(n, start, stop).tolist()
            values = (np.minimum(log_probs[start:stop], 0) / LN10).tolist()
            weights = (longer[start:stop] / LN10).tolist()
            lines = []
            for row, value, weight in zip(rows, values, weights):
                after = f"\t{number % weight}\n" if weight else "\n"
                if row == [ngrams.eos]:
                    lines.append(f"{number % NEVER}\t{START}{after}{number % value}\t{END}\n")
                    continue
                gram = [(first if n > 1 else words)[row[0]], *[words[word] for word in row[1:]]]
                lines.append(f"{number % value}\t{' '.join(gram)}{after}")
            yield "".join(lines)
    yield "\n\\end\\\n"


def read_arpa(
    path: Path | str, vocabulary: Vocabulary | None = None
) -> tuple[BackoffNgrams, Vocabulary]:
    """Return the n-grams of an ARPA file, of any tool, and their words.

    Takes memory for what the file holds, whatever its head says.

    Args:
        path: the file; compressed if its name ends in `.gz`.
        vocabulary: the file's words, for the ids they are to have; in the file's order.

    Raises:
        DataError: it cannot be read or is no such file, the line is named then; or its words are
            not those of the vocabulary.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "coin.arpa"
        >>> coin = BackoffNgrams(np.log([0.5, 0.5]), (), eos=0)
        >>> write_arpa(path, coin, Vocabulary(["<eos>", "<unk>"]))
        >>> again, vocabulary = read_arpa(path)
        >>> again.log_unigrams.round(4), vocabulary.tokens
        (array([-0.6931, -0.6931]), ('<eos>', '<unk>'))
    """
    with unpacked(Path(path)) as file:
        return _parsed(_Lines(Path(path), file), vocabulary)


def _is_packed(path: Path) -> bool:
    return path.name.endswith(".gz")


@dataclass
class _Lines:
    """The lines of a file, and where one stands in it."""

    path: Path
    file: BinaryIO
    number: int = 0
    line: bytes = b""

    def next(self) -> bytes:
        """Go to the next line and return it; nothing where the file ends."""
        self.number += 1
        self.line = self.file.readline(LONGEST + 1)
        if len(self.line) > LONGEST:
            self.fail(f"the line is longer than {LONGEST:,} bytes")
        return self.line

    def skip_blank(self) -> bytes:
        """Go to the next line that has something in it, and return it without its ends."""
        return self.skip_until(bytes.strip).strip()

    def skip_until(self, found: Callable[[bytes], object]) -> bytes:
        """Go to the next line of which something is so, and return it."""
        last = self.number + MOST_SKIPPED
        while (line := self.next()) and not found(line):
            if self.number >= last:
                self.fail(f"{MOST_SKIPPED:,} lines that say nothing; is it an ARPA file?")
        return line

    def fail(self, message: str, number: int | None = None) -> NoReturn:
        """Say what is wrong with a line, that one stands at or another."""
        raise DataError(f"{self.path}, line {number or self.number}: {message}")

    def expect(self, wanted: str) -> None:
        """Refuse the line one stands at if it is another than this."""
        if self.line.strip() != wanted.encode():
            self.fail(f"expected {wanted}, got {_quoted(self.line)}")


def _quoted(line: bytes) -> str:
    return repr(line[:60].decode(errors="replace").rstrip()) if line else "the end of the file"


@dataclass
class _Entries:
    """The n-grams of one section: words (M, n), base-10 logarithms (M,), in the file's order."""

    first_line: int
    words: Integers
    log_probs: Floats
    log_backoffs: Floats


def _parsed(lines: _Lines, given: Vocabulary | None) -> tuple[BackoffNgrams, Vocabulary]:
    sizes = _head(lines)
    vocabulary, ids, unigrams = _unigrams(lines, sizes[0], given)
    size, eos = len(vocabulary), vocabulary.eos
    log_unigrams = np.full(size, NEVER * LN10)
    log_backoffs = np.zeros(size + 1)
    predicted = unigrams.words[:, 0] < size
    log_unigrams[unigrams.words[predicted, 0]] = unigrams.log_probs[predicted]
    log_backoffs[unigrams.words[predicted, 0]] = unigrams.log_backoffs[predicted]
    log_backoffs[eos] = unigrams.log_backoffs[~predicted].sum()  # that of <s>, if it is there
    result = BackoffNgrams(log_unigrams, (), eos)
    for n, count in enumerate(sizes[1:], start=2):
        lines.expect(f"\\{n}-grams:")
        entries = _section(lines, n, count, ids)
        keys, log_probs, longer = _sorted(lines, entries, result)
        level = BackoffLevel(keys, log_probs, log_backoffs, size)
        result = BackoffNgrams(log_unigrams, (*result.levels, level), eos)
        log_backoffs = longer
    lines.expect("\\end\\")
    return result, vocabulary


def _head(lines: _Lines) -> list[int]:
    """Read up to the first section and return how many n-grams of each length there should be."""
    lines.skip_until(lambda line: line.strip() == b"\\data\\")
    lines.expect("\\data\\")
    sizes: list[int] = []
    while not (line := lines.skip_blank()).startswith(b"\\") and line:
        found = re.fullmatch(rb"ngram\s+(\d{1,3})\s*=\s*(\d{1,18})", line)
        if not found or int(found[1]) != len(sizes) + 1 or len(sizes) == LONGEST_NGRAM:
            lines.fail(f"expected ngram {len(sizes) + 1}=COUNT, got {_quoted(line)}")
        sizes.append(int(found[2]))
    if not sizes:
        lines.fail("no lengths of n-grams are listed")
    lines.expect("\\1-grams:")
    return sizes


def _unigrams(
    lines: _Lines, count: int, given: Vocabulary | None
) -> tuple[Vocabulary, dict[bytes, int], _Entries]:
    """Return the vocabulary, the id of each of the file's words, and the section; <s> has id V."""
    ids: dict[bytes, int] = {}
    entries = _section(lines, 1, count, ids, new=True)
    if END.encode() not in ids:
        lines.fail(f"no word is {END}, the end of a sentence, so nothing could be <eos>")
    unknown = UNK if UNK.encode() in ids else CAPITAL_UNK
    renamed = {END.encode(): EOS, unknown.encode(): UNK}
    tokens: dict[str, bytes] = {}
    for number, name in enumerate(ids, start=entries.first_line):
        if name == EOS.encode():
            lines.fail(
                f"the word {EOS} stands beside {END}, which is {EOS} here; rename it", number
            )
        if name != START.encode():
            try:
                tokens[renamed.get(name) or name.decode()] = name
            except UnicodeDecodeError:
                lines.fail(f"{name[:40]!r} is not UTF-8", number)
    vocabulary = given or Vocabulary([*tokens, *([] if UNK in tokens else [UNK])])
    if odd := {*tokens, UNK} ^ set(vocabulary.tokens):
        raise DataError(
            f"{lines.path}: {len(odd):,} words are in the file or in the vocabulary and not in "
            f"both, as {min(odd)!r:.60}; both need the same"
        )
    places = {name: vocabulary.ids[token] for token, name in tokens.items()}
    found = {name: places.get(name, len(vocabulary)) for name in ids}
    entries.words = np.array(list(found.values()), np.int64)[:, None]
    return vocabulary, found, entries


def _section(
    lines: _Lines, n: int, count: int, ids: dict[bytes, int], new: bool = False
) -> _Entries:
    """Read the n-grams of one length, up to the head of the next section.

    Where `new`, each is a new word, and is put into `ids` with its place in the section.
    """
    words, values, weights = array("i"), array("d"), array("d")
    lines.skip_blank()
    first_line, line = lines.number, lines.line
    while line and not line.isspace() and not line.startswith(b"\\"):
        fields = line.split()
        if not n < len(fields) < n + 3:
            lines.fail(
                f"expected a logarithm, {n} words, and perhaps a weight; got {_quoted(line)}"
            )
        try:
            values.append(float(fields[0]))
            weights.append(float(fields[n + 1]) if len(fields) == n + 2 else 0.0)
        except ValueError:
            lines.fail(f"expected a number at either end, got {_quoted(line)}")
        if new:
            if ids.setdefault(fields[1], len(values) - 1) != len(values) - 1:
                lines.fail(f"the word {_quoted(fields[1])} is there twice")
            if fields[1] == START.encode():
                values[-1] = NEVER
            if len(ids) > LARGEST + 1:
                lines.fail(f"there are more than {LARGEST:,} words")
        else:
            try:
                words.extend(map(ids.__getitem__, fields[1 : n + 1]))
            except KeyError as error:
                lines.fail(f"the word {_quoted(error.args[0])} is no 1-gram")
        line = lines.next()
    if line.isspace():
        lines.skip_blank()
    if len(values) != count:
        lines.fail(f"the head says {count:,} n-grams of length {n}, and there are {len(values):,}")
    return _numbers(lines, first_line, n, words, values, weights)


def _numbers(
    lines: _Lines, first_line: int, n: int, words: Sequence[int], *logarithms: Sequence[float]
) -> _Entries:
    """Return a section as arrays, in nats, its numbers checked."""
    log_probs, log_backoffs = (np.array(values) for values in logarithms)
    wrong = ~((log_probs > -FURTHEST) & (log_probs < ROUNDING) & (np.abs(log_backoffs) < FURTHEST))
    if wrong.any():
        at = int(wrong.argmax())
        lines.fail(
            f"{log_probs[at]} and {log_backoffs[at]} are not the base-10 logarithms of a "
            "probability and a weight",
            first_line + at,
        )
    grams = np.array(words, np.int64).reshape(-1, n)
    return _Entries(first_line, grams, log_probs * LN10, log_backoffs * LN10)


def _sorted(
    lines: _Lines, entries: _Entries, shorter: BackoffNgrams
) -> tuple[Integers, Floats, Floats]:
    """Return the keys of a section's n-grams in order, and their numbers with them."""
    size, start = shorter.vocabulary_size, shorter.vocabulary_size
    met = (entries.words[:, 1:] < start).all(1) & (entries.words[:, :-1] != shorter.eos).all(1)
    places = np.flatnonzero(met)
    words = entries.words[places]
    words[words == start] = shorter.eos
    contexts = words[:, 0]
    for level, column in zip(shorter.levels, words.T[1:-1]):
        contexts = level.find(contexts, column)
    if (contexts < 0).any():
        at = entries.first_line + int(places[(contexts < 0).argmax()])
        lines.fail("the n-gram's words but the last are no n-gram of the file", at)
    keys = contexts * size + words[:, -1]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    if (twice := keys[1:] == keys[:-1]).any():
        lines.fail(
            "the n-gram is there twice", entries.first_line + int(places[order[1:][twice][0]])
        )
    moved = places[order]
    return (
        np.append(keys, LAST_KEY),
        np.append(entries.log_probs[moved], 0.0),
        np.append(entries.log_backoffs[moved], 0.0),
    )
