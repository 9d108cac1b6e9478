"""Every example runs, quickly, and learns what it says it learns."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import torch

import recurra
from recurra.nn.unroll import unroll_plain

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_own_cell_remembers(example, capsys):
    assert example("own_cell").main() < 0.01
    assert capsys.readouterr().out.startswith("step   0  loss 0.6")


def test_own_training_goes_on_where_it_was_cut(example, tmp_path):
    module = example("own_training")
    first, rest = module.main(tmp_path / "cut", stop=70), module.main(tmp_path / "cut")
    assert first + rest == module.main(tmp_path / "whole")
    assert rest[-1] < 0.08 < 0.2 < first[0]  # by guessing it is a quarter
    assert json.loads((tmp_path / "cut" / "report.json").read_text())["steps"] == 200
    logs = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("cut", "whole")]
    assert logs[0] == logs[1] and logs[0].count(b"\n") == 200


def test_own_kernel_is_its_step_and_faster(example):
    module = example("own_kernel")
    assert module.main(recurra.unroll) < module.main(unroll_plain)
    double = torch.double
    s, w, h = (
        torch.randn(*n, dtype=double, requires_grad=True) for n in ((3, 4, 10), (2, 5), (3, 5))
    )
    loop, lengths = module.DiagonalGRUCell.loop, torch.tensor([4, 2, 0])
    assert torch.autograd.gradcheck(lambda *given: loop(*given, lengths), (s, w, h))
    assert torch.autograd.gradgradcheck(loop, (s, w, h))


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


@pytest.mark.usefixtures("knows_grammar")
def test_ptb_by_hand(example, capsys):
    module = example("ptb_by_hand")
    perplexity = module.main(epochs=1)
    said = capsys.readouterr().out
    assert re.fullmatch(r"epoch 1: perplexity \d+\.\d\d\n", said)
    assert perplexity < 43  # by unigrams it is 43, at the start the size of the vocabulary


def test_sine_by_hand(example, tmp_path, capsys):
    rmse = example("sine_by_hand").main(tmp_path / "sine.png", steps=200)
    assert rmse < 0.1  # a mean of 0 would be 0.7 off
    assert capsys.readouterr().out == f"RMSE {rmse:.4f}, mean square error {rmse**2:.2g}\n"
    assert (tmp_path / "sine.png").read_bytes().startswith(b"\x89PNG")


def test_iris_goes_on_where_its_directory_is(example, tmp_path, capsys):
    main = example("iris").main
    assert main(tmp_path / "iris", steps=60)[0] == 60
    taken, accuracy = main(tmp_path / "iris")
    assert taken == 740 and accuracy >= 0.967
    assert main(tmp_path / "iris") == (0, accuracy)
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        f"740 steps taken, 800 in all; accuracy {accuracy:.2%}",
        f"0 steps taken, 800 in all; accuracy {accuracy:.2%}",
    ]


def test_none_is_forgotten():
    tested = {
        "classify_sequences",
        "explain",
        "forecast_a_stream",
        "generate",
        "iris",
        "mix",
        "own_cell",
        "own_kernel",
        "own_text",
        "own_training",
        "ptb_by_hand",
        "score",
        "sine_by_hand",
        "suggest",
        "train_and_step",
    }
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested
