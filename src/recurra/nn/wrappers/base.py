"""What a wrapper is: recurrences in, a recurrence out.

It says once, in `through`, what it does around what it wraps; the same lines serve a single
step, where `x` is `(B, F)`, and whole sequences, where it is `(B, T, F)`.
B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import (
    Cell,
    Kernel,
    require_input,
    require_pair,
    require_recurrence,
    require_state,
)
from recurra.nn.cells.kernel import is_watched
from recurra.nn.state import State, apart, fitted, flatten, step_of, where
from recurra.nn.wrappers.masks import Masks

__all__ = [
    "Pass",
    "Recurrence",
    "Starts",
    "StepPass",
    "Wrapper",
    "why_stepwise",
]


class Wrapper(nn.Module):
    """A recurrence made of recurrences; a subclass defines `through`.

    Its state is that of the one recurrence it wraps; or a tuple of theirs, where it defines
    `owners`. Hooks registered on it act at every step.

    Args:
        cells: what is wrapped, each its own object.
        input_size: I, features of an input; those of the first cell by default.
        output_size: O, features of an output; those of the last cell by default.
    """

    state_type: ClassVar[Any] = None
    """The NamedTuple that its state is, where that is a tuple whose parts have names."""

    looks_ahead = False
    """Whether outputs depend on later inputs, so that there is no single step."""

    def __init__(
        self,
        cells: Sequence[Recurrence],
        input_size: int | None = None,
        output_size: int | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not hasattr(cells, "__iter__"):
            raise ConfigError(f"{name} takes a list of cells, got {type(cells).__name__}")
        cells = list(cells)
        if not cells and (input_size is None or output_size is None):
            raise ConfigError(f"{name}: got no cells, expected at least one")
        for cell in cells:
            require_recurrence(cell, name)
        if len({id(part) for cell in cells for part in cell.modules()}) != sum(
            1 for cell in cells for _ in cell.modules()
        ):
            raise ConfigError(
                f"{name}: one cell stands in two places and would share its "
                "parameters; make a cell for each"
            )
        self.cells = nn.ModuleList(cells)
        self.input_size: int = cells[0].input_size if input_size is None else input_size
        self.output_size: int = cells[-1].output_size if output_size is None else output_size

    def inner(self, position: int = 0) -> Recurrence:
        """Return what is wrapped.

        Args:
            position: which, from 0.
        """
        return cast("Recurrence", self.cells[position])

    def owners(self) -> Sequence[int] | None:
        """Return whose the states are that the state is a tuple of: positions in `cells`.

        None where it is no such tuple, but the state of the one wrapped recurrence.
        """
        return None

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the state before the first step: those of what is wrapped.

        Args:
            batch_size: B, rows.
            device: where; the parameters' by default.
            dtype: of which kind; the parameters' by default.
        """
        owners = self.owners()
        states = tuple(
            self.inner(n).initial_state(batch_size, device=device, dtype=dtype)
            for n in ([0] if owners is None else owners)
        )
        if owners is None:
            return states[0]
        return states if self.state_type is None else self.state_type(*states)

    def forward(
        self,
        x: Tensor,
        state: State,
        generator: torch.Generator | None = None,
        *,
        run: Pass | None = None,
    ) -> tuple[Tensor, State]:
        """Take one step.

        Args:
            x: `(B, I)`.
            state: what `initial_state` or the step before returned.
            generator: where dropout masks come from, needed in training mode.
            run: the pass under way, by which `unroll` comes here where hooks are to be called.
        """
        if run is not None:
            return self.through(x, state, run)
        require_input(self, x)
        try:
            y, after = self.through(x, state, StepPass(Masks(generator, 1), 0))
        except (AttributeError, IndexError, TypeError, ValueError):
            # Most likely a state of other parts, which this says; asked first, it takes long.
            fitted(state, self.initial_state(x.shape[0], device=x.device, dtype=x.dtype))
            raise
        # A caller may write over what is a part of a state, of this one or the one before.
        return y.clone(), after if torch.compiler.is_compiling() else apart(after, state)

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return outputs and state, reaching what is wrapped by `run` alone.

        Args:
            x: `(B, I)` in a step, `(B, T, I)` over sequences.
            state: as `initial_state` returns.
            run: how to reach what is wrapped, and its masks.
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


def why_stepwise(wrapper: Wrapper) -> str | None:
    """Return why only a loop over steps will do for a wrapper; None where sequences pass whole.

    Hooks of what looks ahead are called once, over whole sequences: it has no single step.

    Args:
        wrapper: which.
    """
    if is_watched(wrapper) and not any(
        isinstance(part, Wrapper) and part.looks_ahead for part in wrapper.modules()
    ):
        return "its hooks act at every step"
    return wrapper.stepwise()


