"""Commands of every preset, bench and demo, ended by TERM, Ctrl-C and HUP at random moments: with
the right code, in time, in words, and the same command again comes to what an undisturbed one does.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MOMENTS = 200
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
TIMES = ("seconds", "train_seconds", "throughput", "run", "command")
STEP_AND_SAVE = 3.0
"""Seconds that a step and a save of these small networks take at the most."""
TEXT = ["--data", "grammar", "--set", "data.vocabulary_size=none"]
TRAINED = ["train.steps=40", "train.validations=3", "train.batch_size=10"]
SMALL = {
    "language": [
        *TRAINED,
        "network.hidden_size=16",
        "network.num_layers=1",
        "data.chunk_length=20",
    ],
    "ngram": [],
    "series": ["train.steps=40", "network.hidden_size=8"],
    "labels": ["train.steps=40", "network.hidden_size=8"],
}
OTHERS = {
    "demo gradients": ["demo", "gradients", "--json"],
    "demo gates": ["demo", "gates", "--plot", "gates.png", "--json"],
    "bench": ["bench", "cells", "rnn", "gru", "--task", "adding", "--minutes", "0.02", "--json"],
    "mixed": [
        "train", "words", *TEXT, "--out", "run", "--threads", "1", "--json",
        *(f"--set={each}" for each in SMALL["language"]),
        *("--set=mix.cache=true", "--set=mix.order=3", "--set=mix.unigram_cache=true"),
    ],
}  # fmt: skip


def commands() -> dict[str, list[str]]:
    """Return every preset's command, made small, and the others."""
    sys.path[:0] = [str(ROOT / "src")]
    from recurra.learning.config import settings
    from recurra.run.presets import PRESETS, preset

    found = dict(OTHERS)
    for name in PRESETS:
        config = preset(name)
        known = settings(config)
        wanted = [each for each in SMALL[config.task] if each.partition("=")[0] in known]
        wanted += [f"{key}={off}" for key, off in OFF.items() if key in known]
        data = TEXT if config.task in ("language", "ngram") else []
        plain = ["--out", "run", "--threads", "1", "--json"]
        found[name] = ["train", name, *data, *plain, *(f"--set={each}" for each in wanted)]
    return found


OFF = {"mix.dynamic": "false", "network.layer_sizes": "none", "train.sized": "false",
       "train.minutes": "none", "network.members": "1"}  # fmt: skip


@dataclass
class Done:
    """How a command ended, and what it left."""

    code: int
    said: str
    seconds: float
    outcome: dict[str, str]


