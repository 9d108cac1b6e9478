"""The nearest width of those that are taken, beside a search through all."""

from __future__ import annotations

import pytest

from recurra.nn.width import Widths


def of_multiples(of: int, most: int = 10_000) -> Widths[int]:
    def made(width: int) -> int:
        if width % of or width > most:
            raise ValueError(f"{width} is none")
        return width

    return Widths(made)


def square(width: int) -> int:
    return 3 * width * width + width


@pytest.mark.parametrize("of", [1, 4, 7, 130])
@pytest.mark.parametrize("wanted", [1, 60, 4_321.5, 99_999])
def test_of_all_that_are_taken_the_nearest_is_found(of: int, wanted: float) -> None:
    widths = of_multiples(of)
    found = widths.nearest(square, wanted)
    assert found == min(range(of, 1_000, of), key=lambda each: abs(square(each) - wanted))
    assert widths.at(of + 1) == (of + 1 if of == 1 else None)


def test_where_none_so_wide_is_taken_it_is_the_widest() -> None:
    assert of_multiples(4, most=22).nearest(square, 10**6) == 20


def test_where_none_is_taken_it_is_said_why() -> None:
    widths = of_multiples(1_000)
    assert widths.nearest(square, 60) is None
    said = "none of the widths 1 to 512 is taken: ValueError: 1 is none"
    assert widths.refusal() == said
