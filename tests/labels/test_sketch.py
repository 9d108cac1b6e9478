"""The network of labels without memory."""

from __future__ import annotations

import torch

from recurra.labels.options import LabelNetworkOptions
from recurra.labels.sketch import sketcher
from recurra.labels.task import LabelTask
from recurra.learning.config import with_settings
from recurra.run.presets import preset


def test_it_has_the_shapes_of_the_network_that_learns_the_data():
    config = with_settings(preset("labels"), ["network.hidden_size=6", "network.cell=gru"])
    made = LabelTask(config, torch.device("cpu")).learner.network
    sketch = sketcher(config)(config.network)  # its noise is left to the data
    assert {n: p.shape for n, p in sketch.named_parameters()} == {
        n: p.shape for n, p in made.named_parameters()
    }
    assert all(parameter.is_meta for parameter in sketch.parameters())


def test_softmax_regression_has_a_weight_for_each_number():
    flat = sketcher(preset("iris"))(LabelNetworkOptions(kind="softmax"))
    assert sum(parameter.numel() for parameter in flat.parameters()) == 3 * (4 + 1)