class Place:
    """A folder in which a command is carried out, time and again."""

    def __init__(self, folder: Path, words: list[str], cache: Path) -> None:
        self.folder, self.words = folder, words
        (folder / "tmp").mkdir(parents=True)
        self.env = os.environ | {
            "RECURRA_CACHE": str(cache), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": str(ROOT / "src"),
        }  # fmt: skip

    def run(self, number: int = 0, moment: float = 0.0) -> Done:
        """Carry it out; with a signal of that number at that moment, in seconds."""
        command = [sys.executable, "-m", "recurra", *self.words]
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            begun = time.monotonic()
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.env, stdout=out, stderr=err,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            if number:
                time.sleep(moment)
                begun = time.monotonic()
                process.send_signal(number)
            code = process.wait(timeout=900)
        seconds = time.monotonic() - begun
        self.children = _of_session(process.pid)
        said = (self.folder / "err").read_text(errors="replace").replace(f"{ROOT}/", "")
        return Done(code, said, seconds, self._outcome())

    def _outcome(self) -> dict[str, str]:
        """Return all that the command determines: what it prints, weights, report, metrics."""
        found = {}
        if "bench" not in self.words:  # whose figures are times
            printed = (self.folder / "out").read_text(errors="replace")
            found["out"] = json.dumps(_timeless(json.loads(printed))) if printed else ""
        for path in sorted((self.folder / "run").rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if name == "run/report.json":
                found[name] = json.dumps(_timeless(json.loads(path.read_text())))
            elif path.is_file() and "/checkpoints/" not in name and path.suffix != ".png":
                found[name] = path.read_bytes().hex() if path.name != ".lock" else ""
        return found

    def left(self) -> list[str]:
        """Return the names of what is half written, or lies in the folder for such."""
        marks = (".tmp-", ".old-")
        names = [str(path) for path in self.folder.rglob("*")]
        half = [name for name in names if any(mark in name for mark in marks)]
        return half + [str(path) for path in (self.folder / "tmp").glob("recurra*")]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in TIMES}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def _of_session(session: int) -> list[int]:
    """Return the processes that a command has left running."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def slowness() -> float:
    """Return how much longer a process takes here than the 20 ms it takes on an idle machine."""
    begun = time.monotonic()
    for _ in range(3):
        subprocess.run([sys.executable, "-c", ""], check=True)
    return max(1.0, (time.monotonic() - begun) / 3 / 0.02)


def faults_of(place: Place, whole: Done, number: signal.Signals, moment: float) -> list[str]:
    """Return what is wrong with one interruption and the same command again."""
    slow = max(slowness(), 1.0)
    stopped = place.run(number, moment)
    if stopped.code == 0:  # it had ended before
        return [] if stopped.outcome == whole.outcome else ["ended, but otherwise"]
    found = []
    early = moment < 0.1 * slow and "recurra" not in stopped.said  # Python itself still starts
    if stopped.code not in ((CODES[number], -number, 1) if early else (CODES[number],)):
        found.append(f"code {stopped.code}: {stopped.said[-300:]}")
    if stopped.seconds > (2.0 + STEP_AND_SAVE * ("stopping after" in stopped.said)) * slow:
        found.append(f"{stopped.seconds:.1f} s")
    if not early and "stopped" not in stopped.said and "stopping" not in stopped.said:
        found.append(f"nothing said: {stopped.said[-300:]!r}")
    if "Traceback" in stopped.said and not early:
        found.append(stopped.said[-600:])
    if place.children:
        time.sleep(1)
        found += ["a child is left"] if _of_session(place.children[0]) else []
    again = place.run()
    if again.code != 0:
        found.append(f"again: code {again.code}: {again.said[-300:]}")
    changed = [n for n in whole.outcome if again.outcome.get(n) != whole.outcome[n]]
    if changed or again.outcome.keys() != whole.outcome.keys():
        found.append(f"again: other {changed or again.outcome.keys() ^ whole.outcome.keys()}")
    if left := place.left():
        found.append(f"left: {left}")
    return found


def run(seed: int, moments: int = MOMENTS) -> dict[str, Any]:
    """Interrupt commands at so many moments, drawn by the seed; one in ten compiles its kernels."""
    for number in CODES:  # ignored in the background or under nohup, which processes inherit
        signal.signal(number, signal.SIG_DFL)
    draws = random.Random(seed)
    known = commands()
    faults: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        whole: dict[str, Done] = {}
        for n in range(moments):
            name = list(known)[n % len(known)]
            if name in skipped:
                continue
            if name not in whole:
                for _ in range(2):  # the first compiles
                    place = Path(folder) / f"whole {name}"
                    shutil.rmtree(place, ignore_errors=True)
                    whole[name] = Place(place, known[name], cache).run()
                if whole[name].code:
                    skipped[name] = whole[name].said.splitlines()[-1]
                    continue
            fresh = n % 10 == 9
            place = Path(folder) / str(n)
            moment = draws.uniform(0, whole[name].seconds)
            number = draws.choice(list(CODES))
            inside = Place(place, known[name], place / "cache" if fresh else cache)
            if found := faults_of(inside, whole[name], number, moment):
                faults[f"{n}: {name}, {number.name} after {moment:.2f} s"] = found
                print(n, name, number.name, f"{moment:.2f}", found, flush=True)
            shutil.rmtree(place)
    return {
        "moments": moments,
        "commands": len(whole),
        "skipped": skipped,
        "failed": len(faults),
        "faults": faults,
    }
