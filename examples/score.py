"""Which of two sentences is likelier, word by word; and the best of what a recogniser heard."""

from __future__ import annotations

import tempfile
from pathlib import Path

import recurra as rc
from recurra.language.use.nbest import Hypothesis, NBest
from recurra.language.use.rescoring import rescore, with_log_probs
from recurra.language.use.scoring import score

SENTENCES = ["this old judge speaks", "this old judge speak", "judge old this speaks"]
HEARD = [  # with the recogniser's own log-probability; by its ear the first is best
    Hypothesis("these baker writes", -2.0),
    Hypothesis("these bakers write", -2.5),
]


def main(out: Path) -> str:
    for _ in rc.train(rc.preset("kn5", data="grammar"), out=out):
        pass
    lm = rc.LanguageModel.from_pretrained(out)
    for each in score(lm, SENTENCES):
        words = "  ".join(f"{word.token} {word.log_prob:.1f}" for word in each.tokens)
        print(f"perplexity {each.perplexity:7.1f}   {words}")

    (unknown,) = score(lm, ["this zebra sleeps"], open_vocabulary=True)
    print("not known, so spelled out:", [word.token for word in unknown.tokens if word.oov])

    (heard,) = with_log_probs(lm, [NBest("utterance 1", HEARD)])
    best = rescore(heard, weight=0.5)[0]
    print(f"heard: {best.text!r}, total {best.total:.2f}")
    return best.text


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "run")
