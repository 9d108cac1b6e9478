"""Text of a model's own: drawn in several ways, many at once, as it comes, and searched for."""

from __future__ import annotations

import tempfile
from pathlib import Path

import recurra as rc
from recurra.language.use.decoding import generate, generate_many, stream


def main(out: Path) -> list[str]:
    for _ in rc.train(rc.preset("kn5", data="grammar"), out=out):
        pass
    lm = rc.LanguageModel.from_pretrained(out)
    print("as it is:   ", generate(lm, 12, stop="\n", seed=2))
    print("cooler:     ", generate(lm, 12, stop="\n", temperature=0.7, top_p=0.9, seed=2))
    print("likeliest:  ", generate(lm, 12, stop="\n", temperature=0))
    print("by a beam:  ", generate(lm, 12, stop="\n", beam=8))

    print("as it comes:", end=" ", flush=True)
    for piece in stream(lm, 12, prompt="these old bakers", stop="\n"):
        print(piece, end="", flush=True)
    print()

    # each from a random stream of its own: the third is the same if only three are drawn
    sentences = generate_many(lm, 5, 20, stop="\n", min_p=0.1)
    for n, sentence in enumerate(sentences):
        print(f"{n}: {sentence}")
    return sentences


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "run")
