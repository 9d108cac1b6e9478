"""An LSTM as each of its gates is removed, as `recurra bench gates` compares them.

What is not an option of this program's is one of the command's.

    python benchmarks/gates.py [--minutes 10]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cells import keep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beside", help="what else the machine did, for the record")
    parser.add_argument("--out", default="benchmarks/results/gates.json")
    parser.add_argument("--picture", type=Path, default=Path("docs/pictures/gates-removed.png"))
    arguments, words = parser.parse_known_args()
    keep("gates", words, arguments.out, arguments.picture, arguments.beside)


if __name__ == "__main__":
    main()
