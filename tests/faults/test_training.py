"""Training gone wrong, and whether anyone would notice if resuming were broken.

The oracle of resuming is the hash of all that training determines, against that of a run which
nothing disturbed. Here parts of resuming are broken on purpose, one by one: the oracle must see
each.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.cli import main
from recurra.language.entry import LanguageRun
from recurra.language.options import NetworkOptions, TextOptions
from recurra.language.task import LanguageTask, _Learner
from recurra.learning import loop
from recurra.learning.checkpoint import Checkpoints
from recurra.learning.event import Saved, Started, Stepped, Validated, Warned
from recurra.learning.loop import Training
from recurra.learning.options import TrainOptions
from recurra.run.directory import MetricLog
from recurra.run.session import train
from recurra.storage.files import sha256
from recurra.storage.sealed import SealedFile

pytestmark = pytest.mark.usefixtures("knows_grammar")

CONFIG = LanguageRun(
    preset="mine",
    threads=1,
    data=TextOptions(corpus="grammar", chunk_length=15),
    network=NetworkOptions(hidden_size=8, dropout=0.4),
    train=TrainOptions(
        steps=14,
        batch_size=400,  # 9 steps an epoch
        optimizer="adam",
        learning_rate=0.03,
        schedule="linear",
        validate_epochs=0.25,
        keep="best",
        save_seconds=0,
    ),
)
PER_EPOCH = 9


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing here is about power losses, so no disk is waited for; one thread."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def learned(run: Path) -> dict[str, str]:
    newest = sorted((run / "checkpoints").iterdir())[-1]
    files = [*newest.glob("*.safetensors"), *(run / "model").iterdir(), run / "metrics.jsonl"]
    return {path.relative_to(run).as_posix(): sha256(path) for path in files}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, encoded: Path) -> dict[str, str]:
    """What an undisturbed run has learned."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECURRA_CACHE", str(encoded))
        patch.setattr(os, "fsync", lambda _: None)
        list(train(CONFIG, out=folder / "run"))
    return learned(folder / "run")


def cut(run: Path, step: int) -> None:
    """Train and vanish, as if killed, once the checkpoint of `step` is written."""
    events = train(CONFIG, out=run)
    for event in events:
        if isinstance(event, Saved) and event.step == step:
            break
    events.close()


def cut_and_resumed(run: Path, between: Callable[[], None] = lambda: None) -> dict[str, str]:
    """Return what a run has learned that was cut twice, in its first and its second epoch."""
    cut(run, 4)
    between()
    cut(run, 11)
    between()
    list(train(CONFIG, out=run))
    return learned(run)


