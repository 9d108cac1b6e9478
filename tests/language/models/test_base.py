"""Language models: what is measured of them, how they are saved, and what is refused."""

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
from recurra.language.entry import FORMAT
from recurra.language.models.base import ALONE, MODELS, NESTED, LanguageModel
from recurra.language.models.cache import cache
from recurra.language.models.mixture import mixture
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.dataset import SplitFacts, encode_text
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey
from recurra.storage.files import json_bytes
from recurra.storage.sealed import seal
from recurra.storage.tensors import load_tensors, write_tensors

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


# Evaluation


def lines_of(ids: Ids) -> list[Ids]:
    found: list[Ids] = []
    start = 0
    for end in [n + 1 for n, token in enumerate(ids) if token == EOS] + [len(ids)]:
        if end > start:
            found.append(ids[start:end])
        start = end
    return found


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
        "oov_rate": 0.0,
        "nats_per_token": None,
        "perplexity": None,
        "perplexity_low": None,
        "perplexity_high": None,
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


def refusal(folder: Path, files: dict[str, Any], version: int = ALONE) -> str:
    """Seal these files as a model; return with what words it is refused."""
    as_bytes = {
        name: value
        if isinstance(value, bytes)
        else (saved if name.endswith("tensors") else json_bytes)(value)
        for name, value in files.items()
    }
    seal(folder, as_bytes, FORMAT.name, version)
    with pytest.raises(CheckpointError) as caught:
        LanguageModel.from_pretrained(folder)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_model_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere holds no model; is the run finished"):
        LanguageModel.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "run").mkdir()
    with pytest.raises(CheckpointError, match="run holds no model; is the run finished"):
        LanguageModel.from_pretrained(tmp_path / "run")
    (tmp_path / "run" / "weights.safetensors").touch()
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
        {"hidden_size": 7, "cell": "builtins:print"},
        {"hidden_size": 7, "cell": "os:kill"},
        {"hidden_size": 7, "cell": "torch.nn:Linear"},
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
        f"{tmp_path}/model: the weights do not fit the model: missing head.bias; "
        "unexpected head.scale; embedding is (3, 7), expected (10, 7)"
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
    seal(tmp_path / "model", {}, FORMAT.name, NESTED + 1)
    with pytest.raises(CheckpointError, match="a newer Recurra wrote it"):
        LanguageModel.from_pretrained(tmp_path)


def test_every_kind_says_its_name_in_the_table() -> None:
    assert {name: MODELS[name].kind for name in MODELS} == {name: name for name in MODELS}


# Models made of others


def nested(folder: Path) -> dict[str, Any]:
    """Return the files of a mixture of a network, a cache over it, and n-grams."""
    lm = network()
    return contents(mixture([lm, cache(lm), ngram(2)]), folder)


def test_a_model_alone_is_written_as_version_1(tmp_path: Path) -> None:
    files = contents(ngram(2), tmp_path / "model")
    assert files["model.json"] == {"kind": "ngram", "rule": "words"}
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_bytes())
    assert (manifest["kind"], manifest["version"]) == (FORMAT.name, 1)


def test_each_model_of_a_graph_is_written_once_before_those_made_of_it(tmp_path: Path) -> None:
    files = nested(tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_bytes())
    assert (manifest["kind"], manifest["version"]) == (FORMAT.name, 2)
    facts = files["model.json"]
    assert (facts["kind"], facts["rule"], len(facts)) == ("mixture", "words", 3)
    assert [(each["kind"], each["inner"]) for each in facts["models"]] == [
        ("network", []),
        ("cache", [0]),
        ("ngram", []),
        ("mixture", [0, 1, 2]),
    ]
    names = {name.split("/")[0] for name in files["weights.safetensors"]}
    assert names == {"0", "2", "3"}  # a cache has learned nothing
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert loaded.inner[1].inner[0] is loaded.inner[0]


def test_a_part_that_stands_there_twice_is_one_model(tmp_path: Path) -> None:
    one = ngram(2)
    mixture([one, one], [0.5, 0.5]).save_pretrained(tmp_path / "model")
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert loaded.inner[0] is loaded.inner[1]
    ids = text(30)
    np.testing.assert_allclose(loaded.log_probs_of(ids), one.log_probs_of(ids), atol=1e-12)


