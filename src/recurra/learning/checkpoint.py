"""Checkpoints: the whole state of a training, on disk, found intact or passed over.

A checkpoint of step 1234 is the sealed directory `step-00001234`: `facts.json`, and one
safetensors file for each part of the state. docs/checkpoint-format.md specifies every byte.
"""

from __future__ import annotations

import json
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError
from recurra.learning.options import OPTIMIZERS
from recurra.learning.own.state import decoded, encoded, restore
from recurra.learning.weights import require_finite
from recurra.storage.files import Content, make_directory
from recurra.storage.leftovers import Names, sweep
from recurra.storage.reading import MOST_JSON, read_json
from recurra.storage.sealed import kind_in, remove, seal, sealed_files
from recurra.storage.tensors import load_tensors, write_tensors

__all__ = [
    "NAMES",
    "Checkpoint",
    "Checkpoints",
    "blown_up",
    "pack_optimizer",
    "unpack_optimizer",
]

KIND = "checkpoint"
VERSION = 1
FACTS = "facts.json"
SUFFIX = ".safetensors"
STEP = re.compile(r"step-(\d{8,18})")
NAMES = Names(STEP.pattern, r"facts\.json|[a-z]+\.safetensors")
"""What is written into a directory of checkpoints."""

Tensors = dict[str, Tensor]
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state of a training between two steps.

    Args:
        step: how many steps were taken, from 0.
        tensors: part -> name -> tensor; parts as `"weights"`, `"optimizer"`, `"carry"`.
        facts: what else there is to know, as JSON knows it: string keys, no tuples.

    Example:
        >>> Checkpoint(3, {"weights": {"bias": torch.zeros(1)}}, {"seed": 1}).facts
        {'seed': 1}
    """

    step: int
    tensors: dict[str, Tensors]
    facts: Facts


class Checkpoints:
    """The checkpoints of one run, of which the newest few are kept.

    Args:
        directory: theirs alone; made by the first `save`.
        keep: how many stay, at least 1; from 2 on, a damaged one costs only the steps since.

    Raises:
        ValueError: for `keep` below 1.

    Example:
        >>> import tempfile
        >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()) / "checkpoints")
        >>> checkpoints.save(Checkpoint(3, {"weights": {"bias": torch.ones(1)}}, {})).name
        'step-00000003'
        >>> found, notes = checkpoints.newest()
        >>> found.step, found.tensors["weights"]["bias"], notes
        (3, tensor([1.]), [])
    """

    def __init__(self, directory: Path | str, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"expected at least 1 checkpoint to keep, got {keep}")
        self.directory = Path(directory)
        self.keep = keep

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint durably, drop those beyond `keep`, and return its directory.

        Checkpoints of later steps go too: `newest` had passed them over, and training went on
        from an earlier one.

        Args:
            checkpoint: its tensors are read before this returns, and not copied.

        Raises:
            OSError: when the disk refuses; the checkpoints before are as they were.
            ValueError: for facts that are not JSON, or larger than `newest` reads.

        Example:
            See the class.
        """
        files: dict[str, Content] = {FACTS: _facts_bytes(checkpoint)}
        for part, tensors in checkpoint.tensors.items():
            files[part + SUFFIX] = partial(write_tensors, tensors)
        make_directory(self.directory)
        path = self.directory / f"step-{checkpoint.step:08d}"
        seal(path, files, KIND, VERSION, NAMES.knows)
        saved = self._saved()
        stays = [step for step in saved if step <= checkpoint.step][-self.keep :]
        for step in saved.keys() - stays:
            with suppress(OSError):  # this checkpoint is safe; one too many does no harm
                remove(saved[step], NAMES.knows)
        return path

    def newest(self, most: int | None = None) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest checkpoint that is good, and a line for each thing put right.

        Good is what is intact, and whose numbers have not blown up.

        Clears what interrupted writes left. Without any checkpoint, returns None.

        Args:
            most: bytes that all of a checkpoint may have; what is larger is not read.

        Raises:
            CheckpointError: when there are checkpoints and none is good; names the damage.
            OSError: when a left-over cannot be removed.

        Example:
            See the class.
        """
        swept = sweep(self.directory, NAMES)
        notes = [f"removed {path}, left by an interrupted save" for path in swept]
        damage: list[str] = []
        for path in reversed(self._saved().values()):
            try:
                return _load(path, most), notes + damage
            except CheckpointError as error:
                damage.append(f"passed over {path.name}: {error}")
        if damage:
            raise CheckpointError(
                f"no checkpoint in {self.directory} is intact: {'; '.join(damage)}"
            )
        return None, notes

    def require_ours(self) -> None:
        """Refuse a directory that is someone else's: not empty, and without a checkpoint.

        Raises:
            ConfigError: it is, or is no directory; names the first thing in it.

        Example:
            >>> Checkpoints(Path("nowhere")).require_ours()
        """
        if not os.path.lexists(self.directory):
            return
        if not self.directory.is_dir():
            raise ConfigError(f"{self.directory} is no directory; give another for checkpoints")
        paths = sorted(self.directory.iterdir())
        if any(NAMES.has(path) and kind_in(path) == KIND for path in paths):
            return
        foreign = [path.name for path in paths if not NAMES.left(path)]
        if foreign:
            raise ConfigError(
                f"{self.directory} holds {foreign[0]} and no checkpoint, so it is not a directory "
                "of checkpoints; give another"
            )

    def clear(self) -> None:
        """Remove all checkpoints and what interrupted writes left.

        Raises:
            OSError: when the system refuses.

        Example:
            >>> Checkpoints(Path("nowhere")).clear()
        """
        sweep(self.directory, NAMES)
        for path in self._saved().values():
            remove(path, NAMES.knows)

    def _saved(self) -> dict[int, Path]:
        """Return step -> directory, oldest first."""
        if not self.directory.is_dir():
            return {}
        found = ((STEP.fullmatch(path.name), path) for path in self.directory.iterdir())
        return dict(sorted((int(match[1]), path) for match, path in found if match))


def _facts_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the facts as JSON whose floats, even non-finite ones, read back exactly."""
    facts = {"step": checkpoint.step, "facts": checkpoint.facts}
    data = json.dumps(facts, indent=2).encode() + b"\n"
    if len(data) > MOST_JSON:
        raise ValueError(f"expected facts of at most {MOST_JSON} bytes, got {len(data)}")
    return data


