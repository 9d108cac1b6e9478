"""What holds for every language model: step by step, as a batch, saved and loaded, damaged."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError
from recurra.files import json_bytes
from recurra.language.dataset import SplitFacts, encode_text
from recurra.language.model import KIND, MODELS, VERSION, LanguageModel
from recurra.language.network import LanguageNetwork
from recurra.language.network_model import NetworkModel
from recurra.language.ngram import KneserNey
from recurra.language.ngram_model import NgramModel
from recurra.language.options import NetworkOptions
from recurra.language.vocabulary import Vocabulary
from recurra.nn.state import flatten, unflatten
from recurra.sealed import seal
from recurra.tensors import load_tensors, write_tensors

WORDS = Vocabulary(["the", "<eos>", "cat", "sat", "on", "<unk>", "a", "mat", "dog", "barked"])
V, EOS, UNK = len(WORDS), WORDS.eos, WORDS.unk
Ids = NDArray[np.int32]


def network(**changes: Any) -> NetworkModel:
    options = NetworkOptions(hidden_size=7, init_scale=1.0, zero_bias=False, **changes)
    return NetworkModel(
        LanguageNetwork(options, V, torch.Generator().manual_seed(2)), options, WORDS, "words"
    )


def ngram(order: int) -> NgramModel:
    return NgramModel(KneserNey.fit(text(400, seed=1), order, V, EOS), WORDS, "words")


def text(length: int, seed: int = 0) -> Ids:
    """Return ids whose lines have about five words; the first line may be empty."""
    draws = np.random.default_rng(seed)
    weights = np.full(V, 0.8 / (V - 1))
    weights[EOS] = 0.2
    return draws.choice(V, length, p=weights).astype(np.int32)


MAKERS: dict[str, Callable[[], LanguageModel]] = {
    "network": network,
    "network tied gru": lambda: network(tied=True, cell="gru", num_layers=1),
    "network with dropout": lambda: network(dropout=0.5, variational=True, num_layers=3),
    "ngram 5": lambda: ngram(5),
    "ngram 2": lambda: ngram(2),
    "ngram 1": lambda: ngram(1),
}


@pytest.fixture(params=list(MAKERS))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return MAKERS[request.param]()


def saved(tensors: dict[str, Tensor]) -> bytes:
    out = io.BytesIO()
    write_tensors(tensors, out)
    return out.getvalue()


def facts(ids: Ids) -> SplitFacts:
    return SplitFacts(tokens=len(ids), oov=3, characters=5 * len(ids), replaced=0)


def stepped(model: LanguageModel, ids: Ids) -> NDArray[np.float64]:
    """Return every token's log-probability by one `step` at a time, as the definition says."""
    state, found = model.initial_state(), []
    for before, token in zip([EOS, *ids[:-1]], ids):
        log_probs, state = model.step(int(before), state)
        found.append(float(log_probs[token]))
    return np.array(found)


# One step


def test_a_step_gives_a_distribution_over_the_vocabulary(model: LanguageModel) -> None:
    state = model.initial_state()
    for token in [EOS, *text(30).tolist()]:
        log_probs, state = model.step(token, state)
        assert log_probs.shape == (V,)
        assert float(log_probs.double().exp().sum()) == pytest.approx(1, abs=1e-6)
        assert torch.isfinite(log_probs).all()


def test_a_step_of_many_rows_is_that_of_each(model: LanguageModel) -> None:
    rows = [text(12, seed=seed) for seed in range(4)]
    together = model.initial_state(4)
    alone = [model.initial_state() for _ in rows]
    for column in np.stack(rows, 1):
        log_probs, together = model.step(torch.from_numpy(column.astype(np.int64)), together)
        assert log_probs.shape == (4, V)
        for n, token in enumerate(column):
            expected, alone[n] = model.step(int(token), alone[n])
            torch.testing.assert_close(log_probs[n], expected, rtol=0, atol=1e-5)


