"""Every property that is tested with drawn examples, with many more of them and another seed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]


def run(seed: int) -> dict[str, Any]:
    """Run the files that draw examples, ten times as many as `make test` does."""
    files = sorted(
        str(path)
        for path in TESTS.rglob("test_*.py")
        if "from hypothesis import given" in path.read_text()
    )
    return tested(files, "--hypothesis-profile=campaign", f"--hypothesis-seed={seed}")


def tested(files: list[str], *options: str) -> dict[str, Any]:
    """Run files of tests and return what came of it.

    Args:
        files: the paths.
        options: pytest's.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-n", "2", *files],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped)", done.stdout)}
    return {
        "files": len(files),
        "passed": counts.get("passed", 0),
        "skipped": counts.get("skipped", 0),
        "failed": counts.get("failed", 0) + (done.returncode not in (0, 1)),
        "faults": re.findall(r"^FAILED (\S+)", done.stdout, re.M),
    }
