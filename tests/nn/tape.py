"""Graphs of the processor, for tests: what CUDA graphs do, done to fixed memory by a tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Every operator that ran, with the very tensors it read and made."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        views = func.is_view or any(r.alias_info for r in func._schema.returns)
        writes = any(a.alias_info and a.alias_info.is_write for a in func._schema.arguments)
        if writes or not views:
            tensors = [] if writes else [t for t in tree_leaves(made) if isinstance(t, Tensor)]
            self.done.append((func, args, kwargs or {}, tensors))
        return made

    def play(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, tensors in self.done:
                made = [t for t in tree_leaves(func(*args, **kwargs)) if isinstance(t, Tensor)]
                for old, new in zip(tensors, made):
                    old.data.copy_(new)


class OnTape:
    """A recorder for the processor; what it counts is for tests to read."""

    def __init__(self) -> None:
        self.recorded = 0
        self.played = 0
        self.spoil = 0.0
        """Added to what every replay makes, to see that it is noticed."""
        self.spoiled: set[int] | None = None
        """The replays that it is added to alone, counted from 1."""
        self.last: tuple[Tape, set[int]] | None = None

    def missing(self, like: Tensor) -> str | None:
        return None if like.device.type == "cpu" else "no tape there"

    def warm_up(self, launch: Callable[[], Any]) -> None:
        launch()

    def record(self, launch: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        self.recorded += 1
        with Tape() as tape:
            made = launch()
        out = [t for t in made if t is not None]
        held = {t.untyped_storage().data_ptr() for t in out}
        forward = self.last if launch.__name__ == "backward" else None
        self.last = tape, held

        def replay() -> None:
            self.played += 1
            tape.play()
            for tensor in out:
                if tensor.is_floating_point() and self.played in (self.spoiled or {self.played}):
                    tensor.data.add_(self.spoil)
            if forward is not None:  # memory that going back has set free holds something else
                for *_, tensors in forward[0].done:
                    for tensor in tensors:
                        kept = tensor.untyped_storage().data_ptr() in forward[1]
                        if tensor.is_floating_point() and not kept:
                            tensor.data.fill_(float("nan"))

        return made, replay
