from __future__ import annotations

import pytest
import torch

from recurra.errors import RunError
from recurra.nn.wrappers.base import Wrapper
from recurra.nn.wrappers.masks import Masks


class Silent(Wrapper):
    pass


def test_masks_are_drawn_once_for_all_steps() -> None:
    masks = Masks(torch.Generator().manual_seed(1), 4)
    owner, other = Silent([], 3, 3), Silent([], 3, 3)
    x = torch.zeros(2, 4, 3)
    first = masks.get(owner, "input", x, 0.5, False)
    assert first.shape == (2, 4, 3)
    assert masks.get(owner, "input", x, 0.5, False) is first
    for place in ((other, "input"), (owner, "output")):
        assert not torch.equal(masks.get(*place, x, 0.5, False), first)
    shared = masks.get(other, "state", torch.zeros(2, 1, 5, 6, dtype=torch.float64), 0.5, True)
    assert (shared.shape, shared.dtype) == ((2, 1, 5, 6), torch.float64)


def test_masks_without_a_generator_say_what_to_do() -> None:
    with pytest.raises(RunError, match=r"pass generator=torch.Generator\(\), or call .eval\(\)"):
        Masks(None, 4).get(Silent([], 3, 3), "input", torch.zeros(2, 4, 3), 0.5, False)
