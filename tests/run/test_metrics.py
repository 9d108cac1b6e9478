"""A run's log of metrics: a line for each step and validation, and what a damaged one costs."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from recurra.learning.event import Saved, Stepped, Validated, Warned
from recurra.run.metrics import MOST_LINE, MetricLog, metric


def stepped(step: int, loss: float = 2.5) -> Stepped:
    return Stepped(
        step,
        epoch=step / 10,
        loss=loss,
        items=700,
        learning_rate=0.1 + 0.2,
        gradient_norm=1 / 3,
        seconds=0.7 * step,
    )


def validated(step: int) -> Validated:
    return Validated(step, step / 10, {"loss": 2.0, "perplexity": float("inf")}, True, 0.3)


@pytest.fixture
def log(tmp_path: Path) -> MetricLog:
    return MetricLog(tmp_path / "metrics.jsonl")


def test_a_step_and_a_validation_have_a_line_and_others_none(log):
    for event in (stepped(1), Warned("odd"), validated(1), Saved(1, Path("x"))):
        log.append(event)
    assert log.records() == [
        {
            "step": 1,
            "epoch": 0.1,
            "loss": 2.5,
            "learning_rate": 0.1 + 0.2,
            "gradient_norm": 1 / 3,
        },
        {"step": 1, "epoch": 0.1, "valid": {"loss": 2.0, "perplexity": None}, "best": True},
    ]


def test_a_validation_that_is_done_again_is_dropped(log):
    for event in (stepped(1), validated(1), stepped(2), validated(2), stepped(3)):
        log.append(event)
    lines = log.path.read_bytes().splitlines(keepends=True)
    assert log.rewind(2) == [] and log.path.read_bytes() == b"".join(lines[:4])
    assert log.rewind(2, unjudged=True) == [] and log.path.read_bytes() == b"".join(lines[:3])


def test_what_is_not_finite_is_null():
    assert metric(stepped(1, loss=float("nan")))["loss"] is None


def test_no_line_holds_clock_time():
    slow = Stepped(1, 0.1, 2.5, 700, 0.1, 1.0, seconds=99.0)
    fast = Stepped(1, 0.1, 2.5, 700, 0.1, 1.0, seconds=0.1)
    assert metric(slow) == metric(fast)


def test_rewinding_drops_later_steps_and_the_rest_keeps_its_bytes(log):
    for step in range(1, 8):
        log.append(stepped(step))
    log.append(validated(7))
    whole = log.path.read_bytes()
    log.rewind(4)
    assert [record["step"] for record in log.records()] == [1, 2, 3, 4]
    assert whole.startswith(log.path.read_bytes())
    for step in range(5, 8):
        log.append(stepped(step))
    log.append(validated(7))
    assert log.path.read_bytes() == whole
    log.rewind(0)
    assert log.path.read_bytes() == b""


WHOLE = b'{"step": 4, "epoch": 0.4, "loss": 2.5, "learning_rate": 0.1, "gradient_norm": 0.3}\n'
DAMAGED = {
    "torn": WHOLE[:20],
    "zeros": b"\0\0\0\0\n",
    "list": b"[]\n",
    "empty": b"{}\n",
    "bytes": b"\xff\n",
    "nested": b"[" * 100_000 + b"\n",
    "deep": b'{"step": ' * 50_000 + b"\n",
    "long": WHOLE[:-1] + b" " * 2 * MOST_LINE + b"\n",
    "bool": WHOLE.replace(b"4", b"true", 1),
    "text": WHOLE.replace(b"2.5", b'"2.5"'),
    "object": WHOLE.replace(b"2.5", b"{}"),
    "nan": WHOLE.replace(b"2.5", b"NaN"),
    "infinite": WHOLE.replace(b"2.5", b"1e999"),
    "digits": WHOLE.replace(b"2.5", b"9" * 5_000),
    "key": WHOLE.replace(b"loss", b"lors"),
    "twice": WHOLE.replace(b'"loss"', b'"step": 4, "loss"'),
    "more": WHOLE.replace(b"}", b', "seconds": 3}'),
    "valid": b'{"step": 4, "epoch": 0.4, "valid": {"loss": [2]}, "best": true}\n',
    "best": b'{"step": 4, "epoch": 0.4, "valid": {"loss": 2.0}, "best": 1}\n',
    "null": b'{"step": 4, "epoch": null, "valid": {"loss": 2.0}, "best": true}\n',
    "far": WHOLE.replace(b"4", b"4000", 1),
    "near": WHOLE.replace(b"4", b"0", 1),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_alone_is_dropped_and_said(log, damage):
    for step in range(1, 4):
        log.append(stepped(step))
    before = log.path.read_bytes()
    for step in range(4, 8):
        log.append(stepped(step))
    after = log.path.read_bytes().removeprefix(before)
    damaged = DAMAGED[damage].rstrip(b"\n") + b"\n"
    log.path.write_bytes(before + damaged + after)
    assert [record["step"] for record in log.records()] == list(range(1, 8))
    (said,) = log.rewind(7)
    assert said == f"{log.path}: line 4 is damaged, and dropped; the log lacks what stood there"
    assert log.path.read_bytes() == before + after
    assert log.rewind(7) == []


def test_one_flipped_bit_in_metrics_jsonl_costs_that_line_alone(log, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing here is about power losses
    for step in range(1, 9):
        log.append(stepped(step))
        if step % 4 == 0:
            log.append(validated(step))
    lines = log.path.read_bytes().splitlines(keepends=True)
    said = 0
    for bit in range(0, 8 * len(lines[5])):
        if bit // 8 == len(lines[5]) - 1:
            continue  # the line's end: then two lines are one
        flipped = bytearray(lines[5])
        flipped[bit // 8] ^= 1 << bit % 8
        log.path.write_bytes(b"".join([*lines[:5], flipped, *lines[6:]]))
        told = log.rewind(8)
        kept = log.path.read_bytes().splitlines(keepends=True)
        assert [line for line in kept if line in lines] in (lines, lines[:5] + lines[6:])
        assert bool(told) == (len(kept) < len(lines))  # else a digit became another one
        said += bool(told)
    assert said > 500


def test_a_damaged_last_line_is_said_too_but_not_one_that_is_taken_again(log):
    for step in range(1, 5):
        log.append(stepped(step))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-9] + b"X" + whole[-8:])
    assert "line 4 is damaged" in log.rewind(4)[0]
    log.path.write_bytes(whole[:-9])  # torn by a crash, after the checkpoint of step 3
    assert log.rewind(3) == []
    log.path.write_bytes(whole + b"[]\n" + b"{}\n")
    assert "lines 5, 6 are damaged" in log.rewind(4)[0]
    assert log.rewind(0) == []


def test_a_link_is_neither_read_nor_written_through(log, tmp_path):
    (tmp_path / "mine").write_text("mine")
    log.path.symlink_to(tmp_path / "mine")
    assert log.records() == []
    with pytest.raises(OSError):
        log.append(stepped(1))
    assert (tmp_path / "mine").read_text() == "mine"


def test_what_a_checkpoint_speaks_of_is_on_the_disk_before_it(log, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.fstat(descriptor).st_size))
    log.append(stepped(1))
    assert done == []
    log.sync()
    assert done == [log.path.stat().st_size]


def test_no_file_is_no_records(log):
    assert log.records() == []
    log.rewind(3)
    assert log.records() == []


def test_lines_wait_while_the_disk_is_full(log, monkeypatch):
    write, written = os.write, []

    def nearly_full(descriptor, data):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(bytes(data[:10]))
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", nearly_full)
    log.append(stepped(1))
    log.append(stepped(2))
    log.sync()
    monkeypatch.undo()
    assert log.records() == []
    log.append(stepped(3))
    assert [record["step"] for record in log.records()] == [1, 2, 3]


def test_other_faults_of_the_disk_are_not_swallowed(log):
    log.path.mkdir()
    with pytest.raises(IsADirectoryError):
        log.append(stepped(1))


def test_every_line_is_json_by_itself(log):
    log.append(stepped(1))
    log.append(validated(1))
    for line in log.path.read_text().splitlines():
        assert json.loads(line)["step"] == 1
