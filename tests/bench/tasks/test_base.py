"""What is so of every task of the table."""

from __future__ import annotations

import pytest
import torch

from recurra.bench.network import TaskNetwork
from recurra.bench.tasks import COMPARED, TASKS
from recurra.bench.tasks.base import Task
from recurra.errors import ConfigError

GENERATED = ["copying", "adding", "selective_copying", "permuted_digits"]


@pytest.mark.parametrize("name", GENERATED)
def test_a_network_of_its_sizes_is_judged(name):
    task = TASKS[name]()
    assert isinstance(task, Task)
    batch = task.batch(1, 0, 0)
    assert batch.x.shape[:2] == (task.batch_size, task.length)
    outputs, _ = TaskNetwork("rnn", task, (3, 3), seed=1)(batch.x)
    task.loss(outputs, batch.target).backward()
    metrics = task.metrics(outputs.detach(), batch.target)
    assert task.metric in metrics and "loss" in metrics
    assert 0 <= metrics["accuracy"] <= 1
    for rival in task.baselines().values():
        assert set(rival) <= set(metrics) and task.metric in rival
    assert all(len(task.held_out(split)) for split in ("valid", "test"))
    assert task.title.partition(":")[0].replace(" ", "_").startswith(name.partition("_")[0])


@pytest.mark.parametrize("name", [*GENERATED, "characters"])
def test_a_length_is_taken_where_it_is_not_fixed(name):
    task = TASKS[name].of_length(100)
    length = 64 if name == "permuted_digits" else 100
    assert task.length == length and task.batch(1, 0, 0).x.shape[1] == length
    if name in ("copying", "selective_copying", "adding"):
        for short in (-1, 0, 1):
            with pytest.raises(ConfigError, match=f"{name} has at least .* steps, got a length"):
                TASKS[name].of_length(short)
    if name == "copying":
        assert task.batch(1, 0, 0).x[0, :5].max() < 8 and (task.copied, task.delay) == (5, 90)


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no task is named 'ading'. Did you mean 'adding'"):
        TASKS["ading"]


def test_tasks_are_all_there_is():
    assert list(TASKS) == [*GENERATED, "characters", "words"]
    assert (*GENERATED, "characters") == COMPARED
    assert torch.equal(*(TASKS["copying"]().held_out("test")[0].x for _ in range(2)))
