"""What a language model makes of a text: its surprise word by word, and its gates and states.

N tokens, H units, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import ConfigError, DataError
from recurra.language.models.base import LanguageModel
from recurra.language.models.network import NetworkModel
from recurra.language.text.byte_pairs import text_of
from recurra.language.use.sampling import tokens_of
from recurra.nn.cells.base import Cell, gates_of
from recurra.nn.state import State, flatten

__all__ = ["Explanation", "Layer", "explain"]

MOST = 2_000
"""Tokens of a text; its gates are all held in memory."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """What one cell did at every token, while it read that token.

    Args:
        cell: the name of its class.
        gates: letter in the cell's equation -> `(N, H)` after the activation; none for a cell
            that has none, or does not show them.
        states: name -> `(N, H)` after the step, of a larger state flattened.
    """

    cell: str
    gates: dict[str, Floats]
    states: dict[str, Floats]


@dataclass(frozen=True)
class Explanation:
    """A text through the eyes of a model.

    Args:
        tokens: N, as they were written; the model reads `<unk>` where `oov` says so.
        oov: `(N,)` bool: not in the vocabulary.
        log_probs: `(N,)` in nats, given all tokens before.
        ranks: `(N,)` from 1, which is the likeliest token.
        entropies: `(N,)` in nats: how uncertain it was before it saw the token.
        alternatives: N lists of the likeliest tokens and their probabilities.
        layers: the network's, the lowest first; none of a model without a network.
    """

    tokens: list[str]
    oov: NDArray[np.bool_]
    log_probs: Floats
    ranks: NDArray[np.int64]
    entropies: Floats
    alternatives: list[list[tuple[str, float]]]
    layers: list[Layer]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        with np.errstate(over="ignore"):
            perplexity = float(np.exp(-self.log_probs.mean()))
        return {
            "log_prob": float(self.log_probs.sum()),
            "perplexity": perplexity,
            "tokens": [
                {
                    "token": token,
                    "oov": bool(self.oov[n]),
                    "log_prob": float(self.log_probs[n]),
                    "rank": int(self.ranks[n]),
                    "entropy": float(self.entropies[n]),
                    "alternatives": [
                        {"token": other, "probability": p} for other, p in self.alternatives[n]
                    ],
                }
                for n, token in enumerate(self.tokens)
            ],
            "layers": [
                {
                    "cell": layer.cell,
                    "gates": {name: values.tolist() for name, values in layer.gates.items()},
                    "states": {name: values.tolist() for name, values in layer.states.items()},
                }
                for layer in self.layers
            ],
        }


def explain(model: LanguageModel, text: str, *, top: int = 3) -> Explanation:
    """Return the surprise of every token of a text, and what the network's cells did at it.

    The text begins anew, with `<eos>` before it, and its last line is closed by one, as
    `score` does. Surprise is that of the whole model; gates and states are those of the first
    network in it, with the weights it was trained to.

    Args:
        model: any language model.
        text: at most 2,000 tokens.
        top: how many alternatives to give for each token, from 0.

    Raises:
        DataError: the text has no tokens, or too many.
        ConfigError: top is negative.

    Source: Hochreiter & Schmidhuber 1997 for the gates; Karpathy, Johnson & Fei-Fei 2015,
        "Visualizing and understanding recurrent networks", for looking at them over a text;
        Hale 2001, "A probabilistic Earley parser as a psycholinguistic model", for surprise.

    Example:
        >>> from recurra.language.network import LanguageNetwork
        >>> from recurra.language.options import NetworkOptions
        >>> from recurra.language.text.vocabulary import Vocabulary
        >>> options = NetworkOptions(hidden_size=5)
        >>> words = Vocabulary(["the", "cat", "<eos>", "<unk>"])
        >>> network = LanguageNetwork(options, 4, torch.Generator().manual_seed(1))
        >>> seen = explain(NetworkModel(network, options, words, "words"), "The black cat")
        >>> seen.tokens, seen.oov.tolist()
        (['the', 'black', 'cat', '<eos>'], [False, True, False, False])
        >>> {gate: values.shape for gate, values in seen.layers[1].gates.items()}
        {'i': (4, 5), 'f': (4, 5), 'g': (4, 5), 'o': (4, 5)}
    """
    if top < 0:
        raise ConfigError(f"top is how many alternatives to give, from 0, got {top}")
    vocabulary = model.vocabulary
    closed = text if text.endswith("\n") else f"{text}\n"
    written = tokens_of(model, closed)
    if not text.strip() or not written:
        raise DataError("no tokens in the text: there is nothing to explain")
    if len(written) > MOST:
        raise DataError(f"the text has {len(written):,} tokens, more than the {MOST:,} to explain")
    ids = vocabulary.encode(written)
    known = np.array([token in vocabulary.ids for token in written])
    log_probs, ranks, entropies, likeliest = _surprise(model, ids, min(top, len(vocabulary)))
    read = text_of if model.rule == "bpe" else str
    alternatives = [
        [(read(vocabulary.tokens[index]), p) for index, p in zip(*each)] for each in likeliest
    ]
    network = next((each for each in _within(model) if isinstance(each, NetworkModel)), None)
    layers = [] if network is None else _layers(network, ids)
    tokens = [read(token) for token in written]
    return Explanation(tokens, ~known, log_probs, ranks, entropies, alternatives, layers)


def _surprise(
    model: LanguageModel, ids: NDArray[np.int32], top: int
) -> tuple[Floats, NDArray[np.int64], Floats, list[tuple[list[int], list[float]]]]:
    """Return log-probabilities, ranks, entropies, and the likeliest ids with probabilities."""
    state, before = model.initial_state(), model.vocabulary.eos
    surprise, ranks, entropies = (
        np.empty(len(ids)),
        np.empty(len(ids), np.int64),
        np.empty(len(ids)),
    )
    likeliest = []
    for n, index in enumerate(map(int, ids)):
        given, state = model.step(before, state)
        log_probs = given.double().cpu()
        probabilities = log_probs.exp()
        surprise[n] = float(log_probs[index])
        ranks[n] = 1 + int((log_probs > log_probs[index]).sum())
        entropies[n] = float(torch.special.entr(probabilities).sum())
        values, places = probabilities.topk(top)
        likeliest.append((places.tolist(), values.tolist()))
        before = index
    return surprise, ranks, entropies, likeliest


def _within(model: LanguageModel) -> Iterator[LanguageModel]:
    yield model
    for part in model.inner:
        yield from _within(part)


def _layers(model: NetworkModel, ids: NDArray[np.int32]) -> list[Layer]:
    network = model.network
    cells = [module for module in network.modules() if isinstance(module, Cell)]
    device = network.embedding.device
    start = torch.tensor([[model.vocabulary.eos]], device=device)
    inputs = torch.from_numpy(ids.astype(np.int64)).to(device).unsqueeze(0)
    with torch.no_grad():
        _, state = network(start, model.initial_state())
        with _watched(cells) as steps:
            network(inputs, state)
    return [_layer(cell, each) for cell, each in zip(cells, steps, strict=True) if each]


@contextmanager
def _watched(cells: list[Cell]) -> Iterator[list[list[tuple[dict[str, Tensor], State]]]]:
    """Give a list for each cell, to which every step it takes adds its gates and its state.

    Hooks of a cell make `unroll` take one step at a time.
    """
    seen: list[list[tuple[dict[str, Tensor], State]]] = [[] for _ in cells]
    handles = []
    for cell, steps in zip(cells, seen):

        def watch(module: Any, given: Any, result: Any, steps: list[Any] = steps) -> None:
            steps.append((gates_of(module, *given[:2]), result[1]))

        handles.append(cell.register_forward_hook(watch))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _layer(cell: Cell, steps: list[tuple[dict[str, Tensor], State]]) -> Layer:
    def over_time(parts: list[dict[str, Tensor]]) -> dict[str, Floats]:
        return {
            name: np.stack([part[name].double().cpu().numpy().ravel() for part in parts])
            for name in parts[0]
        }

    states = [flatten(state) for _, state in steps]
    named = [{name.removeprefix("state."): each[name] for name in each} for each in states]
    return Layer(type(cell).__name__, over_time([gates for gates, _ in steps]), over_time(named))
