"""Hostile files of data to every reader: refused or read in 10 seconds and 1 GB, whatever they are.

Each is read by a process of its own, by what the commands call; memory is what the system counts.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recurra.cli import main
from recurra.errors import RecurraError
from recurra.labels.datasets import open_labels
from recurra.labels.datasets.files import read_sequences
from recurra.labels.options import LabelOptions
from recurra.language.options import TextOptions
from recurra.language.text.arpa import read_arpa, write_arpa
from recurra.language.text.dataset import TextDataset
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram.backoff import BackoffNgrams
from recurra.series.datasets import open_panel
from recurra.series.options import SeriesOptions

MB = 1 << 20
SECONDS, MEMORY = 10, 1 << 30
HEAD = b"@classLabel true a b\n@data\n"
ARPA = b"\\data\\\nngram 1=3\nngram 2=1000000000000\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n-1\t<unk>\n\n"
TEXTS = ("one-line", "zeros", "utf16", "noise")
"""What of texts is hostile; of other ones as much is read as there is."""
STARTS = {  # what files of each kind begin with, and rows that go on
    ".csv": (b"y\n", b"1\n"),
    ".ts": (HEAD, b"1:a\n"),
    ".arpa": (ARPA + b"\\2-grams:\n", b"-1\t<unk> <unk>\n"),
    ".txt": (b"", b"a b " * 1000 + b"\n"),
}


def plain(size: int, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Give name and content of hostile files of every kind; about `size` bytes each."""
    for kind, (head, row) in STARTS.items():
        yield f"rows{kind}", head + row * (size // 8 // len(row))
        yield f"one-line{kind}", head + b"1" * size
        yield f"words{kind}", head + b"1 " * (size // 2)
        yield f"newlines{kind}", head + b"\n" * size
        yield f"newlines-first{kind}", b"\n" * size + head
        yield f"spaces{kind}", head + b" " * size
        yield f"returns{kind}", head + b"\r" * size
        yield f"zeros{kind}", head + bytes(size)
        yield f"commas{kind}", b"," * size + b"\n" + head
        yield f"colons{kind}", head + b":" * size
        yield f"million-columns{kind}", b",".join(b"c%d" % n for n in range(size // 8)) + b"\n"
        yield f"million-numbers{kind}", head + b"1," * (size // 2) + b"1:a\n"
        yield f"long-cell{kind}", head + b'1\n"' + b"x" * 200_000 + b'"\n'
        yield f"open-quote{kind}", head + b'1\n"' + b"x\n" * (size // 2)
        yield f"utf16{kind}", (head + row * 9).decode().encode("utf-16")
        yield f"noise{kind}", head + rng.randbytes(size // 8)
        yield f"settings{kind}", b"".join(b"@a%d 1\n" % n for n in range(size // 16))
        yield f"classes{kind}", b"@classLabel true" + b" a" * (size // 2) + b"\n@data\n1:a\n"
    names = b"".join(b"%d,1\n" % n for n in range(size // 16))
    yield "names.csv", b"unique_id,y\n" + names
    yield "labels.csv", b"label,x\n" + names
    yield "dates.csv", b"ds,y\n" + b"1/2/2020,1\n" * (size // 16)
    yield "wide.csv", (b",".join(b"c%d" % n for n in range(9_999)) + b"\n" + b"1," * 9_998 + b"1\n")
    yield "hypotheses.nbest", b"a ||| b ||| 1\n" * (size // 16)
    yield "hypothesis.nbest", b"a ||| " + b"b " * (size // 2) + b"||| 1\n"
    yield "deep.nbest", b'{"id":' + b"[" * size
    yield "head.arpa", ARPA + b"\\2-grams:\n-1\t<unk> <unk>\n\n\\end\\\n"


def packed(size: int, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Give files packed by gzip that unpack to 16 times as much, or are no whole ones."""
    for kind, (head, row) in STARTS.items():
        if kind == ".txt":
            continue
        for name, piece in {
            "rows": row, "newlines": b"\n", "zeros": b"\0", "ones": b"1", "commas": b",",
        }.items():  # fmt: skip
            many = gzip.compress(piece * (size // len(piece)), 9)
            first = gzip.compress(head)
            yield f"{name}{kind}.gz", first + many * 16
            yield f"{name}-nested{kind}.gz", gzip.compress(first + many * 16)
        whole = gzip.compress(head + row * 1000)
        yield f"cut{kind}.gz", whole[: rng.randrange(10, len(whole))]
        flipped = bytearray(whole)
        flipped[-rng.randrange(1, 9)] ^= 1 << rng.randrange(8)  # of the sum or the size
        yield f"flipped{kind}.gz", bytes(flipped)
        yield f"empty-members{kind}.gz", gzip.compress(b"") * (size // 64)
        yield f"padded{kind}.gz", whole + bytes(8 * MB)
        yield f"long-name{kind}.gz", whole[:3] + b"\x08" + whole[4:10] + b"n" * size
        yield f"plain{kind}.gz", head + row


def odd(folder: Path) -> Iterator[Path]:
    """Make what is no regular file, or has holes."""
    for kind in (*STARTS, ".csv.gz", ".ts.gz", ".arpa.gz", ".parquet", ".nbest"):
        for name in ("zero", "fifo", "folder", "nowhere", "hole"):
            path = folder / f"{name}{kind}"
            if name == "fifo":
                os.mkfifo(path)
            elif name == "folder":
                path.mkdir()
            elif name == "hole":
                with path.open("wb") as file:
                    file.write(STARTS.get(kind, (gzip.compress(b"y\n1\n"), b""))[0])
                    file.truncate(100_000 * MB)
            else:
                path.symlink_to("/dev/zero" if name == "zero" else folder / "missing")
            yield path


def parquets(folder: Path, rows: int) -> Iterator[Path]:
    """Make Parquet files of many rows, one of long words in each, and one that is cut."""
    pyarrow = __import__("pyarrow")
    parquet = __import__("pyarrow.parquet").parquet
    run = pyarrow.array(np.zeros(MB // 4))
    words = pyarrow.DictionaryArray.from_arrays(np.zeros(1000, np.int32), ["x" * MB])
    for name, column, times in (("run", run, rows * 4 // MB), ("words", words, 1)):
        table = pyarrow.table({"unique_id" if name == "words" else "y": column})
        with parquet.ParquetWriter(folder / f"{name}.parquet", table.schema) as writer:
            for _ in range(max(times, 1)):
                writer.write_table(table)
    whole = (folder / "words.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    yield from [folder / f"{name}.parquet" for name in ("run", "words", "cut")]


def readers(path: Path, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what reads such a file, by the name of the command."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    model, nbest = str(folder / "coin" / "coin.arpa"), ["--nbest"] * (kind == "nbest")
    series = SeriesOptions(dataset=str(path))
    found: dict[str, Callable[[], object]] = {
        "csv": lambda: open_panel(series),
        "parquet": lambda: open_panel(series),
        "ts": lambda: read_sequences(path, 1),
        "arpa": lambda: read_arpa(path),
        "txt": lambda: TextDataset.open(TextOptions(corpus=str(path))),
    }
    chosen = {kind: found[kind]} if kind in found else {}
    if kind in ("csv", "ts"):
        chosen["labels"] = lambda: open_labels(LabelOptions(dataset=str(path)))
    if kind in ("txt", "nbest") and not path.is_fifo():  # a pipe is waited for
        chosen["score"] = lambda: main(["score", model, str(path), *nbest])
    return chosen


def coin(folder: Path) -> None:
    """Write a language model of two words."""
    (folder / "coin").mkdir()
    ngrams = BackoffNgrams(np.log([0.4, 0.6]), (), eos=0)
    write_arpa(folder / "coin" / "coin.arpa", ngrams, Vocabulary(["<eos>", "<unk>"]))


def outcome(read: Callable[[], object]) -> tuple[int, str]:
    """Return the exit code that a reading ends with, and what is said."""
    try:
        found = read()
        return (found if isinstance(found, int) else 0), ""
    except RecurraError as error:
        return error.exit_code, str(error)
    except Exception as error:
        return 1, f"{type(error).__name__}: {error}"


def fault(code: int, said: str) -> str | None:
    """Return what is wrong with an outcome; None where nothing is."""
    if code not in (0, 2, 3):
        return f"exit {code}: {said:.200}"
    if len(said) > 1500 or "\n" in said:
        return f"{len(said):,} characters are said"
    return None


def figure(name: str) -> int:
    """Return a figure of this process's memory, in bytes."""
    told = Path("/proc/self/status").read_text()
    return int(told.partition(f"{name}:")[2].split()[0]) * 1024


def alone(read: Callable[[], object]) -> dict[str, Any]:
    """Read in a process of its own; return its exit code, seconds, bytes and fault."""
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        signal.setitimer(signal.ITIMER_PROF, 3 * SECONDS)
        Path("/proc/self/clear_refs").write_text("5")
        before = figure("VmRSS")
        resource.setrlimit(resource.RLIMIT_AS, (figure("VmSize") + 2 * MEMORY,) * 2)
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        sys.stderr = sys.stdout
        begun = time.process_time()
        code, said = outcome(read)
        seconds, used = time.process_time() - begun, figure("VmHWM") - before
        os.write(theirs, json.dumps([code, said[:2000], seconds, used]).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answer:
        told = answer.read()
    os.waitpid(child, 0)
    if not told:
        return {"fault": f"no answer in {3 * SECONDS} s, or killed"}
    code, said, seconds, used = json.loads(told)
    wrong = fault(code, said)
    if seconds > SECONDS or used > MEMORY:
        wrong = f"{seconds:.1f} s, {used // MB:,} MiB; exit {code}: {said:.200}"
    return {"code": code, "seconds": seconds, "used": used, "fault": wrong}


def run(seed: int) -> dict[str, Any]:
    """Read every file by all that read its kind."""
    rng = random.Random(seed)
    faults: dict[str, str] = {}
    codes: dict[str, int] = {}
    slowest, largest = (0.0, ""), (0, "")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["RECURRA_CACHE"] = str(folder / "cache")
        coin(folder)
        for path in files(folder, 4 * MB, rng):
            for command, read in readers(path, folder).items():
                name = f"{command} {path.name}"
                told = alone(read)
                if told["fault"]:
                    faults[name] = told["fault"]
                    print(name, told["fault"], flush=True)
                if "code" in told:
                    codes[str(told["code"])] = codes.get(str(told["code"]), 0) + 1
                    slowest = max(slowest, (round(told["seconds"], 2), name))
                    largest = max(largest, (told["used"] // MB, name))
            if path.is_file() and not path.is_symlink():
                path.unlink()
    return {
        "read": sum(codes.values()),
        "exit codes": codes,
        "slowest, seconds": slowest,
        "largest, MiB": largest,
        "failed": len(faults),
        "faults": faults,
    }


def files(folder: Path, size: int, rng: random.Random) -> Iterator[Path]:
    """Make the files one after the other; packed ones unpack to 128 times as much."""
    for make in (plain(size, rng), packed(8 * size, rng)):
        for name, content in make:
            path = folder / name
            if path.suffix == ".txt" and path.stem not in TEXTS:
                continue
            path.write_bytes(content)
            yield path
    yield from parquets(folder, 64 * size)
    yield from odd(folder)
