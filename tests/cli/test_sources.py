"""What a name or a file stands for, and where data come from."""

from __future__ import annotations

import pytest

from recurra.cli.sources import kind_of, named_data


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("grammar", "text"),
        ("airline", "series"),
        ("vowels", "labels"),
        ("airlin", "series"),
        ("nothing like any", "text"),
        ("sales.CSV.gz", "series"),
        ("speech.ts", "labels"),
    ],
)
def test_a_name_or_a_file_is_told_by_what_it_is_called(name, kind):
    assert kind_of(name) == kind


def test_every_name_of_every_table_opens():
    for data in named_data().values():
        assert all(isinstance(data.open(name), data.table[name]) for name in data.table)
