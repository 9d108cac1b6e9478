"""Time the training of an LSTM language model compiled by inductor beside the same in eager mode.

Two layers of 200, batch 20, 2,000 words, one thread; first twelve lengths, of which the
compilations are counted, then 35 steps in turns.

    python benchmarks/compiled.py [--rounds 6] [--out benchmarks/results/compiled.json]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

import recurra as rc
from record import machine, write
from recurra.nn.state import State, detach

WORDS, UNITS, ROWS = 2000, 200, 20
LENGTHS = [35, 20, 28, 9, 36, 12, 40, 17, 33, 5, 26, 31]


class Model(nn.Module):
    """The model as one would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS)
        self.layers = rc.Stack([rc.LSTMCell(UNITS, UNITS), rc.LSTMCell(UNITS, UNITS)])
        self.read = nn.Linear(UNITS, WORDS)

    def forward(self, ids: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the loss of a chunk, and the state behind it."""
        y, state = rc.unroll(self.layers, self.embedding(ids), state)
        logits = self.read(y).flatten(0, 1)
        return nn.functional.cross_entropy(logits, targets.flatten()), state


def trained(run: Callable[..., Any], model: Model, lengths: list[int]) -> list[tuple[float, float]]:
    """Return the loss and the seconds of each step."""
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)
    drawn = torch.Generator().manual_seed(0)
    state, told = model.layers.initial_state(ROWS), []
    for T in lengths:
        ids = torch.randint(0, WORDS, (ROWS, T + 1), generator=drawn)
        begun = time.perf_counter()
        loss, state = run(ids[:, :-1], ids[:, 1:], detach(state))
        sgd.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5)
        sgd.step()
        told.append((loss.item(), time.perf_counter() - begun))
    return told


def main() -> None:
    """Measure, and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    eager = Model()
    model = copy.deepcopy(eager)
    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    pairs = zip(trained(eager, eager, LENGTHS), trained(compiled, model, LENGTHS))
    apart = max(abs(a - b) for (a, _), (b, _) in pairs)
    best = {"eager": float("inf"), "compiled": float("inf")}
    for _ in range(options.rounds):
        for name, run, own in (("eager", eager, eager), ("compiled", compiled, model)):
            least = min(seconds for _, seconds in trained(run, own, [35] * 6))
            best[name] = min(best[name], least)
    found = {
        "lengths": len(LENGTHS),
        "compilations": counter.frame_count,
        "losses apart": apart,
        "milliseconds a step": {name: round(1000 * each, 2) for name, each in best.items()},
        "compiled over eager": round(best["compiled"] / best["eager"], 3),
    }
    print(found)
    if options.out:
        write(options.out, {"machine": machine()} | found)


if __name__ == "__main__":
    main()