def test_a_step_leaves_the_state_it_was_given(model: LanguageModel) -> None:
    _, state = model.step(EOS, model.initial_state())
    before = {name: tensor.clone() for name, tensor in flatten(state).items()}
    first, _ = model.step(2, state)
    again, _ = model.step(2, state)
    assert torch.equal(first, again)
    for name, tensor in flatten(state).items():
        assert torch.equal(tensor, before[name])


def test_a_step_keeps_no_gradients(model: LanguageModel) -> None:
    log_probs, state = model.step(EOS, model.initial_state())
    assert not log_probs.requires_grad
    assert not any(tensor.requires_grad for tensor in flatten(state).values())


def test_the_state_can_be_saved_and_gone_on_from(model: LanguageModel, tmp_path: Path) -> None:
    state = model.initial_state(2)
    for token in (1, 2, 0):
        _, state = model.step(torch.tensor([token, 3]), state)
    (tmp_path / "state").write_bytes(saved(flatten(state)))
    loaded = unflatten(load_tensors(tmp_path / "state"), model.initial_state(2))
    expected, _ = model.step(torch.tensor([4, 5]), state)
    found, _ = model.step(torch.tensor([4, 5]), loaded)
    assert torch.equal(found, expected)


# A document and its lines


def test_a_document_at_once_is_the_same_as_token_by_token(model: LanguageModel) -> None:
    ids = text(300)
    expected, found = stepped(model, ids), model.log_probs_of(ids)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)
    assert np.abs(found - expected).mean() < 1e-6
    perplexity = model.evaluate(ids, facts(ids)).perplexity
    assert perplexity == pytest.approx(math.exp(-expected.mean()), rel=1e-5)


def lines_of(ids: Ids) -> list[Ids]:
    found: list[Ids] = []
    start = 0
    for end in [n + 1 for n, token in enumerate(ids) if token == EOS] + [len(ids)]:
        if end > start:
            found.append(ids[start:end])
        start = end
    return found


@pytest.mark.parametrize("length", [1, 2, 150])
def test_a_line_alone_is_a_document_of_one_line(model: LanguageModel, length: int) -> None:
    lines = lines_of(text(length))
    expected = [model.log_probs_of(line) for line in lines]
    found = model.log_probs_of_lines(lines)
    assert len(found) == len(lines)
    for scores, own in zip(found, expected, strict=True):
        np.testing.assert_allclose(scores, own, rtol=0, atol=5e-6)
    backwards = model.log_probs_of_lines(lines[::-1])[::-1]
    for scores, own in zip(backwards, found, strict=True):
        np.testing.assert_allclose(scores, own, rtol=0, atol=5e-6)


def test_no_line_and_an_empty_line_have_no_scores(model: LanguageModel) -> None:
    assert model.log_probs_of_lines([]) == []
    nothing = text(3)[:0]
    between = model.log_probs_of_lines([text(3), nothing, text(4)])
    assert [len(scores) for scores in between] == [3, 0, 4]
    assert len(model.log_probs_of(nothing)) == 0


def test_evaluation_in_both_contexts(model: LanguageModel) -> None:
    ids = text(200)
    document, independent = (
        model.evaluate(ids, facts(ids), context) for context in ("document", "independent")
    )
    assert document.nats_per_token == pytest.approx(-stepped(model, ids).mean(), abs=1e-6)
    each = np.concatenate([stepped(model, line) for line in lines_of(ids)])
    assert independent.nats_per_token == pytest.approx(-each.mean(), abs=1e-6)
    for metrics in (document, independent):
        assert (metrics.tokens, metrics.oov, metrics.characters) == (200, 3, 1000)
    if model.kind == "ngram":  # whose histories never cross <eos>
        assert independent.nats_per_token == pytest.approx(document.nats_per_token, abs=1e-12)
    else:
        assert abs(independent.nats_per_token - document.nats_per_token) > 1e-4


def test_a_last_line_without_its_eos_is_scored_too(model: LanguageModel) -> None:
    ids = np.array([0, 2, EOS, 0, 8], np.int32)
    assert model.evaluate(ids, facts(ids), "independent").tokens == 5


def test_another_context_is_a_wrong_setting(model: LanguageModel) -> None:
    with pytest.raises(ConfigError, match="'document' or 'independent', got 'sentence'"):
        model.evaluate(text(5), facts(text(5)), "sentence")


