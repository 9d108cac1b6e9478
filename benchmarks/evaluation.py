"""Evaluate a run's test text as one sequence, and one token at a time as the 2017 tutorial did.

Both carry the state from the first token to the last at batch 1; the numbers must agree.

    python benchmarks/evaluation.py runs/ptb-seed [--out benchmarks/results/evaluation.json]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from record import machine, write
from recurra.language.models.base import LanguageModel
from recurra.language.options import TextOptions
from recurra.language.text.dataset import TextDataset
from recurra.machine import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--corpus", default="ptb")
    parser.add_argument("--out", default="benchmarks/results/evaluation.json")
    arguments = parser.parse_args()
    keep_freed_memory()
    model = LanguageModel.from_pretrained(arguments.run)
    data = TextDataset.open(TextOptions(corpus=arguments.corpus), model.vocabulary)
    ids = np.asarray(data.ids("test"))

    begun = time.perf_counter()
    whole = float(np.exp(-model.log_probs_of(ids).mean()))
    whole_seconds = time.perf_counter() - begun

    begun = time.perf_counter()
    state, before, nats = model.initial_state(), model.vocabulary.eos, 0.0
    for token in ids.tolist():
        log_probs, state = model.step(before, state)
        nats -= float(log_probs[token])
        before = token
    stepwise = float(np.exp(nats / len(ids)))
    stepwise_seconds = time.perf_counter() - begun

    result = {
        "tokens": len(ids),
        "whole": {"perplexity": whole, "seconds": round(whole_seconds, 2)},
        "token by token": {"perplexity": stepwise, "seconds": round(stepwise_seconds, 2)},
        "relative difference": abs(whole / stepwise - 1),
        "times faster": round(stepwise_seconds / whole_seconds, 1),
    }
    for name, value in result.items():
        print(f"{name:20} {value}")
    write(arguments.out, {"machine": machine(), **result})


if __name__ == "__main__":
    main()
