"""`recurra generate` and `recurra suggest`."""

from __future__ import annotations

from typing import Any

from recurra.language.models.network import NetworkModel
from recurra.language.use.decoding import generate, generate_many
from recurra.language.use.suggestion import suggest


def test_text_is_written(recurra: Any, model: NetworkModel) -> None:
    how: Any = {"temperature": 0.8, "top_k": 6, "top_p": 0.9, "min_p": 0.01, "stop": [".", "sat"]}
    words = ["--temperature", "0.8", "--top-k", "6", "--top-p", "0.9", "--min-p", "0.01"]
    words += ["--stop", ".", "--stop", "sat", "--tokens", "30", "--seed", "5", "--prompt", "the"]
    expected = generate(model, 30, prompt="the", seed=5, **how)
    assert recurra("generate", ".", *words).out == f"{expected}\n"
    assert recurra("generate", ".", *words, "--json").json["text"] == expected
    many = generate_many(model, 3, 30, prompt="the", seed=5, **how)
    assert recurra("generate", ".", *words, "--samples", "3", "--json").json == {
        "prompt": "the",
        "text": expected,
        "samples": many,
    }
    shown = recurra("generate", ".", *words, "--samples", "3").out
    assert shown == "".join(f"--- {n}\n{each}\n" for n, each in enumerate(many, 1))
    beam = recurra("generate", ".", "--beam", "3", "--tokens", "6").out
    assert beam == generate(model, 6, beam=3) + "\n"
    unknown = [
        recurra("generate", ".", "--allow-unk", "--seed", str(seed)).out for seed in range(3)
    ]
    assert any("<unk>" in each for each in unknown)


def test_words_are_suggested(recurra: Any, model: NetworkModel) -> None:
    for words, top, given in (
        (["the ca"], 5, "the ca"),
        (["the "], 5, "the "),
        ([], 5, ""),
        (["a", "--top", "2"], 2, "a"),
    ):
        expected = suggest(model, given, top)
        found = recurra("suggest", ".", *words, "--json").json
        assert found == {"suggestions": [each._asdict() for each in expected]}
        shown = [row.split() for row in recurra("suggest", ".", *words).out.splitlines()]
        assert shown == [[f"{each.probability:.4f}", each.token] for each in expected]
    nothing = recurra("suggest", ".", "zebr")
    assert (nothing.code, nothing.out) == (0, "")
    assert nothing.err == "no word that the model knows begins so\n"


def test_generate_prompt_the_zebra(recurra: Any, model: NetworkModel) -> None:
    said = (
        "warning: 1 of 2 tokens of the prompt are outside the model's vocabulary and read as "
        "<unk>: zebra\n"
    )
    for words in ([], ["--json"], ["--samples", "2"], ["--beam", "2"]):
        answer = recurra("generate", ".", "--prompt", "the zebra", "--tokens", "3", *words)
        assert (answer.code, answer.err) == (0, said)
    assert recurra("generate", ".", "--prompt", "The cat <unk>").err == ""
    many = recurra("generate", ".", "--prompt", "v w x y z v \x1b[31m", "--tokens", "1").err
    assert "read as <unk>: v, w, x, y, z and 3 more" in many and "\x1b" not in many


def test_suggest_and_score_say_what_they_do_not_know_of_what_they_read(
    recurra: Any, model: NetworkModel
) -> None:
    assert "1 of 2 tokens of the text are outside" in recurra("suggest", ".", "the zebra ").err
    assert "1 of 1 tokens of the text are outside" in recurra("suggest", ".", "zebra ca").err
    assert recurra("suggest", ".", "the ca").err == ""
    given = recurra("score", ".", "x.txt", "--given", "a zebra", "--json").err
    assert "1 of 2 tokens of what is given are outside" in given and "zebra" in given
