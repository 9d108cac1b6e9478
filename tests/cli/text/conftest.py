"""A language model in the current folder, beside a text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recurra.language.models.network import NetworkModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary

WORDS = Vocabulary(["the", "<eos>", "cat", "cats", "sat", "on", "<unk>", "a", "mat", "."])
TEXT = "The cat sat on a mat.\n\nzebra <unk> cats\r\nthe cat"


@pytest.fixture
def model(tmp_path: Path) -> NetworkModel:
    """A model, saved as the directory `model` of a run, the current one."""
    options = NetworkOptions(hidden_size=7, init_scale=1.0, zero_bias=False)
    network = LanguageNetwork(options, len(WORDS), torch.Generator().manual_seed(2))
    made = NetworkModel(network, options, WORDS, "words")
    made.save_pretrained(tmp_path / "model")
    (tmp_path / "x.txt").write_bytes(TEXT.encode())
    return made