class Starts:
    """Where resets take a state, where that is not what `initial_state` of its recurrence says.

    Args:
        start: of the state of `owner`; None where it is its initial state.
        owner: the wrapper that is run; None for what `start` is the start of itself.
    """

    def __init__(self, start: State = None, owner: Wrapper | None = None) -> None:
        self.start = start
        self.owner = owner

    def inside(self, wrapper: Wrapper) -> Starts:
        """Return the starts of what is inside a wrapper that the owner calls.

        Args:
            wrapper: which.
        """
        return self if self.start is None else Starts(self.part(wrapper), wrapper)

    def of(self, inner: Recurrence, x: Tensor) -> State:
        """Return where resets take the state of what the owner calls.

        Args:
            inner: a cell or wrapper.
            x: its input `(B, ...)`.
        """
        initial = inner.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        start = self.part(inner)
        if start is None:
            return initial
        got, expected = ({k: v.shape for k, v in flatten(s).items()} for s in (start, initial))
        if got != expected:
            raise ConfigError(
                f"{type(inner).__name__}: resets do not find its part of the learned state, as the "
                "state of a wrapper around it is not that of what it wraps; define its owners()"
            )
        return start

    def part(self, inner: Recurrence) -> State:
        """Return the part of the start that is of what the owner calls, or None.

        Args:
            inner: a cell or wrapper.
        """
        owners = None if self.start is None or self.owner is None else self.owner.owners()
        if self.owner is None or owners is None:
            return self.start
        parts = zip(owners, self.start, strict=True)
        return next((part for n, part in parts if self.owner.inner(n) is inner), None)


class Pass(ABC):
    """How a wrapper reaches what it wraps: by one step, or over whole sequences.

    Args:
        masks: what is drawn once for all steps of the unroll.
        starts: where resets take the states of what is called.
    """

    def __init__(self, masks: Masks, starts: Starts) -> None:
        self.masks = masks
        self.starts = starts

    @abstractmethod
    def __call__(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over `x` from `state`."""

    @abstractmethod
    def backwards(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over each row from its end to its start; outputs in the order of `x`.

        Args:
            inner: a cell or wrapper.
            x: its input.
            state: its state.
        """

    def from_end(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Do what `backwards` does; outputs in the order of reading.

        Args:
            inner: a cell or wrapper.
            x: its input.
            state: its state.
        """
        return self.backwards(inner, x, state)

    @abstractmethod
    def drop(self, owner: Wrapper, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return `x` times a dropout mask.

        Args:
            owner: whose mask.
            place: which of its masks.
            x: what is masked.
            p: probability of dropping a unit.
            shared: whether one mask serves all steps.
        """

    @abstractmethod
    def resetting(
        self, inner: Recurrence, x: Tensor, state: State, reset: Tensor
    ) -> tuple[Tensor, State]:
        """Run `inner`, whose state becomes the initial one before the steps of `reset`.

        Args:
            inner: a cell or wrapper.
            x: its input.
            state: its state.
            reset: which steps: `(B,)` in a step, `(B, T)` over sequences.
        """

    @abstractmethod
    def from_starts(self, starts: Starts) -> Pass:
        """Return the same pass, whose resets take states elsewhere.

        Args:
            starts: where.
        """

    def starting(
        self, inner: Recurrence, x: Tensor, state: State, initial: State
    ) -> tuple[Tensor, State]:
        """Run `inner`, whose resets go back to `initial`, unless a wrapper outside said where.

        Args:
            inner: a cell or wrapper.
            x: its input.
            state: its state.
            initial: nested as its state.
        """
        run = self.from_starts(Starts(initial)) if self.starts.start is None else self
        return run(inner, x, state)

    def into(self, wrapper: Wrapper, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run what a wrapper does, and its hooks.

        Args:
            wrapper: which.
            x: its input.
            state: its state.
        """
        starts = self.starts.inside(wrapper)
        run = self if starts is self.starts else self.from_starts(starts)
        if is_watched(wrapper):
            result: tuple[Tensor, State] = wrapper(x, state, run=run)
            return result
        return wrapper.through(x, state, run)


class StepPass(Pass):
    """The pass of one step, at position `t` of an unroll that `masks` belong to.

    Args:
        masks: of the whole unroll.
        t: which of its steps.
        starts: where resets take the state of what is called.
    """

    def __init__(self, masks: Masks, t: int | Tensor, starts: Starts | None = None) -> None:
        super().__init__(masks, starts or Starts())
        self.t = t

    def __call__(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step of `inner`."""
        if isinstance(inner, Wrapper):
            return self.into(inner, x, state)
        # By the module's own call, which makes no copy of the output.
        call = nn.Module.__call__ if type(inner).__call__ is Cell.__call__ else type(inner).__call__
        return require_pair(inner, call(inner, x, state))

    def backwards(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Refuse: a step knows no future."""
        raise ShapeError(
            "Bidirectional and Reversed read the future, which a single step does not have: "
            "run whole sequences through recurra.unroll"
        )

    def drop(self, owner: Wrapper, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return `x` times this step's mask."""
        masks = self.masks.get(owner, place, x.unsqueeze(1), p, shared)
        return x * step_of(masks, 0 if shared else self.t)

    def from_starts(self, starts: Starts) -> StepPass:
        """Return this step, whose resets go elsewhere."""
        return StepPass(self.masks, self.t, starts)

    def resetting(
        self, inner: Recurrence, x: Tensor, state: State, reset: Tensor
    ) -> tuple[Tensor, State]:
        """Take one step of `inner`, from the initial state in the rows of `reset (B,)`."""
        start = self.starts.of(inner, x)
        return self(inner, x, where(reset, start, require_state(inner, x, state, start)))
