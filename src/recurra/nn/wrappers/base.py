"""What a wrapper is: recurrences in, a recurrence out.

It says once, in `through`, what it does around what it wraps; the same lines serve a single
step, where `x` is `(B, F)`, and whole sequences, where it is `(B, T, F)`.
B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, RunError, ShapeError
from recurra.nn.cells.base import Cell, Kernel, is_watched
from recurra.nn.kernels.dropout import dropout_mask
from recurra.nn.state import State, map_tensors, where

__all__ = ["Masks", "Pass", "Recurrence", "Starts", "StepPass", "Wrapper", "steps_as"]

Made = TypeVar("Made")


class Pass(Protocol):
    """How a wrapper reaches what it wraps: by one step, or over whole sequences."""

    masks: Masks
    """What is drawn once for all steps of the unroll."""

    def __call__(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over `x` from `state`."""
        ...

    def backwards(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over each row from its end to its start; outputs in the order of `x`."""
        ...

    def drop(self, owner: Wrapper, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return `x` times the dropout mask of this owner and place."""
        ...

    def starting(
        self, inner: Recurrence, x: Tensor, state: State, initial: State
    ) -> tuple[Tensor, State]:
        """Run `inner`, whose resets go back to `initial`."""
        ...

    def resetting(
        self, inner: Recurrence, x: Tensor, state: State, reset: Tensor
    ) -> tuple[Tensor, State]:
        """Run `inner`, whose state becomes the initial one before the steps of `reset`."""
        ...


class Wrapper(nn.Module):
    """A recurrence made of recurrences; a subclass defines `through`.

    Args:
        cells: what is wrapped, each its own object.
        input_size: I, features of an input.
        output_size: O, features of an output.
    """

    def __init__(self, cells: Sequence[Recurrence], input_size: int, output_size: int) -> None:
        super().__init__()
        if len({id(part) for cell in cells for part in cell.modules()}) != sum(
            1 for cell in cells for _ in cell.modules()
        ):
            raise ConfigError(
                f"{type(self).__name__}: one cell stands in two places and would share its "
                "parameters; make a cell for each"
            )
        self.cells = nn.ModuleList(cells)
        self.input_size = input_size
        self.output_size = output_size

    def inner(self, position: int = 0) -> Recurrence:
        """Return what is wrapped.

        Args:
            position: which, from 0.
        """
        return cast("Recurrence", self.cells[position])

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the state before the first step: that of the one wrapped recurrence.

        Args:
            batch_size: B, rows.
            device: where; the parameters' by default.
            dtype: of which kind; the parameters' by default.
        """
        return self.inner().initial_state(batch_size, device=device, dtype=dtype)

    def forward(
        self, x: Tensor, state: State, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """Take one step.

        Args:
            x: `(B, I)`.
            state: what `initial_state` or the step before returned.
            generator: where dropout masks come from, needed in training mode.
        """
        if x.dim() != 2 or x.shape[1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: a step takes x of shape (batch, {self.input_size}), got "
                f"{tuple(x.shape)}; recurra.unroll takes whole sequences"
            )
        return self.through(x, state, StepPass(Masks(generator, 1), 0))

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return outputs and state, reaching what is wrapped by `run` alone.

        Args:
            x: `(B, I)` in a step, `(B, T, I)` over sequences.
            state: as `initial_state` returns.
            run: how.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no through")

    def stepwise(self) -> str | None:
        """Return why only a loop over steps will do just now; None where sequences pass whole."""
        return None

    def fused(self, x: Tensor, masks: Masks | None, start: int = 0) -> Kernel | None:
        """Return what runs this wrapper over whole sequences in the place of that loop.

        It is asked for where `stepwise` gives a reason, and must do what `through` does step
        by step. Between two resets it is run over a piece of the sequences: `run` gets the
        steps `start, start + 1, ...` of the unroll, as many as its `x (B, T, I)` has.

        Args:
            x: the sequences, or anything of their device and dtype.
            masks: of the whole unroll, to be cut at `start`; None where `plan` asks.
            start: the first of the steps.
        """
        return None


Recurrence = Cell | Wrapper


def steps_as(cell: Recurrence, kind: type[Cell]) -> bool:
    """Return whether the step of `cell` is that of `kind` and of no subclass, and unwatched.

    A kernel of a wrapper reads the cell's parameters in the place of calling it, so it asks.

    Args:
        cell: what is wrapped.
        kind: a class of cells.
    """
    if not isinstance(cell, kind) or is_watched(cell):
        return False
    return type(cell).forward is kind.forward


class Masks:
    """The dropout masks of one unroll, each drawn once for all of its steps.

    Args:
        generator: where they come from; None where none will be needed.
        steps: T, steps of the unroll.
    """

    def __init__(self, generator: torch.Generator | None, steps: int) -> None:
        self.generator = generator
        self.steps = steps
        self.made: dict[Any, Any] = {}

    def get(self, owner: Wrapper, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return the mask `(B, T, ...)`, or `(B, 1, ...)` where all steps share it.

        Args:
            owner: whose mask.
            place: which of its masks.
            x: `(B, T, ...)`, what will be masked, or one step of it `(B, 1, ...)`.
            p: probability of dropping a unit.
            shared: whether one mask serves all steps.
        """
        shape = (len(x), 1 if shared else self.steps, *x.shape[2:])
        return self.once(owner, place, lambda: self.draw(shape, p, x))

    def once(self, owner: Wrapper, place: str, make: Callable[[], Made]) -> Made:
        """Return what `make` returns, which is called at the first of the steps alone.

        Args:
            owner: whose it is.
            place: which of the owner's.
            make: makes it.
        """
        key = (id(owner), place)
        if key not in self.made:
            self.made[key] = make()
        return cast("Made", self.made[key])

    def draw(self, shape: Sequence[int], p: float, like: Tensor) -> Tensor:
        """Return a new mask, of the dtype and device of `like`.

        Args:
            shape: of the mask.
            p: probability of dropping a unit.
            like: what will be masked.
        """
        if self.generator is None:
            raise RunError(
                "Dropout in training mode draws its masks from a generator: pass "
                "generator=torch.Generator(), or call .eval() first"
            )
        return dropout_mask(shape, p, self.generator, like.dtype).to(like.device)


class Starts:
    """Where resets take a state, where that is not what the cell's `initial_state` says.

    Tensors are known by identity: a wrapper that sequences pass whole hands the parts of its
    state on as they are.
    """

    def __init__(self) -> None:
        self.noted: dict[int, tuple[Tensor, Tensor]] = {}

    def note(self, state: State, initial: State) -> State:
        """Return the state to hand on, whose start is `initial`, unless it has one already.

        Args:
            state: as a wrapper got it.
            initial: of the same nesting and shapes.
        """

        def noted(tensor: Tensor, start: Tensor) -> Tensor:
            own = tensor.view_as(tensor)  # one tensor may stand in two places
            self.noted[id(own)] = (own, self._start(tensor, start))
            return own

        return map_tensors(noted, state, initial)

    def of(self, inner: Recurrence, x: Tensor, state: State) -> State:
        """Return where resets take the state of `inner`.

        Args:
            inner: a cell or wrapper.
            x: its input `(B, ...)`.
            state: what it was handed.
        """
        initial = inner.initial_state(len(x), device=x.device, dtype=x.dtype)
        return map_tensors(self._start, state, initial) if self.noted else initial

    def _start(self, tensor: Tensor, otherwise: Tensor) -> Tensor:
        return self.noted[id(tensor)][1] if id(tensor) in self.noted else otherwise


class StepPass:
    """The pass of one step, at position `t` of an unroll that `masks` belong to.

    Args:
        masks: of the whole unroll.
        t: which of its steps.
    """

    def __init__(self, masks: Masks, t: int) -> None:
        self.masks = masks
        self.t = t
        self.starts = Starts()

    def __call__(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step of `inner`."""
        if isinstance(inner, Wrapper):
            return inner.through(x, state, self)
        result: tuple[Tensor, State] = inner(x, state)
        return result

    def backwards(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Refuse: a step knows no future."""
        raise ShapeError(
            "Bidirectional reads the future, which a single step does not have: "
            "run whole sequences through recurra.unroll"
        )

    def drop(self, owner: Wrapper, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return `x` times this step's mask."""
        masks = self.masks.get(owner, place, x.unsqueeze(1), p, shared)
        return x * masks[:, 0 if shared else self.t]

    def starting(
        self, inner: Recurrence, x: Tensor, state: State, initial: State
    ) -> tuple[Tensor, State]:
        """Take one step of `inner`, whose resets go back to `initial`."""
        return self(inner, x, self.starts.note(state, initial))

    def resetting(
        self, inner: Recurrence, x: Tensor, state: State, reset: Tensor
    ) -> tuple[Tensor, State]:
        """Take one step of `inner`, from the initial state in the rows of `reset (B,)`."""
        return self(inner, x, where(reset, self.starts.of(inner, x, state), state))
