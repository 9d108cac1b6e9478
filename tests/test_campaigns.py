"""How a campaign is called, and that its result is kept."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent / "campaigns"


@pytest.fixture
def campaigns(monkeypatch):
    """The program, with a campaign that takes no time."""
    spec = importlib.util.spec_from_file_location("campaigns_main", HERE / "__main__.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(program, "NAMES", ["quick"])
    quick = SimpleNamespace(run=lambda seed: {"drawn": seed % 7, "failed": int(seed == 4)})
    monkeypatch.setitem(sys.modules, "quick", quick)
    yield program
    sys.modules.pop("record", None)


def test_the_result_is_kept_with_seed_machine_and_date(campaigns, tmp_path, capsys):
    assert campaigns.main(["quick", "9"], tmp_path) == 0
    kept = json.loads((tmp_path / "campaign-quick.json").read_text())
    assert (kept["seed"], kept["drawn"], kept["failed"]) == (9, 2, 0)
    assert kept["machine"]["date"] and kept["machine"]["torch"] and kept["seconds"] >= 0
    assert capsys.readouterr().out.startswith("quick, seed 9: 0 failed")


def test_without_a_seed_one_is_drawn_and_said(campaigns, tmp_path):
    campaigns.main(["quick"], tmp_path)
    assert json.loads((tmp_path / "campaign-quick.json").read_text())["seed"] >= 0


def test_what_failed_is_the_exit_code(campaigns, tmp_path):
    assert campaigns.main(["quick", "4"], tmp_path) == 1


@pytest.mark.parametrize("words", [[], ["slow"], ["quick", "1", "2"]])
def test_another_name_lists_those_there_are(campaigns, tmp_path, capsys, words):
    assert campaigns.main(words, tmp_path) == 2
    assert "make campaign NAME, one of: quick" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_guard_that_is_taken_out_stands_in_its_place_once(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    mutations = importlib.import_module("mutations")
    root = HERE.parents[1]
    for guard in mutations.GUARDS.values():
        assert guard.text(root) != (root / guard.file).read_text()
        file, _, name = guard.test.partition("::")
        assert f"def {name}" in (root / file).read_text()


def test_a_part_has_one_in_three_each_entry_of_each_table_and_all_that_must_be(request):
    (house,) = (
        each for each in request.config.pluginmanager.get_plugins() if hasattr(each, "PARTS")
    )
    wraps, cells = ([f"{kind}{n}" for n in range(12)] for kind in ("wrap ", "cell "))
    items = [
        SimpleNamespace(
            name=f"test[{wrap}-{cell}]",
            callspec=SimpleNamespace(params={"wrap": wrap, "cell": cell}),
        )
        for wrap in wraps
        for cell in cells
    ]
    left = [item.name for item in house.rest(items, 3, "[wrap 7-")]
    kept = [item for item in items if item.name not in left]
    assert 144 / 3 <= len(kept) <= 144 / 3 + 12
    assert {item.name for item in items if "[wrap 7-" in item.name} <= {item.name for item in kept}
    for name in ("wrap", "cell"):
        assert len({item.callspec.params[name] for item in kept}) == 12
    rare = house.rest(items, 10**6, "[none")  # nothing but what each entry needs
    assert 12 <= 144 - len(list(rare)) <= 24
    assert all((request.config.rootpath / place).exists() for place in house.PARTS)
