"""What chunks cost: the stream by brute force, and that what no gradient reaches is not learned."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from recurra.demo import truncation as demo
from recurra.demo.truncation import CHANCE, DISTANCES, streams, truncation


def test_every_bit_is_asked_for_after_its_distance_and_once() -> None:
    x, target, asked = streams(5, 300, torch.Generator().manual_seed(1))
    values, writes, asks = x.unflatten(2, (3, 3)).unbind(2)
    assert torch.equal(asks > 0, asked)
    for n, d in enumerate(DISTANCES):
        for row in range(5):
            places = writes[row, :, n].nonzero()[:, 0].tolist()
            gaps = [after - before for before, after in pairwise(places)]
            assert d + 1 <= min(gaps) <= max(gaps) <= d + 10 and places[0] <= d
            asking = [place + d for place in places if place + d < 300]
            assert asked[row, :, n].nonzero()[:, 0].tolist() == asking
            for place in asking:
                bit = values[row, place - d, n]
                assert bit.abs() == 1 and target[row, place, n] == (bit > 0)
    noise = values[writes == 0]
    assert noise.abs().max() < 0.5 and abs(noise.mean()) < 0.05


def test_what_a_chunk_does_not_reach_has_no_gradient() -> None:
    """Written in one chunk, asked for in the next: nothing flows back to the input it had."""
    (x, target, asked), d = streams(4, 40, torch.Generator().manual_seed(3)), 10
    cell, read = demo._network(1)
    for length, reached in ((8, False), (20, True)):
        x.requires_grad_(True)
        x.grad = None
        state = cell.initial_state(4)
        for start in range(0, 40, length):
            part = slice(start, start + length)
            h, state = demo.unroll(cell, x[:, part], demo.detach(state))
            here = asked[:, part, 1]
            if here.any():
                F.binary_cross_entropy_with_logits(
                    read(h)[:, :, 1][here], target[:, part, 1][here]
                ).backward()
        written = [
            (row, place - d)
            for row, place in asked[:, :, 1].nonzero().tolist()
            if (place - d) // length == place // length
        ]
        assert bool(written) == reached
        assert all(x.grad[row, place, 1] != 0 for row, place in written)
        beyond = [
            (row, place - d)
            for row, place in asked[:, :, 1].nonzero().tolist()
            if not asked[row, place - d + 1 : (place - d) // length * length + length, 1].any()
            and (place - d) // length != place // length
        ]
        assert beyond and all(x.grad[row, place, 1] == 0 for row, place in beyond)


def test_few_steps_tell_what_is_learned_first() -> None:
    short, long = truncation((5, 20), length=2000)
    assert (short.steps, long.steps) == (400, 100)
    assert short.losses["3"] < 0.3
    assert min(short.losses["10"], short.losses["20"]) > 0.9 * CHANCE
    assert short.reached == {"3": 0.4, "10": 0.0, "20": 0.0}
    assert long.reached == pytest.approx({"3": 0.85, "10": 0.5, "20": 0.0})
    assert short.loss == pytest.approx(sum(short.losses.values()) / 3)
    assert pytest.approx(math.log(2)) == CHANCE


def test_it_is_a_function_of_its_seed() -> None:
    def told(seed: int) -> list[object]:
        return [(each.losses, each.accuracies) for each in truncation((5, 7), 70, seed=seed)]

    torch.manual_seed(1)
    one = told(1)
    torch.manual_seed(2)
    assert told(1) == one != told(2)
