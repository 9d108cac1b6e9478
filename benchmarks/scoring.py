"""Score independent sentences side by side, and one at a time: the same numbers, much sooner.

Side by side is one call of `score` for all of them. One at a time is a call for each sentence; or,
as a recogniser would without it, a `step` for each token, timed on a tenth of the sentences.
Without a run, a network of the size of `ptb-seed` is used as it starts, which takes as long.

    python benchmarks/scoring.py [runs/ptb-tied] [--out benchmarks/results/scoring.json]
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterable

import numpy as np

from record import machine, write
from recurra.language.models.base import LanguageModel
from recurra.language.models.network import NetworkModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions, TextOptions
from recurra.language.text.dataset import TextDataset
from recurra.language.text.tokenization import EOS, detokenize, tokenize
from recurra.language.use.scoring import Score, score
from recurra.machine import keep_freed_memory
from recurra.randomness import generator


def sentences(data: TextDataset, count: int) -> list[str]:
    """Return so many lines of the training text."""
    eos = data.vocabulary.eos
    ids = np.asarray(data.ids("train")[: 60 * count])
    lines = np.split(ids, np.flatnonzero(ids == eos) + 1)[:count]
    return [detokenize(data.vocabulary.decode(line[:-1].tolist()), "split") for line in lines]


def opened(run: str | None, corpus: str) -> tuple[LanguageModel, TextDataset]:
    if run is not None:
        model = LanguageModel.from_pretrained(run)
        return model, TextDataset.open(TextOptions(corpus=corpus), model.vocabulary)
    data = TextDataset.open(TextOptions(corpus=corpus))
    options = NetworkOptions(hidden_size=200, num_layers=2)
    network = LanguageNetwork(options, len(data.vocabulary), generator(1, "init"))
    return NetworkModel(network, options, data.vocabulary, data.rule), data


def timed(found: Iterable[Score]) -> tuple[float, list[Score]]:
    begun = time.perf_counter()
    scores = list(found)
    return time.perf_counter() - begun, scores


def stepped(model: LanguageModel, texts: list[str]) -> list[float]:
    """Return each sentence's log-probability by one step at a time."""
    found = []
    for text in texts:
        state, before, total = model.initial_state(), model.vocabulary.eos, 0.0
        for token in model.vocabulary.encode([*tokenize(text, model.rule), EOS]).tolist():
            log_probs, state = model.step(before, state)
            total += float(log_probs[token])
            before = token
        found.append(total)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?")
    parser.add_argument("--corpus", default="ptb")
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--out", default="benchmarks/results/scoring.json")
    arguments = parser.parse_args()
    keep_freed_memory()
    model, data = opened(arguments.run, arguments.corpus)
    texts = sentences(data, arguments.sentences)
    list(score(model, texts[:64]))  # what is made once only

    seconds, together = timed(score(model, texts))
    alone_seconds, alone = timed(
        itertools.chain.from_iterable(score(model, [text]) for text in texts)
    )
    few = together[:: max(1, min(10, len(texts) // 10))]
    begun = time.perf_counter()
    steps = stepped(model, [each.text for each in few])
    seconds_a_token = (time.perf_counter() - begun) / sum(len(each.tokens) for each in few)
    tokens = sum(len(each.tokens) for each in together)
    token = max(
        abs(one.log_prob - other.log_prob)
        for a, b in zip(together, alone, strict=True)
        for one, other in zip(a.tokens, b.tokens, strict=True)
    )
    line = max(abs(a.log_prob - b.log_prob) for a, b in zip(together, alone))
    relative = max(abs(a.log_prob / b.log_prob - 1) for a, b in zip(together, alone))
    stepwise = max(abs(a.log_prob / b - 1) for a, b in zip(few, steps, strict=True))
    perplexity = max(abs(a.perplexity / b.perplexity - 1) for a, b in zip(together, alone))
    result = {
        "run": arguments.run or "2 x 200 lstm, not trained",
        "sentences": len(texts),
        "tokens": tokens,
        "side by side": {"seconds": round(seconds, 2)},
        "one at a time": {"seconds": round(alone_seconds, 2)},
        "token by token": {"seconds": round(seconds_a_token * tokens, 2), "timed": len(few)},
        "times faster": {
            "than one at a time": round(alone_seconds / seconds, 1),
            "than token by token": round(seconds_a_token * tokens / seconds, 1),
        },
        "greatest difference": {
            "of a token, in nats": token,
            "of a sentence, in nats": line,
            "of a sentence, relative": relative,
            "of a sentence to its steps, relative": stepwise,
            "of a perplexity, relative": perplexity,
        },
    }
    for name, value in result.items():
        print(f"{name:20} {value}")
    write(arguments.out, {"machine": machine(), **result})


if __name__ == "__main__":
    main()
