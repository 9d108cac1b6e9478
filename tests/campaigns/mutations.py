"""Guards taken out, one at a time, in a copy of the project: a named test must go red.

Each is `(file, what stands there once, what stands there instead, the tests that must fail)`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("src", "tests", "examples", "docs", "benchmarks", "pyproject.toml", "README.md")
FAILED = 1
"""What pytest ends with where tests ran, and some failed."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Something that keeps a run safe, and how it looks without it."""

    file: str
    there: str
    instead: str
    test: str

    def text(self, root: Path) -> str:
        """Return the file's text without the guard."""
        text = (root / self.file).read_text()
        if text.count(self.there) != 1:
            raise LookupError(f"{self.file} has {text.count(self.there)} times {self.there!r}")
        return text.replace(self.there, self.instead)


GUARDS = {
    "flush of a file": Guard(
        "src/recurra/storage/files.py",
        "            os.fsync(descriptor)\n    finally:",
        "            pass\n    finally:",
        "tests/faults/test_power_loss.py::test_the_program_as_it_is_holds",
    ),
    "manifest's hashes": Guard(
        "src/recurra/storage/sealed.py",
        "if digest != self.sha256:",
        "if False:",
        "tests/faults/test_power_loss.py::test_the_program_as_it_is_holds",
    ),
    "class of what a file names": Guard(
        "src/recurra/table.py",
        "        if not any(_is_of(found, imported(base, self.kind)) for base in bases):",
        "        if False:",
        "tests/faults/test_strangers.py::test_nothing_but_a_cell_is_called",
    ),
    "consent to a name": Guard(
        "src/recurra/table.py",
        "found = self._already(name, file) if file else None",
        "found = None",
        "tests/faults/test_strangers.py::test_a_cell_that_a_model_names_is_not_imported",
    ),
    "mark of a run": Guard(
        "src/recurra/run/directory.py",
        "        if self.is_ours():\n            return\n        for",
        "        if True:\n            return\n        for",
        "tests/run/test_directory.py::test_a_folder_that_is_no_run_is_refused_by_the_first_thing_in_it",
    ),
    "what is foreign in a model": Guard(
        "src/recurra/storage/sealed.py",
        "    if (foreign := first_foreign(directory, known)) is not None:",
        "    if foreign := None:",
        "tests/storage/test_sealed.py",
    ),
    "position": Guard(
        "src/recurra/learning/loop.py",
        "        self.step = checkpoint.step\n",
        "",
        "tests/learning/test_loop.py::test_stopped_after_any_step_it_resumes_to_the_bit",
    ),
    "carried state": Guard(
        "src/recurra/learning/loop.py",
        'self.carry = self.learner.unpack(tensors["carry"])',
        "pass",
        "tests/learning/test_loop.py::test_stopped_after_any_step_it_resumes_to_the_bit",
    ),
    "finite weights": Guard(
        "src/recurra/learning/weights.py",
        "        if (place := not_finite(tensor)) is not None:",
        "        if (place := None) is not None:",
        "tests/faults/test_strangers.py::test_weights_that_are_no_numbers_are_refused",
    ),
    "finite losses": Guard(
        "src/recurra/learning/loop.py",
        "        if not finite:\n",
        "        if False:\n",
        "tests/learning/test_loop.py::test_three_in_a_row_are_counted_through_a_stop",
    ),
    "log before its checkpoint": Guard(
        "src/recurra/run/session.py",
        "    if isinstance(event, Saving):",
        "    if False:",
        "tests/run/test_session.py::test_the_log_is_on_the_disk_before_each_checkpoint_that_speaks_of_it",
    ),
}


def run(seed: int) -> dict[str, Any]:
    """Take each guard out and run its test; `seed` is not used, as all of them are tried."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / name)
        whole = sorted({guard.test for guard in GUARDS.values()})
        sound = _pytest(root, *whole) == 0
        outcomes = {name: without(guard, root) for name, guard in GUARDS.items()}
    green = [name for name, code in outcomes.items() if code != FAILED]
    return {"guards": len(GUARDS), "stayed_green": green, "failed": len(green) + (not sound)}


def without(guard: Guard, root: Path) -> int:
    """Return what the guard's test ends with where the guard is not there."""
    path = root / guard.file
    before = path.read_text()
    path.write_text(guard.text(root))
    try:
        return _pytest(root, guard.test)
    finally:
        path.write_text(before)


def _pytest(root: Path, *tests: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=False)
    return done.returncode
