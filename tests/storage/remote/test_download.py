from __future__ import annotations

import contextlib
import errno
import gzip
import io
import re
import socket
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recurra.errors import DataError, ResourceError
from recurra.storage.remote import download as module
from recurra.storage.remote.download import download, unpack

CONTENT = bytes(range(256)) * 1_000


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `behaviours` says what it does to the first requests, one after another."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.behaviours: list[str] = []
        self.ranges: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/file"

    def handle_error(self, request, client_address):
        """A client that has gone away is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        behaviour = self.server.behaviours.pop(0) if self.server.behaviours else "serve"
        getattr(self, behaviour)(int(re.findall(r"\d+", asked)[0]) if asked else 0)

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def serve(self, start, stop=None, change=lambda body: body):
        content = self.server.content
        total = len(content)
        if start >= total:
            self.answer(416, {"Content-Range": f"bytes */{total}", "Content-Length": 0}, b"")
            return
        headers = {"Content-Length": total - start}
        if start:
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self.answer(206 if start else 200, headers, change(content[start:stop]))

    def cut(self, start):
        self.serve(start, start + 100_000)

    def cut_without_length(self, start):
        self.answer(200, {}, self.server.content[:100_000])

    def cut_chunks(self, start):
        self.answer(200, {"Transfer-Encoding": "chunked"}, b"1000\r\n" + b"x" * 0x800)

    def alter(self, start):
        self.serve(start, change=lambda body: body[:-1] + b"!")

    def ignore_range(self, start):
        self.serve(0)

    def other_range(self, start):
        total = len(self.server.content)
        headers = {"Content-Length": 10, "Content-Range": f"bytes 0-9/{total}"}
        self.answer(206, headers, self.server.content[:10])

    def missing(self, start):
        self.answer(404, {"Content-Length": 0}, b"")

    def broken(self, start):
        self.answer(503, {"Content-Length": 0}, b"")

    def endless(self, start):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"x" * 100_000)

    def announces_too_much(self, start):
        self.answer(200, {"Content-Length": 10**12}, b"x")

    def silent(self, start):
        time.sleep(1)
        self.close_connection = True

    def nonsense(self, start):
        self.wfile.write(b"\x00\x01garbage\r\n\r\n")
        self.close_connection = True


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def accept(path: Path) -> str:
    if path.read_bytes() != CONTENT:
        raise DataError("not the file")
    return "accepted"


def fetch(server, part, limit=1_000_000, **options):
    return download(server.url, part, limit, accept, timeout=0.3, **options)


@pytest.fixture
def part(tmp_path):
    return tmp_path / "file.part"


class TestDownload:
    def test_plain(self, server, part):
        assert fetch(server, part) == "accepted"
        assert server.ranges == [None]
        assert not part.exists()

    def test_cut_is_resumed_where_it_ended(self, server, part):
        server.behaviours = ["cut", "cut"]
        assert fetch(server, part) == "accepted"
        assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]

    def test_an_earlier_calls_part_is_resumed(self, server, part):
        server.behaviours = ["cut"]
        with pytest.raises(DataError, match="cut off after 100,000 of 256,000 bytes"):
            fetch(server, part, tries=1)
        assert part.stat().st_size == 100_000
        assert fetch(server, part) == "accepted"
        assert server.ranges == [None, "bytes=100000-"]

    def test_a_whole_part_is_taken(self, server, part):
        part.write_bytes(CONTENT)
        assert fetch(server, part) == "accepted"
        assert server.ranges == ["bytes=256000-"]

    def test_a_part_that_is_too_long_is_dropped(self, server, part):
        part.write_bytes(CONTENT + b"more")
        assert fetch(server, part) == "accepted"
        assert server.ranges == ["bytes=256004-", None]

    def test_a_part_of_another_file_is_dropped(self, server, part):
        part.write_bytes(b"something else")
        assert fetch(server, part) == "accepted"
        assert server.ranges == ["bytes=14-", None]

    @pytest.mark.parametrize("behaviour", ["ignore_range", "other_range"])
    def test_a_server_without_ranges(self, behaviour, server, part):
        part.write_bytes(CONTENT[:1000])
        server.behaviours = [behaviour]
        assert fetch(server, part) == "accepted"

    @pytest.mark.parametrize(
        "behaviour",
        ["alter", "cut_without_length", "cut_chunks", "broken", "silent", "nonsense"],
    )
    def test_one_failure_is_forgiven(self, behaviour, server, part):
        server.behaviours = [behaviour]
        assert fetch(server, part) == "accepted"
        assert not part.exists()

    @pytest.mark.parametrize(
        ("behaviour", "message"),
        [
            ("alter", "not the file"),
            ("cut_without_length", "not the file"),
            ("missing", "404"),
            ("broken", "503"),
            ("silent", "timed out"),
            ("nonsense", "BadStatusLine: garbage;"),
            ("endless", "more than the 1,000,000 bytes"),
            ("announces_too_much", "1,000,000,000,000 bytes are announced"),
        ],
    )
    def test_three_failures_are_told(self, behaviour, message, server, part):
        server.behaviours = [behaviour] * 3 + ["serve"]
        with pytest.raises(DataError, match=rf"in 3 tries: \(1\) .*{message}.* \(3\) ") as caught:
            fetch(server, part)
        assert server.url in str(caught.value)
        assert len(server.ranges) == 3
        assert not part.exists() or part.stat().st_size == 0

    def test_nobody_listens(self, part):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
            with pytest.raises(DataError, match="refused"):
                download(url, part, 10, accept, timeout=0.3)

    def test_full_disk_is_not_tried_again(self, server, part, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module, "_fetch", full)
        with pytest.raises(ResourceError, match="no space is left"):
            fetch(server, part)

    def test_another_error_of_accept_removes_the_part(self, server, part):
        def fail(path):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            download(server.url, part, 1_000_000, fail)
        assert not part.exists()


def member(name, content=b"", kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(tmp_path, *members, form=tarfile.GNU_FORMAT):
    path = tmp_path / "archive.tgz"
    with tarfile.open(path, "w:gz", format=form) as file:
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    return path


WANTED = {"data/a.txt": 3, "data/b.txt": 600}
A, B = member("./data/a.txt", b"aaa"), member("data/b.txt", b"b" * 600)


def take(path, limit=100_000):
    return unpack(path, WANTED, limit)


class TestUnpack:
    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_expected_members_alone(self, form, tmp_path):
        others = [member("data", kind=tarfile.DIRTYPE), member("data/c.txt", b"c" * 5_000)]
        others += [member("long/" * 20 + "data/a.txt", b"xxx")]
        path = archive(tmp_path, others[0], A, *others[1:], B, form=form)
        assert take(path) == {"data/a.txt": b"aaa", "data/b.txt": b"b" * 600}
        assert [file.name for file in tmp_path.iterdir()] == ["archive.tgz"]

    @pytest.mark.parametrize(
        "hostile",
        [
            member("../data/a.txt", b"xxx"),
            member("/data/a.txt", b"xxx"),
            member("data/../data/a.txt", b"xxx"),
            member("data/a.txt", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
            member("data/a.txt", kind=tarfile.LNKTYPE, linkname="../../secret"),
            member("data/a.txt", kind=tarfile.FIFOTYPE),
            member("data/a.txt", kind=tarfile.DIRTYPE),
            member("data/a.txt", kind=tarfile.CHRTYPE),
            member("data/a.txt", b"too long"),
            member("data/a.txt", b"x"),
            member("DATA/A.TXT", b"xxx"),
        ],
        ids=lambda value: value[0].name + ":" + value[0].type.decode(),
    )
    def test_hostile_members_are_passed_over(self, hostile, tmp_path):
        with pytest.raises(DataError, match=r"has no file data/a\.txt of 3 bytes"):
            take(archive(tmp_path, hostile, B))
        assert take(archive(tmp_path, hostile, A, B))["data/a.txt"] == b"aaa"

    def test_bomb(self, tmp_path):
        path = archive(tmp_path, member("bomb", bytes(50_000_000)), A, B)
        assert path.stat().st_size < 100_000
        start = time.process_time()
        with pytest.raises(DataError, match="unpacks to more than was expected"):
            take(path)
        assert time.process_time() - start < 1

    @pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
    def test_bomb_in_an_extended_header(self, kind, tmp_path, monkeypatch):
        path = archive(tmp_path, member("bomb", bytes(5_000_000), kind), A, B)
        longest = []
        plain = gzip.GzipFile.read
        monkeypatch.setattr(
            gzip.GzipFile, "read", lambda self, size: longest.append(size) or plain(self, size)
        )
        with pytest.raises(DataError, match="more than was expected"):
            take(path)
        assert max(longest) <= 65_536

    def test_many_empty_members(self, tmp_path):
        path = archive(tmp_path, *[member(f"empty{number}") for number in range(1_000)], A, B)
        with pytest.raises(DataError, match="more than was expected"):
            take(path)

    @pytest.mark.parametrize(
        "size", [b"-0000000001\0", b"\x80" + b"\xff" * 11, b" " * 12, b"9" * 12]
    )
    def test_false_sizes(self, size, tmp_path):
        header = bytearray(A[0].tobuf())
        header[124:136] = size
        path = tmp_path / "archive.tgz"
        path.write_bytes(gzip.compress(bytes(header) + bytes(2048)))
        with pytest.raises(DataError, match=r"damaged: 'data/a\.txt' has no valid size"):
            take(path)

    def test_size_beyond_the_end(self, tmp_path):
        info = tarfile.TarInfo("other")
        info.size = 50_000
        path = tmp_path / "archive.tgz"
        path.write_bytes(gzip.compress(info.tobuf() + b"short"))
        with pytest.raises(DataError, match="has no file"):
            take(path)

    def test_every_cut_is_noticed(self, tmp_path):
        data = archive(tmp_path, A, B).read_bytes()
        path = tmp_path / "cut.tgz"
        for length in range(0, len(data) - 30, 7):
            path.write_bytes(data[:length])
            with pytest.raises(DataError, match=r"cut\.tgz"):
                take(path)

    @pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + bytes(100), bytes(1024), b"\x1f\x8b"])
    def test_no_archive(self, data, tmp_path):
        path = tmp_path / "file.tgz"
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"archive file\.tgz"):
            take(path)
