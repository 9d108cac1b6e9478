"""The README: its Python runs, its figures are those of the results, its picture is small."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
printed = importlib.import_module("printed")
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results.md"
KEPT = ROOT / "benchmarks" / "results"

FIGURE = re.compile(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?(?![\w-]|\.\d)")
MEASURED = re.compile(
    r"(?<![\w.-])\d+\.\d|\d (?:times|s|ms|nats|MB|seconds|minutes|parameters)\b|\d%"
)
HOME = re.compile(r"\[([^\]]*)\]\(docs/results\.md#([\w-]+)\)")
MACHINES = {"EPYC", "Xeon"}


def pieces(page: str) -> Iterator[str]:
    """The rows, bullets and paragraphs of a page, without its programs."""
    text = re.sub(r"```.*?```", "", page, flags=re.S)
    for paragraph in re.split(r"\n\s*\n", text):
        yield from re.split(r"\n(?=[|*#])", paragraph)


def sections(page: str) -> dict[str, str]:
    """Anchor -> the text under that heading, up to the next."""
    parts = re.split(r"^##+ (.*)\n", page, flags=re.M)
    return {
        re.sub(r"[^\w]+", "-", name.lower()): text for name, text in zip(parts[1::2], parts[2::2])
    }


def homeless(readme: str, results: str) -> Iterator[str]:
    """What the README says was measured and its results do not say."""
    known = sections(results)
    for piece in pieces(readme):
        plain = re.sub(r"\]\([^)]*\)|`[^`]*`|Python \d\.\d+", "]", piece)
        homes = HOME.findall(piece)
        if MEASURED.search(plain) and not homes:
            yield f"no link to docs/results.md says where this was measured: {piece.strip()}"
        text = "\n".join(known.get(anchor, "") for _, anchor in homes)
        there = {*FIGURE.findall(text), *MACHINES.intersection(re.findall(r"\w+", text))}
        said = FIGURE.findall(HOME.sub("", plain)) if homes else []
        said += MACHINES.intersection(re.findall(r"\w+", " ".join(name for name, _ in homes)))
        for figure in said:
            if figure not in there:
                anchors = ", ".join(anchor for _, anchor in homes)
                yield f"{figure} is not in docs/results.md#{anchors}: {piece.strip()}"


def test_what_the_readme_says_was_measured_is_in_the_results_with_its_machine():
    readme = README.read_text()
    assert list(homeless(readme, RESULTS.read_text())) == []
    rows = [piece for piece in pieces(readme) if HOME.search(piece) and piece.startswith("|")]
    assert len(rows) >= 5
    for row in rows:
        said = " ".join(name for name, _ in HOME.findall(row))
        assert MACHINES.intersection(re.findall(r"\w+", said)), f"names no machine: {row}"


@pytest.mark.parametrize(
    ("readme", "fault"),
    [
        ("| a | 2.5 times | [EPYC](docs/results.md#cells) |", "2.5 is not in"),
        ("| a | 2.4 times | [Xeon](docs/results.md#cells) |", "Xeon is not in"),
        ("| a | 2.4 times | [EPYC](docs/results.md#series) |", "2.4 is not in"),
        ("* a is 2.4 times as fast", "no link to docs/results.md"),
        ("learned in 7 minutes", "no link to docs/results.md"),
    ],
)
def test_a_figure_from_nowhere_is_noticed(readme, fault):
    results = "## Cells\n\nOn the EPYC: 2.4, 1,512 s.\n\n## Series\n\nOn the Xeon: 2.45.\n"
    assert [said for said in homeless(readme, results) if fault in said]
    fine = "| 5-grams | 2.4 times in 1,512 s | [two cores of an EPYC](docs/results.md#cells) |"
    assert list(homeless(f"{fine}\n\nNeeds Python 3.11.", results)) == []


def test_a_range_holds_what_was_measured_here():
    readme = README.read_text()
    step = json.loads((KEPT / "train_step.json").read_text())["steps"]
    steps = [step["recurra, bfloat16 products"]["times_faster"]["median"]]
    sizes = json.loads((KEPT / "sequence.json").read_text()).values()
    rows = [
        size["contestants"] for size in sizes if isinstance(size, dict) and "contestants" in size
    ]
    grus = [row["nn.GRU"]["ms"]["median"] / row["gru"]["ms"]["median"] for row in rows]
    for said, found in (("as fast as plain torch", steps), ("as fast as `nn.GRU`", grus)):
        low, high = map(float, re.search(rf"([\d.]+) to ([\d.]+) times {said}", readme).groups())
        assert found and all(low <= round(value, 1) <= high for value in found)


def test_the_readme_s_python_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = printed.python(README)
    names: dict[str, object] = {}
    for block in blocks:
        capsys.readouterr()
        exec(compile(block, "README.md", "exec"), names)
        out = capsys.readouterr().out
        assert printed.agree(printed.said(block), out), out
    assert len(blocks[0].splitlines()) <= 13 and printed.said(blocks[0])


def test_texts_agree_up_to_the_last_digits():
    assert printed.agree("mase 0.412, 8 steps", "mase  0.415, 8 steps")
    assert not printed.agree("mase 0.412, 8 steps", "mase 0.612, 8 steps")
    assert not printed.agree("mase 0.412", "mape 0.412")


def test_the_first_screen_is_one_small_picture_one_sentence_and_a_program():
    first = README.read_text().partition("\n## ")[0]
    assert len(re.findall(r"<img |!\[", first)) == first.count("```python") == 1
    picture = ROOT / re.search(r"docs/[\w/]+\.png", first)[0]
    assert picture.stat().st_size < 120_000
