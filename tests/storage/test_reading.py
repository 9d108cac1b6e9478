"""What is opened for reading: whole, bounded, and of a kind that ends."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ConfigError, DataError
from recurra.storage.reading import most_unpacked, numbered_lines, opened, plain, skip, unpacked


def write(folder: Path, data: bytes, name: str = "data.gz") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read(path: Path) -> bytes:
    with unpacked(path) as file:
        return file.read()


@given(
    st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 20_000)), max_size=4),
    st.integers(0, 3000),
)
def test_what_was_packed_comes_back_in_any_number_of_members(tmp_path_factory, drawn, padding):
    parts = [piece * times for piece, times in drawn]
    packed = b"".join(map(gzip.compress, parts)) + bytes(padding if parts else 0)
    assert read(write(tmp_path_factory.mktemp("gz"), packed)) == b"".join(parts)


def test_lines_and_blocks_are_those_of_the_file(tmp_path):
    text = b"".join(b"line %d\n" % n for n in range(20_000))
    path = write(tmp_path, gzip.compress(text))
    assert [line for _, line in numbered_lines(path, 20)] == text.splitlines(keepends=True)
    with unpacked(path) as file:
        assert b"".join(iter(lambda: file.read(7777), b"")) == text


def test_a_line_that_is_too_long_is_named(tmp_path):
    path = write(tmp_path, b"one\ntwo three\n", "lines.txt")
    with pytest.raises(DataError, match=r"lines.txt, line 2 is longer than 5 bytes"):
        list(numbered_lines(path, 5))


def test_what_is_cut_or_altered_is_refused(tmp_path):
    whole = gzip.compress(b"1\n" * 50_000)
    flipped = [bytearray(whole) for _ in range(8)]
    for place, data in enumerate(flipped, 1):
        data[-place] ^= 1  # of the sum or the size
    cut = [whole[:length] for length in range(2, len(whole), 31)]
    nothing = gzip.compress(b"") * 1500
    for data in (*flipped, *cut, whole + b"more", whole + bytes(2 << 20), nothing):
        with pytest.raises(DataError, match=r"the packed file data.gz is cut off or damaged"):
            read(write(tmp_path, bytes(data)))


def test_a_bomb_is_refused_before_anything_of_it_is_given_out(tmp_path, monkeypatch):
    bomb = write(tmp_path, gzip.compress(bytes(1 << 20), 1) * 17)
    with pytest.raises(DataError) as caught:
        read(bomb)
    assert str(caught.value) == (
        f"{bomb} unpacks to more than 16 MiB, from {bomb.stat().st_size:,} bytes; if you trust it, "
        "set RECURRA_MOST_MB to the megabytes that it may have, or unpack it first"
    )
    monkeypatch.setenv("RECURRA_MOST_MB", "18")
    assert len(read(bomb)) == 17 << 20


def test_what_may_be_unpacked_follows_the_size_and_can_be_set(monkeypatch):
    monkeypatch.delenv("RECURRA_MOST_MB", raising=False)
    sizes = [most_unpacked(packed) >> 20 for packed in (0, 1 << 20, 2 << 20, 1 << 40)]
    assert sizes == [16, 32, 64, 1024]
    monkeypatch.setenv("RECURRA_MOST_MB", "5000")
    assert most_unpacked(1) == 5_000_000_000
    monkeypatch.setenv("RECURRA_MOST_MB", "lots")
    with pytest.raises(ConfigError, match="must be a whole number"):
        most_unpacked(1)


def test_what_has_no_end_is_not_opened(tmp_path):
    (tmp_path / "zero.gz").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("zero.gz", "pipe"):
        with pytest.raises(DataError, match=rf"{name} is no regular file but [cp]rw"):
            read(tmp_path / name)
    with pytest.raises(DataError, match="expected a regular file or a pipe"):
        with opened(tmp_path / "zero.gz", pipes=True):
            pass
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read(tmp_path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read(tmp_path / "nowhere")


def test_a_pipe_is_opened_where_that_will_do(tmp_path):
    ours, theirs = os.pipe()
    os.write(theirs, b"text")
    os.close(theirs)
    with opened(Path(f"/dev/fd/{ours}"), pipes=True) as file:
        assert file.read() == b"text"
    os.close(ours)


def test_a_hole_is_not_read(tmp_path):
    path = write(tmp_path, b"1\n", "sparse.csv")
    os.truncate(path, 1 << 40)
    with pytest.raises(
        DataError, match=r"sparse.csv is 1,099,511,627,776 bytes, of which .* a hole"
    ):
        read(path)
    os.truncate(path, 1 << 20)  # small ones are read as they are
    assert len(read(path)) == 1 << 20


def test_what_is_packed_is_known_by_its_content(tmp_path):
    for name in ("data.gz", "data", "data.txt"):
        assert read(write(tmp_path, gzip.compress(b"1\n"), name)) == b"1\n"
        assert read(write(tmp_path, b"1\n", name)) == b"1\n"


def test_a_bomb_of_any_packing_is_refused(tmp_path):
    for pack in (bz2.compress, lzma.compress):
        with pytest.raises(DataError, match="unpacks to more than 16 MiB"):
            read(write(tmp_path, pack(bytes(17 << 20)), "bomb"))


def test_what_is_packed_is_no_pipe(tmp_path):
    ours, theirs = os.pipe()
    os.write(theirs, gzip.compress(b"text"))
    os.close(theirs)
    with pytest.raises(DataError, match="is packed by gzip, which a pipe cannot be"):
        with plain(Path(f"/dev/fd/{ours}"), pipes=True):
            pass
    os.close(ours)


def test_skipping_is_the_same_whether_one_may_seek(tmp_path):
    text = bytes(range(256)) * 3000
    for data in (text, gzip.compress(text)):
        for count in (0, 5, 300_000, len(text), 1 << 40):
            with plain(write(tmp_path, data)) as file:
                assert skip(file, count) == min(count, len(text))
                assert file.read() == text[count:]


def test_what_is_no_text_is_named(tmp_path):
    for data, said in {
        b"PK\x03\x04\x14\0\0\0": "is a zip archive, as .docx",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n": "is a PDF; give its text",
        b"\x28\xb5\x2f\xfd\0\0": "is packed by zstd; unpack it first: zstd -d",
    }.items():
        with pytest.raises(DataError, match=rf"data.gz {said}"), plain(write(tmp_path, data)):
            pass
