"""Train a small language model on text from a grammar, then read its mind word by word."""

from __future__ import annotations

import tempfile
from pathlib import Path

import recurra as rc


def main(out: Path) -> float:
    config = rc.with_settings(
        rc.preset("words", data="grammar"),
        ["network.hidden_size=48", "train.epochs=2", "train.optimizer=adam",
         "train.learning_rate=0.01"],
    )  # fmt: skip
    for event in rc.train(config, out=out):
        if isinstance(event, rc.Validated):
            print(f"epoch {event.epoch:g}: perplexity {event.metrics['perplexity']:.2f}")

    lm = rc.LanguageModel.from_pretrained(out)
    state = lm.initial_state()
    token = lm.vocabulary.eos  # the context before the first word
    for word in ["these", "bakers", "above", "this"]:
        log_probs, state = lm.step(token, state)
        token = lm.vocabulary.ids[word]
        likely = lm.vocabulary.decode([int(log_probs.argmax())])[0]
        print(f"{word:8} p = {log_probs[token].exp():.3f}   likeliest was {likely!r}")
    return float(rc.evaluate(out)["perplexity"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(f"test perplexity {main(Path(folder) / 'run'):.2f}")
