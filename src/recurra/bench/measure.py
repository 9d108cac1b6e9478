"""What a network costs: time of a training step and of one step of a stream, and what is kept.

B rows, T steps.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.bench.network import TaskNetwork
from recurra.bench.tasks.base import Batch, Task
from recurra.learning.optimization import make_optimizer, take_step
from recurra.learning.options import TrainOptions
from recurra.machine import on_threads
from recurra.nn.unroll import plan
from recurra.work import worked_on

__all__ = ["Costs", "costs", "kept_bytes", "kernel_name"]

STEPS = 50
"""Of a stream, timed together."""
MOST_SECONDS = 8.0
"""Of timing together; beyond it three rounds must do."""


@dataclass(frozen=True)
class Costs:
    """What a network costs.

    Args:
        seconds: of a training step: forward, loss and backward.
        seconds_alone: the same on one thread, and the update.
        least_alone: the least of these times; what else the machine does only adds to it.
        step_seconds: of one step of one row.
        kept_bytes: of what the forward pass keeps for the backward one.
        kernel: in words, what runs the cell.
    """

    seconds: float
    seconds_alone: float
    least_alone: float
    step_seconds: float
    kept_bytes: int
    kernel: str


def costs(
    networks: Mapping[str, TaskNetwork],
    task: Task,
    batch: Batch,
    rounds: int,
    training: TrainOptions,
) -> dict[str, Costs]:
    """Return the costs of several networks, timed in turns; times are medians.

    Args:
        networks: by name.
        task: gives the loss.
        batch: of B rows.
        rounds: timings of each, unless they take long; one more before them compiles, and fills
            caches.
        training: how they are updated.
    """
    updates = {name: _update(each, training) for name, each in networks.items()}

    def whole(name: str) -> tuple[float, float]:
        seconds = _training_seconds(networks[name], task, batch)
        return seconds, _step_seconds(networks[name], batch)

    def alone(name: str) -> tuple[float]:
        return (_training_seconds(networks[name], task, batch) + _timed(updates[name]),)

    times = _in_turns(networks, rounds, whole)
    with on_threads(1):  # apart from the others, as threads that wait are still about for a while
        single = _in_turns(networks, rounds, alone)
    found = {}
    for name, network in networks.items():
        seconds, step = map(statistics.median, zip(*times[name]))
        ours = [each for (each,) in single[name]]
        kept = kept_bytes(network, task, batch)
        kernel = kernel_name(network, batch)
        found[name] = Costs(seconds, statistics.median(ours), min(ours), step, kept, kernel)
    return found


def _in_turns(
    names: Iterable[str], rounds: int, timed: Callable[[str], tuple[float, ...]]
) -> dict[str, list[tuple[float, ...]]]:
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    begun = time.perf_counter()
    for number in worked_on(range(rounds + 1), "timing each cell", "rounds"):
        if number > 3 and time.perf_counter() - begun > MOST_SECONDS:
            break
        for name, found in times.items():
            seconds = timed(name)
            if number:
                found.append(seconds)
    return times


def _training_seconds(network: TaskNetwork, task: Task, batch: Batch) -> float:
    for parameter in network.parameters():
        parameter.grad = None
    begun = time.perf_counter()
    outputs, _ = network(batch.x)
    task.loss(outputs, batch.target).backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - begun


def _update(network: TaskNetwork, training: TrainOptions) -> Callable[[], object]:
    optimizer = make_optimizer(network.parameters(), training)
    return lambda: take_step(optimizer, training, 0.0)  # at this rate nothing changes


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@torch.no_grad()
def _step_seconds(network: TaskNetwork, batch: Batch) -> float:
    x = [batch.x[:1, t % batch.x.shape[1]] for t in range(STEPS)]
    state = network.initial_state(1)
    begun = time.perf_counter()
    for each in x:
        _, state = network.step(each, state)
    return (time.perf_counter() - begun) / STEPS


def kept_bytes(network: TaskNetwork, task: Task, batch: Batch) -> int:
    """Return the bytes of all tensors that the forward pass keeps for the backward one.

    Every storage counts once, parameters and the batch not at all. What a kernel needs while it
    runs and gives back is not in it.

    Args:
        network: which.
        task: gives the loss.
        batch: of B rows.

    Example:
        >>> from recurra.bench.tasks.adding import Adding
        >>> task = Adding()
        >>> network = TaskNetwork("rnn", task, (8, 8), seed=1)
        >>> few, many = (kept_bytes(network, task, Batch(*(t[:n] for t in task.batch(1, 0, 0))))
        ...     for n in (2, 8))
        >>> many > 3 * few
        True
    """
    given = [*network.parameters(), *network.buffers(), *batch]
    known = {_storage(tensor) for tensor in given}
    kept: dict[int, Tensor] = {}  # the tensors are held, so that no address comes twice

    def pack(tensor: Tensor) -> Tensor:
        if (storage := _storage(tensor)) not in known:
            kept.setdefault(storage, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs, _ = network(batch.x)
        task.loss(outputs, batch.target)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def kernel_name(network: TaskNetwork, batch: Batch) -> str:
    """Return in words what runs the first layer's cell.

    Args:
        network: which.
        batch: of B rows.

    Example:
        >>> from recurra.bench.tasks.adding import Adding
        >>> task = Adding()
        >>> kernel_name(TaskNetwork("lstm", task, (4, 4), seed=1), task.batch(1, 0, 0))
        "oneDNN's LSTM, whole sequences at once"
    """
    planned = plan(network.cells[0], network.inward(batch.x))
    return planned.partition(": ")[2].splitlines()[0]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