@pytest.mark.parametrize("context", ["document", "independent"])
def test_no_tokens_have_no_perplexity(model: LanguageModel, context: str) -> None:
    nothing = text(3)[:0]
    metrics = model.evaluate(nothing, SplitFacts(0, 0, 0, 0), context)
    assert metrics.as_dict() == {
        "tokens": 0,
        "oov": 0,
        "nats_per_token": None,
        "perplexity": None,
    }


def test_a_memory_mapped_text_is_scored_as_one_in_memory(
    model: LanguageModel, tmp_path: Path
) -> None:
    ids = text(50)
    ids.tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", np.int32, "r")
    for context in ("document", "independent"):
        assert model.evaluate(mapped, facts(ids), context) == model.evaluate(
            ids, facts(ids), context
        )


def test_words_outside_the_vocabulary_count_as_unk(model: LanguageModel) -> None:
    ids, counted = encode_text("The zebra sat.\nthe <unk> SAT on a mat\n", WORDS, "words")
    assert counted.oov == 2  # zebra and the full stop, not the literal <unk>
    metrics = model.evaluate(ids, counted)
    assert (metrics.tokens, metrics.oov) == (12, 2)
    assert metrics.nats_per_token == pytest.approx(-stepped(model, ids).mean(), abs=1e-6)


# Generation


def test_generation_is_a_function_of_its_seed(model: LanguageModel) -> None:
    torch.manual_seed(1)
    one = model.generate(60, seed=5)
    torch.manual_seed(2)
    assert model.generate(60, seed=5) == one
    assert model.generate(60, seed=6) != one


def test_generated_text_has_as_many_tokens_as_asked_and_no_unk(model: LanguageModel) -> None:
    for seed in range(5):
        written = model.generate(80, seed=seed)
        assert "<unk>" not in written
        assert len(written.replace("\n", " <eos> ").split()) == 80
    assert model.generate(0) == ""


def test_generation_goes_on_from_the_prompt(model: LanguageModel) -> None:
    written = model.generate(6, prompt="The dog  BARKED", seed=3)
    assert written.startswith("the dog barked")
    assert len(written.replace("\n", " <eos> ").split()) == 9


def test_generation_follows_the_distribution(model: LanguageModel) -> None:
    log_probs, _ = model.step(EOS, model.initial_state())
    expected = log_probs.double().exp().numpy().copy()
    expected[UNK] = 0
    expected /= expected.sum()
    first = [model.generate(1, seed=seed).strip() or "<eos>" for seed in range(400)]
    counts = np.array([first.count(word) for word in WORDS.tokens]) / 400
    assert np.abs(counts - expected).max() < 4 * 0.5 / math.sqrt(400)


def test_low_temperature_takes_what_is_likeliest(model: LanguageModel) -> None:
    state, token, likeliest = model.initial_state(), EOS, []
    for _ in range(10):
        log_probs, state = model.step(token, state)
        log_probs = log_probs.clone()
        log_probs[UNK] = -math.inf
        token = int(log_probs.argmax())
        likeliest += [] if token == EOS else [WORDS.tokens[token]]
    for temperature in (1e-4, 1e-30):
        assert model.generate(10, temperature=temperature, seed=8).split() == likeliest


def test_unk_is_not_written_even_where_nothing_else_is_likely(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_probs = torch.full((V,), -200.0)
    log_probs[UNK] = 0.0
    monkeypatch.setattr(type(model), "step", lambda self, token, state: (log_probs, state))
    assert "<unk>" not in model.generate(5, temperature=0.01)


# Saved and loaded


def test_what_is_saved_is_loaded_to_the_bit(model: LanguageModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "manifest.json",
        "model.json",
        "vocabulary.json",
        "weights.safetensors",
    ]
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert type(loaded) is type(model)
    assert (loaded.vocabulary, loaded.rule) == (model.vocabulary, model.rule)
    assert loaded.facts() == model.facts()
    mine, theirs = model.tensors(), loaded.tensors()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert np.array_equal(loaded.log_probs_of(text(60)), model.log_probs_of(text(60)))
    assert loaded.generate(30) == model.generate(30)
    loaded.save_pretrained(tmp_path / "again")
    for path in (tmp_path / "model").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_it_is_found_from_the_run_and_replaced_when_saved_again(tmp_path: Path) -> None:
    ngram(2).save_pretrained(tmp_path / "model")
    ngram(3).save_pretrained(tmp_path / "model")
    for place in (tmp_path, str(tmp_path), tmp_path / "model"):
        loaded = LanguageModel.from_pretrained(place)
        assert isinstance(loaded, NgramModel)
        assert loaded.counts.order == 3
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["model"]


# Damaged and hostile models


def contents(model: LanguageModel, folder: Path) -> dict[str, Any]:
    """Return a saved model's files, the JSON ones as values."""
    model.save_pretrained(folder)
    return {
        "model.json": json.loads((folder / "model.json").read_bytes()),
        "vocabulary.json": (folder / "vocabulary.json").read_bytes(),
        "weights.safetensors": load_tensors(folder / "weights.safetensors"),
    }


def refusal(folder: Path, files: dict[str, Any]) -> str:
    """Seal these files as a model; return with what words it is refused."""
    as_bytes = {
        name: value
        if isinstance(value, bytes)
        else (saved if name.endswith("tensors") else json_bytes)(value)
        for name, value in files.items()
    }
    seal(folder, as_bytes, KIND, VERSION)
    with pytest.raises(CheckpointError) as caught:
        LanguageModel.from_pretrained(folder)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_model_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere holds no model; is the run finished"):
        LanguageModel.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "run").mkdir()
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing"):
        LanguageModel.from_pretrained(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file is not valid safetensors"):
        LanguageModel.from_pretrained(tmp_path / "file")
    (tmp_path / "file").write_bytes(saved({"weight": torch.ones(2)}))
    with pytest.raises(CheckpointError, match="file is a file of tensors; a model is a directory"):
        LanguageModel.from_pretrained(tmp_path / "file")
    torch.save({"weight": torch.ones(2)}, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match="looks like a pickle"):
        LanguageModel.from_pretrained(tmp_path / "file.pt")


@pytest.mark.parametrize("name", ["model.json", "vocabulary.json", "weights.safetensors"])
def test_a_flipped_bit_or_a_missing_end_is_found(
    model: LanguageModel, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=f"{name}: expected {len(content)} bytes, found"):
        LanguageModel.from_pretrained(folder)
    (folder / name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    with pytest.raises(CheckpointError, match=f"{name}: expected SHA-256"):
        LanguageModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["model.json", "vocabulary.json", "weights.safetensors"])
def test_a_file_that_even_the_manifest_lacks(
    model: LanguageModel, tmp_path: Path, name: str
) -> None:
    files = contents(model, tmp_path / "model")
    del files[name]
    assert name in refusal(tmp_path / "model", files)


@pytest.mark.parametrize(
    "facts",
    [
        [],
        "model",
        None,
        {},
        {"kind": "network"},
        {"rule": "words"},
        {"kind": "transformer", "rule": "words"},
        {"kind": ["network"], "rule": "words"},
        {"kind": "no.such:Model", "rule": "words"},
        {"kind": "json:dumps", "rule": "words"},
        {"kind": "ngram", "rule": "syllables"},
        {"kind": "ngram", "rule": ["words"]},
    ],
)
def test_facts_of_another_form_are_refused(tmp_path: Path, facts: Any) -> None:
    files = contents(ngram(2), tmp_path / "model")
    assert "model.json" in refusal(tmp_path / "model", {**files, "model.json": facts})


@pytest.mark.parametrize(
    "options",
    [
        None,
        [],
        {"hidden_size": 7, "extra": 1},
        {"hidden_size": "wide"},
        {"hidden_size": 10**9},
        {"hidden_size": 7, "cell": "lsmt"},
        {"hidden_size": 7, "cell": "no.such:Cell"},
        {"hidden_size": 7, "num_layers": 3},
        {"hidden_size": 8},
        {"hidden_size": 7, "cell": "gru"},
    ],
)
def test_options_that_are_wrong_or_do_not_fit_are_refused(tmp_path: Path, options: Any) -> None:
    files = contents(network(), tmp_path / "model")
    files["model.json"]["network"] = options
    refusal(tmp_path / "model", files)
    del files["model.json"]["network"]
    refusal(tmp_path / "model", files)


def test_an_absurd_size_is_refused_before_it_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = contents(network(), tmp_path / "model")
    files["model.json"]["network"].update(hidden_size=65_536, num_layers=256)
    original = torch.empty

    def modest(*sizes: Any, **more: Any) -> Tensor:
        made = original(*sizes, **more)
        assert made.device.type == "meta" or made.nbytes < 2**20, "allocated before it was checked"
        return made

    monkeypatch.setattr(torch, "empty", modest)
    message = refusal(tmp_path / "model", files)
    assert "recurrence.cells.1.cells.0.weight_hh is (28, 7), expected (262144, 65536)" in message


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    files = contents(network(), tmp_path / "model")
    weights = files["weights.safetensors"]
    weights["head.scale"] = torch.ones(1)
    del weights["head.bias"]
    weights["embedding"] = torch.ones(3, 7)
    assert refusal(tmp_path / "model", files) == (
        "the weights do not fit the model: missing head.bias; unexpected head.scale; "
        "embedding is (3, 7), expected (10, 7)"
    )


def test_a_vocabulary_of_another_size_is_refused(model: LanguageModel, tmp_path: Path) -> None:
    files = contents(model, tmp_path / "model")
    larger = Vocabulary([*WORDS.tokens, "more"])
    refusal(tmp_path / "model", {**files, "vocabulary.json": larger.to_json()})
    for broken in (b"", b"[]", b'{"tokens": ["a", "a", "<eos>", "<unk>"]}', b'{"tokens": [1]}'):
        assert "vocabulary" in refusal(tmp_path / "model", {**files, "vocabulary.json": broken})


def test_n_grams_whose_eos_is_another_word_are_refused(tmp_path: Path) -> None:
    files = contents(ngram(2), tmp_path / "model")
    swapped = Vocabulary(["<eos>", *(token for token in WORDS.tokens if token != "<eos>")])
    refusal(tmp_path / "model", {**files, "vocabulary.json": swapped.to_json()})


def test_tensors_of_another_kind_are_refused(tmp_path: Path) -> None:
    files = contents(ngram(2), tmp_path / "model")
    for dtype in (torch.bfloat16, torch.float32, torch.bool):
        tensors = dict(files["weights.safetensors"])
        tensors["unigrams"] = tensors["unigrams"].to(dtype)
        refusal(tmp_path / "model", {**files, "weights.safetensors": tensors})
    one_of_the_other = contents(network(), tmp_path / "other")["weights.safetensors"]
    refusal(tmp_path / "model", {**files, "weights.safetensors": one_of_the_other})


def test_a_pickle_in_place_of_the_weights_is_never_opened(tmp_path: Path) -> None:
    files = contents(network(), tmp_path / "model")
    torch.save(dict(files["weights.safetensors"]), tmp_path / "weights.pt")
    pickled = (tmp_path / "weights.pt").read_bytes()
    message = refusal(tmp_path / "model", {**files, "weights.safetensors": pickled})
    assert "looks like a pickle" in message
    assert "safetensors.torch.save_file" in message


def test_another_kind_of_sealed_directory_is_refused(tmp_path: Path) -> None:
    seal(tmp_path / "model", {"facts.json": b"{}"}, "checkpoint", 1)
    with pytest.raises(CheckpointError, match="expected a recurra-language-model, found"):
        LanguageModel.from_pretrained(tmp_path)
    seal(tmp_path / "model", {}, KIND, VERSION + 1)
    with pytest.raises(CheckpointError, match="a newer Recurra wrote it"):
        LanguageModel.from_pretrained(tmp_path)


def test_every_kind_says_its_name_in_the_table() -> None:
    assert {name: MODELS[name].kind for name in MODELS} == {name: name for name in MODELS}
