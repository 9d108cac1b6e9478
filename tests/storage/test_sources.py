"""What is kept of one's own code, and what is said once it has changed."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from recurra.errors import CheckpointError
from recurra.storage.sealed import sealed_files
from recurra.storage.sources import (
    FOLDER,
    Unchanged,
    changed_before,
    changed_source_allowed,
    keep_sources,
    what_changed,
)
from recurra.table import Table, named_by_file

TABLE = Table("box", {}, base="builtins:dict")
MINE = """from lab_helper import FACTOR

class Box(dict):
    factor = FACTOR

    def late(self):
        import lab_late
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module, a package and what both take from, and a run of it."""
    (tmp_path / "lab_pack").mkdir()
    (tmp_path / "lab_pack" / "__init__.py").touch()
    (tmp_path / "lab_pack" / "inner.py").write_text(
        "from . import deep\n\nclass Box(dict):\n    pass\n"
    )
    (tmp_path / "lab_pack" / "deep.py").write_text("import json, lab_pack.inner\n")
    (tmp_path / "lab_late.py").touch()
    (tmp_path / "lab_helper.py").write_text("FACTOR = 2\n\ndef twice(x):\n    return 2 * x\n")
    (tmp_path / "lab_box.py").write_text(MINE)
    (tmp_path / "lab_other.py").write_text("raise RuntimeError\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield_names = ("lab_box", "lab_helper", "lab_pack", "lab_pack.inner")
    for name in yield_names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    for name in ("lab_box", "lab_pack.inner"):
        importlib.import_module(name)
    run = tmp_path / "run"
    run.mkdir()
    keep_sources(
        run, ["lab_box:Box(size=3)", "lab_pack.inner:Box", "c:/data", "gru", 3, "no:where"]
    )
    return run


def test_copies_of_all_that_it_took_from(here: Path) -> None:
    kept = sealed_files(here / FOLDER, "sources", 1)
    flat = {"sources.json", "lab_box.py", "lab_helper.py", "lab_late.py"}
    assert set(kept) == flat | {f"lab_pack.{name}.py" for name in ("__init__", "inner", "deep")}
    assert kept["lab_box.py"].path.read_text().endswith(MINE)
    facts = json.loads(kept["sources.json"].path.read_text())
    assert facts["lab_pack.inner:Box"]["folder"] == str(here.parent)
    assert facts["lab_pack.inner:Box"]["files"] == {
        "lab_pack.__init__.py": "lab_pack/__init__.py",
        "lab_pack.deep.py": "lab_pack/deep.py",
        "lab_pack.inner.py": "lab_pack/inner.py",
    }


def test_nothing_of_ones_own_leaves_nothing(tmp_path: Path) -> None:
    keep_sources(tmp_path, ["gru", "json:loads" * 40, None, "a sentence: with one", "nowhere:Cell"])
    assert not list(tmp_path.iterdir())
    assert what_changed(tmp_path, ["lab_box:Box"]) is None


@pytest.mark.parametrize(
    ("file", "place", "said"),
    [
        ("lab_box.py", "lab_box:Box", "lab_box.py in "),
        ("lab_helper.py", "lab_box:Box", "lab_helper.py in "),
        ("lab_late.py", "lab_box:Box", "lab_late.py in "),
        ("lab_pack/__init__.py", "lab_pack.inner:Box", "lab_pack/__init__.py in "),
        ("lab_pack/inner.py", "lab_pack.inner:Box", "lab_pack/inner.py in "),
    ],
)
def test_a_change_is_refused_or_said(here: Path, file: str, place: str, said: str) -> None:
    for run in (here, here / "model", here / "model" / "model.json"):
        with named_by_file(run, [place], Unchanged(run)):
            assert issubclass(TABLE[place], dict)
    path = here.parent / file
    before = path.read_text()
    path.write_text(before + "\n")
    with (
        named_by_file(here, [f"{place}(size=3)"], Unchanged(here)),
        pytest.raises(CheckpointError, match=f"{said}.* has changed since .*--allow-changed-sou"),
    ):
        TABLE[place]
    with (
        named_by_file(here, [place], Unchanged(here)),
        changed_source_allowed(),
        pytest.warns(UserWarning, match=f"{said}.* has changed since"),
    ):
        TABLE[place]
    path.unlink()
    assert "has changed" in (what_changed(here, [place]) or "")
    path.write_text(before)
    assert what_changed(here, [place]) is None


def test_a_change_is_warned_of_once_where_the_caller_stands(here: Path) -> None:
    (here.parent / "lab_box.py").write_text("class Box(dict):\n    pass\n")
    unchanged = Unchanged(here)
    with warnings.catch_warnings(record=True) as warned, changed_source_allowed():
        warnings.simplefilter("always")
        for _ in range(2):
            with (
                named_by_file(here, ["lab_box:Box"], unchanged),
                named_by_file(here / "model", [], Unchanged(here / "model")),
            ):
                assert TABLE["lab_box:Box"] is TABLE["lab_box:Box"]
    assert [Path(each.filename).name for each in warned] == [Path(__file__).name]
    assert unchanged.changed == ["lab_box:Box"]
    with (
        named_by_file(here, ["lab_box:Box"], unchanged),
        pytest.raises(CheckpointError, match=r"in Python, within recurra.changed_source_allowed"),
    ):
        TABLE["lab_box:Box"]


def test_another_file_of_that_name_is_not_to_be_overwritten(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    for name in ("lab_box", "lab_helper", "lab_pack", "lab_pack.inner"):
        monkeypatch.delitem(sys.modules, name)
    (other / "lab_pack").mkdir()
    for file in ("lab_box.py", "lab_pack/__init__.py", "lab_pack/inner.py"):
        (other / file).write_text("# another's\n")
    monkeypatch.syspath_prepend(str(other))
    kept = here / FOLDER
    said = what_changed(here, ["lab_box:Box"]) or ""
    gone = "lab_box.py, lab_helper.py, lab_late.py"
    assert said.startswith(f"lab_box:Box: {gone} in {other} is another file")
    assert said.endswith(f"in {here.parent}; give the command there, or with PYTHONPATH={kept}")
    assert "put back" not in said
    said = what_changed(here, ["lab_pack.inner:Box"]) or ""  # of a package there is no such path
    assert said.endswith("; give the command there")


def test_what_was_kept_before_stays_beside_what_it_became(here: Path) -> None:
    path, first = here.parent / "lab_box.py", (here / FOLDER / "lab_box.py").read_bytes()
    assert changed_before(here) == [] == changed_before(here.parent)
    keep_sources(here, ["lab_box:Box"])
    assert changed_before(here) == []
    texts = [first, b"class Box(dict):\n    pass\n", b"class Box(dict):\n    factor = 5\n"]
    for text in texts[1:]:
        path.write_bytes(text)
        for _ in range(2):  # gone on with twice
            keep_sources(here, ["lab_box:Box"])
            assert what_changed(here, ["lab_box:Box"]) is None
    assert changed_before(here) == ["lab_box:Box"]
    kept = sealed_files(here / FOLDER, "sources", 1)
    before = json.loads(kept["sources.json"].path.read_text())["lab_box:Box"]["before"]
    assert [set(each.values()) for each in before] == [
        {"lab_box.py", "lab_helper.py", "lab_late.py"},
        {"lab_box.py"},  # which takes from nothing
    ]
    found = [next(n for n in each if n.startswith("lab_box")) for each in before] + ["lab_box.py"]
    assert [kept[name].verified().read_bytes() for name in found] == texts
    assert all(kept[name].sha256[:8] in name for name in found[:2])


def test_consent_comes_first_and_nothing_is_imported_to_compare(here: Path) -> None:
    (here.parent / "lab_box.py").write_text("raise RuntimeError\n")
    del sys.modules["lab_box"]
    with (
        named_by_file(here, [], Unchanged(here)),
        pytest.raises(CheckpointError, match="allow_import"),
    ):
        TABLE["lab_box:Box"]
    with (
        named_by_file(here, ["lab_box:Box"], Unchanged(here)),
        pytest.raises(CheckpointError, match="changed since"),
    ):
        TABLE["lab_box:Box"]
    assert "lab_box" not in sys.modules


def test_a_module_that_is_not_found_names_the_folder_and_the_copy(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(here.parent)])
    monkeypatch.delitem(sys.modules, "lab_box")
    said = f"trained from {here.parent}, and has a copy in {here / FOLDER}"
    with (
        named_by_file(here, ["lab_box:Box"], Unchanged(here)),
        changed_source_allowed(),  # there is nothing that could be used
        pytest.raises(CheckpointError, match=said),
    ):
        TABLE["lab_box:Box"]
    monkeypatch.setattr(sys, "path", [*sys.path, str(here / FOLDER)])  # the copy will do
    assert what_changed(here, ["lab_box:Box"]) is None


@pytest.mark.parametrize("facts", ["[]", '{"lab_box:Box": 3}', '{"lab_box:Box": {"folder": "x"}}'])
def test_damage_is_said(here: Path, facts: str) -> None:
    path = here / FOLDER / "sources.json"
    path.write_text(facts.ljust(path.stat().st_size))
    if facts == "[]":
        assert what_changed(here, ["lab_box:Box"]) is None
        return
    with pytest.raises(CheckpointError, match=r"sources.json is damaged"):
        what_changed(here, ["lab_box:Box"])


def test_no_path_leads_out_of_the_folder(here: Path) -> None:
    path = here / FOLDER / "sources.json"
    facts = json.loads(path.read_text())
    facts["lab_box:Box"]["files"]["lab_box.py"] = "../../etc/passwd"
    text = json.dumps(facts)
    manifest = json.loads((here / FOLDER / "manifest.json").read_text())
    manifest["files"]["sources.json"]["size"] = len(text)
    path.write_text(text)
    (here / FOLDER / "manifest.json").write_text(json.dumps(manifest))
    assert "has changed" in (what_changed(here, ["lab_box:Box"]) or "")


def test_of_what_is_installed_the_module_alone_is_kept(tmp_path: Path) -> None:
    keep_sources(tmp_path, ["torch.optim:SGD"])
    assert not list(tmp_path.iterdir())  # its version says as much
    import_module("typer.main")
    keep_sources(tmp_path, ["typer.main:Typer"])
    kept = sealed_files(tmp_path / FOLDER, "sources", 1)
    assert set(kept) == {"sources.json", "typer.main.py"}
