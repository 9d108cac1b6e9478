"""Files in which tools keep n-grams, told apart by how they begin."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from pathlib import Path

from recurra.errors import DataError
from recurra.storage.packed.unpacked import LONGEST_MARK, Unpacked, packing_of
from recurra.storage.packed.utf8 import marked_encoding
from recurra.storage.reading import opened

__all__ = ["ENDINGS", "is_ngrams", "other_form"]

ENDINGS = (".arpa", ".arpa.gz")
"""Of names that are believed: what is wrong with such a file is said of an ARPA file."""
PREAMBLE = 1 << 16  # bytes in which the data begin, where no name says what they are
KENLM = "a binary file of KenLM, which cannot be turned back; give the ARPA file it was built from"
IRSTLM = "irstlm compile-lm --text=yes"
FORMS = {
    b"mmap lm http://kheafield.com/code": KENLM,
    b"SRILM_BINARY_NGRAM": "a binary file of SRILM; convert it: ngram -lm FILE -write-lm NEW.arpa",
    b"iARPA": "IRSTLM's intermediate form (iARPA), whose numbers are no probabilities yet; "
    f"convert it: {IRSTLM} FILE NEW.arpa",
    b"qARPA": "IRSTLM's quantised form (qARPA), which holds places in a table of numbers; give the "
    "ARPA file it was made from",
    b"blmt": f"a binary file of IRSTLM; convert it: {IRSTLM} FILE NEW.arpa",
    b"Qblmt": f"a quantised binary file of IRSTLM; convert it: {IRSTLM} FILE NEW.arpa",
    b"Trie Language Model": "a binary file of Sphinx; convert it: sphinx_lm_convert -i FILE "
    "-o NEW.arpa -ofmt arpa",
    b"\xd6\xfd\xb2\x7e": "an OpenFst model; convert it: ngramprint --ARPA FILE NEW.arpa",
}
DUMP = b"Darpa Trigram LM"  # after the four bytes of its length


def other_form(head: bytes) -> str | None:
    """Return what a file of n-grams is, where it is no ARPA file, and what to do; else None.

    Args:
        head: its first bytes, 64 or all that there are.

    Example:
        >>> other_form(b"blmt 3 10 17 18")
        'a binary file of IRSTLM; convert it: irstlm compile-lm --text=yes FILE NEW.arpa'
    """
    if head[4 : 4 + len(DUMP)] == DUMP:
        return FORMS[b"Trie Language Model"]
    return next((told for mark, told in FORMS.items() if head.startswith(mark)), None)


def is_ngrams(path: Path) -> bool:
    """Return whether a file holds n-grams as some tool writes them, by its first 64 KiB.

    Args:
        path: of a file, packed or not, of any name.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "trigrams.lm"
        >>> _ = path.write_text("Made by hand.\\n\\n\\\\data\\\\\\nngram 1=1\\n")
        >>> is_ngrams(path)
        True
    """
    if path.name.endswith(ENDINGS):
        return True
    try:
        head = _beginning(path)
    except (DataError, EOFError):
        return False
    lines = (line.strip() for line in head.removeprefix(BOM_UTF8).splitlines())
    return other_form(head) is not None or b"\\data\\" in lines


def _beginning(path: Path) -> bytes:
    with opened(path) as file:
        packing = packing_of(file.peek(LONGEST_MARK))
        head = (io.BufferedReader(Unpacked(file, packing)) if packing else file).read(PREAMBLE)
    encoding = marked_encoding(head)
    return head.decode(encoding, "ignore").encode() if encoding else head