def test_cut_twice_and_resumed_it_has_learned_the_same(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    assert cut_and_resumed(tmp_path / "run") == expected


# Mutations, every one of which the oracle must see


def keep_all_but(part: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Let resuming leave one part of the training as a fresh one has it."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = Training.resume

        def resume(self: Training, checkpoints: Checkpoints) -> list[str]:
            fresh = getattr(self, part)
            notes = original(self, checkpoints)
            setattr(self, part, fresh)
            return notes

        patch.setattr(Training, "resume", resume)

    return mutate


def position_one_off(patch: pytest.MonkeyPatch) -> None:
    original = Training.resume

    def resume(self: Training, checkpoints: Checkpoints) -> list[str]:
        notes = original(self, checkpoints)
        self.step += self.step > 0
        return notes

    patch.setattr(Training, "resume", resume)


def carry_half_restored(patch: pytest.MonkeyPatch) -> None:
    original = _Learner.unpack

    def unpack(self: _Learner, tensors: dict[str, Tensor]) -> Any:
        lower, upper = original(self, tensors)
        return lower, upper._replace(c=torch.zeros_like(upper.c))

    patch.setattr(_Learner, "unpack", unpack)


def optimizer_not_restored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loop, "unpack_optimizer", lambda *_: None)


def masks_from_a_stream_that_runs_on(patch: pytest.MonkeyPatch) -> None:
    streams: dict[object, torch.Generator] = {}

    def generator(seed: int, purpose: str, epoch: int, step: int, device: Any) -> torch.Generator:
        # One stream for each training, as a generator that is seeded once at its start.
        return streams.setdefault((seed, len(resumed)), torch.Generator().manual_seed(seed))

    resumed: list[int] = []
    original = Training.resume

    def resume(self: Training, checkpoints: Checkpoints) -> list[str]:
        resumed.append(1)
        return original(self, checkpoints)

    patch.setattr(Training, "resume", resume)
    patch.setattr(loop, "generator", generator)


def masks_that_know_no_epoch(patch: pytest.MonkeyPatch) -> None:
    original = loop.generator
    patch.setattr(
        loop, "generator", lambda seed, purpose, epoch, *rest: original(seed, purpose, 0, *rest)
    )


def masks_that_know_no_step(patch: pytest.MonkeyPatch) -> None:
    original = loop.generator
    patch.setattr(
        loop,
        "generator",
        lambda seed, purpose, epoch, step, device: original(seed, purpose, epoch, 0, device),
    )


MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "position not restored": keep_all_but("step"),
    "position one off": position_one_off,
    "carry not restored": keep_all_but("carry"),
    "carry half restored": carry_half_restored,
    "optimizer not restored": optimizer_not_restored,
    "masks from a stream that runs on": masks_from_a_stream_that_runs_on,
    "masks that know no epoch": masks_that_know_no_epoch,
    "masks that know no step": masks_that_know_no_step,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_oracle_sees_a_broken_resume(
    tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    assert cut_and_resumed(tmp_path / "run") != expected


@pytest.mark.parametrize("part", ["best", "best_loss"])
def test_the_oracle_sees_the_best_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """With a validation that only gets worse, so that the best is behind at every cut."""

    def validate(self: _Learner) -> dict[str, float | int | None]:
        return {"loss": float(self.network.embedding.detach().norm())}

    monkeypatch.setattr(_Learner, "validate", validate)
    events = list(train(CONFIG, out=tmp_path / "whole"))
    assert [e.best for e in events if isinstance(e, Validated)] == [True, *[False] * 6]
    whole = learned(tmp_path / "whole")
    assert cut_and_resumed(tmp_path / "parts") == whole
    keep_all_but(part)(monkeypatch)
    assert cut_and_resumed(tmp_path / "run") != whole


def test_the_oracle_sees_a_log_that_is_not_rewound(
    tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_ahead() -> None:  # what a kill between a step and its checkpoint leaves
        with (tmp_path / "run" / "metrics.jsonl").open("ab") as log:
            log.write(b'{"step": 12, "epoch": 1.3, "loss": 1.0}\n')

    assert cut_and_resumed(tmp_path / "run", run_ahead) == expected
    (tmp_path / "run").rename(tmp_path / "first")
    monkeypatch.setattr(MetricLog, "rewind", lambda self, step, unjudged: [])
    assert cut_and_resumed(tmp_path / "run", run_ahead) != expected


def test_the_oracle_sees_a_manifest_that_no_one_checks(
    tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def damage() -> None:
        newest = sorted((run / "checkpoints").iterdir())[-1]
        content = bytearray((newest / "weights.safetensors").read_bytes())
        content[-2] ^= 4  # of a weight, which stays finite
        (newest / "weights.safetensors").write_bytes(content)

    assert cut_and_resumed(run, damage) == expected
    run.rename(tmp_path / "first")

    monkeypatch.setattr(SealedFile, "verified", lambda file: file.path)
    assert cut_and_resumed(run, damage) != expected


def test_weights_that_are_not_restored_do_not_even_start_the_same(
    tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "load_weights", lambda model, weights: None)
    assert cut_and_resumed(tmp_path / "run") != expected


def test_another_batch_order_would_be_seen(
    tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = _Learner.batch
    monkeypatch.setattr(
        _Learner,
        "batch",
        lambda self, epoch, step: original(self, epoch, PER_EPOCH - 1 - step if epoch else step),
    )
    assert cut_and_resumed(tmp_path / "run") != expected


# What the command line tells


WORDS = [
    *("train", "docstrings", "--data", "grammar", "--out", "run", "--threads", "1"),
    *("--set", "data.chunk_length=15", "--set", "data.vocabulary_size=none"),
    *("--set", "network.hidden_size=8", "--set", "train.batch_size=400"),
    *("--set", "train.steps=14", "--set", "train.save_seconds=0"),
]


@pytest.fixture
def ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """A function of the words after `recurra`: the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return command


Ask = Callable[..., tuple[int, str, str]]


def spoil(monkeypatch: pytest.MonkeyPatch, how: Callable[[int, Tensor], Tensor]) -> None:
    """Let `how` see each step's number, from 1, and change its loss."""
    original, count = _Learner.loss, iter(range(1, 1000))

    def loss(self: _Learner, *given: Any) -> Any:
        value, carry, items = original(self, *given)
        return how(next(count), value), carry, items

    monkeypatch.setattr(_Learner, "loss", loss)


def test_numbers_that_are_not_finite_end_the_run_with_one_line(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        spoil(patch, lambda step, loss: loss * math.nan if step in (3, 7, 8, 9) else loss)
        code, out, err = ask(*WORDS)
    assert code == 1
    assert err.startswith("recurra: 3 steps in a row were not finite (step 9: loss nan, gradient")
    assert "Lower train.learning_rate or train.clip_norm" in err
    assert err.count("\n") == 1
    assert out.count("update skipped") == 3
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["step-00000005", "step-00000006"]
    logged = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in logged] == [1, 2, 4, 5, 6]
    code, out, _ = ask(*WORDS)  # the cause is gone
    assert code == 0
    assert "going on after step 6" in out


def test_memory_that_runs_out_while_training_names_the_setting_that_helps(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(step: int, loss: Tensor) -> Tensor:
        if step == 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return loss

    with monkeypatch.context() as patch:
        spoil(patch, fail)
        code, _, err = ask(*WORDS)
    assert (code, err) == (
        5,
        "recurra: out of memory; a smaller batch helps: --set train.batch_size=N\n",
    )
    code, out, _ = ask(*WORDS)
    assert code == 0
    assert "going on after step 3" in out


def test_memory_that_is_short_while_validating_changes_no_number(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = ask(*WORDS, "--json")
    assert code == 0
    (tmp_path / "run").rename(tmp_path / "first")
    original = torch.nn.functional.linear

    def linear(x: Tensor, weight: Tensor, *rest: Tensor) -> Tensor:
        if not torch.is_grad_enabled() and len(weight) == 141 and len(x) > 100:
            raise MemoryError
        return original(x, weight, *rest)

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    code, short, _ = ask(*WORDS, "--json")
    assert code == 0
    expected, found = json.loads(out), json.loads(short)
    for split in ("valid", "test"):
        assert found[split] == pytest.approx(expected[split], rel=1e-6)


def test_a_perplexity_that_overflows_is_text_and_null(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = _Learner.loss

    def loss(self: _Learner, *given: Any) -> Any:
        value, carry, items = original(self, *given)
        with torch.no_grad():
            self.network.head.bias[3] = 5000.0
        return value, carry, items

    monkeypatch.setattr(_Learner, "loss", loss)
    words = [*WORDS, "--set", "train.learning_rate=1e-6"]
    code, out, err = ask(*words, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["test"]["perplexity"] is None
    assert 1000 < report["test"]["nats_per_token"] < 6000
    assert "worse than kn5" in report["verdict"]
    code, out, _ = ask(*words)
    assert code == 0
    assert "overflow" in out
    assert "inf" not in out.replace("information", "")


def test_a_checkpoint_that_no_longer_fits_its_config_is_a_bad_file(
    ask: Ask, tmp_path: Path
) -> None:
    events = train(CONFIG, out=tmp_path / "other")
    for event in events:
        if isinstance(event, Saved):
            break
    events.close()
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    config["network"]["hidden_size"] = 9
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    wider = CONFIG.model_copy(
        update={"network": CONFIG.network.model_copy(update={"hidden_size": 9})}
    )
    with pytest.raises(Exception, match=r"weights do not fit the model: embedding is \(141, 8\)"):
        list(train(wider, out=tmp_path / "other"))


def test_a_damaged_checkpoint_is_passed_over_with_a_line_that_names_the_file(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    run = tmp_path / "run"
    cut(run, 5)
    file = run / "checkpoints" / "step-00000005" / "carry.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    events = list(train(CONFIG, out=run))
    (warned,) = (event.message for event in events if isinstance(event, Warned))
    assert warned.startswith(f"passed over step-00000005: {file}: expected ")
    assert next(event.step for event in events if isinstance(event, Started)) == 4
    assert sum(isinstance(event, Stepped) for event in events) == 10
    assert learned(run) == expected


def test_when_no_checkpoint_is_intact_nothing_is_overwritten(ask: Ask, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, lambda step, loss: loss if step < 5 else loss * math.nan)
        assert ask(*WORDS)[0] == 1
    for file in run.glob("checkpoints/*/optimizer.safetensors"):
        file.unlink()
    before = sorted(path.as_posix() for path in run.rglob("*"))
    code, _, err = ask(*WORDS)
    assert code == 4
    assert "no checkpoint in" in err
    assert "optimizer.safetensors is missing" in err
    assert sorted(path.as_posix() for path in run.rglob("*")) == before
    assert ask(*WORDS, "--restart")[0] == 0


def test_two_tasks_of_one_config_learn_the_same_side_by_side(tmp_path: Path) -> None:
    """No stream is shared: two trainings in turns are as two trainings one after the other."""
    tasks = [LanguageTask(CONFIG, torch.device("cpu")) for _ in range(2)]
    runs = [task.fit(tmp_path / str(number), lambda: False) for number, task in enumerate(tasks)]
    losses: list[list[float]] = [[], []]
    for both in zip(*runs, strict=True):
        for found, event in zip(losses, both, strict=True):
            if isinstance(event, Stepped):
                found.append(event.loss)
    assert losses[0] == losses[1]
    assert len(losses[0]) == 14
