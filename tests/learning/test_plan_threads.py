"""The number of threads follows from the network and the cores, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from recurra import machine
from recurra.learning.config import RunConfig
from recurra.learning.plan import with_threads

RUN = RunConfig(preset="mine", task="own")
LARGE = machine.WORTH // 100


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_large_network_takes_the_cores_and_a_small_one_a_thread(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    assert with_threads(RUN, nn.Linear(1, LARGE + 1, bias=False), 100).threads == cores
    assert torch.get_num_threads() == cores
    assert with_threads(RUN, nn.Linear(1, LARGE, bias=False), 99).threads == 1
    assert torch.get_num_threads() == 1


def test_what_the_config_says_stands() -> None:
    run = RUN.model_copy(update={"threads": 3})
    before = torch.get_num_threads()
    assert with_threads(run, nn.Linear(1, 1), 1) is run
    assert torch.get_num_threads() == before
