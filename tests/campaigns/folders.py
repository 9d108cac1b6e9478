"""Random folders of ours and of others', links and look-alike names, and every command that writes.

Nothing that was not ours is changed, ever: not its bytes, its time, or where it links to, nor what
a link leads to. What was ours is whole, and either as it was or as the command makes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

COUNT = 1_000
TEXT = "the cat sat on the mat .\na dog barked at the cat .\nthe dog sat .\n" * 60
QUICK = ["--set", "train.steps=3", "--set", "network.hidden_size=4", "--set", "threads=1"]
NETWORK = ["words", "--data=text.txt", *QUICK, "--set", "train.batch_size=4", "--seed=1"]
COUNTS = ["kn2", "--data=text.txt"]
SERIES = [
    "series",
    "--data=series.csv",
    *QUICK,
    "--set",
    "data.horizon=3",
    "--set",
    "data.season=1",
]
KINDS = ("network", "counts", "series", "labels")
PUBLISHED = b"y\n1\n2\n"
CODES = {0, 1, 2, 3, 4}  # refused, or done; never unexpected

LIKE_OURS = (
    *("config.json", "report.json", "metrics.jsonl", "curves.png", "cells.json", "cells.png"),
    *("model", "mixture", "checkpoints", ".lock", ".recurra", "manifest.json", "model.json"),
    *(
        "weights.safetensors",
        "forecast.png",
        "out.csv",
        "out.png",
        "data.csv.part",
        "step-00000002",
    ),
    *("model.tmp-0123abcd", "model.old-0123abcd", "config.json.tmp-0123abcd", "x.old-0123abcd"),
    *("photos.tmp-0123abcd", "report.json.old-89abcdef", "step-00000001.tmp-0123abcd", "notes.txt"),
    *("config.json.old-0123abcd", "mixture.old-0123abcd", "thesis.tex", "config.JSON", "data.csv"),
)


def run(seed: int, count: int = COUNT, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    """Make that many folders and carry out a command on each; count what was changed or broken.

    Runs and models are of these kinds.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet(Path(folder)):
        made = Made(Path(folder), kinds)
        outcomes: Counter[str] = Counter()
        faults = []
        for number in range(count):
            found = made.case(random.Random(f"{seed} {number}"), number)
            outcomes[f"{found['command']}: {found['code']}"] += 1
            faults += [f"{number} {found['command']}: {fault}" for fault in found["faults"]]
    told = {"folders": count, "outcomes": dict(sorted(outcomes.items()))}
    return told | {"faults": faults[:50], "failed": len(faults)}


