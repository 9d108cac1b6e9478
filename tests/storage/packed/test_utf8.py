"""Encodings by their marks, and what is no text by its beginning."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.storage.packed import utf8
from recurra.storage.packed.utf8 import Recoded, marked_encoding, no_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def recoded(data: bytes) -> bytes:
    file = Recoded(io.BytesIO(data), marked_encoding(data) or "UTF-16", "x.txt")
    return io.BufferedReader(file, 7).read()


@given(TEXTS, st.sampled_from(["16", "32"]), st.sampled_from(["le", "be"]), st.integers(1, 9))
def test_any_text_comes_back(text: str, bits: str, order: str, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utf8, "READ", block)
        data = ("\ufeff" + text).encode(f"utf-{bits}-{order}")
        if not text.startswith("\0"):  # after UTF-16's mark, a NUL makes UTF-32's
            assert marked_encoding(data) == f"UTF-{bits}"
            assert recoded(data) == text.encode()


@pytest.mark.parametrize("block", [3, 1 << 16])
def test_what_is_not_of_its_encoding_names_the_offset(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utf8, "READ", block)
    with pytest.raises(DataError, match=r"x.txt is not UTF-16, .* at offset 8"):
        recoded("\ufeffabc".encode("utf-16-le") + b"\x00\xdc\x20\x00")
    with pytest.raises(DataError, match=r"truncated data at offset 4"):
        recoded(b"\xff\xfea\0b")


@pytest.mark.parametrize(
    "text", ["the cat sat on a mat\n", "Кошка сидит на коврике.\n", "η γάτα κάθεται εκεί\n"]
)
def test_utf_16_without_a_mark_is_known(text: str) -> None:
    for code in ("UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"):
        assert f"is {code} without" in (no_text((text * 9).encode(code)[: utf8.HEAD]) or "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7 is how such a file begins, says this text",
        b"PAR1 is a word too",
        b"nul \0 here and \0\0 there, in a text of some length",
        "καλημέρα 猫 שלום".encode(),
        b"\0" * 64,
    ],
)
def test_texts_stay_texts(data: bytes) -> None:
    assert no_text(data) is None
