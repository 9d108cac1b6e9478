"""Hostile files of data, small ones in place of large: the seeded part of the campaign `bombs`."""

from __future__ import annotations

import importlib.util
import random
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "campaigns" / "bombs.py"
SIZE = 100_000  # bytes; packed ones unpack to 1.6 million
SHOWN = 90  # readings, of those that the seed draws

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs the devices and figures of Linux"
)


@pytest.fixture
def bombs():
    spec = importlib.util.spec_from_file_location("bombs", HERE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hostile_files_are_refused_in_a_line_or_read(bombs, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("RECURRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("recurra.storage.reading.LEAST", 1 << 20)
    rng = random.Random(15)
    bombs.coin(tmp_path)
    readings = [
        (f"{command} {path.name}", read)
        for path in bombs.files(tmp_path, SIZE, rng)
        for command, read in bombs.readers(path, tmp_path).items()
    ]
    assert len(readings) > 200
    refused = 0
    for name, read in rng.sample(readings, SHOWN):
        begun = time.process_time()
        code, said = bombs.outcome(read)
        assert bombs.fault(code, said) is None, name
        assert time.process_time() - begun < 5, name
        assert len(capsys.readouterr().err.splitlines()) <= 2, name
        refused += code == 3
    assert refused > SHOWN / 2


@pytest.mark.parametrize("kind", ["csv", "ts", "arpa"])
@pytest.mark.parametrize("name", ["rows", "newlines", "zeros"])
def test_4_mb_of_gzip_that_unpack_to_4_gb(bombs, tmp_path, monkeypatch, name, kind):
    monkeypatch.setattr("recurra.storage.reading.LEAST", 1 << 20)
    found = dict(bombs.packed(SIZE, random.Random(15)))
    path = tmp_path / f"{name}.{kind}.gz"
    path.write_bytes(found[path.name])
    for read in bombs.readers(path, tmp_path).values():
        code, said = bombs.outcome(read)
        assert code == 3
        assert f"{path} unpacks to more than 1 MiB" in said and "RECURRA_MOST_MB" in said


@pytest.mark.parametrize("name", ["zero.csv", "zero.csv.gz", "zero.ts", "zero.arpa", "zero.txt"])
def test_a_link_to_dev_zero(bombs, tmp_path, name, capsys):
    bombs.coin(tmp_path)
    (tmp_path / name).symlink_to("/dev/zero")
    for command, read in bombs.readers(tmp_path / name, tmp_path).items():
        code, said = bombs.outcome(read)
        assert code == 3
        assert "regular file" in said + capsys.readouterr().err, command


def test_a_million_columns(bombs, tmp_path):
    names = b",".join(b"c%d" % n for n in range(1_000_000))
    for kind in ("csv", "ts"):
        path = tmp_path / f"wide.{kind}"
        path.write_bytes(names + b"\n" + b"1," * 999_999 + b"1\n")
        for read in bombs.readers(path, tmp_path).values():
            begun = time.process_time()
            code, said = bombs.outcome(read)
            assert (code, len(said) < 500) == (3, True)
            assert time.process_time() - begun < 2


def test_a_cell_of_200_000_characters(bombs, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text('x,label\n1,"' + "a" * 200_000 + '"\n')
    for read in bombs.readers(path, tmp_path).values():
        code, said = bombs.outcome(read)
        assert code == 3 and "field larger than field limit (131072)" in said
