"""`recurra explain`, on a tiny network and on n-grams."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from recurra.language.explanation import explain
from recurra.language.models.base import LanguageModel
from recurra.language.models.mixture import mixture
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey

WORDS = Vocabulary(["the", "<eos>", "cat", "sat", "on", "<unk>", "[bold]", "mat"])
TEXT = "The cat sat on the zebra"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    options = NetworkOptions(hidden_size=6, init_scale=1.0)
    made = LanguageNetwork(options, len(WORDS), torch.Generator().manual_seed(1))
    NetworkModel(made, options, WORDS, "words").save_pretrained(tmp_path / "network")
    return tmp_path / "network"


@pytest.fixture
def ngram(tmp_path: Path) -> Path:
    ids = np.random.default_rng(1).integers(0, len(WORDS), 300).astype(np.int32)
    counts = KneserNey.fit(ids, 3, len(WORDS), WORDS.eos)
    NgramModel(counts, WORDS, "words").save_pretrained(tmp_path / "ngram")
    return tmp_path / "ngram"


def test_json_is_what_the_library_says(recurra, network):
    found = recurra("explain", network, TEXT, "--top=2", "--json").json
    expected = explain(LanguageModel.from_pretrained(network), TEXT, top=2).as_dict()
    layers = [{"layer": n, **layer} for n, layer in enumerate(expected["layers"], 1)]
    assert found == {"run": str(network), "kind": "network"} | expected | {"layers": layers}
    assert [len(layer["gates"]["f"]) for layer in found["layers"]] == [7, 7]
    (second,) = recurra("explain", network, TEXT, "--layer=2", "--json").json["layers"]
    assert second == layers[1]


def test_the_table_has_a_line_for_every_token(recurra, network):
    answer = recurra("explain", network, TEXT)
    assert (answer.code, answer.err) == (0, "")
    head, *lines = answer.out.splitlines()
    assert head.split() == ["token", "surprise", "expected", "rank", "held", "for", "likely"]
    seen = explain(LanguageModel.from_pretrained(network), TEXT)
    for n, line in enumerate(lines[:7]):
        words = line.replace("zebra <unk>", "zebra").split()
        token, nats, entropy, rank, bar, *others = words
        assert token == seen.tokens[n]
        assert float(nats) == pytest.approx(-seen.log_probs[n], abs=5e-3)
        assert float(entropy) == pytest.approx(seen.entropies[n], abs=5e-3)
        assert int(rank) == seen.ranks[n]
        assert len(bar) == max(1, round(20 * seen.log_probs[n] / seen.log_probs.min()))
        assert others[::2] == [other for other, _ in seen.alternatives[n]]
    assert lines[5].startswith("zebra <unk>")
    perplexity = math.exp(-seen.log_probs.mean())
    assert f"7 tokens, {-seen.log_probs.mean():.2f} nats each" in answer.out
    assert f"perplexity {perplexity:,.1f}" in answer.out
    assert "\x1b" not in answer.out


def test_a_terminal_has_colours_unless_it_is_asked_for_none(recurra, network, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = recurra("explain", network, TEXT).out
    assert "\x1b[32m" in coloured or "\x1b[33m" in coloured or "\x1b[31m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = recurra("explain", network, TEXT).out
    assert not any(f"\x1b[{code}m" in plain for code in (31, 32, 33))


def test_what_looks_like_markup_is_only_text(recurra, network):
    answer = recurra("explain", network, "[/] [red] the", "--top=8")
    assert answer.code == 0
    assert "[bold]" in answer.out and answer.out.splitlines()[1].startswith("[ ")


@pytest.mark.parametrize("name", ["seen.png", "seen.svg"])
def test_a_picture_is_drawn_too(recurra, network, tmp_path, name):
    answer = recurra("explain", network, TEXT, f"--plot={name}", "--layer=1")
    assert (answer.code, answer.err) == (0, "")
    assert "--plot FILE" not in answer.out
    assert (tmp_path / name).stat().st_size > 10_000


def test_ngrams_have_surprise_alone(recurra, ngram, tmp_path):
    answer = recurra("explain", ngram, TEXT, "--plot=seen.png")
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
    assert recurra("explain", ngram, TEXT, "--json").json["layers"] == []
    assert "--plot FILE" not in recurra("explain", ngram, TEXT).out


def test_a_mixture_says_whose_gates_are_shown(recurra, network, ngram, tmp_path):
    models = [LanguageModel.from_pretrained(each) for each in (ngram, network)]
    mixture(models).save_pretrained(tmp_path / "mixed")
    answer = recurra("explain", "mixed", TEXT)
    assert answer.code == 0
    assert "of kind mixture; gates and states are those of the first network in it" in answer.out
    found = recurra("explain", "mixed", TEXT, "--json").json
    alone = recurra("explain", network, TEXT, "--json").json
    assert found["layers"] == alone["layers"]
    assert found["log_prob"] != alone["log_prob"]


@pytest.mark.parametrize(
    ("kind", "words", "code", "said"),
    [
        ("network", [" "], 3, "no tokens in the text"),
        ("network", ["the " * 2001], 3, "the text has 2,002 tokens"),
        ("network", [TEXT, "--layer=3"], 2, "--layer is 3, but the network has 2: give 1 to 2"),
        ("network", [TEXT, "--layer=0"], 2, "--layer"),
        ("ngram", [TEXT, "--layer=1"], 2, "a model of kind ngram has no layers to look at"),
        ("network", [TEXT, "--plot=seen.jpg"], 2, "written as .png or .svg, got seen.jpg"),
        ("network", [TEXT, "--plot=no/where.png"], 1, "no is not there; make it, or give another"),
        ("network", [TEXT, "--top=-1"], 2, "--top"),
        ("networc", [TEXT], 2, "networc is not there. Did you mean 'network'?"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_cannot_be_explained_is_one_line(recurra, network, ngram, kind, words, code, said):
    answer = recurra("explain", network.parent / kind, *words)
    assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1)
    assert said in answer.err


def test_a_layer_s_gates_are_told_a_word_without_a_picture(recurra, network):
    answer = recurra("explain", network, TEXT, "--layer=1")
    layer = recurra("explain", network, TEXT, "--layer=1", "--json").json["layers"][0]
    lines = answer.out.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("Layer 1 of "))
    assert lines[head + 1].split() == ["token", *layer["gates"]]
    first = [f"{np.mean(gate[0]):.2f}" for gate in layer["gates"].values()]
    assert lines[head + 2].split()[1:] == first
    assert "Layer 1" not in recurra("explain", network, TEXT).out
