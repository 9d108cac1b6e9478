"""A beam over ids alone, against trying all there is."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from recurra.nn.state import index
from recurra.search.beam import Hypothesis, likeliest
from recurra.search.rows import Rows

V, START = 4, 0


class Table:
    """Log-probabilities by the id before; counts the rows of its steps."""

    def __init__(self, log_probs: Tensor, most_rows: int | None = None) -> None:
        self.log_probs = log_probs
        self.most_rows = most_rows
        self.steps: list[int] = []

    def initial_state(self, batch_size: int = 1) -> Tensor:
        return torch.zeros(batch_size, 0)

    def step(self, token: int | Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self.steps.append(len(state))
        return self.log_probs[token], state


def table(seed: int, most_rows: int | None = None) -> Table:
    draws = torch.Generator().manual_seed(seed)
    return Table(torch.randn(V, V, generator=draws, dtype=torch.float64).log_softmax(-1), most_rows)


def search(
    model: Table, width: int, most: int, end: int = -1, power: float = 1.0
) -> list[Hypothesis[bool]]:
    """Search until an id; -1 is none."""
    return likeliest(
        Rows(model, [START], width, index),
        width,
        most,
        carried=False,
        follow=lambda _, token: token == end,
        done=lambda ended: ended,
        choices=lambda log_probs: log_probs,
        length_power=power,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("end", "power"), [(-1, 1.0), (2, 0.0), (2, 1.0), (2, 0.5)])
def test_a_wide_beam_finds_what_trying_all_finds(seed: int, end: int, power: float) -> None:
    model, most = table(seed), 4
    values = {}
    for ids in itertools.product(range(V), repeat=most):
        read = ids[: ids.index(end) + 1] if end in ids else ids
        steps = zip([START, *read], read)
        total = math.fsum(float(model.log_probs[before, after]) for before, after in steps)
        values[read] = total / len(read) ** power
    found = search(model, V**most, most, end, power)
    assert {each.ids for each in found} == set(values)
    best = [each.log_prob / len(each.ids) ** power for each in found]
    assert best == pytest.approx(sorted(values.values(), reverse=True), abs=1e-12)
    assert best == pytest.approx([values[each.ids] for each in found], abs=1e-12)
    assert all(each.carried == (end in each.ids) for each in found)


@pytest.mark.parametrize("most_rows", [1, 3])
def test_rows_that_must_be_alone_find_the_same(most_rows: int) -> None:
    bound = table(1, most_rows)
    assert search(bound, 5, 6, end=2) == search(table(1), 5, 6, end=2)
    assert max(bound.steps) == 1


def test_it_ends_once_nothing_better_can_come() -> None:
    model = Table(torch.tensor([0.06, 0.04, 0.9], dtype=torch.float64).log().expand(3, -1))
    found = search(model, 2, 1000, end=2, power=0.0)
    assert [each.ids for each in found] == [(2,), (0, 2)]
    assert model.steps == [1, 2]


def test_what_is_left_out_is_never_found() -> None:
    found = likeliest(
        Rows(table(0), [START], 50, index),
        50,
        3,
        carried=(),
        follow=lambda before, token: (*before, token),
        done=lambda _: False,
        choices=lambda log_probs: log_probs.index_fill(-1, torch.tensor([1, 3]), -math.inf),
    )
    assert {each.ids for each in found} == set(itertools.product((0, 2), repeat=3))
    assert all(each.carried == each.ids for each in found)


def test_of_no_ids_there_is_one_hypothesis() -> None:
    model = table(0)
    assert search(model, 3, 0) == [Hypothesis(False)]
    assert model.steps == [1]
