"""A network, dynamic evaluation of it, a cache and n-grams, mixed by what validation says."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import recurra as rc


def main(out: Path) -> float:
    grammar = rc.TextDataset.open("grammar")
    valid, test = grammar.ids("valid"), grammar.ids("test")
    config = rc.with_settings(
        rc.preset("words", data="grammar"),
        ["network.hidden_size=48", "train.epochs=2", "train.optimizer=adam",
         "train.learning_rate=0.01"],
    )  # fmt: skip
    for _ in rc.train(config, out=out / "network"):
        pass
    for _ in rc.train(rc.preset("kn5", data="grammar"), out=out / "kn5"):
        pass
    network = rc.LanguageModel.from_pretrained(out / "network")
    kn5 = rc.LanguageModel.from_pretrained(out / "kn5")

    adapting = rc.dynamic(network, rc.gradient_statistics(network.network, grammar.ids("train")))
    parts = [network, adapting, rc.cache(network), kn5]
    weights = rc.fit_weights([part.log_probs_of(valid) for part in parts])
    mixed = rc.mixture(parts, weights)
    for part, weight in zip(parts, weights):
        nats = -part.log_probs_of(test).mean()
        print(f"{part.kind:8} weight {weight:.2f}  test perplexity {math.exp(nats):.2f}")
    perplexity = math.exp(-mixed.log_probs_of(test).mean())
    print(f"mixed                 test perplexity {perplexity:.2f}")

    mixed.save_pretrained(out / "mixed")  # one directory, a language model like any other
    again = rc.LanguageModel.from_pretrained(out / "mixed")
    print(again.suggest("these bakers ", top=2))
    return perplexity


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
