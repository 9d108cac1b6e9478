"""How the next token is chosen, and what is asked of a model for that."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.errors import ConfigError
from recurra.language.text.vocabulary import Vocabulary
from recurra.language.use.sampling import Decoding, ids_of, require_count

UNK = 2
WORDS = Vocabulary(["a", "<eos>", "<unk>", "b", "c"])


def probabilities(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


def kept(filtered: Tensor) -> list[int]:
    return filtered.isfinite().nonzero().flatten().tolist()


def test_the_temperature_comes_first_and_unk_is_out() -> None:
    log_probs = probabilities(0.4, 0.1, 0.3, 0.15, 0.05)
    cold = Decoding(temperature=0.5).choices(log_probs, UNK).exp()
    squares = np.array([0.4**2, 0.1**2, 0, 0.15**2, 0.05**2])
    np.testing.assert_allclose(cold.numpy(), squares / squares.sum(), rtol=1e-12)
    # by squares the likeliest has .82 of all; by the distribution itself .57
    assert kept(Decoding(temperature=0.5, top_p=0.8).choices(log_probs, UNK)) == [0]
    assert kept(Decoding(top_p=0.8).choices(log_probs, UNK)) == [0, 1, 3]
    assert kept(Decoding(allow_unk=True, top_k=2).choices(log_probs, UNK)) == [0, UNK]
    both = Decoding(top_k=3, min_p=0.3).choices(log_probs, UNK)
    assert kept(both) == [0, 3]


def test_without_heat_the_first_of_the_likeliest_is_certain() -> None:
    for decoding in (Decoding(temperature=0), Decoding(temperature=0, top_k=3, top_p=0.5)):
        found = decoding.choices(probabilities(0.1, 0.3, 0.3, 0.3), UNK)
        assert found.exp().tolist() == [0, 1, 0, 0]
    tiny = Decoding(temperature=1e-300).choices(probabilities(0.1, 0.5, 0.1, 0.3), UNK)
    assert tiny.exp().tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_k": 0}, "top_k is a whole number from 1, got 0"),
        ({"top_k": 10**9}, r"top_k is at most 10,000,000, got 1e\+09"),
        ({"beam": 10**8}, r"beam is at most 1,024, got 1e\+08"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": 2.0}, "min_p"),
        ({"beam": 0}, "beam"),
        ({"beam": 2, "length_power": -1.0}, "length_power"),
        ({"stop": ["x", ""]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"beam": 3, "top_k": 4}, "top_k is of no use, as a beam draws nothing"),
        ({"beam": 3, "temperature": 0.0}, "temperature is of no use"),
        ({"length_power": 0.5}, "length_power is of no use, as there is no beam"),
    ],
    ids=str,
)
def test_values_out_of_range_are_named(how: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Decoding(**how)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 0.5, math.nan, math.inf])
def test_counts_are_whole_numbers(value: float) -> None:
    with pytest.raises(ConfigError, match="tokens is a whole number from 0, got"):
        require_count("tokens", value, 0)
    require_count("tokens", 2, 2)


def test_a_text_is_read_from_its_eos_on() -> None:
    model: Any = SimpleNamespace(vocabulary=WORDS)
    assert ids_of(model, ["a", "zebra"]) == [1, 0, UNK]
    assert ids_of(model, []) == [1]
