"""Edit distances, against their definition."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.search.edit_distance import edit_distances


def distance(one: list[int], other: list[int]) -> int:
    """The definition: the least of substituting, deleting, inserting, by recursion."""
    table: dict[tuple[int, int], int] = {}
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if not (i and j):
                table[i, j] = i + j
                continue
            table[i, j] = min(
                table[i - 1, j - 1] + (one[i - 1] != other[j - 1]),
                table[i - 1, j] + 1,
                table[i, j - 1] + 1,
            )
    return table[len(one), len(other)]


sequences = st.lists(st.integers(0, 2), max_size=8)


@settings(max_examples=40)
@given(st.lists(sequences, min_size=1, max_size=5), sequences)
def test_it_is_what_the_definition_says(found: list[list[int]], reference: list[int]) -> None:
    expected = [distance(each, reference) for each in found]
    assert edit_distances(found, reference).tolist() == expected
    words = ["".join("abc"[item] for item in each) for each in found]
    assert edit_distances(words, "".join("abc"[item] for item in reference)).tolist() == expected


def test_nothing_is_no_distance_from_nothing() -> None:
    assert edit_distances([[], [1]], []).tolist() == [0, 1]
    assert edit_distances([], [1, 2]).tolist() == []