@contextlib.contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Work in a folder, with caches of its own; nothing here is about power losses or drawing."""
    from matplotlib.figure import Figure

    from recurra.storage import picture

    def drawn(figure: Any, file: Any, **more: Any) -> None:
        file.write(b"\x89PNG " + more["metadata"]["Software"].encode())

    before = Path.cwd()
    places = {"RECURRA_CACHE": str(folder / "cache"), "HOME": str(folder / "home")}
    with (
        mock.patch.dict(os.environ, {**places, "RECURRA_DATA": str(folder / "data")}),
        mock.patch.object(os, "fsync", lambda descriptor: None),
        mock.patch.object(Figure, "savefig", drawn),
        mock.patch.object(picture, "_lay_out", lambda figure: None),
    ):
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


class Made:
    """What the folders are made of: runs and models of every kind, made once."""

    def __init__(self, folder: Path, kinds: tuple[str, ...] = KINDS) -> None:
        from recurra.storage.sealed import seal

        self.folder = folder
        (folder / "text.txt").write_text(TEXT)
        rows = [f"a,{n},{100 + n % 7}\n" for n in range(60)]
        (folder / "series.csv").write_text("unique_id,ds,y\n" + "".join(rows))
        made = folder / "made"
        commands = {"network": NETWORK, "counts": COUNTS, "series": SERIES}
        commands["labels"] = ["iris", "--set", "train.steps=3", "--set", "threads=1"]
        for kind in kinds:
            code, said = _carry_out(["train", *commands[kind], f"--out={made / kind}"])
            assert code == 0, said
        self.kinds = kinds
        if "network" in kinds:
            shutil.copytree(made / "network", made / "stopped")
            for name in ("report.json", "model"):
                _drop(made / "stopped" / name)
        code, said = _carry_out(
            ["mix", str(made / "counts"), "--unigram-cache", "--out=made/mixed"]
        )
        assert code == 0, said
        seal(made / "cached", {"train.ids": b"1"}, "text", 2)
        self.models = {kind: _model(made / kind / "model") for kind in kinds}
        self.made = made
        self.commands: dict[str, Callable[[Path, random.Random], int]] = {
            "train": lambda place, draw: self._train(place, draw),
            "train --restart": lambda place, draw: self._train(place, draw, "--restart"),
            "mix": self._mix,
            "save_pretrained": self._save,
            "model_dir": self._model_dir,
            "bench": self._bench,
            "compare --plot": self._compare,
            "forecast": self._forecast,
            "explain --plot": self._explain,
            "fetch": self._fetch,
        }
        for kind, command in {"network": "explain --plot", "series": "forecast"}.items():
            if kind not in kinds:
                del self.commands[command]

    def case(self, draw: random.Random, number: int) -> dict[str, Any]:
        """Make one folder, carry out a command on it, and say what it did that it must not."""
        place = self.folder / f"case-{number}" / "place"
        place.parent.mkdir()
        precious = place.parent / "precious"
        (precious / "album").mkdir(parents=True)
        (precious / "file").write_text("precious")
        (precious / "album" / "sea.jpg").write_text("sea")
        ours = self._fill(place, draw)
        theirs = self._strew(place, precious, draw)
        if place.is_dir() and draw.random() < 0.1:
            place.rename(place.parent / "elsewhere")
            place.symlink_to("elsewhere")
        before, whole = _seen(place.parent, theirs), _bytes(place)
        command = draw.choice(list(self.commands))
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = self.commands[command](place, draw)
        faults = [f"{path} was changed" for path in _changed(place.parent, before)]
        if code not in CODES or "Traceback" in said.getvalue() or "unexpected" in said.getvalue():
            faults.append(f"exit {code}: {said.getvalue()[-300:]}")
        if code and ours and (lost := _lost(whole, _bytes(place))):
            faults.append(f"refused, and yet changed: {lost}")
        faults += _broken(place, set(theirs))
        shutil.rmtree(place.parent)
        return {"command": command, "code": code, "faults": faults}

    def _fill(self, place: Path, draw: random.Random) -> bool:
        """Put something of ours there, or nothing; return whether it is a thing of ours."""
        kinds = [path.name for path in sorted(self.made.iterdir())]
        match draw.randrange(4):
            case 0:
                place.mkdir()
                return False
            case 1 if draw.random() < 0.5:
                return False
        kind = draw.choice(kinds)
        source = self.made / kind / draw.choice(["", "", "model"])
        shutil.copytree(source if source.is_dir() else self.made / kind, place)
        if draw.random() < 0.2:
            (place / ".recurra").unlink(missing_ok=True)  # as older versions left it
        return True

    def _strew(self, place: Path, precious: Path, draw: random.Random) -> list[Path]:
        """Put files, folders and links of someone else's there; return their paths."""
        theirs: list[Path] = [precious, precious / "file", precious / "album" / "sea.jpg"]
        if not place.is_dir():
            return theirs
        inner = [path for path in place.rglob("*") if path.is_dir() and not path.is_symlink()]
        for _ in range(draw.choice([0, 0, 1, 1, 2, 4])):
            folder = draw.choice([place, place, *sorted(inner)])
            path = folder / draw.choice(LIKE_OURS)
            if os.path.lexists(path):
                continue
            match draw.randrange(5):
                case 0:
                    path.symlink_to(precious / "file")
                case 1:
                    path.symlink_to(draw.choice([precious / "album", Path("nowhere")]))
                case 2:
                    path.mkdir()
                    (path / draw.choice(["sea.jpg", "notes.json"])).write_text("theirs")
                    theirs.append(next(path.iterdir()))
                case _:
                    path.write_text("theirs")
            theirs.append(path)
            os.utime(path, ns=(1, 10**15), follow_symlinks=False)
        return theirs

    def _train(self, place: Path, draw: random.Random, *more: str) -> int:
        words = draw.choice([NETWORK, COUNTS, COUNTS, [*COUNTS, "--set", "ngram.order=0"]])
        if "network" not in self.kinds and words is NETWORK:
            words = COUNTS
        return _carry_out(["train", *words, f"--out={place}", *more])[0]

    def _mix(self, place: Path, draw: random.Random) -> int:
        out = draw.choice([place, place / "model", place / "mixture", place / "new"])
        return _carry_out(["mix", "made/counts", "--unigram-cache", f"--out={out}"])[0]

    def _save(self, place: Path, draw: random.Random) -> int:
        model = self.models[draw.choice(self.kinds)]
        return _python(lambda: model.save_pretrained(place))

    def _model_dir(self, place: Path, draw: random.Random) -> int:
        from recurra.estimators.softmax import SoftmaxClassifier

        where = draw.choice([place, place / "checkpoints"])
        data = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
        return _python(lambda: SoftmaxClassifier(steps=2, model_dir=where).fit(*data))

    def _bench(self, place: Path, draw: random.Random) -> int:
        from recurra.bench import cells, picture
        from recurra.cli.learn import benched

        result = {"bench": "cells", "results": [{}], "finished": True, "tasks": []}
        done = [cells.Compared(result)]
        with (
            mock.patch.object(cells, "compare_cells", lambda *given: iter(done)),
            mock.patch.object(benched, "lines", lambda result: ["a table"]),
            mock.patch.object(picture, "size", lambda result: (2, 2)),
            mock.patch.object(picture, "draw", lambda figure, result: None),
        ):
            return _carry_out(["bench", "cells", "rnn", f"--out={place}"])[0]

    def _compare(self, place: Path, draw: random.Random) -> int:
        plot = place / draw.choice(["out.png", "curves.png", "notes.png", "cells.png"])
        return _carry_out(["compare", "made/counts", "made/counts", f"--plot={plot}"])[0]

    def _forecast(self, place: Path, draw: random.Random) -> int:
        name = draw.choice(["out.csv", "data.csv", "config.json", "notes.txt", "model"])
        words = ["forecast", "made/series", f"--out={place / name}"]
        return _carry_out([*words, f"--plot={place / 'forecast.png'}"])[0]

    def _explain(self, place: Path, draw: random.Random) -> int:
        words = ["explain", "made/network", "the cat", f"--plot={place / 'out.png'}"]
        return _carry_out(words)[0]

    def _fetch(self, place: Path, draw: random.Random) -> int:
        from recurra.storage.remote import download
        from recurra.storage.remote.published import PublishedFile

        digest = hashlib.sha256(PUBLISHED).hexdigest()
        name = draw.choice(["data.csv", "report.json"])
        file = PublishedFile(name, len(PUBLISHED), digest, "http://localhost/file")
        with (
            mock.patch.dict(os.environ, {"RECURRA_DATA": str(place)}),
            mock.patch.object(download, "urlopen", lambda *given, **more: _Answer(PUBLISHED)),
        ):
            return _python(file.read)