def changed_models(facts: dict[str, Any], n: int, **entry: Any) -> dict[str, Any]:
    models = [dict(each) for each in facts["models"]]
    models[n] |= entry
    return {**facts, "models": models}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: changed_models(f, 3, inner=[0, 1, 3]), "model 3 is made of"),
        (lambda f: changed_models(f, 1, inner=[2]), "model 1 is made of"),
        (lambda f: changed_models(f, 1, inner=[-1]), "model 1 is made of"),
        (lambda f: changed_models(f, 1, inner=[False]), "model 1 is made of"),
        (lambda f: changed_models(f, 1, inner=["0"]), "model 1 is made of"),
        (lambda f: changed_models(f, 1, inner=0), "model 1 is of no known kind"),
        (lambda f: changed_models(f, 1, inner=[]), "a cache model is made of one model"),
        (lambda f: changed_models(f, 2, inner=[0]), "is made of no model"),
        (lambda f: changed_models(f, 3, inner=[0, 0, 2]), "the last model is not a mixture made"),
        (lambda f: changed_models(f, 0, kind="transformer"), "model 0 is of no known kind"),
        (lambda f: changed_models(f, 0, kind="json:dumps"), "model 0 is of no known kind"),
        (lambda f: changed_models(f, 0, kind=None), "model 0 is of no known kind"),
        (lambda f: changed_models(f, 1, theta="high"), "the cache model: theta is 'high'"),
        (lambda f: changed_models(f, 3, more=1), "made of weights and buckets"),
        (lambda f: {**f, "kind": "cache"}, "the last model is not a cache"),
        (lambda f: {**f, "more": 1}, "expected 2 to 64 models"),
        (lambda f: {**f, "models": []}, "expected 2 to 64 models"),
        (lambda f: {**f, "models": f["models"][:1]}, "expected 2 to 64 models"),
        (lambda f: {**f, "models": f["models"][-1:] * 65}, "expected 2 to 64 models"),
        (lambda f: {**f, "models": {"0": {}}}, "expected 2 to 64 models"),
        (lambda f: {**f, "models": [*f["models"][:3], []]}, "model 3 is of no known kind"),
        (lambda f: {**f, "models": f["models"][:3]}, "the tensor '3/buckets' is of none"),
    ],
)
def test_a_graph_that_is_none_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    files = nested(tmp_path / "model")
    files["model.json"] = change(files["model.json"])
    assert message in refusal(tmp_path / "model", files, NESTED)


@pytest.mark.parametrize("name", ["4/weights", "weights", "-1/weights", "00/weights", "٣/weights"])
def test_tensors_of_no_model_are_refused(tmp_path: Path, name: str) -> None:
    files = nested(tmp_path / "model")
    files["weights.safetensors"][name] = torch.ones(1)
    assert "is of none of its models" in refusal(tmp_path / "model", files, NESTED)


def test_a_tensor_under_another_models_number_is_refused(tmp_path: Path) -> None:
    files = nested(tmp_path / "model")
    files["weights.safetensors"]["1/embedding"] = torch.ones(1)
    assert "no tensors" in refusal(tmp_path / "model", files, NESTED)


def test_a_kind_that_is_made_of_others_is_not_one_alone(tmp_path: Path) -> None:
    files = contents(ngram(2), tmp_path / "model")
    for kind in ("cache", "unigram_cache", "dynamic", "mixture", "temperature"):
        refusal(tmp_path / "model", {**files, "model.json": {"kind": kind, "rule": "words"}})


def test_more_models_than_a_file_may_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="at most 64"):
        mixture([ngram(1) for _ in range(64)]).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    mixture([ngram(1) for _ in range(63)]).save_pretrained(tmp_path / "model")
    assert len(LanguageModel.from_pretrained(tmp_path / "model").inner) == 63


def test_sharing_that_doubles_again_and_again_is_refused(tmp_path: Path) -> None:
    deep: LanguageModel = ngram(1)
    for _ in range(9):
        deep = mixture([deep, deep])
    deep.save_pretrained(tmp_path / "model")  # reads a token 1023 times
    files = contents(deep, tmp_path / "model")
    with pytest.raises(CheckpointError, match="at most 1,024"):
        mixture([deep, deep]).save_pretrained(tmp_path / "deeper")
    assert not (tmp_path / "deeper").exists()
    files["model.json"]["models"].append({"kind": "mixture", "inner": [9, 9]})
    for name in ("weights", "buckets"):
        files["weights.safetensors"][f"10/{name}"] = files["weights.safetensors"][f"9/{name}"]
    assert "at most 1,024" in refusal(tmp_path / "model", files, NESTED)


def test_models_of_two_vocabularies_are_not_written_as_one(tmp_path: Path) -> None:
    both = mixture([ngram(1), ngram(2)])
    both.inner[0].rule = "split"
    with pytest.raises(ConfigError, match="made of a ngram model of another, cannot be saved"):
        both.save_pretrained(tmp_path / "model")


def test_an_arpa_file_is_a_model(tmp_path: Path) -> None:
    counted = ngram(3)
    counted.to_arpa(tmp_path / "counts.arpa")
    loaded = LanguageModel.from_pretrained(tmp_path / "counts.arpa")
    assert isinstance(loaded, NgramModel)
    words = [WORDS.tokens[index] for index in text(50)]
    found = loaded.log_probs_of(loaded.vocabulary.encode(words))
    np.testing.assert_allclose(found, counted.log_probs_of(WORDS.encode(words)), atol=1e-5)