def _load(path: Path, most: int | None) -> Checkpoint:
    sealed = sealed_files(path, KIND, VERSION)
    if most is not None and (size := sum(file.size for file in sealed.values())) > most:
        raise CheckpointError(f"{path} has {size:,} bytes, over the {most:,} of such a training")
    files = {name: file.verified() for name, file in sealed.items()}
    document = read_json(files.pop(FACTS, path / FACTS), finite=False)
    match document:
        case {"step": int(step), "facts": dict(facts)} if (
            len(document) == 2 and f"step-{step:08d}" == path.name
        ):
            parts = {name.removesuffix(SUFFIX): load_tensors(file) for name, file in files.items()}
            found = Checkpoint(step, parts, facts)
            if (where := blown_up(found)) is not None:
                raise CheckpointError(f"{path.name}/{where}")
            return found
    raise CheckpointError(f"{path / FACTS} is damaged: expected step and facts")


def blown_up(checkpoint: Checkpoint) -> str | None:
    """Return in words which of a training's numbers is not finite; None where all of them are.

    Of a carried state, which may hold infinities, no number is to be NaN.

    Args:
        checkpoint: the training.

    Example:
        >>> blown_up(Checkpoint(3, {"weights": {"bias": torch.tensor([1.0, math.inf])}}, {}))
        'weights: bias[1] is inf: every number must be finite'
    """
    for part, tensors in checkpoint.tensors.items():
        held = {name: _nan_alone(tensor) if part == "carry" else tensor
                for name, tensor in tensors.items()}  # fmt: skip
        try:
            require_finite(held)
        except CheckpointError as error:
            return f"{part}: {error}"
    return None


def _nan_alone(tensor: Tensor) -> Tensor:
    """Return a tensor in which nothing is infinite."""
    return tensor.nan_to_num(math.nan, 0.0, 0.0) if tensor.is_floating_point() else tensor


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[Tensors, Facts]:
    """Return an optimizer's state as tensors, and as facts for JSON, for `unpack_optimizer`.

    Args:
        optimizer: its tensors are returned as they are, not copied; of one that has no name here,
            everything that its `state_dict` says is kept.

    Raises:
        CheckpointError: that says something which cannot be kept; names it.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> adam = torch.optim.Adam([weight])
        >>> weight.sum().backward()
        >>> adam.step()
        >>> tensors, facts = pack_optimizer(adam)
        >>> sorted(tensors), facts["groups"][0]["betas"]
        (['0.exp_avg', '0.exp_avg_sq', '0.step'], [0.9, 0.999])
    """
    state = optimizer.state_dict()
    tensors: Tensors = {}
    numbers: Facts = {}
    kind = type(optimizer).__name__
    if not _has_name(optimizer):
        tree = encoded(state, tensors, f"the optimizer {kind}: its")
        return tensors, {"kind": kind, "numbers": {}, "groups": [], "tree": tree}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                numbers[f"{index}.{name}"] = value
    groups = [_as_json(group) for group in state["param_groups"]]
    return tensors, {"kind": kind, "numbers": numbers, "groups": groups}


