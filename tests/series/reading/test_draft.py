from __future__ import annotations

import pytest

from recurra.series.reading.columns import rows_in_words
from recurra.series.reading.draft import names_of


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a"], "'a'"),
        (["a", "b", "c"], "'a', 'b', 'c'"),
        (["a", "b", "c", "d"], "'a', 'b', 'c' and 1 more"),
    ],
)
def test_names(names, said):
    assert names_of(names) == said


def test_rows():
    assert rows_in_words(3) == "data row 3"
    assert rows_in_words(3, 9) == "data rows 3 and 9"
