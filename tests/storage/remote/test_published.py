from __future__ import annotations

import gzip
import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from recurra.errors import DataError, RunError
from recurra.storage.remote.published import PublishedFile

TEXT = b"y\n1\n2\n"
FILE = PublishedFile(
    "some/data.csv", len(TEXT), hashlib.sha256(TEXT).hexdigest(), "https://example.org/data.csv"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    (tmp_path / "some").mkdir()
    return tmp_path / "some"


@pytest.mark.parametrize(
    ("name", "content"),
    [("data.csv", TEXT), ("data.csv.gz", gzip.compress(TEXT, mtime=0))],
    ids=["plain", "packed"],
)
def test_plain_or_packed(folder, name, content):
    assert FILE.found() is None
    (folder / name).write_bytes(content)
    assert FILE.found() == folder / name
    assert FILE.read() == TEXT


@pytest.fixture
def served():
    """Serve bytes at an address; `server.content` says which."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.content)))
            self.end_headers()
            self.wfile.write(self.server.content)

        def log_message(self, *said):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.content = TEXT
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def at(server) -> PublishedFile:
    return replace(FILE, url=f"http://127.0.0.1:{server.server_port}/data.csv")


def test_what_is_not_here_is_fetched_once(folder, served):
    assert at(served).read() == TEXT
    assert (folder / "data.csv").read_bytes() == TEXT
    served.content = b"gone"
    assert at(served).read() == TEXT
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "data.csv.lock"]


def test_another_file_is_never_kept(folder, served):
    served.content = TEXT.replace(b"2", b"3")
    with pytest.raises(DataError, match=r"is not the published file; or put the file at .*csv"):
        at(served).read()
    assert not (folder / "data.csv").exists()


def test_a_folder_that_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "taken"))
    with pytest.raises(DataError, match=r"cannot be written: .*; set RECURRA_DATA to a folder"):
        FILE.read()


@pytest.mark.parametrize("content", [TEXT[:-1], TEXT + b"3\n", b"", TEXT.replace(b"2", b"3")])
def test_another_content(folder, content):
    for name, written in (("data.csv", content), ("data.csv.gz", gzip.compress(content))):
        (folder / name).write_bytes(written)
        with pytest.raises(DataError, match=rf"{name} is not the published file: the SHA-256"):
            FILE.read()
        (folder / name).unlink()


def test_a_damaged_archive_and_a_bomb(folder):
    (folder / "data.csv.gz").write_bytes(gzip.compress(TEXT)[:-10])
    with pytest.raises(DataError, match=r"data.csv.gz cannot be read: "):
        FILE.read()
    (folder / "data.csv.gz").write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(DataError, match="is not the published file"):
        FILE.read()


@pytest.mark.parametrize("name", ["data.csv.part", "data.csv.lock", "data.csv"])
@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_lies_in_the_way_and_is_someone_s_is_named_and_stays(folder, served, name, kind):
    (folder / "mine").write_text("my own")
    path = folder / name
    if kind == "file":
        path.write_text("my own")
    elif kind == "link":
        path.symlink_to("mine" if name != "data.csv" else "nowhere")
    else:
        path.mkdir()
    before = sorted(folder.iterdir())
    with pytest.raises((DataError, RunError), match=r"is not|is no |remove it|move it away"):
        at(served).read()
    assert sorted(path for path in folder.iterdir() if path.name != "data.csv.lock") == sorted(
        path for path in before if path.name != "data.csv.lock"
    )
    assert (folder / "mine").read_text() == "my own"
    assert path.is_symlink() == (kind == "link") and path.is_dir() == (kind == "folder")
    assert kind != "file" or path.read_text() == "my own"


def test_a_part_of_ours_is_gone_on_from(folder, served):
    (folder / "data.csv.part").write_bytes(TEXT[:3])
    (folder / "data.csv.lock").write_text("12\n")
    assert at(served).read() == TEXT
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "data.csv.lock"]
