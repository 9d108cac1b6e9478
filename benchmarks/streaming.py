"""Time one token of a streaming language model: what a keyboard does at every word.

A network of 2 x 200 over 10,000 words, of random weights, reads a token and gives the five
likeliest next ones. Beside it stands the same by torch alone: `nn.Embedding`, `nn.LSTM`,
`nn.Linear`, softmax and `topk`, of the same weights. The contestants take turns of 50 tokens in one
run, with one thread each and with two; our steps of one row take one thread, however many there
are. With a run, its model's perplexity on validation text is told too, packed in int8 and not.

    python benchmarks/streaming.py [--run runs/ptb-tied] [--out benchmarks/results/streaming.json]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from record import machine, spread, write
from recurra.language.models.base import LanguageModel
from recurra.language.models.network import NetworkModel
from recurra.language.models.prepacked import prepacked
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions, TextOptions
from recurra.language.text.dataset import TextDataset
from recurra.language.text.vocabulary import Vocabulary
from recurra.randomness import generator

H, V, LAYERS, TOP = 200, 10_000, 2, 5
TURN, WARMUP = 200, 3

Step = Callable[[torch.Tensor], torch.Tensor]
"""From a token for each row to the likeliest next ones of each, the state kept within."""


def network() -> NetworkModel:
    options = NetworkOptions(hidden_size=H, num_layers=LAYERS, init_scale=0.1)
    words = Vocabulary(["<eos>", "<unk>", *map(str, range(V - 2))])
    built = LanguageNetwork(options, V, generator(1, "init"))
    return NetworkModel(built, options, words, "split")


def by_torch(lm: NetworkModel, rows: int) -> Step:
    """Return the step as one writes it with torch alone."""
    embedding, lstm = nn.Embedding(V, H), nn.LSTM(H, H, LAYERS, batch_first=True).eval()
    linear = nn.Linear(H, V)
    weights = lm.tensors()
    embedding.load_state_dict({"weight": weights["embedding"]})
    linear.load_state_dict({name: weights[f"head.{name}"] for name in ("weight", "bias")})
    lstm.load_state_dict(
        {
            f"{name}_l{layer}": weights[f"recurrence.cells.{layer}.cells.0.{name}"]
            for layer in range(LAYERS)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
    )
    state = (torch.zeros(LAYERS, rows, H), torch.zeros(LAYERS, rows, H))

    @torch.inference_mode()
    def step(tokens: torch.Tensor) -> torch.Tensor:
        nonlocal state
        y, state = lstm(embedding(tokens.unsqueeze(1)), state)
        return torch.softmax(linear(y[:, 0]), dim=-1).topk(TOP).indices

    return step


def not_packed(lm: NetworkModel, rows: int) -> Step:
    state = lm.initial_state(rows)

    def step(tokens: torch.Tensor) -> torch.Tensor:
        nonlocal state
        log_probs, state = lm.step(tokens, state)
        return log_probs.topk(TOP).indices

    return step


def packed(precision: Any) -> Callable[[NetworkModel, int], Step]:
    def made(lm: NetworkModel, rows: int) -> Step:
        fast = prepacked(lm, precision=precision)
        state: Any = fast.initial_state(rows)

        def step(tokens: torch.Tensor) -> torch.Tensor:
            nonlocal state
            found, state = fast.top(tokens if rows > 1 else int(tokens), state, TOP)
            return found.ids.view(rows, TOP)

        return step

    return made


CONTESTANTS = {
    "nn.LSTM + linear + softmax + topk": by_torch,
    "recurra, not packed": not_packed,
    "recurra, packed in float32": packed("float32"),
    "recurra, packed in int8": packed("int8"),
}


def agreement(lm: NetworkModel, rows: int) -> dict[str, float]:
    """Return the share of tokens whose likeliest next ones are those of torch, in order."""
    steps = {name: make(lm, rows) for name, make in CONTESTANTS.items()}
    tokens = torch.randint(V, (100, rows), generator=generator(1, "tokens"))
    found = {name: torch.stack([step(each) for each in tokens]) for name, step in steps.items()}
    first = next(iter(found.values()))
    return {name: float((each == first).all(-1).float().mean()) for name, each in found.items()}


def timed(lm: NetworkModel, rows: int, threads: int, rounds: int) -> dict[str, Any]:
    """Return the microseconds of a token, and how many times faster than the first each is."""
    torch.set_num_threads(threads)
    steps = {name: make(lm, rows) for name, make in CONTESTANTS.items()}
    tokens = torch.randint(V, (TURN, rows), generator=generator(1, "tokens"))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(WARMUP + rounds):
        for name, step in steps.items():
            begun = time.perf_counter()
            for each in tokens:
                step(each)
            times[name].append((time.perf_counter() - begun) * 1e6 / TURN)
    times = {name: each[WARMUP:] for name, each in times.items()}
    base = next(iter(times.values()))
    return {
        name: {
            "microseconds": spread(each),
            "times_faster": spread([a / b for a, b in zip(base, each)]),
        }
        for name, each in times.items()
    }


def perplexities(run: str, corpus: str) -> dict[str, float]:
    """Return the validation perplexity of a run's network, packed and not."""
    lm = LanguageModel.from_pretrained(run)
    while not isinstance(lm, NetworkModel):
        lm = lm.inner[0]
    data = TextDataset.open(TextOptions(corpus=corpus), lm.vocabulary)
    ids, facts = data.ids("valid"), data.facts("valid")
    models: dict[str, LanguageModel] = {"not packed": lm}
    models |= {f"packed in {name}": prepacked(lm, precision=name) for name in ("float32", "int8")}
    return {name: model.evaluate(ids, facts).perplexity for name, model in models.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--run")
    parser.add_argument("--corpus", default="ptb")
    parser.add_argument("--out", default="benchmarks/results/streaming.json")
    arguments = parser.parse_args()
    lm = network()
    result: dict[str, Any] = {"same five likeliest as torch": agreement(lm, 1)}
    print(result)
    for rows in (1, 16):
        for threads in (1, 2):
            found = timed(lm, rows, threads, arguments.rounds)
            result[f"{rows} rows, {threads} threads"] = found
            for name, each in found.items():
                took, faster = each["microseconds"]["median"], each["times_faster"]["median"]
                print(f"{rows:2} rows, {threads} threads  {name:34} {took:8.1f} us {faster:6.2f} x")
    if arguments.run:
        found = perplexities(arguments.run, arguments.corpus)
        lost = found["packed in int8"] / found["not packed"] - 1
        result["validation perplexity"] = found | {"lost to int8": lost}
        print(result["validation perplexity"])
    write(arguments.out, {"machine": machine(), "rounds": arguments.rounds, **result})


if __name__ == "__main__":
    main()
