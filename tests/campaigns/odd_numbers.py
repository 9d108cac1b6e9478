"""Odd numbers given to every task that reads numbers: finite answers, or a refusal that names the
row; never a null probability, a null forecast or an infinite one.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

VALUES = (
    0.0, -0.0, 5e-324, 1e-300, 1e-38, 1e-10, 1.0, 1e15, 1e20, -1e20, 1e30, 3e38, -3e38, 1e39, 1e150,
    1e300, -1e300, math.nan, math.inf, -math.inf,
)  # fmt: skip
SHAPES = ("one", "all", "scaled", "alternating", "constant but one")
TASKS = ("series", "forecast", "labels", "classify")
DRAWN = 80


def run(seed: int) -> dict[str, Any]:
    """Draw cases from the table of values, shapes and tasks, and look at what each gives."""
    with tempfile.TemporaryDirectory() as folder:
        faults = [said for case in cases(seed, DRAWN) if (said := fault(Path(folder), *case))]
    return {"cases": DRAWN, "faults": faults, "failed": len(faults)}


def cases(seed: int, count: int) -> Iterator[tuple[str, str, float, int]]:
    """Yield tasks, shapes, values and seeds, each task and value as often as the others."""
    draws = np.random.default_rng(seed)
    for number in range(count):
        task, shape = TASKS[number % len(TASKS)], SHAPES[draws.integers(len(SHAPES))]
        yield task, shape, VALUES[number // len(TASKS) % len(VALUES)], int(draws.integers(2**31))


def odd(shape: str, value: float, size: int, draws: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return numbers of which one or all are odd."""
    plain = 10 + np.sin(np.arange(size)) + draws.normal(size=size) / 10
    if shape == "one":
        plain[draws.integers(size)] = value
    elif shape == "all":
        plain[:] = value
    elif shape == "scaled":
        plain = plain / 10 * value if math.isfinite(value) and abs(value) < 1e300 else plain
    elif shape == "alternating":
        plain[::2] = value
    else:
        plain[:] = 3.0
        plain[-1] = value
    return plain


def fault(folder: Path, task: str, shape: str, value: float, seed: int) -> str | None:
    """Return what is wrong with what a case gave, in words; None where it is right."""
    draws = np.random.default_rng(seed)
    path = folder / ("odd.csv" if task in ("series", "forecast") else "odd_TRAIN.ts")
    (folder / "odd_TEST.ts").unlink(missing_ok=True)
    if task in ("series", "forecast"):
        _write_series(path, odd(shape, value, 40, draws))
        words = ["forecast", _forecaster(folder), "--data", str(path), "--json"]
        if task == "series":
            settings = ["data.horizon=4", "data.season=1", "train.steps=3", "network.hidden_size=4"]
            words = ["train", "series", "--data", str(path), "--json", "--restart"]
            words += [f"--set={each}" for each in settings]
            words += ["--threads=1", "--out", str(folder / "run")]
    else:
        _write_labels(path, odd(shape, value, 60, draws).reshape(12, 5))
        words = ["classify", _classifier(folder), str(path), "--json"]
        if task == "labels":
            settings = ["train.steps=3", "network.hidden_size=4", "network.members=1"]
            words = ["train", "labels", "--data", str(path), "--json", "--restart"]
            words += [f"--set={each}" for each in settings]
            words += ["--threads=1", "--out", str(folder / "run")]
    code, out, err = _called(words)
    told = f"{task}, {shape} {value:g}, seed {seed}"
    if "Traceback" in err or "unexpected" in err or code not in (0, 3):
        return f"{told}: exit {code}, {err[-300:]}"
    if code == 3:
        named = any(word in err for word in ("row", "example", "sequence", "series", "holds"))
        one_line = err.strip().count("\n") == 0
        return None if named and one_line else f"{told}: {err[-300:]}"
    return f"{told}: {bad}" if (bad := _bad(task, json.loads(out))) else None


def _bad(task: str, said: dict[str, Any]) -> str | None:
    """Return what in an answer is no finite number where there must be one."""
    if task == "forecast":
        numbers = [v for row in said["forecasts"] for k, v in row.items() if k[:2] in "yhlohi"]
        return None if all(map(_finite, numbers)) else "a forecast is not finite"
    if task == "classify":
        rows = [row["probabilities"].values() for row in said["classifications"]]
        sound = all(all(map(_finite, row)) and abs(sum(row) - 1) < 1e-6 for row in rows)
        return None if sound else "a label without a probability"
    metric = {"series": "mae", "labels": "accuracy"}[task]
    judged = [said[split] for split in ("valid", "test") if said[split]]
    judged += said["baselines"].values()
    return None if all(_finite(each[metric]) for each in judged) else f"{metric} is null"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _called(words: list[str]) -> tuple[int, str, str]:
    """Carry out a command in this process; return its exit code and what it wrote."""
    from recurra.cli import main

    out, err = TextIOWrapper(buffer := _Kept(), "utf-8"), StringIO()
    with redirect_stdout(out), redirect_stderr(err), np.errstate(all="ignore"):
        code = main(words)
        out.flush()
    return code, buffer.text, err.getvalue()


class _Kept(BytesIO):
    """Bytes that are still there once a wrapper has closed them."""

    text = ""

    def flush(self) -> None:
        self.text = self.getvalue().decode()


def _forecaster(folder: Path) -> str:
    """Return a run of sound numbers, trained once."""
    if not (folder / "forecaster").exists():
        path = folder / "sound.csv"
        _write_series(path, odd("one", 10.0, 60, np.random.default_rng(0)))
        settings = ["data.horizon=4", "data.season=1", "train.steps=20", "network.hidden_size=4"]
        words = ["train", "series", "--data", str(path), "--threads=1", "--json"]
        words += [f"--set={each}" for each in settings]
        assert _called([*words, "--out", str(folder / "forecaster")])[0] == 0
    return str(folder / "forecaster")


def _classifier(folder: Path) -> str:
    if not (folder / "classifier").exists():
        path = folder / "sound.ts"
        _write_labels(path, odd("one", 10.0, 200, np.random.default_rng(0)).reshape(40, 5))
        settings = ["train.steps=20", "network.hidden_size=4", "network.members=1"]
        words = ["train", "labels", "--data", str(path), "--threads=1", "--json"]
        words += [f"--set={each}" for each in settings]
        assert _called([*words, "--out", str(folder / "classifier")])[0] == 0
    return str(folder / "classifier")


def _write_series(path: Path, values: np.ndarray[Any, Any]) -> None:
    lines = [f"{n},{value!r}" for n, value in enumerate(values.tolist())]
    path.write_text("\n".join(["ds,y", *lines]))


def _write_labels(path: Path, rows: np.ndarray[Any, Any]) -> None:
    lines = [
        f"{','.join(map(repr, row.tolist()))}:{'ab'[number % 2]}" for number, row in enumerate(rows)
    ]
    path.write_text("\n".join(["@classLabel true a b", "@data", *lines]))
