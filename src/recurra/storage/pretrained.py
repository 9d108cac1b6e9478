"""A finished model as a directory that is loadable alone, whatever the task.

It is a sealed directory of `model.json` (the model's kind and facts), `weights.safetensors` (what
it has learned) and files of the task's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from recurra.errors import CheckpointError
from recurra.storage.files import Content, json_bytes, make_directory
from recurra.storage.sealed import MANIFEST, open_sealed, read_json, seal
from recurra.storage.tensors import load_tensors, write_tensors

__all__ = ["Pretrained", "format_of", "open_pretrained", "save_pretrained"]

FACTS, WEIGHTS = "model.json", "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What a model's directory holds.

    Args:
        facts_path: `model.json`, for messages.
        kind: which class of its task the model is.
        facts: the rest of `model.json`.
        tensors: what was learned.
        files: the task's own files, name -> path.
    """

    facts_path: Path
    kind: str
    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    files: dict[str, Path]


def save_pretrained(
    directory: Path | str,
    format_name: str,
    version: int,
    kind: str,
    facts: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, Content] | None = None,
) -> None:
    """Write a model as a directory that is loadable alone.

    Args:
        directory: its place; what is there is replaced.
        format_name: what the manifest says it is, as `"recurra-forecaster"`.
        version: of that format, from 1.
        kind: which class of its task the model is.
        facts: JSON values; none is named `kind`.
        tensors: what was learned.
        files: the task's own files, name -> the bytes, or a function that writes them.

    Raises:
        CheckpointError: the tensors cannot be saved.
        OSError: the disk refuses; the old directory, if any, or the new one is intact.

    Example:
        >>> import tempfile, torch
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> save_pretrained(place, "recurra-mean", 1, "mean", {"n": 3}, {"mean": torch.ones(2)})
        >>> sorted(path.name for path in place.iterdir())
        ['manifest.json', 'model.json', 'weights.safetensors']
    """
    contents: dict[str, Content] = {
        FACTS: json_bytes({"kind": kind, **facts}),
        **(files or {}),
        WEIGHTS: partial(write_tensors, tensors),
    }
    make_directory(Path(directory).parent)
    seal(Path(directory), contents, format_name, version)


def open_pretrained(
    run: Path | str, format_name: str, version: int, files: Sequence[str] = ()
) -> Pretrained:
    """Return what a finished run's model directory holds, whole and unaltered.

    Args:
        run: a run directory, or the `model` directory in one.
        format_name: what the manifest must say.
        version: of that format.
        files: the task's own files that must be there.

    Raises:
        CheckpointError: there is no model, it is another task's, or it is damaged.

    Example:
        >>> import tempfile, torch
        >>> run = Path(tempfile.mkdtemp())
        >>> learned = {"mean": torch.ones(2)}
        >>> save_pretrained(run / "model", "recurra-mean", 1, "mean", {"n": 3}, learned)
        >>> found = open_pretrained(run, "recurra-mean", 1)
        >>> found.kind, found.facts, found.tensors
        ('mean', {'n': 3}, {'mean': tensor([1., 1.])})
    """
    directory = _directory(Path(run))
    paths = open_sealed(directory, format_name, version)
    for name in (FACTS, *files, WEIGHTS):
        if name not in paths:
            raise CheckpointError(f"{directory} is damaged: its manifest lacks {name}")
    facts = read_json(paths[FACTS])
    kind = facts.pop("kind", None) if isinstance(facts, dict) else None
    if not isinstance(kind, str):
        raise CheckpointError(f"{paths[FACTS]} describes no known kind of model")
    tensors = load_tensors(paths[WEIGHTS])
    extra = {name: path for name, path in paths.items() if name not in (FACTS, WEIGHTS)}
    return Pretrained(paths[FACTS], kind, facts, tensors, extra)


def format_of(run: Path | str) -> str:
    """Return what the model of a run says it is, as `"recurra-forecaster"`; checks nothing else.

    Args:
        run: a run directory, or the `model` directory in one.

    Raises:
        CheckpointError: there is no model.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> save_pretrained(place, "recurra-mean", 1, "mean", {}, {})
        >>> format_of(place)
        'recurra-mean'
    """
    path = _directory(Path(run)) / MANIFEST
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("kind"), str):
        raise CheckpointError(f"{path} is damaged: it does not say what kind of model it is")
    return str(manifest["kind"])


def _directory(run: Path) -> Path:
    """Return where the model of `run` lies."""
    if run.is_file():
        load_tensors(run)  # says what is wrong with a pickle, and how to convert it
        raise CheckpointError(f"{run} is a file of tensors; a model is a directory")
    directory = run / "model" if (run / "model").is_dir() else run
    parts = (directory / name for name in (MANIFEST, FACTS, WEIGHTS))
    if (directory / "config.json").exists() or not any(part.exists() for part in parts):
        place = run if run.name else run.absolute()  # "." says little
        raise CheckpointError(f"{place} holds no model; is the run finished?")
    return directory
