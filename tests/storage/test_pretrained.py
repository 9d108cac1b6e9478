"""A model's directory: what is written is read back, and nothing else is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from recurra.errors import CheckpointError
from recurra.storage.files import Sink, json_bytes
from recurra.storage.format import Format
from recurra.storage.pretrained import format_of, open_pretrained, save_pretrained
from recurra.storage.sealed import seal

LEARNED = {"weight": torch.tensor([[1.0, -2.5], [0.1, 3e-8]]), "count": torch.tensor([7])}
MEAN = Format("recurra-mean", (2,), ("words.json",), lambda path: ".mean" in path.suffixes)
FACTS = {"sizes": [2, 3], "name": "größe", "scale": 0.1}


def save(place: Path, **changes: Any) -> None:
    given: dict[str, Any] = {
        "form": MEAN,
        "kind": "weighted",
        "facts": FACTS,
        "tensors": LEARNED,
        "files": {"words.json": b'["a"]'},
    }
    save_pretrained(place, **{**given, **changes})


def refusal(run: Path, **changes: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_pretrained(run, replace(MEAN, **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_saved_is_read_back(tmp_path: Path, inside: bool) -> None:
    place = tmp_path / "run" / "model"  # the folders above are made
    save(place)
    found = open_pretrained(place if inside else place.parent, MEAN)
    assert (found.version, found.kind, found.facts) == (2, "weighted", FACTS)
    assert found.files == {"words.json": place / "words.json"}
    assert found.files["words.json"].read_bytes() == b'["a"]'
    tensors = found.tensors()
    assert tensors.keys() == LEARNED.keys()
    assert all(torch.equal(tensors[name], LEARNED[name]) for name in LEARNED)


def test_the_files_can_be_read_without_us(tmp_path: Path) -> None:
    save(tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert facts == {"kind": "weighted", **FACTS}
    weights = load_file(tmp_path / "model" / "weights.safetensors")
    assert torch.equal(weights["weight"], LEARNED["weight"])
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_bytes())
    assert (manifest["kind"], manifest["version"]) == ("recurra-mean", 2)
    assert list(manifest["files"]) == ["model.json", "words.json", "weights.safetensors"]


def test_saving_again_replaces_all_of_it(tmp_path: Path) -> None:
    save(tmp_path / "model")

    def piecewise(sink: Sink) -> None:
        sink.write(b"1, ")
        sink.write(b"2")

    save(tmp_path / "model", files={"other.txt": piecewise}, facts={})
    found = open_pretrained(tmp_path, replace(MEAN, files=("other.txt",)))
    assert (found.facts, list(found.files)) == ({}, ["other.txt"])
    assert found.files["other.txt"].read_bytes() == b"1, 2"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_tensors_that_cannot_be_saved_leave_the_model_that_is_there(tmp_path: Path) -> None:
    save(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    with pytest.raises(TypeError, match="complex64 has no place in the format"):
        save(tmp_path / "model", tensors={"x": torch.zeros(1, dtype=torch.complex64)})
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda run: None, "holds no model; is the run finished?"),
        (lambda run: run.write_bytes(b"abc"), "is not valid safetensors"),
        (lambda run: torch.save(LEARNED, run), "looks like a pickle"),
        (
            lambda run: (run.mkdir(), (run / "config.json").write_text("{}")),
            "holds no model; is the run finished?",
        ),
        (lambda run: run.mkdir(), "holds no model; is the run finished?"),
    ],
)
def test_what_is_no_model_is_told_apart(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "run")
    assert said in refusal(tmp_path / "run")


def test_where_no_model_is_is_said_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (".", ""):
        assert refusal(Path(place)) == f"{tmp_path} holds no model; is the run finished?"


def test_a_file_of_tensors_is_no_model(tmp_path: Path) -> None:
    save(tmp_path / "model")
    path = tmp_path / "model" / "weights.safetensors"
    assert refusal(path) == f"{path} is a file of tensors; a model is a directory"


def test_every_version_of_a_format_is_read(tmp_path: Path) -> None:
    form = replace(MEAN, versions=(1, 2))
    for version in (1, 2):
        save(tmp_path / "model", form=form, version=version)
        assert open_pretrained(tmp_path, form).version == version
    save(tmp_path / "model", form=form)
    assert open_pretrained(tmp_path, form).version == 1


def test_what_the_format_does_not_name_is_not_opened(tmp_path: Path) -> None:
    save(tmp_path / "model", files={"words.json": b"[]", "more.json": b"[]"})
    assert list(open_pretrained(tmp_path, MEAN).files) == ["words.json"]


@pytest.mark.parametrize("name", ["counts.mean", "counts.mean.gz"])
def test_a_single_file_is_named_and_not_opened(tmp_path: Path, name: str) -> None:
    found = open_pretrained(tmp_path / name, MEAN)
    assert (found.version, found.facts, found.tensors()) == (0, {}, {})
    assert (found.files, found.facts_path, found.weights) == ({}, tmp_path / name, None)
    (tmp_path / name).mkdir()
    assert "holds no model" in refusal(tmp_path / name)


def test_another_task_or_version_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "model")
    said = refusal(tmp_path, name="recurra-median")
    assert "expected a recurra-median, found 'recurra-mean'" in said
    said = refusal(tmp_path, versions=(1,))
    assert "expected format 1, found 2; a newer Recurra wrote it" in said
    assert refusal(tmp_path, versions=(3, 4)).endswith("expected format 3, found 2")


@pytest.mark.parametrize("name", ["model.json", "words.json", "weights.safetensors"])
def test_what_is_missing_or_altered_is_named(tmp_path: Path, name: str) -> None:
    place = tmp_path / "model"
    save(place)
    sound = {path.name: path.read_bytes() for path in place.iterdir()}
    altered = bytes([sound[name][0] ^ 1]) + sound[name][1:]
    (place / name).write_bytes(altered)
    assert f"{name}: expected SHA-256" in refusal(tmp_path)
    (place / name).unlink()
    assert f"{name} is missing" in refusal(tmp_path)
    del sound["manifest.json"], sound[name]
    seal(place, sound, "recurra-mean", 2)
    assert refusal(tmp_path) == f"{place} is damaged: its manifest lacks {name}"


@pytest.mark.parametrize("facts", [[], "weighted", None, {}, {"kind": None}, {"kind": ["a"]}])
def test_facts_without_a_kind_are_refused(tmp_path: Path, facts: Any) -> None:
    place = tmp_path / "model"
    save(place)
    sound = {path.name: path.read_bytes() for path in place.iterdir()}
    del sound["manifest.json"]
    seal(place, {**sound, "model.json": json_bytes(facts)}, "recurra-mean", 2)
    assert refusal(tmp_path) == f"{place / 'model.json'} describes no known kind of model"


def test_what_a_model_is_can_be_asked_before_it_is_opened(tmp_path: Path) -> None:
    save(tmp_path / "model")
    (tmp_path / "model" / "weights.safetensors").unlink()
    for place in (tmp_path, str(tmp_path / "model")):
        assert format_of(place) == "recurra-mean"
    with pytest.raises(CheckpointError, match="holds no model; is the run finished"):
        format_of(tmp_path / "nowhere")


@pytest.mark.parametrize("manifest", ["[]", "{}", '{"kind": 3}'])
def test_a_manifest_that_does_not_say_what_it_is_of_is_damaged(
    tmp_path: Path, manifest: str
) -> None:
    save(tmp_path / "model")
    (tmp_path / "model" / "manifest.json").write_text(manifest)
    with pytest.raises(CheckpointError, match="does not say what kind of model it is"):
        format_of(tmp_path)