class _Answer(io.BytesIO):
    """What a server says."""

    status, headers = 200, {"Content-Range": None}

    @property
    def length(self) -> int:
        return len(self.getvalue())


def _carry_out(words: list[str]) -> tuple[int, str]:
    from recurra.cli import main

    said = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(words)
    said.seek(0)
    told = said.read()
    sys.stdout.write(told)
    return code, told


def _python(call: Callable[[], object]) -> int:
    """Return the exit code that the command line would end with."""
    from recurra.errors import RecurraError

    try:
        call()
    except RecurraError as error:
        return error.exit_code
    except OSError:
        return 1
    return 0


def _model(place: Path) -> Any:
    from recurra.run.tasks import TASKS, task_of
    from recurra.table import imported

    return imported(TASKS[task_of(place)].model, "model").from_pretrained(place)


def _drop(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _state(path: Path) -> tuple[Any, ...] | None:
    """Return all of a thing of someone else's that must stay: kind, time, bytes, where it leads."""
    if not os.path.lexists(path):
        return None
    status = path.lstat()
    if path.is_symlink():
        return "link", status.st_mtime_ns, str(path.readlink())
    if path.is_dir():
        return ("folder",)
    return "file", status.st_mtime_ns, status.st_ino, path.read_bytes()


def _seen(root: Path, theirs: list[Path]) -> dict[Path, tuple[Any, ...] | None]:
    return {path: _state(path) for path in theirs}


def _changed(root: Path, before: dict[Path, tuple[Any, ...] | None]) -> list[str]:
    return [str(path.relative_to(root)) for path in before if _state(path) != before[path]]


def _bytes(place: Path) -> dict[str, bytes]:
    """Return the bytes of the files that make a run or a model, without what locks or is left."""
    skipped = (".lock", ".recurra")
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name not in skipped and "-0123abcd" not in str(path)
    }


def _lost(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Return what a command that was refused has changed."""
    logs = ("metrics.jsonl",)
    names = before.keys() | after.keys()
    return [n for n in sorted(names) if before.get(n) != after.get(n) and n not in logs]


def _broken(place: Path, theirs: set[Path]) -> list[str]:
    """Return what of ours is not whole: a model that cannot be opened, JSON that cannot be read."""
    from recurra.errors import CheckpointError
    from recurra.storage.reading import read_json
    from recurra.storage.sealed import kind_in, open_sealed

    faults = []
    for manifest in sorted(place.rglob("manifest.json")):
        folder = manifest.parent
        if manifest in theirs or theirs & {folder, *folder.parents} or kind_in(folder) is None:
            continue
        known = read_json(manifest)
        try:
            open_sealed(folder, known["kind"], known["version"])
        except CheckpointError as error:
            if not theirs & {folder / name for name in known["files"]}:
                faults.append(str(error))
    return faults
