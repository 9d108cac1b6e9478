"""Checkpoints: what is saved is what is found, to the bit, and optimizers go on from there."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import CheckpointError
from recurra.learning import checkpoint as module
from recurra.learning.checkpoint import (
    Checkpoint,
    Checkpoints,
    blown_up,
    pack_optimizer,
    unpack_optimizer,
)
from recurra.storage.reading import MOST_JSON


def make(step: int, **facts: Any) -> Checkpoint:
    stream = torch.Generator().manual_seed(step)
    weights = {"weight": torch.randn(3, 4, generator=stream), "count": torch.tensor(step)}
    carry = {"0.h": torch.randn(2, 3, generator=stream).bfloat16(), "mask": torch.tensor([True])}
    return Checkpoint(step, {"weights": weights, "carry": carry, "optimizer": {}}, facts)


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return (
        one.step == other.step
        and repr(one.facts) == repr(other.facts)
        and one.tensors.keys() == other.tensors.keys()
        and all(equal(one.tensors[part], other.tensors[part]) for part in one.tensors)
    )


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def steps(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.directory.iterdir())


def found(checkpoints: Checkpoints) -> Checkpoint:
    checkpoint, notes = checkpoints.newest()
    assert checkpoint is not None
    assert notes == []
    return checkpoint


def test_what_is_saved_is_found(tmp_path: Path) -> None:
    facts = {
        "seed": 1,
        "fraction": 0.1 + 0.2,
        "tiny": 5e-324,
        "best": math.inf,
        "worst": math.nan,
        "none": None,
        "text": "naïve \ud800 日本",
        "nested": {"list": [1, 2.5, "x", {"y": []}]},
    }
    checkpoint = make(7, **facts)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    path = checkpoints.save(checkpoint)
    assert path == tmp_path / "run" / "checkpoints" / "step-00000007"
    assert sorted(file.name for file in path.iterdir()) == [
        "carry.safetensors",
        "facts.json",
        "manifest.json",
        "optimizer.safetensors",
        "weights.safetensors",
    ]
    assert same(found(checkpoints), checkpoint)
    assert same(found(Checkpoints(tmp_path / "run" / "checkpoints")), checkpoint)


def test_facts_are_to_the_byte_what_their_specification_says(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path).save(make(1234, seed=1)) / "facts.json"
    assert json.loads(path.read_text()) == {"step": 1234, "facts": {"seed": 1}}
    assert path.read_text().endswith("}\n")


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 5, 99_999_999, 100_000_000, 100_000_001):
        checkpoints.save(make(step))
    assert steps(checkpoints) == ["step-100000000", "step-100000001", "step-99999999"]
    assert found(checkpoints).step == 100_000_001
    Checkpoints(tmp_path, keep=1).save(make(100_000_002))
    assert steps(checkpoints) == ["step-100000002"]
    with pytest.raises(ValueError, match="at least 1"):
        Checkpoints(tmp_path, keep=0)


def test_a_step_can_be_saved_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(make(3, seed=1))
    checkpoints.save(make(3, seed=2))
    assert found(checkpoints).facts == {"seed": 2}
    assert steps(checkpoints) == ["step-00000003"]


def test_later_ones_that_were_passed_over_go_with_the_next_save(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (100, 200, 300):
        checkpoints.save(make(step))
    (tmp_path / "step-00000300" / "facts.json").write_text("{}")
    checkpoint, notes = checkpoints.newest()
    assert checkpoint is not None
    assert checkpoint.step == 200
    assert len(notes) == 1
    assert re.match(
        r"passed over step-00000300: .*facts.json: expected \d+ bytes, found 2", notes[0]
    )
    checkpoints.save(make(250))
    assert steps(checkpoints) == ["step-00000200", "step-00000250"]


def test_without_checkpoints_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nowhere").newest() == (None, [])
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "step-1").mkdir()
    assert Checkpoints(tmp_path).newest() == (None, [])


def test_where_none_is_intact_it_says_what_is_wrong_with_each(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(make(step))
    (tmp_path / "step-00000001" / "manifest.json").unlink()
    (tmp_path / "step-00000002" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        checkpoints.newest()
    message = str(caught.value)
    assert message.startswith(f"no checkpoint in {tmp_path} is intact: passed over step-00000002: ")
    assert "weights.safetensors: expected" in message
    assert "step-00000001/manifest.json is missing" in message
    assert "\n" not in message


def test_left_overs_are_removed_with_a_line_each(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(make(1))
    (tmp_path / "step-00000002.tmp-0123abcd").mkdir()
    checkpoint, notes = checkpoints.newest()
    assert checkpoint is not None
    assert notes == [f"removed {tmp_path}/step-00000002.tmp-0123abcd, left by an interrupted save"]
    assert steps(checkpoints) == ["step-00000001"]


def test_clear_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(make(1))
    (tmp_path / "step-00000002.tmp-0123abcd").mkdir()
    (tmp_path / "notes.txt").touch()
    checkpoints.clear()
    assert steps(checkpoints) == ["notes.txt"]


def test_a_checkpoint_that_could_not_be_read_back_is_not_saved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(make(1))
    with pytest.raises(ValueError, match="facts of at most 1048576 bytes"):
        checkpoints.save(make(2, text="x" * MOST_JSON))
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoints.save(make(2, tensor=torch.ones(1)))
    with pytest.raises(ValueError, match="cannot name a file"):
        checkpoints.save(Checkpoint(2, {"../weights": {}}, {}))
    with pytest.raises(TypeError, match="complex64"):
        checkpoints.save(Checkpoint(2, {"weights": {"x": torch.ones(1) * 1j}}, {}))
    assert steps(checkpoints) == ["step-00000001"]


@pytest.mark.parametrize(
    "facts", [b"[]", b"{}", b'{"step": "1", "facts": {}}', b'{"step": 1, "facts": [], "x": 1}']
)
def test_facts_of_another_form_are_refused(
    tmp_path: Path, facts: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_facts_bytes", lambda _: facts)
    Checkpoints(tmp_path).save(make(1))
    with pytest.raises(CheckpointError, match=r"facts\.json is damaged: expected step and facts"):
        Checkpoints(tmp_path).newest()


def test_twenty_megabytes_are_saved_in_a_tenth_of_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what remains is our own time
    weights = {f"weight_{n}": torch.randn(1000, 1000) for n in range(5)}
    checkpoints = Checkpoints(tmp_path)
    seconds = []
    for step in range(5):
        begun = time.process_time()
        checkpoints.save(Checkpoint(step, {"weights": weights}, {}))
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.1


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.1, t0=2),
}


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 5), nn.Linear(5, 2))


def groups(module: nn.Module) -> list[dict[str, Any]]:
    parts = list(module.children())
    others = [parameter for part in parts[1:] for parameter in part.parameters()]
    return [{"params": list(parts[0].parameters()), "lr": 0.03}, {"params": others}]


def advance(module: nn.Module, optimizer: torch.optim.Optimizer, begin: int, end: int) -> None:
    for step in range(begin, end):
        stream = torch.Generator().manual_seed(step)
        ids = torch.randint(7, (6,), generator=stream)
        optimizer.zero_grad()
        module(ids).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_optimizer_takes_the_very_same_steps(tmp_path: Path, name: str) -> None:
    whole, first = network(), network()
    uninterrupted = OPTIMIZERS[name](groups(whole))
    advance(whole, uninterrupted, 0, 9)

    optimizer = OPTIMIZERS[name](groups(first))
    advance(first, optimizer, 0, 4)
    tensors, facts = pack_optimizer(optimizer)
    parts = {"weights": first.state_dict(), "optimizer": tensors}
    Checkpoints(tmp_path).save(Checkpoint(4, parts, {"optimizer": facts}))

    second = network()
    loaded = found(Checkpoints(tmp_path))
    second.load_state_dict(loaded.tensors["weights"])
    resumed = OPTIMIZERS[name](groups(second))
    unpack_optimizer(resumed, loaded.tensors["optimizer"], loaded.facts["optimizer"])
    assert alike(resumed.state_dict(), optimizer.state_dict())
    advance(second, resumed, 4, 9)
    assert equal(second.state_dict(), whole.state_dict())
    assert alike(resumed.state_dict(), uninterrupted.state_dict())


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(map(alike, one, other))
    return type(one) is type(other) and one == other


def test_hyper_parameters_come_back(tmp_path: Path) -> None:
    optimizer = OPTIMIZERS["adam"](groups(network()))
    optimizer.param_groups[1]["lr"] = 1 / 3
    tensors, facts = pack_optimizer(optimizer)
    assert tensors == {}
    plain = torch.optim.Adam(groups(network()))
    unpack_optimizer(plain, tensors, json.loads(json.dumps(facts)))
    assert alike(plain.state_dict(), optimizer.state_dict())
    assert plain.param_groups[1]["lr"] == 1 / 3
    assert plain.param_groups[1]["betas"] == (0.8, 0.99)


def test_what_is_unpacked_stays_as_it_is() -> None:
    module = network()
    optimizer = OPTIMIZERS["adam"](groups(module))
    advance(module, optimizer, 0, 2)
    tensors, facts = deepcopy(pack_optimizer(optimizer))
    before = deepcopy(tensors)
    other = network()
    resumed = OPTIMIZERS["adam"](groups(other))
    unpack_optimizer(resumed, tensors, facts)
    advance(other, resumed, 2, 4)
    assert equal(tensors, before)


def test_a_state_that_does_not_fit_is_refused_and_nothing_is_half_loaded() -> None:
    module = network()
    optimizer = OPTIMIZERS["adam"](groups(module))
    advance(module, optimizer, 0, 2)
    tensors, facts = pack_optimizer(optimizer)
    target = OPTIMIZERS["adam"](groups(network()))
    before = deepcopy(target.state_dict())
    cases: list[tuple[str, torch.optim.Optimizer, dict[str, Tensor], dict[str, Any]]] = [
        (
            "expected the state of SGD, found 'Adam'",
            OPTIMIZERS["sgd"](groups(network())),
            {},
            facts,
        ),
        (r"expected parameters \[\[0", torch.optim.Adam(network().parameters()), tensors, facts),
        ("state of 5 parameters, found '5.x'", target, tensors | {"5.x": torch.ones(1)}, facts),
        ("state of 5 parameters, found 'x'", target, tensors | {"x": torch.ones(1)}, facts),
        (
            r"1.exp_avg expected shape \(5, 4\), found \(4, 5\)",
            target,
            tensors | {"1.exp_avg": torch.ones(4, 5)},
            facts,
        ),
        ("expected the state of Adam, found None", target, tensors, {}),
    ]
    for message, receiver, held, told in cases:
        with pytest.raises(CheckpointError, match=message):
            unpack_optimizer(receiver, held, told)
    assert alike(target.state_dict(), before)


@pytest.mark.parametrize(("part", "value"), [
    ("weights", math.nan), ("weights", math.inf), ("optimizer", -math.inf), ("average", math.nan),
    ("best", math.inf), ("carry", math.nan),
])  # fmt: skip
def test_a_newest_checkpoint_that_has_blown_up_is_passed_over(
    tmp_path: Path, part: str, value: float
) -> None:
    checkpoints = Checkpoints(tmp_path)
    good = {"weights": {"w": torch.ones(2, 3)}, part: {"w": torch.ones(2, 3)}}
    checkpoints.save(Checkpoint(1, good, {}))
    bad = torch.ones(2, 3)
    bad[1, 0] = value
    checkpoints.save(Checkpoint(2, {"weights": {"w": torch.ones(2, 3)}, part: {"w": bad}}, {}))
    found, notes = checkpoints.newest()
    assert found is not None and found.step == 1
    assert notes[0].startswith(f"passed over step-00000002: step-00000002/{part}: w[1, 0] is ")


def test_an_infinity_that_a_cell_carries_is_no_fault() -> None:
    carried = {"carry": {"m": torch.tensor([-math.inf])}, "weights": {"ids": torch.tensor([1])}}
    assert blown_up(Checkpoint(1, carried, {})) is None


def test_where_every_checkpoint_has_blown_up_it_says_so(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Checkpoint(1, {"weights": {"w": torch.tensor(math.nan)}}, {}))
    with pytest.raises(CheckpointError, match=r"passed over step-00000001: .*/weights: w is nan"):
        checkpoints.newest()
