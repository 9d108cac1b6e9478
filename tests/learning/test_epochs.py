"""Where a step stands, against counting one step at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.learning.epochs import Epochs, Shuffled, Uneven


class Same:
    def __init__(self, length: int) -> None:
        self.steps_per_epoch = length


class Listed:
    """Epochs of the lengths given, the last one's from there on."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths
        self.steps_per_epoch = lengths[0]

    def steps_in(self, epoch: int) -> int:
        return self.lengths[min(epoch, len(self.lengths) - 1)]

    def rate_factor(self, epoch: int, step: int) -> float:
        return epoch + step / 10


def test_which_learners_are_uneven() -> None:
    assert isinstance(Listed([1]), Uneven)
    assert not isinstance(Same(1), Uneven)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.randoms())
def test_places_are_those_of_counting(lengths: list[int], chance: object) -> None:
    told = Listed(lengths)
    expected = [(e, k) for e in range(9) for k in range(told.steps_in(e))]
    epochs = Epochs(told)
    order = list(range(len(expected)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    assert [epochs.place(step) for step in order] == [expected[step] for step in order]
    for step, (epoch, position) in enumerate(expected):
        assert epochs.passes(step) == pytest.approx(epoch + position / told.steps_in(epoch))
        assert epochs.rate_factor(epoch, position) == epoch + position / 10
        assert (epochs.passes(step) == epoch) == (position == 0)


@given(st.integers(1, 50), st.integers(0, 500), st.floats(0.001, 40))
def test_epochs_that_are_all_alike_give_the_numbers_of_a_division(
    length: int, step: int, passes: float
) -> None:
    same, listed = Epochs(Same(length)), Epochs(Listed([length]))
    assert same.place(step) == listed.place(step) == divmod(step, length)
    assert same.passes(step) == listed.passes(step) == step / length
    assert same.steps(passes) == max(1, round(passes * length))
    assert abs(same.steps(passes) - listed.steps(passes)) <= 1
    assert same.steps(float(step + 1)) == listed.steps(float(step + 1)) == (step + 1) * length
    assert same.rate_factor(0, step) == 1.0


@pytest.mark.parametrize(
    ("passes", "steps"), [(0.01, 1), (0.5, 2), (1, 4), (1.5, 6), (2, 7), (3, 12), (4.2, 18)]
)
def test_passes_become_steps(passes: float, steps: int) -> None:
    assert Epochs(Listed([4, 3, 5])).steps(passes) == steps


def test_every_pass_has_every_example_once_in_an_order_of_its_own():
    order = Shuffled(7, 3, seed=4)
    passes = [[n for s in range(3) for n in order.rows(e, s).tolist()] for e in range(3)]
    assert all(sorted(each) == list(range(7)) for each in passes)
    assert passes[0] != passes[1] != passes[2]
    assert len(order.rows(0, 2)) == 1
    again = Shuffled(7, 3, seed=4)
    assert again.rows(2, 1).tolist() == passes[2][3:6], "a place's order needs none before it"
    assert Shuffled(7, 3, seed=5).rows(2, 1).tolist() != passes[2][3:6]