def _has_name(optimizer: torch.optim.Optimizer) -> bool:
    return any(type(optimizer) is OPTIMIZERS[name] for name in OPTIMIZERS)


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors, facts: Facts) -> None:
    """Give an optimizer the state and the hyper-parameters that `pack_optimizer` returned.

    Args:
        optimizer: of the same class, over parameters of the same shapes in the same order.
        tensors: copied, so that they stay as they are.
        facts: read back from JSON or not.

    Raises:
        CheckpointError: when they do not fit; the optimizer is then as it was.

    Example:
        >>> first, second = (torch.optim.SGD([torch.nn.Parameter(torch.ones(2))]) for _ in "ab")
        >>> first.param_groups[0]["lr"] = 0.25
        >>> unpack_optimizer(second, *pack_optimizer(first))
        >>> second.param_groups[0]["lr"]
        0.25
    """
    if not _has_name(optimizer):
        _unpack_own(optimizer, tensors, facts)
        return
    _check_fit(optimizer, tensors, facts)
    current = optimizer.state_dict()["param_groups"]
    state: dict[int, dict[str, Any]] = {}
    copies = {key: tensor.clone() for key, tensor in tensors.items()}
    for key, value in {**copies, **facts["numbers"]}.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    groups = [_like(group, was) for group, was in zip(facts["groups"], current)]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _unpack_own(optimizer: torch.optim.Optimizer, tensors: Tensors, facts: Facts) -> None:
    _check_kind(optimizer, facts)
    state = decoded(facts.get("tree"), tensors)
    try:
        restore(optimizer, state)
    except CheckpointError:
        raise
    except Exception as error:  # the class is someone's own, and so may be what it reads
        said = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"optimizer: the state does not fit: {said:.200}") from error


def _check_kind(optimizer: torch.optim.Optimizer, facts: Facts) -> None:
    kind = type(optimizer).__name__
    if (found := facts.get("kind")) != kind:
        raise CheckpointError(f"optimizer: expected the state of {kind}, found {found!r:.80}")


def _as_json(group: Facts) -> Facts:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in group.items()}


def _like(group: Facts, current: Facts) -> Facts:
    """Make tuples again of the lists that were tuples before JSON."""
    return {
        key: tuple(value) if isinstance(current.get(key), tuple) else value
        for key, value in group.items()
    }


def _check_fit(optimizer: torch.optim.Optimizer, tensors: Tensors, facts: Facts) -> None:
    """Raise unless the state is of this class of optimizer and of its parameters' shapes."""
    _check_kind(optimizer, facts)
    expected = [group["params"] for group in optimizer.state_dict()["param_groups"]]
    held = [group.get("params") for group in facts["groups"]]
    if held != expected:
        raise CheckpointError(f"optimizer: expected parameters {expected}, found {held!r:.400}")
    for group, now in zip(facts["groups"], optimizer.state_dict()["param_groups"]):
        odd = [name for name in {**group, **now} if _sort(group, name) != _sort(now, name)]
        if odd:
            raise CheckpointError(f"optimizer: {odd[0]:.80} is {group.get(odd[0])!r:.80}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key in (*tensors, *facts["numbers"]):
        index = key.partition(".")[0]
        if not ("." in key and index.isdecimal() and int(index) < len(parameters)):
            raise CheckpointError(
                f"optimizer: expected state of {len(parameters)} parameters, found {key!r:.80}"
            )
    for key, tensor in tensors.items():
        shape = parameters[int(key.partition(".")[0])].shape
        if tensor.dim() and tensor.shape != shape:
            raise CheckpointError(
                f"optimizer: {key} expected shape {tuple(shape)}, found {tuple(tensor.shape)}"
            )
    keys = {*tensors, *facts["numbers"]}
    indices, names = zip(*(key.split(".", 1) for key in keys)) if keys else ((), ())
    lacking = {f"{index}.{name}" for index in indices for name in names} - keys
    if lacking:
        raise CheckpointError(f"optimizer: {min(lacking)!r:.80} is missing")


def _sort(group: Facts, name: str) -> str:
    """Return what sort of value a hyper-parameter has: a whole number may stand for any."""
    value = group.get(name, ...)
    kind = type(value).__name__
    return {"int": "number", "float": "number", "tuple": "list"}.get(kind, kind)
