"""The next word as one types, and the rest of a word that is begun."""

from __future__ import annotations

import tempfile
from pathlib import Path

import recurra as rc
from recurra.language.use.suggestion import suggest


def main(out: Path) -> list[str]:
    for _ in rc.train(rc.preset("kn5", data="grammar"), out=out):
        pass
    lm = rc.LanguageModel.from_pretrained(out)
    typed, found = "", []
    for more in ["", "th", "ese ", "b", "akers ", "wr"]:
        typed += more
        found = suggest(lm, typed, top=3)
        shown = ", ".join(f"{each.token} {each.probability:.2f}" for each in found)
        print(f"{typed + '|':20} {shown}")
    return [each.token for each in found]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "run")
