r"""Text into tokens and back, in bounded memory.

Files are UTF-8, or UTF-16 or UTF-32 with a byte-order mark, and may be packed by gzip, bzip2 or xz.
A byte-order mark at the start is dropped and CRLF becomes a newline; a lone CR
is white space like any other. NUL and other control characters are ordinary characters, and
right-to-left text stays in its stored (logical) order. A lone surrogate cannot come from a file,
as no valid UTF-8 holds one; in a string it is an ordinary character. Nothing is normalised.

Rules:

* `split`: white space separates tokens, and every newline is one `<eos>`; for text that is
  already tokenised. A literal `<eos>` or `<unk>` is that token.
* `words`: lower-cased; a token is a run of letters, digits, underscores and combining marks,
  joined by single inner apostrophes or hyphens, or else one punctuation character. A newline is
  one `<eos>`, but blank lines give none. A literal `<unk>` is that token.
* `characters`: every character is a token, and a newline is `<eos>`.
* `bpe`: byte pairs, merged in the order learned, as `recurra.language.text.byte_pairs` describes. A
  newline is `<eos>`; spaces are kept, and nothing is ever unknown.

So that no line or word is ever too long for memory, a stretch of more than 65,536 characters
without a space or newline is cut there (this cannot matter to `characters`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal

from recurra.errors import ConfigError, DataError
from recurra.language.text.byte_pairs import BYTES, Merges, encoder, learn, marks, text_of
from recurra.storage.reading import plain, skip

__all__ = [
    "EOS",
    "UNK",
    "Merges",
    "Rule",
    "detokenize",
    "learn_merges",
    "read_text",
    "tokenize",
    "tokens",
]

EOS = "<eos>"
UNK = "<unk>"
LONGEST = 65_536  # characters that are handled at once, and of the longest token
READ = 1 << 20  # bytes
SLIPS, RARE = 3, 1000  # bytes of a block, and characters for each, that a UTF-8 text may get wrong

Rule = Literal["split", "words", "characters", "bpe"]


def read_text(
    path: Path,
    errors: str = "strict",
    start: int = 0,
    stop: int | None = None,
    replaced: Callable[[int], object] | None = None,
) -> Iterator[str]:
    """Yield the text of a file in chunks of at most about a million characters.

    Args:
        path: a text, packed or not; a pipe where it is read from its first byte.
        errors: what bytes that are not UTF-8 do: `"strict"` raises, `"replace"` makes each bad
            sequence U+FFFD.
        start: first byte read, of what is unpacked and in UTF-8; must begin a character.
        stop: byte before which reading ends; the end of the file by default.
        replaced: is told how many sequences of a chunk were replaced, where any were.

    Raises:
        DataError: the file cannot be read, or is no text in UTF-8; says what it is, or names the
            byte offset and the line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "text.txt"
        >>> _ = path.write_bytes(b"one\\r\\ntwo")
        >>> list(read_text(path))
        ['one\\ntwo']
    """
    with plain(path, pipes=start == 0) as file:
        if start:
            skip(file, start)
        blocks = _blocks(file.read, None if stop is None else stop - start)
        yield from _unix_newlines(_decode(blocks, path, errors, start, replaced))


def _blocks(read: Callable[[int], bytes], left: int | None) -> Iterator[bytes]:
    while block := read(READ if left is None else min(READ, left)):
        left = None if left is None else left - len(block)
        yield block


def _decode(
    blocks: Iterator[bytes],
    path: Path,
    errors: str,
    begin: int,
    replaced: Callable[[int], object] | None,
) -> Iterator[str]:
    offset = begin
    data, lines = b"", 0
    for block in chain(blocks, [None]):
        data += block or b""
        if offset == 0 and len(data) >= 3 and data.startswith(codecs.BOM_UTF8):
            data, offset = data[3:], 3
        try:
            text, used = codecs.utf_8_decode(data, errors, block is None)
        except UnicodeDecodeError as error:
            lines += data.count(b"\n", 0, error.start) + _lines_before(path, begin)
            raise DataError(
                f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset "
                f"{offset + error.start}, line {lines + 1}; {_mended(path, data)}"
            ) from error
        # A literal U+FFFD is never split by the decoder, so what is left was put there by it.
        if replaced and (bad := text.count("\ufffd") - data[:used].count(b"\xef\xbf\xbd")):
            replaced(bad)
        lines += data.count(b"\n", 0, used)
        data, offset = data[used:], offset + used
        yield text


def _mended(path: Path, data: bytes) -> str:
    """Return what to do about bytes that are not UTF-8: to replace them serves if they are few."""
    text = data.decode(errors="replace")
    if text.count("\ufffd") <= max(SLIPS, len(text) // RARE):
        return "convert the file (a training may read it with --set data.errors=replace)"
    return (
        f"it is in another encoding; convert it, as by iconv -f WINDOWS-1252 -t UTF-8 {path}, if "
        "it is Western European"
    )


def _lines_before(path: Path, offset: int) -> int:
    if not offset:
        return 0
    with plain(path) as file:
        return sum(block.count(b"\n") for block in _blocks(file.read, offset))


def _unix_newlines(chunks: Iterable[str]) -> Iterator[str]:
    held = ""  # a CR at the end of a chunk, until it is known whether LF follows
    for chunk in chunks:
        text = held + chunk
        held = "\r" if text.endswith("\r") else ""
        text = text[: len(text) - len(held)].replace("\r\n", "\n")
        if text:
            yield text
    if held:
        yield held


def tokens(chunks: Iterable[str], rule: str, merges: Merges = ()) -> Iterator[list[str]]:
    """Yield lists of tokens; where the text is divided into chunks never changes them.

    Args:
        chunks: pieces of one text, of any length.
        rule: `"split"`, `"words"`, `"characters"` or `"bpe"`, as the module describes.
        merges: of `bpe`, as `learn_merges` returned them or `Vocabulary.merges` holds them.

    Raises:
        ConfigError: no such rule, or `bpe` without the library it needs.

    Example:
        >>> list(tokens(["The c", "at sat.\\n"], "words"))
        [['the'], ['cat', 'sat', '.', '<eos>']]
    """
    if rule == "split":
        for piece in _pieces(chunks):
            yield piece.replace("\n", f" {EOS} ").split()
    elif rule == "words":
        yield from _words(_pieces(chunks))
    elif rule == "characters":
        for piece in _slices(chunks):
            yield _characters(piece)
    elif rule == "bpe":
        merger = encoder(merges)
        for piece in _pieces(chunks, _stretch_gap):
            yield [EOS if token == "\n" else token for token in merger.tokens(piece)]
    else:
        raise ConfigError(f"no rule is named {rule!r}: there are split, words, characters and bpe")


def tokenize(text: str, rule: str, merges: Merges = ()) -> list[str]:
    """Return the tokens of a text that fits in memory.

    Args:
        text: any string.
        rule: as `tokens`.
        merges: as `tokens`.

    Example:
        >>> tokenize("Don't panic!\\n", "words")
        ["don't", 'panic', '!', '<eos>']
    """
    return list(chain.from_iterable(tokens([text], rule, merges)))


def _slices(chunks: Iterable[str]) -> Iterator[str]:
    for chunk in chunks:
        for start in range(0, len(chunk), LONGEST):
            yield chunk[start : start + LONGEST]


def _gap(text: str, stop: int | None = None) -> int:
    """Return the place of the last space or newline before `stop`; -1 where there is none."""
    return max(text.rfind(" ", 0, stop), text.rfind("\n", 0, stop))


def _stretch_gap(text: str, stop: int | None = None) -> int:
    """Return the place before the last run of spaces, or of the last newline if that is later."""
    spaces = text.rfind(" ", 0, stop)
    return max(len(text[: spaces + 1].rstrip(" ")) - 1, text.rfind("\n", 0, stop))


def _pieces(chunks: Iterable[str], gap: Callable[[str, int | None], int] = _gap) -> Iterator[str]:
    """Cut a text after gaps only, so that no piece ends inside a token."""
    rest = ""  # holds no gap
    for piece in _slices(chunks):
        text = rest + piece
        while len(text) > LONGEST and gap(text, LONGEST + 1) < 0:
            yield text[:LONGEST]
            text = text[LONGEST:]
        cut = gap(text, None) + 1
        if cut:
            yield text[:cut]
        rest = text[cut:]
    if rest:
        yield rest


@cache
def _word_pattern() -> re.Pattern[str]:
    word = rf"[\w{marks()}]+"
    return re.compile(rf"{UNK}|{word}(?:['\u2019-]{word})*|[^\w\s]|\n")


def _words(pieces: Iterable[str]) -> Iterator[list[str]]:
    find = _word_pattern().findall
    blank = True  # whether the line so far has no token
    for piece in pieces:
        found = find(re.sub(r"\n\s+", "\n", piece.lower()))
        if blank and found and found[0] == "\n":
            del found[0]
        if found:
            blank = found[-1] == "\n"
            yield [EOS if token == "\n" else token for token in found]


def _characters(piece: str) -> list[str]:
    lines = piece.split("\n")
    characters = list(lines[0])
    for line in lines[1:]:
        characters.append(EOS)
        characters.extend(line)
    return characters


def learn_merges(chunks: Iterable[str], size: int, min_count: int = 1) -> Merges:
    """Return the byte pairs that `bpe` merges, in their order, learned from a text.

    Args:
        chunks: pieces of one text, of any length.
        size: most tokens that there are then, `<eos>` and `<unk>` included; at least 257.
        min_count: occurrences a pair needs to be merged.

    Raises:
        ConfigError: the library is not installed, or `size` has no room for all bytes.

    Example:
        >>> learn_merges(["low lower ", "lowest"], size=260)
        (('l', 'o'), ('lo', 'w'), ('Ġ', 'low'))
    """
    least = len(BYTES) + 2
    if size < least:
        raise ConfigError(
            f"data.vocabulary_size is {size}, but bpe needs at least {least}: a token for each "
            "byte, <eos> and <unk>"
        )
    return learn(_pieces(chunks, _stretch_gap), size - 2, min_count)


def detokenize(tokens: Iterable[str], rule: str) -> str:
    """Return readable text; its tokens are again those given, if they came from a text.

    Of `characters` and `bpe` it is that text. Where they hold `<unk>`, U+FFFD stands for it, as
    it does for bytes of `bpe` that are not UTF-8.

    Args:
        tokens: what `tokens` yields, chained.
        rule: the rule they were made by.

    Example:
        >>> detokenize(["hello", ",", "world", "(", "again", ")", "<eos>"], "words")
        'hello, world (again)\\n'
    """
    if rule == "characters":
        special = {EOS: "\n", UNK: "\ufffd"}
        return "".join(special.get(token, token) for token in tokens)
    if rule == "bpe":
        special = {EOS: "\n", UNK: "\u00ef\u00bf\u00bd"}
        return text_of("".join(special.get(token, token) for token in tokens))
    text = " ".join("\n" if token == EOS else token for token in tokens)
    text = re.sub(r" ?\n ?", "\n", text)
    if rule == "split":
        return text
    # Apostrophes and hyphens stay apart, as they would join words into one token.
    text = re.sub(r" ([.,:;!?)\]}]+)(?=[ \n]|\Z)", r"\1", text)
    return re.sub(r"(?<![^ \n])([(\[{]) ", r"\1", text)
