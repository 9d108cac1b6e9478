"""A text of one's own as a corpus: one class, used by `module:Name`. N-grams learn it at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import recurra as rc
from recurra.language.text.corpora.base import Corpus
from recurra.run.session import Reported

LENGTHS = {"train": 2000, "valid": 200, "test": 200}


class Multiplications(Corpus):
    """`7 times 8 is 5 6`, over and over: the numbers are drawn by a fixed rule."""

    rule = "split"

    def splits(self) -> tuple[str, ...]:
        return tuple(LENGTHS)

    def chunks(self, split: str) -> Iterator[str]:
        number = len(split)
        for _ in range(LENGTHS[split]):
            number = (number * 1_103_515_245 + 12_345) % 2**31
            a, b = number // 65_536 % 10, number // 655_360 % 10
            yield f"{a} times {b} is {' '.join(str(a * b))}\n"

    def fingerprint(self) -> str:
        return "multiplications 1"


def main(out: Path) -> float:
    config = rc.preset("kn5", data=f"{__name__}:Multiplications")
    for event in rc.train(config, out=out):
        if isinstance(event, Reported):
            print(event.report["verdict"])
            print(event.report["sample"])
    return float(rc.evaluate(out)["perplexity"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "run")
