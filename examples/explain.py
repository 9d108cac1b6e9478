"""Look into a language model: a small one learns a grammar, then shows its surprise and gates.

The forget gates say how much of the memory each word leaves as it was.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import recurra as rc
from recurra.language.explanation import explain
from recurra.language.heat_map import save

SENTENCE = "these quiet bakers near this old dog"


def main(out: Path) -> float:
    config = rc.with_settings(
        rc.preset("words", data="grammar"),
        ["network.hidden_size=48", "train.epochs=1", "train.optimizer=adam",
         "train.learning_rate=0.005"],
    )  # fmt: skip
    for _ in rc.train(config, out=out):
        pass
    seen = explain(rc.LanguageModel.from_pretrained(out), SENTENCE)
    for n, token in enumerate(seen.tokens):
        forget = seen.layers[-1].gates["f"][n]
        print(
            f"{token:8} surprise {-seen.log_probs[n]:5.2f} nats where {seen.entropies[n]:4.2f} "
            f"were expected, rank {seen.ranks[n]:3}; its forget gates keep {forget.mean():.2f}"
        )
    save(seen, out / "explained.png", layer=2, title=SENTENCE)
    print(f"the picture is in {out / 'explained.png'}")
    return float(-seen.log_probs.mean())


if __name__ == "__main__":
    main(Path(tempfile.mkdtemp()) / "run")
