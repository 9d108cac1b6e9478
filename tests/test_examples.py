"""Every example runs, quickly, and learns what it says it learns."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_own_cell_remembers(example, capsys):
    assert example("own_cell").main() < 0.01
    assert capsys.readouterr().out.startswith("step   0  loss 0.6")


def test_own_text_is_learned_by_counting(example, tmp_path, capsys):
    # the two factors cost ln 10 each, the five other tokens of a line nearly nothing
    assert 1.9 < example("own_text").main(tmp_path / "run") < 2.4
    assert " times " in capsys.readouterr().out


def test_train_and_step(example, tmp_path, capsys):
    perplexity = example("train_and_step").main(tmp_path / "run")
    said = capsys.readouterr().out
    assert perplexity < 20  # by unigrams it is 43
    assert "epoch 2: perplexity" in said and "likeliest was" in said


def test_forecast_a_stream(example, tmp_path, capsys):
    assert example("forecast_a_stream").main(tmp_path / "run") < 1e-3
    said = capsys.readouterr().out
    assert "better than" in said and "in 3 h: " in said


def test_classify_sequences(example, capsys):
    assert example("classify_sequences").main() > 0.9
    assert "['rising']" in capsys.readouterr().out


def test_score(example, tmp_path, capsys):
    assert example("score").main(tmp_path / "run") == "these bakers write"
    assert "spelled out: ['zebra']" in capsys.readouterr().out


def test_generate(example, tmp_path):
    assert len(example("generate").main(tmp_path / "run")) == 5


def test_suggest(example, tmp_path):
    assert example("suggest").main(tmp_path / "run") == ["write", "writes"]


def test_explain(example, tmp_path):
    assert 2 < example("explain").main(tmp_path / "run") < 5


def test_mix(example, tmp_path, capsys):
    mixed = example("mix").main(tmp_path)
    parts = re.findall(r"weight .* perplexity ([\d.]+)", capsys.readouterr().out)
    assert len(parts) == 4
    assert mixed < min(map(float, parts)) + 0.01


def test_none_is_forgotten():
    tested = {
        "classify_sequences",
        "explain",
        "forecast_a_stream",
        "generate",
        "mix",
        "own_cell",
        "own_text",
        "score",
        "suggest",
        "train_and_step",
    }
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested
