"""What comes after the training of a language model, and how long it takes on this machine.

N tokens in a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from recurra.language.mixing import SETTINGS, streams
from recurra.language.models.adaptation import gradient_statistics
from recurra.language.models.cache import pointer_log_probs
from recurra.language.models.dynamic import dynamic
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.options import MixtureOptions, NgramOptions
from recurra.language.text.dataset import TextDataset
from recurra.learning.allowance import timed

__all__ = ["after_training", "seconds_of_validation"]

Ids = NDArray[np.integer]

READ = 1024
"""Tokens by which the reading of a text is timed."""

ADAPTED = 100
"""Tokens by which dynamic evaluation is."""

COUNTED = 50_000
"""Tokens by which counting is."""

CHUNK, GATHERED = 5, 100_000
"""Steps of a chunk, and tokens of all, that gradients are gathered from."""

GROWTH = 1.5
"""By how much more than in proportion the counting of a longer text takes."""


def after_training(
    model: NetworkModel, dataset: TextDataset, mix: MixtureOptions, order: int
) -> Iterator[tuple[str, float]]:
    """Yield the name of each thing that follows, and its seconds, told by a small part of it.

    Args:
        model: what learns; in evaluation mode afterwards.
        dataset: its text.
        mix: what it is mixed with.
        order: of the n-grams that it is printed beside.
    """
    model.network.eval()
    judged = {split: len(dataset.ids(split)) for split in dataset.splits if split != "train"}
    tokens, ids = sum(judged.values()), dataset.ids("train")
    if "test" in judged:
        yield "test", judged["test"] * _seconds_per_token(model.log_probs_of, ids, READ)
    counting = _counting(dataset, order, tokens)
    yield f"kn{order}", counting
    if mix.cache:
        yield "network_cache", _looking_up(model, ids, judged)
    if mix.dynamic:
        each = _seconds_per_token(dynamic(model).log_probs_of, ids, ADAPTED)
        yield "network_dynamic", _gathering(model, ids) + tokens * each
        if mix.cache:
            yield "network_dynamic_cache", _looking_up(model, ids, judged)
    if mix.order not in (0, order):
        yield f"kn{mix.order}", counting * mix.order / order


def seconds_of_validation(model: NetworkModel, dataset: TextDataset) -> float:
    """Return how long one validation takes.

    Args:
        model: what learns; in training mode afterwards.
        dataset: its text.
    """
    if "valid" not in dataset.splits:
        return 0.0
    model.network.eval()
    each = _seconds_per_token(model.log_probs_of, dataset.ids("train"), READ)
    model.network.train()
    return len(dataset.ids("valid")) * each


def _seconds_per_token(read: Callable[[Ids], object], ids: Ids, tokens: int) -> float:
    """Return the seconds a token of a reading that has begun: what it compiles is there then."""
    read(ids[: tokens // 4])
    part = ids[:tokens]
    return timed(lambda: read(part)) / max(1, len(part))


def _looking_up(model: NetworkModel, ids: Ids, judged: dict[str, int]) -> float:
    """Return the seconds of caches of all settings over validation, and of one over the rest."""
    every = _seconds_per_token(lambda part: pointer_log_probs(model, part, SETTINGS), ids, READ)
    one = _seconds_per_token(lambda part: pointer_log_probs(model, part, SETTINGS[:1]), ids, READ)
    return judged.get("valid", 0) * every + judged.get("test", 0) * one


def _gathering(model: NetworkModel, ids: Ids) -> float:
    """Return the seconds of all statistics, by one chunk of them."""
    rows = streams(ids)
    if len(ids) <= rows * CHUNK:
        return 0.0
    chunks = max(1, min((len(ids) - 1) // rows, GATHERED // rows) // CHUNK)

    def gather() -> None:
        gradient_statistics(model.network, ids, rows=rows, tokens=rows * CHUNK)

    gather()
    return chunks * timed(gather)


def _counting(dataset: TextDataset, order: int, judged: int) -> float:
    """Return the seconds of counting n-grams, and of reading with them."""
    ids = dataset.ids("train")
    part = ids[:COUNTED]
    options = NgramOptions(order=order)

    def count(part: Ids) -> NgramModel:
        return NgramModel.count(part, options, dataset.vocabulary, dataset.rule)

    count(part[: COUNTED // 10]).log_probs_of(part[:READ])  # compiles
    growth = GROWTH if len(ids) > len(part) else 1.0
    seconds = timed(lambda: count(part).log_probs_of(part))
    return seconds * growth * (len(ids) + judged) / len(part)
