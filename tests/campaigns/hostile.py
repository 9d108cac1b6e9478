"""Models and runs as a stranger may alter them, every altered file sealed anew, loaded by every
command: nothing is imported, started, or written elsewhere, and all ends in the exit code that it
should.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

import recurra as rc
from recurra.cli import main as command
from recurra.errors import RecurraError
from recurra.run.directory import RunDirectory
from recurra.storage.tensors import load_tensors, write_tensors

WRITTEN = Path(__file__).resolve().parents[1] / "golden" / "written"
CASES, BY_COMMAND = 2000, 50
MOST_SECONDS, MOST_MEMORY = 10.0, 10**9
MOST_LEAVES = 200
ALLOWED = {0, 3, 4, 5}

STRINGS = [
    "marker:X", "marker", "marker:", ":X", "os:kill", "os:system", "os:_exit", "builtins:exec",
    "recurra.cli:main", "torch.hub:load", "recurra.nn.cells.base:Cell", "torch.nn:LSTM",
    "recurra.nn.wrappers.stack:Stack", "this:s", "antigravity:x", "..:x", "a.b.c:d:e", "marker.py",
    "../../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/stdin", "file:///etc/passwd", "~", ".",
    "", " ", "\x00", "\x1b]0;owned\x07\x1b[2J", "\u202e", "\ud800", "gru", "lru", "softmax", "nan",
    "1e999", "true", "x" * 200_000, "{}", "%s%n", "1/1/1", "9" * 30,
]  # fmt: skip
NUMBERS = [
    0, -1, 1, 2, 3, 7, 255, 65_536, 10**6, 10**9, 2**31, 2**53, 2**63 - 1, 2**64, 10**40,
    0.5, -0.0, 1e-320, 1e308, -1e308, 1.5,
]  # fmt: skip
OTHERS: list[Any] = [
    None, True, False, [], {}, [[]], [None], {"": None}, [0] * 5000, {"cell": "marker:X"},
    ["marker:X"], [1, "a"], ["a", "a"],
]  # fmt: skip
RAW = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "[" * 5000, "[" * 400 + "]" * 400,
       '{"a":' * 900 + "1" + "}" * 900, "9" * 5000, '"\\ud800"', "", "nul", "0x10"]  # fmt: skip
MARK = "\x02raw\x03"
"""Where raw text goes, which JSON itself would not write."""
MODULES = {value.partition(":")[0] for value in STRINGS if ":" in value} - {"recurra.cli", "os"}


class Guard:
    """What a process must not do while a stranger's files are open, seen by the auditor."""

    def __init__(self, allowed: list[Path]) -> None:
        self.allowed = [str(path.resolve()) for path in allowed]
        self.on = False
        self.seen: list[str] = []
        self.known: set[str] = set()
        sys.addaudithook(self.heard)

    def heard(self, event: str, given: tuple[Any, ...]) -> None:
        """Note an event that must not be."""
        if not self.on:
            return
        if event == "import" and given[0] not in self.known:
            if not self._harmless(str(given[0])):
                self.seen.append(f"import {given[0]}")
        elif (
            event in PROCESSES
            or event.startswith("socket.")
            or (
                event == "ctypes.dlopen" and given[0] is not None  # None is the process itself
            )
        ):
            self.seen.append(f"{event} {given!r:.200}")
        elif event == "open" and self._writes(given):
            self._place(event, given[0])
        elif event in CHANGES:
            for path in given[: CHANGES[event]]:
                self._place(event, path)

    def _harmless(self, name: str) -> bool:
        top = name.partition(".")[0]
        own = top == "recurra" or top in sys.stdlib_module_names
        return (own and top not in MODULES) or name in sys.modules or top in self.known

    @staticmethod
    def _writes(given: tuple[Any, ...]) -> bool:
        _, mode, flags = (*given, None, None)[:3]
        asked = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        return asked or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    def _place(self, event: str, path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        place = os.path.realpath(os.fsdecode(path))
        ours = any(place == each or place.startswith(f"{each}/") for each in self.allowed)
        if not ours and place not in ("/dev/null", "/proc/self/clear_refs"):
            self.seen.append(f"{event} {place}")


PROCESSES = {
    "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn",
    "os.spawn", "os.kill", "os.killpg", "signal.pthread_kill", "pty.spawn", "webbrowser.open",
}  # fmt: skip
CHANGES = {
    "os.remove": 1, "os.rename": 2, "os.rmdir": 1, "os.mkdir": 1, "os.link": 2, "os.symlink": 2,
    "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "shutil.rmtree": 1, "shutil.move": 2,
}  # fmt: skip


def run(
    seed: int,
    cases: int = CASES,
    by_command: int = BY_COMMAND,
    kinds: tuple[str, ...] = (),
    ways: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Alter and load, some kinds in some ways or all; `failed` counts what must not be."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        with _within(scratch):
            places = honest(scratch / "honest", kinds)
            known = {
                name: [way for way in WAYS.get(name, TEXT) if not ways or way in ways]
                for name in places
            }
            return _campaign(random.Random(seed), scratch, places, known, (cases, by_command))


@contextlib.contextmanager
def _within(scratch: Path) -> Iterator[None]:
    """A folder of its own for everything, with a module that tells when it is imported."""
    before, env = Path.cwd(), dict(os.environ)
    (scratch / "work").mkdir()
    (scratch / "work" / "marker.py").write_text(
        f"from pathlib import Path\nPath({str(scratch / 'imported')!r}).touch()\nclass X: pass\n"
    )
    os.environ |= {"RECURRA_CACHE": str(scratch / "cache"), "RECURRA_DATA": str(scratch / "data")}
    os.chdir(scratch / "work")
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(env)


def honest(place: Path, kinds: tuple[str, ...] = ()) -> dict[str, Path]:
    """Make an honest model of every kind, and runs of every task; return kind -> directory."""
    shutil.copytree(WRITTEN, place)
    shutil.copy(WRITTEN / "text.txt", "text.txt")
    if kinds:
        return {kind: place / kind for kind in kinds}
    network = rc.LanguageModel.from_pretrained(place / "words")
    counted = rc.LanguageModel.from_pretrained(place / "kn2")
    ids = network.vocabulary.encode((WRITTEN / "text.txt").read_text().split()[:2000])
    made = {
        "pruned": counted.pruned(1e-3, counted.vocabulary.encode(["the", "cat"] * 50)),
        "unigram_cache": rc.unigram_cache(network),
        "cache": rc.cache(network),
        "dynamic": rc.dynamic(network),
        "prepacked": rc.prepacked(network),
        "temperature": rc.calibrated(network, ids),
    }
    for name, model in made.items():
        model.save_pretrained(place / name)
    return {path.name: path for path in place.iterdir() if path.is_dir()}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value, those that hold others too."""
    yield path
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, each in value.items() if isinstance(value, dict) else ():
        yield from leaves(each, (*path, key))


def altered(value: Any, draw: random.Random) -> bytes:
    """Return JSON with one leaf or two replaced, removed or added."""
    raw = ""
    for _ in range(draw.choice((1, 1, 1, 2))):
        places = [path for path in leaves(value) if path] or [()]
        draw.shuffle(places)
        path = draw.choice(places[:MOST_LEAVES])
        kind = draw.random()
        new: Any = draw.choice(draw.choice((STRINGS, NUMBERS, OTHERS)))
        if kind < 0.1:
            raw, new = draw.choice(RAW), MARK
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        if not path or not isinstance(inner, dict | list):
            value = new
        elif kind > 0.95:
            del inner[path[-1]]
        elif kind > 0.9 and isinstance(inner, dict):
            inner[draw.choice(STRINGS)[:40]] = new
        else:
            inner[path[-1]] = new
    return json.dumps(value).replace(json.dumps(MARK), raw).encode()


def _spoil(path: Path, draw: random.Random) -> None:
    """Put what is no number into a file of tensors, or another shape, or another dtype."""
    tensors = {name: tensor.clone() for name, tensor in load_tensors(path).items()}
    name = draw.choice(sorted(tensors))
    tensor = tensors[name]
    way = draw.randrange(6)
    if way < 3 and tensor.is_floating_point() and tensor.numel():
        tensor.view(-1)[draw.randrange(tensor.numel())] = (float("nan"), float("inf"), -3e38)[way]
    elif way == 3:
        tensors[name] = torch.zeros([*tensor.shape, 2])
    elif way == 4:
        tensors[name] = tensor.to(draw.choice((torch.int64, torch.bfloat16, torch.bool)))
    elif way == 5 and tensor.dtype == torch.int64 and tensor.numel():
        tensor.view(-1)[draw.randrange(tensor.numel())] = draw.choice((-1, 2**62, 3))
    else:
        del tensors[name]
    sink = io.BytesIO()
    write_tensors(tensors, sink)
    path.write_bytes(sink.getvalue())


def _enlarge(path: Path, draw: random.Random) -> None:
    """Make a file of tensors claim, and sparsely hold, gigabytes."""
    size = draw.choice((2**31, 2**33))
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    header = json.dumps({draw.choice(sorted(load_tensors(path))): entry}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)


def reseal(directory: Path, sparse: bool = False) -> None:
    """Write a manifest that fits, as a stranger would."""
    manifest = json.loads((directory / "manifest.json").read_bytes())
    for name in manifest["files"]:
        if (path := directory / name).is_file():
            digest = "0" * 64 if sparse else hashlib.sha256(path.read_bytes()).hexdigest()
            manifest["files"][name] = {"size": path.stat().st_size, "sha256": digest}
    (directory / "manifest.json").write_text(json.dumps(manifest))


def alter(place: Path, draw: random.Random) -> str:
    """Alter one file somewhere in a directory; return which, in words."""
    files = [p for p in sorted(place.rglob("*")) if p.suffix in (".json", ".jsonl")]
    files += [p for p in sorted(place.rglob("*.safetensors")) if p.stat().st_size > 40]
    path = draw.choice([each for each in files if each.suffix != ".safetensors"] * 3 + files)
    said = path.relative_to(place).as_posix()
    sealed = (path.parent / "manifest.json").exists() and path.name != "manifest.json"
    if path.suffix == ".safetensors":
        large = draw.random() < 0.1
        (_enlarge if large else _spoil)(path, draw)
        if sealed:
            reseal(path.parent, sparse=large)
        return f"{said} {'of gigabytes' if large else 'spoilt'}"
    if path.suffix == ".jsonl":
        lines = path.read_bytes().splitlines()
        n = draw.randrange(len(lines))
        lines[n] = altered(json.loads(lines[n]), draw)
        path.write_bytes(b"\n".join(lines) + b"\n")
    else:
        path.write_bytes(altered(json.loads(path.read_bytes()), draw))
    if sealed:
        reseal(path.parent)
    return f"{said} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


TEXT = ["score", "generate", "suggest", "explain", "mix"]
WAYS = {"airline": ["forecast", "backtest", "evaluate", "compare"],
        "iris": ["classify", "evaluate", "compare"],
        "stopped": ["train"],
        "words": [*TEXT, "evaluate", "compare", "from"],
        "kn2": [*TEXT, "evaluate", "compare", "again"]}  # fmt: skip
RESUMED = {"train": "stopped", "again": "kn2"}
TOKENS = ["--tokens", "5", "--seed", "1"]


def words(way: str, place: Path, out: Path) -> list[str]:
    """Return the command that opens a directory in some way."""
    run = str(place)
    return {
        "score": ["score", run, "lines.txt"],
        "generate": ["generate", run, *TOKENS],
        "suggest": ["suggest", run, "the cat"],
        "explain": ["explain", run, "the cat", "--json"],
        "evaluate": ["evaluate", run, "--split", "test"],
        "mix": ["mix", run, run, "--out", str(out), "--data", "text.txt"],
        "forecast": ["forecast", run],
        "backtest": ["backtest", run, "--windows", "1"],
        "classify": ["classify", run, "flowers.csv"],
        "compare": ["compare", run, "--plot", str(out.with_suffix(".png"))],
        "from": ["train", "words", "--data", "text.txt", "--from", run, "--out", str(out),
                 "--set", "train.steps=1", "--set", "network.hidden_size=4"],
    }[way]  # fmt: skip


def opened(way: str, place: Path, out: Path) -> int:
    """Open a directory in some way, in this process; return the exit code."""
    if way not in RESUMED:
        return command(words(way, place, out))
    config = RunDirectory(WRITTEN / RESUMED[way]).config()
    try:
        for _ in rc.train(config, out=place, should_stop=lambda: True):
            pass
    except RecurraError as error:
        print(f"recurra: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _watched(
    do: Callable[[], int], guard: Guard, marker: Path, allowed: set[int] = ALLOWED
) -> tuple[int | str, str, list[str]]:
    """Do something; return its exit code, what it said, and all that must not be."""
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, begun = _resident(), time.monotonic()
    guard.seen, guard.known, guard.on = [], set(sys.modules), True
    code: int | str
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = do()
    except BaseException as error:  # a traceback is what is looked for
        code = f"{type(error).__name__}: {error}"
    finally:
        guard.on = False
    seconds, memory = time.monotonic() - begun, _peak() - before
    faults = list(dict.fromkeys(guard.seen))
    faults += ["marker imported"] if marker.exists() else []
    faults += [f"{seconds:.1f} s"] if seconds > MOST_SECONDS else []
    faults += [f"{memory / 1e9:.2f} GB"] if memory > MOST_MEMORY else []
    faults += [] if code in allowed else [f"exit {code}"]
    marker.unlink(missing_ok=True)
    said.seek(0)
    return code, said.read(), faults


def _campaign(
    draw: random.Random,
    scratch: Path,
    places: dict[str, Path],
    ways: dict[str, list[str]],
    counts: tuple[int, int],
) -> dict[str, Any]:
    (cases, by_command), guard = counts, Guard([scratch])
    Path("lines.txt").write_text("the cat sat\n")
    Path("flowers.csv").write_text("5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n")
    marker, out = scratch / "imported", scratch / "out" / "made"
    out.parent.mkdir()
    faults: list[dict[str, Any]] = []
    codes: Counter[str] = Counter()
    slowest = 0.0
    for name in places:  # once in every way, so that what honest ones import is known
        for way in ways[name]:
            shutil.copytree(places[name], case := scratch / "case")
            code, said, wrong = _watched(partial(opened, way, case, out), guard, marker)
            assert code == 0, f"honest {name} by {way}: {said}"
            _clear(case, out)
    for number in range(cases + by_command):
        name = draw.choice(sorted(places))
        way = draw.choice(ways[name])
        shutil.copytree(places[name], case := scratch / "case", symlinks=True)
        what = alter(case, draw)
        begun = time.monotonic()
        if number < cases:
            codes_allowed = ALLOWED | {2} if way in RESUMED else ALLOWED  # "another run": asked, 2
            do = partial(opened, way, case, out)
            code, said, wrong = _watched(do, guard, marker, codes_allowed)
        else:
            way = "score" if way in RESUMED else way
            code, said, wrong = _by_command(words(way, case, out), marker)
        slowest = max(slowest, time.monotonic() - begun)
        codes[str(code)[:40]] += 1
        if wrong:
            kept = {"case": number, "kind": name, "way": way, "file": what, "faults": wrong}
            faults.append({**kept, "said": said[-400:]})
        _clear(case, out)
    return {
        "cases": cases,
        "by_command": by_command,
        "codes": dict(sorted(codes.items())),
        "slowest_seconds": round(slowest, 1),
        "failed": len(faults),
        "faults": faults[:100],
    }


def _by_command(given: list[str], marker: Path) -> tuple[int | str, str, list[str]]:
    """Run the real command; return the exit code, what it said, and all that must not be."""
    done = subprocess.run(
        [sys.executable, "-m", "recurra", *given], capture_output=True, text=True, check=False
    )
    faults = [] if done.returncode in ALLOWED else [f"exit {done.returncode}"]
    faults += ["a traceback"] if "Traceback" in done.stderr else []
    faults += ["marker imported"] if marker.exists() else []
    marker.unlink(missing_ok=True)
    return done.returncode, done.stdout + done.stderr, faults


def _clear(case: Path, out: Path) -> None:
    shutil.rmtree(case)
    shutil.rmtree(out, ignore_errors=True)
    out.with_suffix(".png").unlink(missing_ok=True)
