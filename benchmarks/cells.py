"""Cells at equal parameters, as `recurra bench cells` compares them, and the picture of it."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from record import machine, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="*", help="eight by default")
    parser.add_argument("--minutes", type=float, help="at most 40 by default")
    parser.add_argument("--out", default="benchmarks/results/cells.json")
    parser.add_argument("--picture", type=Path, default=Path("docs/cells.png"))
    arguments = parser.parse_args()
    minutes = [] if arguments.minutes is None else [f"--minutes={arguments.minutes}"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "recurra", "bench", "cells", *arguments.cells]
        subprocess.run([*command, *minutes, f"--out={folder}"], check=True)
        found = json.loads((Path(folder) / "cells.json").read_bytes())
        write(arguments.out, {"machine": machine(), **found})
        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(folder) / "cells.png", arguments.picture)


if __name__ == "__main__":
    main()
