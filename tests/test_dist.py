"""What is released: what the wheel holds, and that version, changelog and citation are one."""

from __future__ import annotations

import importlib
import re
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import recurra

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
dist = importlib.import_module("dist")
HEADING = re.compile(r"^## (.*)$", re.M)
PERSON = {"family-names", "given-names", "name", "orcid", "website", "alias", "email"}
CITED = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi"),
    *("identifiers", "keywords", "license", "license-url", "message", "preferred-citation"),
    *("references", "repository", "repository-artifact", "repository-code", "title", "type"),
    *("url", "version"),
}
"""The keys of the Citation File Format 1.2.0."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return Path(next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("to")))))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    assert list(dist.wheel_faults(wheel)) == []
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"recurra/py.typed", "recurra/__init__.pyi", "recurra/nn/unroll.py"} <= names


def test_the_source_archive_holds_what_the_wheel_is_built_of(tmp_path):
    archive = Path(next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path))))
    assert list(dist.archive_faults(archive)) == []


def test_a_wheel_with_more_or_less_is_noticed(wheel, tmp_path):
    other = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(other, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("METADATA"):
                content = content.replace(b"Version: ", b"Version: 9.").replace(
                    b"numpy>", b"numpy<"
                )
            if not name.endswith("py.typed"):
                changed.writestr(name, content)
        changed.writestr("tests/test_dist.py", b"0" * dist.MOST_BYTES)
    said = "\n".join(dist.wheel_faults(other))
    for fault in (
        "recurra/py.typed is lacking",
        "tests/test_dist.py does not belong there",
        "bytes, over 1,500,000",
        f"Version is '9.{recurra.__version__}'",
        "numpy<",
    ):
        assert fault in said


def test_the_changelog_is_by_version_and_date_and_its_newest_is_this_one():
    first, *released = HEADING.findall((ROOT / "CHANGELOG.md").read_text())
    assert first == "Unreleased"
    versions = [heading.split(", ")[0] for heading in released]
    dates = [date.fromisoformat(heading.split(", ")[1]) for heading in released]
    assert versions[0] == recurra.__version__ == dist.version()
    assert dates == sorted(dates, reverse=True)
    numbers = [tuple(map(int, version.split("."))) for version in versions]
    assert numbers == sorted(set(numbers), reverse=True)


def test_the_citation_says_what_the_package_says():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = HEADING.findall((ROOT / "CHANGELOG.md").read_text())[1]
    assert released == f"{cited['version']}, {cited['date-released']}"
    assert cited["version"] == recurra.__version__
    assert cited["title"].lower() == dist.PROJECT["name"]
    assert cited["license"] == dist.PROJECT["license"]
    assert cited["keywords"] == dist.PROJECT["keywords"]
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert cited["message"] and cited["abstract"] and set(cited) <= CITED
    assert cited["authors"] and all(set(author) <= PERSON for author in cited["authors"])
