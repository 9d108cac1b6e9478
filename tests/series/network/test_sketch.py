"""The forecasting network without memory."""

from __future__ import annotations

import pytest
import torch

from recurra.learning.config import with_settings
from recurra.run.presets import preset
from recurra.series.network.sketch import sketcher
from recurra.series.task import SeriesTask


@pytest.mark.parametrize("change", ["network.decoder=segments", "network.members=2"])
def test_it_has_the_shapes_of_the_network_that_learns_the_series(change):
    config = with_settings(preset("airline"), ["network.hidden_size=6", change])
    made = SeriesTask(config, torch.device("cpu")).network
    sketch = sketcher(config)(config.network)
    assert {n: p.shape for n, p in sketch.named_parameters()} == {
        n: p.shape for n, p in made.named_parameters()
    }
    assert all(parameter.is_meta for parameter in sketch.parameters())
