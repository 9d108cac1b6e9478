"""What is checked, made afresh for every question, and the words in which answers are given.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.nn.state import State, flatten, index, map_tensors
from recurra.nn.unroll import unroll_plain
from recurra.nn.wrappers.base import Recurrence, StepPass, Wrapper
from recurra.nn.wrappers.masks import Masks

__all__ = [
    "MODES",
    "Results",
    "Subject",
    "apart",
    "copied",
    "differing",
    "draws",
    "generators",
    "is_smooth",
    "learned",
    "looks_ahead",
    "loose",
    "named",
    "rows_of",
    "seeded",
    "shortly",
    "shown",
]

OWN = {*vars(nn.Module())}

MODES = ((False, False), (True, False), (True, True))
"""In training mode, with gradients: the ways in which what no wrapper draws must be the same."""

Results = dict[str, Tensor]
"""Name in words -> tensor."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have the global generators of torch, numpy and Python begin at a seed; as they were, after.

    Args:
        seed: of all three.
    """
    before = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before[0])
            random.setstate(before[1])


def generators() -> dict[str, Any]:
    """Return the state of each global generator, in a form that can be compared."""
    kept: Any = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (kept[1].tobytes(), *kept[2:]),
        "Python": random.getstate(),
    }


class Subject:
    """A cell or wrapper as it is checked: each question has one of its own, of the same weights.

    Args:
        make: makes one; or one that is there, of which copies are taken.
        name: what it is called.
        sized: makes one of two sizes, where that can be.
        sizes: I and O that it is made of.
    """

    def __init__(
        self,
        make: Callable[[], Recurrence] | nn.Module,
        name: str,
        sized: Callable[[int, int], Recurrence] | None = None,
        sizes: tuple[int, int] = (0, 0),
    ) -> None:
        self.make = make
        self.name = name
        self.sized = sized
        self.sizes = sizes
        self.refused = False
        """Whether its sizes are refused."""
        self.tried = ""
        """Which others are as well, for the end of a message."""
        self.doing = f"making {name}"
        """What is under way, for the sentence of an error that comes out of it."""
        self.begun: dict[Any, State] = {}
        self.limits: list[str] = []
        """What it cannot do and says so, in sentences: no faults."""

    def fresh(self, dtype: torch.dtype = torch.float32, training: bool = False) -> Recurrence:
        """Return one that was never called.

        Args:
            dtype: of its weights.
            training: whether in training mode.
        """
        if isinstance(self.make, nn.Module):
            made: Any = copy.deepcopy(self.make)
            # copies of parameters forget the hooks on them, which are a part of their gradients
            for new, old in zip(made.parameters(), self.make.parameters()):
                for hook in (old._backward_hooks or {}).values():
                    new.register_hook(hook)
        else:
            with seeded(1):
                made = self.make()
            if not isinstance(made, nn.Module):
                return made  # type: ignore[no-any-return]
        return made.to(dtype).train(training)  # type: ignore[no-any-return]

    def again(self) -> Recurrence | None:
        """Return one of torch's same seed and of others elsewhere; None where nothing makes one."""
        if isinstance(self.make, nn.Module):
            return None
        with seeded(1):
            np.random.seed(2)
            random.seed(2)
            return self.make()

    def other(self) -> Recurrence | None:
        """Return another one of other random numbers; None where nothing makes one."""
        if isinstance(self.make, nn.Module):
            return None
        with seeded(2):
            return self.make().eval()

    def begins(self, rows: int, dtype: torch.dtype = torch.float64) -> State:
        """Return a state that some steps lead to: of some cells not any numbers are a state.

        Args:
            rows: B.
            dtype: of it.
        """
        key = rows, dtype
        if key in self.begun:
            return map_tensors(Tensor.clone, self.begun[key])
        twin = self.fresh(dtype)
        start = twin.initial_state(rows, dtype=dtype)
        x = self.x(rows, 2, twin, dtype, seed=5)
        with torch.no_grad():
            state = unroll_plain(twin, x, start)[1]
        self.begun[key] = map_tensors(lambda tensor: tensor.detach().clone(), state)
        return map_tensors(Tensor.clone, self.begun[key])

    def x(
        self,
        rows: int,
        steps: int,
        cell: Recurrence,
        dtype: torch.dtype = torch.float64,
        seed: int = 3,
    ) -> Tensor:
        """Return inputs `(B, T, I)`, the same numbers in every dtype.

        Args:
            rows: B.
            steps: T.
            cell: that takes them.
            dtype: of them.
            seed: of them.
        """
        drawn = torch.Generator().manual_seed(seed)
        shape = (rows, steps, cell.input_size)
        return torch.randn(shape, generator=drawn, dtype=torch.float64).to(dtype)

    def step(self, cell: Recurrence, x: Tensor, state: State) -> Results:
        """Take one step; returns what it gives, by names.

        Args:
            cell: a cell, or a wrapper that does not look ahead.
            x: `(B, I)`.
            state: before it.
        """
        y, after = self.pair(cell, x, state)
        return named(y, after)

    def pair(self, cell: Recurrence, x: Tensor, state: State) -> Any:
        """Take one step; returns what the class returns, uncopied.

        Args:
            cell: a cell, or a wrapper that does not look ahead.
            x: `(B, I)`.
            state: before it.
        """
        if isinstance(cell, Wrapper):
            return StepPass(Masks(torch.Generator().manual_seed(7), 1), 0)(cell, x, state)
        return nn.Module.__call__(cell, x, state)


