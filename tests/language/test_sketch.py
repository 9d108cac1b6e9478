"""The language network without memory."""

from __future__ import annotations

import pytest

from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.sketch import sketcher
from recurra.language.text.dataset import TextDataset
from recurra.randomness import generator
from recurra.run.presets import preset

pytestmark = pytest.mark.usefixtures("knows_grammar")


def test_it_has_the_shapes_of_the_network_that_learns_the_text():
    config = preset("words", data="grammar")
    options = NetworkOptions(hidden_size=6, cell="gru", softmax="mixture", experts=2)
    sketch = sketcher(config)(options)
    size = len(TextDataset.open(config.data).vocabulary)
    made = LanguageNetwork(options, size, generator(1, "init"))
    assert {n: p.shape for n, p in sketch.named_parameters()} == {
        n: p.shape for n, p in made.named_parameters()
    }
    assert all(parameter.is_meta for parameter in sketch.parameters())
