from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from recurra.errors import DataError, ResourceError, RunError
from recurra.language.options import TextOptions
from recurra.language.text.corpora import ptb
from recurra.language.text.corpora.ptb import PtbCorpus
from recurra.storage.locks import lock

TEXTS = {"train": b" no it was n't \n" * 50, "valid": b" <unk> N \n", "test": b" a b \n"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder, and small texts published in place of the true ones."""
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(ptb, "SIZES", {split: len(text) for split, text in TEXTS.items()})
    hashes = {split: hashlib.sha256(text).hexdigest() for split, text in TEXTS.items()}
    monkeypatch.setattr(ptb, "SHA256", hashes)
    monkeypatch.setattr(ptb, "URL", "http://127.0.0.1:9/nobody-listens.tgz")
    return tmp_path / "data"


def publish(tmp_path, texts=TEXTS):
    with tarfile.open(tmp_path / "archive.tgz", "w:gz") as archive:
        for split, text in texts.items():
            info = tarfile.TarInfo(f"./simple-examples/data/ptb.{split}.txt")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))


@pytest.fixture
def requests(tmp_path, monkeypatch, data):
    """Serves `archive.tgz` of the test's folder, and lists what was asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, _, line, *__):
            asked.append(line)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setattr(ptb, "URL", f"http://127.0.0.1:{server.server_port}/archive.tgz")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def put(folder, texts=TEXTS):
    folder.mkdir(parents=True)
    for split, text in texts.items():
        (folder / f"ptb.{split}.txt").write_bytes(text)


def corpus():
    return PtbCorpus(TextOptions(corpus="ptb"))


def read():
    found = corpus()
    return {split: "".join(found.chunks(split)).encode() for split in found.splits()}


class TestFound:
    @pytest.mark.parametrize("place", ["ptb", "simple-examples/data"])
    def test_in_the_data_folder(self, place, data):
        put(data / place)
        assert read() == TEXTS
        assert corpus().place("test") == str(data / place / "ptb.test.txt")

    def test_a_read_only_folder_is_enough(self, data):
        put(data / "ptb")
        before = sorted(path.name for path in data.rglob("*"))
        (data / "ptb").chmod(0o555)
        assert read() == TEXTS
        assert sorted(path.name for path in data.rglob("*")) == before
        (data / "ptb").chmod(0o755)

    def test_found_fetches_nothing(self, data):
        assert corpus().found() is None
        assert not data.exists()
        put(data / "simple-examples" / "data")
        assert corpus().found() == str(data / "simple-examples" / "data")

    @pytest.mark.parametrize("split", ["train", "valid", "test"])
    def test_an_altered_file_is_refused(self, split, data):
        put(data / "ptb", TEXTS | {split: TEXTS[split][:-2] + b"!\n"})
        with pytest.raises(DataError, match=rf"ptb\.{split}\.txt is not the published file"):
            corpus().verify()

    def test_fingerprint_is_of_the_content(self, data):
        put(data / "ptb")
        first = corpus().fingerprint()
        (data / "ptb").rename(data / "moved")
        put(data / "simple-examples" / "data")
        assert corpus().fingerprint() == first


class TestDownloaded:
    def test_once(self, data, requests, tmp_path):
        publish(tmp_path)
        assert read() == TEXTS
        assert read() == TEXTS
        assert len(requests) == 1
        names = sorted(path.name for path in (data / "ptb").iterdir())
        assert names == ["download.lock", "ptb.test.txt", "ptb.train.txt", "ptb.valid.txt"]

    def test_a_missing_file_is_fetched_and_those_that_are_there_stay(
        self, data, requests, tmp_path
    ):
        publish(tmp_path)
        put(data / "ptb", {"train": TEXTS["train"]})
        before = (data / "ptb" / "ptb.train.txt").stat().st_ino
        assert read() == TEXTS
        assert (data / "ptb" / "ptb.train.txt").stat().st_ino == before

    def test_a_file_of_someone_s_is_never_replaced(self, data, requests, tmp_path):
        publish(tmp_path)
        put(data / "ptb", {"train": b"my own text"})
        with pytest.raises(DataError, match=r"ptb\.train\.txt is not the published file"):
            corpus().verify()
        assert (data / "ptb" / "ptb.train.txt").read_bytes() == b"my own text"
        assert requests == [] and len(list((data / "ptb").iterdir())) == 1

    def test_an_altered_archive_leaves_nothing(self, data, requests, tmp_path):
        publish(tmp_path, TEXTS | {"valid": b" <unk> M \n"})
        with pytest.raises(DataError, match=r"in 3 tries: .*ptb\.valid\.txt .* not the published"):
            corpus().verify()
        assert len(requests) == 3
        assert [path.name for path in (data / "ptb").iterdir()] == ["download.lock"]

    def test_an_incomplete_archive_leaves_nothing(self, data, requests, tmp_path):
        publish(tmp_path, {"train": TEXTS["train"]})
        with pytest.raises(DataError, match="has no file"):
            corpus().verify()
        assert [path.name for path in (data / "ptb").iterdir()] == ["download.lock"]

    def test_no_server(self, data):
        with pytest.raises(DataError, match=r"3 tries.*; or put ptb\.train\.txt.* in .*ptb"):
            corpus().verify()

    def test_unwritable_folder(self, data):
        data.touch()
        with pytest.raises(DataError, match=r"cannot be written either.*RECURRA_DATA"):
            corpus().verify()

    def test_two_at_once(self, data):
        (data / "ptb").mkdir(parents=True)
        with lock(data / "ptb" / "download.lock"), pytest.raises(RunError, match="in use"):
            corpus().verify()

    def test_full_disk(self, data, requests, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, os.strerror(28))

        publish(tmp_path)
        monkeypatch.setattr(ptb, "write_bytes", full)
        with pytest.raises(ResourceError, match="no space is left"):
            corpus().verify()


def test_the_true_files(data_root):
    corpus().verify()
    assert corpus().splits() == ("train", "valid", "test")
    for split, size in ptb.SIZES.items():
        assert (data_root / "ptb" / f"ptb.{split}.txt").stat().st_size == size
