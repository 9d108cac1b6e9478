"""Writes everything that the site is built from into a folder: `python docs/site FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))


def write(folder: Path) -> None:
    """Write all pages; what stays the same keeps its time, and what is no more goes.

    Args:
        folder: where, of this alone.
    """
    from pages import pages

    made = {folder / place: content for place, content in pages()}
    for place, content in made.items():
        data = content.encode() if isinstance(content, str) else content
        if not place.exists() or place.read_bytes() != data:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    for place in sorted(folder.rglob("*"), reverse=True):
        if place.is_file() and place not in made:
            place.unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
