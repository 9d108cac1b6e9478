"""Cells at equal parameters, as `recurra bench cells` compares them, and the picture of it.

What is not an option of this program's is one of the command's.

    python benchmarks/cells.py [NAME ...] [--minutes 21]
    python benchmarks/cells.py --all --tasks words --minutes 40 \
        --out benchmarks/results/cells-words.json --picture docs/pictures/cells-words.png
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from record import machine, write


def keep(bench: str, words: list[str], out: str, picture: Path, beside: str | None) -> None:
    """Carry out a comparison, and keep what it found, with the machine, and its picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "recurra", "bench", bench, *words, f"--out={folder}"]
        subprocess.run(command, check=True)
        found = json.loads((Path(folder) / f"{bench}.json").read_bytes())
        also = {} if beside is None else {"beside": beside}
        write(out, {"machine": machine(), **also, **found})
        picture.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(
            Path(folder) / f"{bench}.png"
        ) as drawn:  # a third as large with 128 colours
            drawn.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
                picture, optimize=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every cell there is")
    parser.add_argument("--beside", help="what else the machine did, for the record")
    parser.add_argument("--out", default="benchmarks/results/cells.json")
    parser.add_argument("--picture", type=Path, default=Path("docs/cells.png"))
    arguments, words = parser.parse_known_args()
    if arguments.all:
        from recurra.nn.cells import CELLS

        words = [*CELLS, *words]
    keep("cells", words, arguments.out, arguments.picture, arguments.beside)


if __name__ == "__main__":
    main()