def named(y: Tensor, after: State, which: str = "next") -> Results:
    """Return outputs and states by names that can stand in a sentence.

    Args:
        y: outputs.
        after: the state after them.
        which: state that is.
    """
    parts = flatten(after, "state")
    return {"output": y, **{f"{which} {shown(name)}": part for name, part in parts.items()}}


def shown(name: str) -> str:
    """Return how a tensor of a state is called in a sentence.

    Args:
        name: as `flatten` gives it.

    Example:
        >>> shown("state.h"), shown("state")
        ('state h', 'state')
    """
    return name.replace(".", " ", 1)


def looks_ahead(cell: nn.Module) -> bool:
    """Return whether anything in it reads the future, so that there is no single step.

    Args:
        cell: a cell or wrapper.
    """
    return any(isinstance(part, Wrapper) and part.looks_ahead for part in cell.modules())


def draws(cell: nn.Module) -> bool:
    """Return whether it holds a wrapper, which may draw masks in training mode.

    Args:
        cell: a cell or wrapper.
    """
    return any(isinstance(part, Wrapper) for part in cell.modules())


def learned(cell: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that gradients are asked for, by their names.

    Args:
        cell: a cell or wrapper.
    """
    return {name: each for name, each in cell.named_parameters() if each.requires_grad}


def is_smooth(tensor: Tensor) -> bool:
    """Return whether a tensor of a state is of numbers that move, and not of counts or marks.

    Args:
        tensor: of a state.
    """
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return False
    numbers = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return bool((numbers != numbers.round()).any())


def apart(got: Tensor, expected: Tensor, most: float | None = None) -> float | None:
    """Return by how much numbers differ; None where that is rounding.

    Args:
        got: numbers.
        expected: and those that they should be.
        most: how much is rounding, beside the largest of them; by default what the dtype has.
    """
    if got.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return None
    kinds = (got.dtype, expected.dtype)
    if most is None:
        low = {
            torch.float16: 2e-2,
            torch.bfloat16: 1e-1,
            torch.float32: 1e-4,
            torch.complex64: 1e-4,
        }
        most = max(low.get(kind, 1e-8) for kind in kinds)
    got, expected = (_doubles(each) for each in (got, expected))
    if not torch.equal(got.isnan(), expected.isnan()):
        return float("inf")
    off = (got - expected).abs()[~expected.isnan()]
    off = off[~((got == expected)[~expected.isnan()])]  # also where both are infinite
    worst = float(off.max()) if off.numel() else 0.0
    scale = float(expected[expected.isfinite()].abs().max()) if expected.isfinite().any() else 0.0
    return worst if worst > most * max(scale, 1e-2) else None


def _doubles(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return torch.view_as_real(tensor).double() if tensor.is_complex() else tensor.double()


def differing(
    got: Mapping[str, Tensor], expected: Mapping[str, Tensor], most: float | None = None
) -> tuple[str, str] | None:
    """Return which of several tensors first differs, and by how much in words; None for none.

    Args:
        got: name -> numbers.
        expected: name -> those that they should be.
        most: how much is rounding, beside the largest of them.
    """
    for name, tensor in expected.items():
        if name not in got:
            return name, "it is not there"
        if got[name].shape != tensor.shape:
            return name, f"shape {tuple(got[name].shape)} for {tuple(tensor.shape)}"
        if (off := apart(got[name], tensor, most)) is not None:
            return name, shortly(off)
    return None


def shortly(off: float) -> str:
    """Return how far numbers are apart, in words.

    Args:
        off: how far.

    Example:
        >>> shortly(0.30719), shortly(float("inf"))
        ('by 0.31', 'one is NaN where the other is not')
    """
    return "one is NaN where the other is not" if off == float("inf") else f"by {off:.2g}"


def loose(module: nn.Module) -> Iterator[tuple[str, Any, nn.Module, str]]:
    """Yield tensors and modules that a module holds without having registered them.

    Each with its name, its owner, and the attribute of the owner that holds it.

    Args:
        module: any.
    """
    known = {id(each) for each in (*module.parameters(), *module.buffers(), *module.modules())}
    for place, part in module.named_modules():
        for key, value in vars(part).items():
            if key in OWN:
                continue
            for name, found in _within(value, f"{place}.{key}".lstrip("."), 0):
                if id(found) not in known:
                    yield name, found, part, key


def _within(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor | nn.Module):
        yield name, value
    elif isinstance(value, list | tuple | dict) and depth < 3:
        pairs: Iterable[Any] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            yield from _within(each, f"{name}[{key!r:.20}]", depth + 1)


def rows_of(state: State, rows: Any) -> State:
    """Return copies of some rows of a state.

    Args:
        state: tensors `(B, ...)`.
        rows: which.
    """
    return map_tensors(Tensor.clone, index(state, rows))


def copied(state: State) -> State:
    """Return copies of all tensors of a state.

    Args:
        state: any.
    """
    return map_tensors(lambda tensor: tensor.detach().clone(), state)
