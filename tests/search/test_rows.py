"""Sequences side by side."""

from __future__ import annotations

import pytest
import torch

from recurra.language.models.network import NetworkModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.nn.state import index
from recurra.search.rows import Rows

WORDS = Vocabulary(["a", "<eos>", "<unk>", "b", "c"])


def model() -> NetworkModel:
    options = NetworkOptions(hidden_size=5, init_scale=1.0)
    network = LanguageNetwork(options, len(WORDS), torch.Generator().manual_seed(2))
    return NetworkModel(network, options, WORDS, "split")


@pytest.mark.parametrize(("limit", "most"), [(None, 4), (1, 4), (3, 4), (None, 1)])
def test_rows_are_what_steps_alone_give(limit: int | None, most: int) -> None:
    language_model = model()
    language_model.most_rows = limit
    rows = Rows(language_model, [1, 0, 2], most, index)
    histories = [[1, 0, 2]]
    for taken, read in (([0] * most, [3, 0, 4, 1]), ([most - 1, 0], [4, 4]), ([1], [0])):
        rows.take(taken)
        rows.step(read[: len(taken)])
        histories = [[*histories[row], token] for row, token in zip(taken, read)]
    for history, log_probs in zip(histories, rows.log_probs, strict=True):
        state = language_model.initial_state()
        for token in history:
            expected, state = language_model.step(token, state)
        torch.testing.assert_close(log_probs, expected.double(), rtol=0, atol=1e-5)
