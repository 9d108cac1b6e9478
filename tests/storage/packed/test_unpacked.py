"""What gzip, bzip2 and xz packed comes back, and what is damaged is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.storage.packed import unpacked
from recurra.storage.packed.unpacked import Unpacked, packing_of

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def read(data: bytes) -> bytes:
    return io.BufferedReader(Unpacked(io.BytesIO(data), packing_of(data) or "gzip"), 1000).read()


@given(
    st.sampled_from(sorted(PACKINGS)),
    st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 20_000)), min_size=1, max_size=4),
    st.integers(0, 700),
)
def test_any_number_of_members_comes_back(
    packing: str, drawn: list[tuple[bytes, int]], padding: int
) -> None:
    parts = [piece * times for piece, times in drawn]
    packed = b"".join(map(PACKINGS[packing], parts)) + bytes(4 * padding)
    assert packing_of(packed) == packing
    assert read(packed) == b"".join(parts)


@pytest.mark.parametrize("packing", PACKINGS)
def test_what_is_cut_or_altered_is_refused(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PACKINGS[packing](bytes(range(256)) * 200)
    for step in (97, 1 << 15):
        monkeypatch.setattr(unpacked, "READ", step)
        assert read(whole) == bytes(range(256)) * 200
        for length in range(12, len(whole), 41):
            with pytest.raises(EOFError):
                read(whole[:length])
        for bad in (whole[:20] + bytes(8) + whole[28:], whole + b"more"):
            with pytest.raises(EOFError):
                read(bad)


@pytest.mark.parametrize("data", [b"", b"text", b"BZh", b"BZh9 is a word", b"\xfd7z", b"\x1f"])
def test_what_is_not_packed_is_told_apart(data: bytes) -> None:
    assert packing_of(data) is None
