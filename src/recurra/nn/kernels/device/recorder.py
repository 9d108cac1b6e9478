"""What makes CUDA graphs, and what looks at a function beforehand: a recording that fails halfway
leaves torch's generator of random numbers unusable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["OnCuda", "Recorder", "RecordingError", "watched"]

WARM_UP = 3

TAGS = {
    torch.Tag.data_dependent_output: "reads a number back from the GPU",
    torch.Tag.dynamic_output_shape: "has a shape that depends on numbers",
    torch.Tag.nondeterministic_seeded: "draws random numbers",
}


class RecordingError(Exception):
    """Why a function cannot be recorded."""


class Recorder(Protocol):
    """What makes graphs; on the GPU `OnCuda`."""

    def missing(self, like: Tensor) -> str | None:
        """Return why there can be no graph for a tensor's device at this moment."""
        ...

    def warm_up(self, launch: Callable[[], Any]) -> None:
        """Run `launch` as it has to be before it can be recorded."""
        ...

    def record(self, launch: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """Run `launch`, recording; returns what it does, and what makes its tensors anew."""
        ...


class OnCuda:
    """The recorder of CUDA graphs."""

    def __init__(self) -> None:
        self._streams: dict[int, Any] = {}

    def missing(self, like: Tensor) -> str | None:
        """Return why there can be no graph for a tensor's device at this moment.

        Args:
            like: an input.
        """
        if not like.is_cuda:
            return f"no graphs on {like.device.type}"
        if torch.cuda.is_current_stream_capturing():
            return "a graph is being recorded around it"
        if like.device.index != torch.cuda.current_device():
            return "its GPU is not the current one"
        # On one stream, as recordings share the memory that matrix products work in.
        if torch.cuda.current_stream() != torch.cuda.default_stream():
            return "work goes to a stream of its own"
        return None

    def warm_up(self, launch: Callable[[], Any]) -> None:
        """Run `launch` a few times off the current stream, as torch asks before recording.

        Args:
            launch: what will be recorded.
        """
        side = self._stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                launch()
        torch.cuda.current_stream().wait_stream(side)

    def record(self, launch: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """Run `launch`, recording; returns what it does, and what makes its tensors anew.

        Args:
            launch: what is recorded.
        """
        graph = torch.cuda.CUDAGraph()
        # Other threads, of data loaders say, may go on: only this one must not wait for the GPU.
        with torch.cuda.graph(graph, stream=self._stream(), capture_error_mode="thread_local"):
            made = launch()
        return made, graph.replay

    def _stream(self) -> Any:
        """Return the stream of the current GPU on which is recorded."""
        device = torch.cuda.current_device()
        if device not in self._streams:
            make: Any = torch.cuda.Stream
            self._streams[device] = make()
        return self._streams[device]


@contextmanager
def watched(statics: Sequence[Tensor]) -> Iterator[None]:
    """Raise RecordingError for what no graph can hold, before it is recorded.

    Args:
        statics: what is read in the fixed memory, the first of them on the GPU in question.
    """
    before = [tensor._version for tensor in statics]
    with _Watch(statics[0].device):
        yield
    if before != [tensor._version for tensor in statics]:
        raise RecordingError("it writes to its inputs or parameters")


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks at every operator."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        index = func is torch.ops.aten.index.Tensor
        for tag, fault in TAGS.items():
            if tag in func.tags and not index:
                raise RecordingError(f"{func} {fault}")
        lists = [part for part in args if isinstance(part, (list, tuple))]
        tensors = [part for part in args if isinstance(part, Tensor)]
        for part in [part for each in lists for part in each if isinstance(part, Tensor)]:
            if part.dtype in (torch.bool, torch.uint8) and "index" in str(func):
                raise RecordingError(f"{func} has a shape that depends on numbers")
            tensors.append(part)
        made = func(*args, **(kwargs or {}))
        copies = func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        if copies:
            tensors.append(made)
        for tensor in tensors:
            if tensor.device != self.device and (copies or tensor.dim()):
                raise RecordingError(f"{func} takes a tensor from {tensor.device} to {self.device}")
        return made
