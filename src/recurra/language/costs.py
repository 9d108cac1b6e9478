"""What comes after the training of a language model, and how long it takes on this machine.

N tokens in a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

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
from recurra.learning.plan import seconds_each, timed

__all__ = ["after_training", "seconds_of_validation"]

Ids = NDArray[np.integer]

LEAST_READ, READ = 512, 4096
"""Fewest and most tokens by which the reading of a text is timed."""

ADAPTED = 40
"""Fewest tokens by which dynamic evaluation is."""

LEAST_COUNTED, COUNTED = 2_000, 50_000
"""Fewest and most tokens by which counting is."""

CHUNK, GATHERED = 5, 100_000
"""Steps of a chunk, and tokens of all, that gradients are gathered from."""

GROWTH = 1.5
"""By how much more than in proportion the counting of a longer text takes."""


def after_training(
    model: NetworkModel, dataset: TextDataset, mix: MixtureOptions, order: int
) -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield the name of each thing that follows, and what measures its seconds by a part of it.

    Args:
        model: what learns; in evaluation mode afterwards.
        dataset: its text.
        mix: what it is mixed with.
        order: of the n-grams that it is printed beside.
    """
    model.network.eval()
    judged = {split: len(dataset.ids(split)) for split in dataset.splits if split != "train"}
    tokens, ids = sum(judged.values()), dataset.ids("train")
    each = cache(lambda: _reading(model.log_probs_of, ids))
    counting = cache(lambda: _counting(dataset, order, tokens))
    looking_up = cache(lambda: _looking_up(model, ids, judged))
    for split in sorted(judged, reverse=True):  # validation chooses the weights
        yield split, lambda split=split: judged[split] * each()  # type: ignore[misc]
    yield f"kn{order}", counting
    if mix.cache:
        yield "network_cache", looking_up
    if mix.dynamic:
        yield "network_dynamic", lambda: _adapting(model, ids, tokens)
        if mix.cache:
            yield "network_dynamic_cache", looking_up
    if mix.order not in (0, order):
        yield f"kn{mix.order}", lambda: counting() * mix.order / order


def seconds_of_validation(model: NetworkModel, dataset: TextDataset) -> float:
    """Return how long one validation takes.

    Args:
        model: what learns; in training mode afterwards.
        dataset: its text.
    """
    if "valid" not in dataset.splits:
        return 0.0
    model.network.eval()
    each = _reading(model.log_probs_of, dataset.ids("train"))
    model.network.train()
    return len(dataset.ids("valid")) * each


def _reading(read: Callable[[Ids], object], ids: Ids, least: int = LEAST_READ) -> float:
    return seconds_each(lambda count: read(ids[:count]), min(READ, len(ids)), least)


def _looking_up(model: NetworkModel, ids: Ids, judged: dict[str, int]) -> float:
    """Return the seconds of caches of all settings over validation, and of one over the rest."""
    every = _reading(lambda part: pointer_log_probs(model, part, SETTINGS), ids)
    one = _reading(lambda part: pointer_log_probs(model, part, SETTINGS[:1]), ids)
    return judged.get("valid", 0) * every + judged.get("test", 0) * one


def _adapting(model: NetworkModel, ids: Ids, tokens: int) -> float:
    """Return the seconds of reading tokens while learning from them."""
    return tokens * _reading(dynamic(model).log_probs_of, ids, ADAPTED) + _gathering(model, ids)


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
    ids, options = dataset.ids("train"), NgramOptions(order=order)

    def count(tokens: int) -> None:
        part = ids[:tokens]
        counted = NgramModel.count(part, options, dataset.vocabulary, dataset.rule)
        counted.log_probs_of(part)

    each = seconds_each(count, min(COUNTED, len(ids)), least=LEAST_COUNTED)
    return each * (GROWTH if len(ids) > COUNTED else 1.0) * (len(ids) + judged)
