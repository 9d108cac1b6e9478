"""Tables: names, places, and what an unknown one is answered."""

from __future__ import annotations

import sys

import pytest

from recurra.errors import ConfigError
from recurra.table import Table, nearest


@pytest.fixture
def table():
    places = {"ordered": "collections:OrderedDict", "broken": "nowhere:Thing"}
    return Table("container", places, base="builtins:object")


def test_a_name_is_imported_when_looked_up(table):
    import collections

    assert table["ordered"] is collections.OrderedDict


def test_a_place_of_one_s_own_works_as_a_name_does(table, tmp_path, monkeypatch):
    (tmp_path / "mine_in_table.py").write_text("class Box: size = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert table["mine_in_table:Box"].size == 3


def test_it_is_a_mapping_of_its_names(table):
    assert list(table) == ["ordered", "broken"]
    assert len(table) == 2
    assert "ordered" in table and "own:Thing" in table
    assert "other" not in table and 3 not in table


def test_an_unknown_name_is_answered_with_the_nearest(table):
    with pytest.raises(ConfigError) as caught:
        table["orderd"]
    assert str(caught.value) == (
        "no container is named 'orderd'. Did you mean 'ordered'? "
        "There are: ordered, broken; or give your own as module:Name."
    )


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("broken", "No module named 'nowhere'"),
        ("nowhere:Thing", "No module named 'nowhere'"),
        ("collections:Nothing", "has no attribute 'Nothing'"),
        (":Thing", ""),
        ("..up:Thing", ""),
        ("collections:", ""),
        ("mine_broken:Thing", "division by zero"),
    ],
)
def test_what_cannot_be_imported_is_a_config_error(table, place, why, tmp_path, monkeypatch):
    (tmp_path / "mine_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"the container .* cannot be imported: .*{why}"):
        table[place]


def test_nearest_is_silent_where_nothing_is_near():
    assert nearest("lsmt", ["lstm", "gru"]) == " Did you mean 'lstm'?"
    assert nearest("transformer", ["lstm", "gru"]) == ""
