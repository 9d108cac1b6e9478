"""A finished model as a directory that is loadable alone, whatever the task.

It is a sealed directory of `model.json` (the model's kind and facts), `weights.safetensors` (what
it has learned) and files of the task's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from recurra.errors import CheckpointError
from recurra.storage.files import Content, json_bytes, make_directory
from recurra.storage.format import Format
from recurra.storage.outputs import require_model
from recurra.storage.reading import SETTING, most_bytes, read_json
from recurra.storage.sealed import MANIFEST, SealedFile, kind_in, seal, sealed_files
from recurra.storage.tensors import load_tensors, tensor_layout, write_tensors

__all__ = ["CONFIG", "Pretrained", "config_in", "format_of", "open_pretrained", "save_pretrained"]

FACTS, WEIGHTS = "model.json", "weights.safetensors"
CONFIG = "learned.json"
"""The settings of a run, in a model that lies in none."""

MOST_FILE = 64 * 2**20
"""Bytes of each of the task's own files, as a vocabulary; `RECURRA_MOST_MB` raises it."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What a model's directory holds; its weights are not read before they are asked for.

    Args:
        facts_path: `model.json`, for messages; the path of a single file.
        version: of its format; 0 of a single file.
        kind: which class of its task the model is; none of a single file.
        facts: the rest of `model.json`.
        layout: what was learned, as the file's header tells it: on the meta device.
        files: the task's own files, name -> path.
        weights: the file of what was learned; none of a single file.
    """

    facts_path: Path
    version: int
    kind: str
    facts: dict[str, Any]
    layout: dict[str, Tensor]
    files: dict[str, Path]
    weights: SealedFile | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Read what was learned, once its layout is seen to be what the facts promise.

        Raises:
            CheckpointError: the file is not what was sealed.
        """
        return {} if self.weights is None else load_tensors(self.weights.verified())


def save_pretrained(
    directory: Path | str,
    form: Format,
    kind: str,
    facts: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, Content] | None = None,
    version: int | None = None,
) -> None:
    """Write a model as a directory that is loadable alone.

    Args:
        directory: its place: free, an empty folder, or a model, which is replaced; where that is
            a link, what it leads to.
        form: what it is.
        kind: which class of its task the model is.
        facts: JSON values; none is named `kind`.
        tensors: what was learned.
        files: the task's own files, name -> the bytes, or a function that writes them.
        version: of the format; its first.

    Raises:
        ConfigError: something else is there, and what.
        CheckpointError: the tensors cannot be saved.
        OSError: the disk refuses; the old directory, if any, or the new one is intact.

    Example:
        >>> import tempfile, torch
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> learned = {"mean": torch.ones(2)}
        >>> save_pretrained(place, Format("recurra-mean"), "mean", {"n": 3}, learned)
        >>> sorted(path.name for path in place.iterdir())
        ['manifest.json', 'model.json', 'weights.safetensors']
    """
    contents: dict[str, Content] = {
        FACTS: json_bytes({"kind": kind, **facts}),
        **(files or {}),
        WEIGHTS: partial(write_tensors, tensors),
    }
    place = require_model(Path(directory))
    make_directory(place.parent)
    seal(place, contents, form.name, version or form.versions[0])


def open_pretrained(run: Path | str, form: Format) -> Pretrained:
    """Return what a finished run's model holds, whole and unaltered: the one way to read a model.

    Read are the manifest, `model.json`, the files that the format names and the header of the
    weights, and nothing else: sizes come first, then what is small; the weights are hashed and
    read by `tensors()`, after their layout was compared. A single file of another tool is not
    opened, only named.

    Args:
        run: a run directory, the `model` directory in one, or a single file.
        form: what it must be.

    Raises:
        CheckpointError: there is no model, it is another task's, or it is damaged.

    Example:
        >>> import tempfile, torch
        >>> run = Path(tempfile.mkdtemp())
        >>> learned = {"mean": torch.ones(2)}
        >>> mean = Format("recurra-mean")
        >>> save_pretrained(run / "model", mean, "mean", {"n": 3}, learned)
        >>> found = open_pretrained(run, mean)
        >>> found.kind, found.facts, found.tensors()
        ('mean', {'n': 3}, {'mean': tensor([1., 1.])})
    """
    place = Path(run)
    if form.is_single(place):
        return Pretrained(place, 0, "", {}, {}, {})
    directory = _directory(place)
    said = _manifest(directory).get("version")
    version = next((known for known in form.versions if known == said), form.versions[0])
    sealed = sealed_files(directory, form.name, version)
    for name in (FACTS, *form.files, WEIGHTS):
        if name not in sealed:
            raise CheckpointError(f"{directory} is damaged: its manifest lacks {name}")
    for name in (FACTS, *form.files):
        if (size := sealed[name].size) > (most := most_bytes(MOST_FILE)):
            raise CheckpointError(
                f"{sealed[name].path} has {size:,} bytes, over {most:,}: if you trust it, set "
                f"{SETTING}={-(-size // 1_000_000)}"
            )
    path = sealed[FACTS].verified()
    facts = read_json(path)
    kind = facts.pop("kind", None) if isinstance(facts, dict) else None
    if not isinstance(kind, str):
        raise CheckpointError(f"{path} describes no known kind of model")
    files = {name: sealed[name].verified() for name in form.files}
    weights = sealed[WEIGHTS]
    return Pretrained(path, version, kind, facts, _layout(weights), files, weights)


def _layout(weights: SealedFile) -> dict[str, Tensor]:
    """Return what the header says; of a file that was altered, that it was."""
    try:
        return tensor_layout(weights.path)
    except CheckpointError:
        if weights.size <= MOST_FILE:
            weights.verified()
        raise


def format_of(run: Path | str) -> str:
    """Return what the model of a run says it is, as `"recurra-forecaster"`; checks nothing else.

    Args:
        run: a run directory, or the `model` directory in one.

    Raises:
        CheckpointError: there is no model.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> save_pretrained(place, Format("recurra-mean"), "mean", {}, {})
        >>> format_of(place)
        'recurra-mean'
    """
    directory = _directory(Path(run))
    kind = _manifest(directory).get("kind")
    if not isinstance(kind, str):
        path = directory / MANIFEST
        raise CheckpointError(f"{path} is damaged: it does not say what kind of model it is")
    return kind


def config_in(directory: Path) -> Any:
    """Return the settings that a model's directory keeps of what it learned from; None if none.

    Args:
        directory: anything.

    Raises:
        CheckpointError: they are not what was sealed.

    Example:
        >>> config_in(Path("nowhere")) is None
        True
    """
    if kind_in(directory) is None:
        return None
    manifest = _manifest(directory)
    kept = sealed_files(directory, manifest["kind"], manifest["version"]).get(CONFIG)
    return None if kept is None else read_json(kept.verified())


def _manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest, unchecked; nothing where it is no object."""
    manifest = read_json(directory / MANIFEST)
    return manifest if isinstance(manifest, dict) else {}


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
