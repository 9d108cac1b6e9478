"""Text that goes on: drawn, streamed, many at once, searched for."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra.errors import ConfigError
from recurra.language.models.network import NetworkModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.tokenization import detokenize, tokenize
from recurra.language.text.vocabulary import Vocabulary
from recurra.language.use import decoding
from recurra.language.use.decoding import generate, generate_many, stream

WORDS = Vocabulary(
    ["the", "<eos>", "cat", "sat", "on", "<unk>", "a", "mat", ".", ",", "(", ")", "'s"]
)
CHARACTERS = Vocabulary(["<eos>", "<unk>", " ", "a", "b", "c", "\u00e9"])
V, EOS, UNK = len(WORDS), WORDS.eos, WORDS.unk


def network(vocabulary: Vocabulary = WORDS, rule: str = "words") -> NetworkModel:
    options = NetworkOptions(hidden_size=7, init_scale=1.0, zero_bias=False)
    made = LanguageNetwork(options, len(vocabulary), torch.Generator().manual_seed(2))
    return NetworkModel(made, options, vocabulary, rule)


class Last(NamedTuple):
    """The token read last."""

    token: Tensor


class Bigrams:
    """A table of log-probabilities; counts the rows of its steps."""

    def __init__(self, table: Tensor, vocabulary: Vocabulary, most_rows: int | None = None) -> None:
        self.table = table.log_softmax(-1)
        self.vocabulary = vocabulary
        self.rule = "split"
        self.most_rows = most_rows
        self.steps: list[int] = []

    def initial_state(self, batch_size: int = 1) -> Last:
        return Last(torch.zeros(batch_size, 1, dtype=torch.long))

    def step(self, token: int | Tensor, state: Last) -> tuple[Tensor, Last]:
        rows = torch.as_tensor(token).reshape(-1, 1)
        assert rows.shape == state.token.shape
        self.steps.append(len(rows))
        log_probs = self.table[rows[:, 0]]
        return (log_probs[0] if isinstance(token, int) else log_probs), Last(rows)


def bigrams(seed: int = 0, most_rows: int | None = None) -> Bigrams:
    vocabulary = Vocabulary(["a", "<eos>", "<unk>", "b", "c"])
    table = torch.randn(5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Bigrams(2 * table, vocabulary, most_rows)


# Drawing


def test_words_not_known_stay_in_the_prompt_and_are_read_as_unk() -> None:
    model = network()
    known = generate(model, 8, prompt="the <unk> sat", seed=4)
    assert generate(model, 8, prompt="The Zebra sat", seed=4) == known.replace("<unk>", "zebra")


def test_nothing_is_stepped_over_or_read_twice() -> None:
    model = bigrams()
    generate(model, 10, prompt="a b c")
    assert model.steps == [1] * (1 + 3 + 9)
    model.steps.clear()
    generate_many(model, 4, 10, prompt="a b c")
    assert model.steps == [1] * 4 + [4] * 9


def test_a_sample_is_the_same_however_many_there_are() -> None:
    model = network()
    many = generate_many(model, 12, 30, prompt="the", seed=3)
    assert many[0] == generate(model, 30, prompt="the", seed=3)
    for count in (1, 2, 5):
        assert generate_many(model, count, 30, prompt="the", seed=3) == many[:count]
    assert len(set(many)) == 12
    assert generate_many(model, 12, 30, prompt="the", seed=4) != many


def test_samples_in_blocks_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    many = generate_many(model, 7, 20, stop=".", top_k=6)
    monkeypatch.setattr(decoding, "MOST_PROBABILITIES", 3 * V)
    assert generate_many(model, 7, 20, stop=".", top_k=6) == many


@pytest.mark.parametrize("most_rows", [1, 2])
def test_a_model_of_few_rows_is_never_given_more(most_rows: int) -> None:
    free, bound = bigrams(), bigrams(most_rows=most_rows)
    assert generate_many(bound, 5, 12, seed=2) == generate_many(free, 5, 12, seed=2)
    assert max(bound.steps) == most_rows
    bound.steps.clear()
    assert generate(bound, 12, beam=4) == generate(free, 12, beam=4)
    assert max(bound.steps) == 1


def test_samples_follow_the_distribution() -> None:
    model = bigrams()
    texts = generate_many(model, 4000, 2, prompt="c", seed=1, stop="\n", top_p=0.95)
    kept = decoding.Decoding(top_p=0.95).choices(model.table, 2).exp().numpy()
    expected = {
        f"c {model.vocabulary.tokens[i]} {model.vocabulary.tokens[j]}": kept[4, i] * kept[i, j]
        for i, j in itertools.product((0, 3, 4), repeat=2)
    }
    for text, probability in expected.items():
        assert texts.count(text) / 4000 == pytest.approx(probability, abs=2 / math.sqrt(4000))
    assert texts.count("c") / 4000 == pytest.approx(kept[4, 1], abs=2 / math.sqrt(4000))


def test_unk_is_written_only_if_allowed() -> None:
    model = bigrams()
    assert all("<unk>" not in text for text in generate_many(model, 50, 20))
    assert any("<unk>" in text for text in generate_many(model, 50, 20, allow_unk=True))


# Stops


@settings(max_examples=15)
@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from([" sat", ".", "\n", "cat on", "a", "t.", " (the", "at"]), max_size=3),
)
def test_the_text_ends_before_the_first_stop(seed: int, stops: list[str]) -> None:
    model = network()
    whole = generate(model, 16, prompt="a cat (", seed=seed)
    written = whole[len("a cat (") :]
    ends = [place for stop in stops if (place := written.find(stop)) >= 0]
    expected = written[: min(ends, default=len(written))]
    assert generate(model, 16, prompt="a cat (", seed=seed, stop=stops) == f"a cat ({expected}"


def test_a_stop_in_the_prompt_does_not_count() -> None:
    assert generate(bigrams(), 0, prompt="a b", stop="b") == "a b"
    assert generate(bigrams(), 5, prompt="a b", stop="b").startswith("a b")


def test_a_row_that_stopped_is_read_no_further() -> None:
    model = bigrams()
    texts = generate_many(model, 6, 40, stop="b", seed=3)
    alone = bigrams()
    for n in range(6):
        assert "b" not in texts[n]
        lengths = len(texts[n].replace("\n", " . ").split())
        assert lengths < 40
    longest = max(len(text.replace("\n", " . ").split()) for text in texts)
    assert len(model.steps) <= longest + 1 and min(model.steps[1:]) < 6
    assert generate(alone, 40, stop="b", seed=3) == texts[0]


# Streaming


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from([(), ".", ("the cat", "sat on"), "\n"]))
def test_the_stream_is_the_text(seed: int, stops: Any) -> None:
    model = network()
    pieces = list(stream(model, 15, prompt="the", seed=seed, stop=stops))
    assert pieces[0] == "the" and all(pieces)
    assert "".join(pieces) == generate(model, 15, prompt="the", seed=seed, stop=stops)


def test_the_stream_does_not_wait_for_more_than_it_must() -> None:
    model = bigrams()
    pieces = stream(model, 1000)
    assert (next(pieces), model.steps) == ("", [])
    next(pieces)
    assert len(model.steps) == 1
    for count in range(2, 6):
        next(pieces)
        assert len(model.steps) == count
    pieces.close()  # the reader left: nothing more is computed
    assert len(model.steps) == 5


def test_what_may_be_a_stop_is_held_back_until_it_is_not() -> None:
    table = torch.full((5, 5), -1e9, dtype=torch.float64)
    for before, after in ((1, 0), (0, 3), (3, 4), (4, 0)):  # a b c a b c ...
        table[before, after] = 0
    model = Bigrams(table, bigrams().vocabulary)
    assert list(stream(model, 7, stop=" b c b")) == ["", "a", " b c a", " b c a"]
    assert list(stream(model, 4, stop="c c")) == ["", "a", " b", " ", "c a"]
    assert list(stream(model, 5, stop="a b")) == [""]
    assert list(stream(model, 2, stop=" b c")) == ["", "a", " b"]


@given(st.lists(st.sampled_from(WORDS.tokens), max_size=12), st.sampled_from(["words", "split"]))
def test_text_joined_piece_by_piece_is_joined_at_once(tokens: list[str], rule: str) -> None:
    for cut in range(len(tokens) + 1):
        writer = decoding._Writer(rule, tokens[:cut], ())
        text = "".join(map(writer.add, tokens[cut:])) + writer.rest()
        assert detokenize(tokens[:cut], rule) + text == detokenize(tokens, rule)


@given(st.text("ab \u00e9\U0001f600\ufffd\n", max_size=12))
def test_characters_and_bytes_are_joined_whole(text: str) -> None:
    pytest.importorskip("tokenizers")
    for rule in ("characters", "bpe"):
        writer = decoding._Writer(rule, (), ())
        tokens = tokenize(text, rule)
        pieces = [writer.add(token) for token in tokens]
        assert "".join(pieces) + writer.rest() == text
        if "\ufffd" not in text:
            assert not any("\ufffd" in piece for piece in pieces)


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    pytest.importorskip("tokenizers")
    first, second = tokenize("\u00e9", "bpe")
    writer = decoding._Writer("bpe", (), ())
    assert (writer.add("x"), writer.add(first), writer.rest()) == ("x", "", "\ufffd")
    assert (writer.add(second), writer.rest()) == ("\u00e9", "")


def test_characters_go_on_within_a_word() -> None:
    model = network(CHARACTERS, "characters")
    text = generate(model, 20, prompt="ab x", seed=2)
    assert text.startswith("ab x") and len(text) == 24
    assert set(text[4:]) <= set("\n abc\u00e9")
    assert generate(model, 40, prompt="ab", seed=2, stop=" ").count(" ") == 0


# Beams


def exhaustive(model: Bigrams, length: int, stop: str, power: float) -> dict[str, float]:
    """Every text there is, and its value."""
    vocabulary = model.vocabulary
    table = decoding.Decoding().choices(model.table, vocabulary.unk)
    found = {}
    for ids in itertools.product([0, 1, 3, 4], repeat=length):
        names = vocabulary.decode(ids)
        end = names.index(stop) + 1 if stop in names else length
        steps = zip([vocabulary.eos, *ids], ids[:end])
        total = math.fsum(float(table[before, after]) for before, after in steps)
        text = detokenize(names[: end - (stop in names)], "split")
        found[text] = total / end**power
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("stop", "power"), [("", 1.0), ("b", 0.0), ("b", 1.0), ("b", 0.5)])
def test_a_wide_beam_finds_what_trying_all_finds(seed: int, stop: str, power: float) -> None:
    model = bigrams(seed)
    values = exhaustive(model, 4, stop, power)
    stops = [stop] if stop else []
    found = generate_many(model, 8, 4, beam=300, length_power=power, stop=stops)
    assert len(set(found)) == 8
    best = [values[text.removesuffix(" ")] for text in found]
    assert best == pytest.approx(sorted(values.values(), reverse=True)[:8], abs=1e-9)
    assert generate(model, 4, beam=300, length_power=power, stop=stops) == found[0]


def test_a_beam_ends_once_nothing_better_can_come() -> None:
    table = torch.tensor([0.03, 0.02, 0.0, 0.9, 0.05], dtype=torch.float64).log().expand(5, -1)
    model = Bigrams(table, bigrams().vocabulary)
    found = generate_many(model, 2, 1000, beam=2, length_power=0, stop="b")
    # 0.9 at once, or 0.05 x 0.9 after one more token; what goes on has 0.05 x 0.05 at most
    assert found == ["", "c "]
    assert model.steps == [1, 2]


def test_a_beam_of_one_is_greedy() -> None:
    model = network()
    for prompt in ("", "the cat", "on a"):
        greedy = generate(model, 15, prompt=prompt, temperature=0)
        assert generate(model, 15, prompt=prompt, beam=1) == greedy


def test_a_beam_finds_likelier_text_than_greed() -> None:
    model = network()

    def log_prob(text: str) -> float:
        ids = WORDS.encode(tokenize(text, "words"))
        return float(model.log_probs_of(ids).sum())

    narrow, wide = (
        np.mean(
            [log_prob(generate(model, 8, prompt=word, beam=width)) for word in ["the", "a", "on"]]
        )
        for width in (1, 8)
    )
    assert wide > narrow + 0.1


def test_a_beam_is_streamed_at_its_end() -> None:
    model = network()
    assert list(stream(model, 6, prompt="the", beam=3)) == [
        "the",
        generate(model, 6, prompt="the", beam=3)[3:],
    ]
    assert generate(model, 0, prompt="the", beam=3) == "the"


@pytest.mark.parametrize(
    ("arguments", "how", "said"),
    [
        ((-1,), {}, "num_tokens is a whole number from 0, got -1"),
        ((5,), {"temperature": -1.0}, "temperature"),
        ((5,), {"top_p": 1.5}, "top_p"),
    ],
    ids=str,
)
def test_bad_values_are_named_before_anything_is_drawn(arguments: Any, how: Any, said: str) -> None:
    model = bigrams()
    for write in (generate, stream, lambda model, *a, **k: generate_many(model, 2, *a, **k)):
        with pytest.raises(ConfigError, match=said):
            write(model, *arguments, **how)
    assert model.steps == []


def test_bad_numbers_of_samples_are_named() -> None:
    with pytest.raises(ConfigError, match="num_samples is a whole number from 1, got 0"):
        generate_many(bigrams(), 0)
    with pytest.raises(ConfigError, match="num_samples is 4, more than the beam's 3"):
        generate_many(bigrams(), 4, beam=3)
