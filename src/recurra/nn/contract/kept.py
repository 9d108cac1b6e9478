"""Whether it can be saved, copied, handed other weights, and stand inside of wrappers.

B rows, T steps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import functional_call

from recurra.errors import ConfigError, RecurraError, in_one_line
from recurra.nn.cells.base import Cell
from recurra.nn.contract.purity import whole
from recurra.nn.contract.subject import (
    Subject,
    copied,
    differing,
    loose,
    named,
    shown,
)
from recurra.nn.state import State
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.projection import Projection
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState

__all__ = ["can_be_saved", "stands_in_wrappers"]


def can_be_saved(subject: Subject) -> Iterator[str]:
    """`state_dict()` holds all of it, a copy computes the same, other weights are heeded.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh(torch.float64)
    x, state = subject.x(2, 3, cell), subject.begins(2)
    with torch.no_grad():
        expected = whole(cell, x, copied(state))
        subject.doing = "copy.deepcopy of it"
        twin = copy.deepcopy(subject.fresh(torch.float64))
        if found := differing(whole(twin, x, copied(state)), expected):
            yield f"a copy gives another {shown(found[0])} (B = 2, T = 3; {found[1]})"
            return
        _halve(twin)
        if found := differing(whole(cell, x, copied(state)), expected):
            yield (
                f"its {shown(found[0])} changes with the weights of a copy of it (B = 2, T = 3; "
                f"{found[1]}): copy.deepcopy shares something"
            )
            return
        yield from _stale(subject, x, state)
        yield from _unsaved(subject, cell, x)
        subject.doing = "loading its state_dict() into another"
        other = subject.other()
        if other is not None:
            other = other.double()
            other.load_state_dict(cell.state_dict())
            if found := differing(whole(other, x, copied(state)), expected):
                yield (
                    f"after load_state_dict(its state_dict()) another one gives another "
                    f"{shown(found[0])} (B = 2, T = 3; {found[1]}): something that was drawn or "
                    "learned is not in it"
                )
                return
        yield from _called_with(subject, cell, x)


def _halve(cell: torch.nn.Module) -> None:
    for parameter in cell.parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.mul_(0.5)


def _stale(subject: Subject, x: Tensor, state: State) -> Iterator[str]:
    """Find weights that are kept beside the parameters, and are not those after a change."""
    subject.doing = "unroll after its weights have changed"
    for training in (False, True):
        cell, twin = (subject.fresh(torch.float64, training) for _ in range(2))
        whole(cell, x, copied(state))
        for each in (cell, twin):
            _halve(each)
        got = whole(cell, x, copied(state))
        with torch.enable_grad():  # where a cache without gradients is not read
            expected = whole(twin, x, copied(state))
        if found := differing(got, expected):
            yield (
                f"after its weights are changed in place, as an optimizer does, it gives the "
                f"{shown(found[0])} of others under torch.no_grad() (B = 2, T = 3; {found[1]}): "
                "they are kept somewhere beside the parameters"
            )
            return


def _unsaved(subject: Subject, cell: Recurrence, x: Tensor) -> Iterator[str]:
    """Find tensors that are held beside parameters and buffers, and that matter."""
    for name, found, owner, _ in loose(cell):
        if not isinstance(found, Tensor) or found.numel() < 2 or not found.is_floating_point():
            continue
        before = whole(cell, x, None)
        kept = found.detach().clone()
        found.data.add_(0.37)
        after = whole(cell, x, None)
        found.data.copy_(kept)
        if differing(after, before):
            yield (
                f"self.{name} is a tensor of {found.numel()} numbers, neither parameter nor "
                f"buffer: state_dict() does not save it and .to(device) leaves it behind; use "
                f"register_buffer of {type(owner).__name__}"
            )
            return


def _called_with(subject: Subject, cell: Recurrence, x: Tensor) -> Iterator[str]:
    subject.doing = "torch.func.functional_call with other weights"

    class Outputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = unroll_plain(cell, x, generator=torch.Generator().manual_seed(7))[0]
            return y

    twin = subject.fresh(torch.float64)
    _halve(twin)
    weights = {f"cell.{n}": p.detach().clone() for n, p in twin.named_parameters()}
    got = functional_call(Outputs(), weights, (x,))
    expected = unroll_plain(twin, x, generator=torch.Generator().manual_seed(7))[0]
    if found := differing({"output": got}, {"output": expected}):
        yield (
            f"torch.func.functional_call with other weights gives another output than a cell that "
            f"has them (B = 2, T = 3; {found[1]}): it keeps its weights in two places"
        )


def stands_in_wrappers(subject: Subject) -> Iterator[str]:
    """Inside of wrappers the sequence is its steps too, and each row is alone.

    Args:
        subject: what is checked.
    """
    if not isinstance(subject.fresh(), Cell):
        return

    def one() -> Recurrence:
        return subject.fresh(torch.float64)

    sizes = one().input_size, one().output_size
    wraps: dict[str, Callable[[], Recurrence]] = {
        "Stack": lambda: Stack([one()]),
        "Dropout": lambda: Dropout(one(), input=0.5, output=0.5).eval(),
        "TrainableState": lambda: TrainableState(one()),
        "Bidirectional": lambda: Bidirectional(one(), one(), "sum"),
        "Projection": lambda: Projection(one(), 2).double(),
        "Dilated": lambda: Dilated(one(), 2),
    }
    if sizes[0] == sizes[1]:
        wraps["Residual"] = lambda: Residual(one())
    for name, wrap in wraps.items():
        subject.doing = f"inside of {name}"
        try:
            torch_state = torch.random.get_rng_state()
            torch.manual_seed(1)
            cell = wrap()
            torch.random.set_rng_state(torch_state)
        except ConfigError:
            continue  # a wrapper that is not for such a state, and says so
        x = subject.x(2, 5, cell)
        lengths = torch.tensor([5, 2])
        try:
            with torch.no_grad():
                got = named(*unroll(cell, x, lengths=lengths), "last")
                y, after = unroll_plain(cell, x, lengths=lengths)
                expected = named(y, after, "last")
                alone = unroll(cell, x[1:, :2])[0]
        except RecurraError as error:
            yield f"inside of {name} it raises {in_one_line(error)}"
            return
        if found := differing(got, expected) or differing(
            {"output": got["output"][1:, :2]}, {"output": alone}
        ):
            yield (
                f"inside of {name} the {shown(found[0])} is not that of its steps (B = 2, T = 5; "
                f"{found[1]})"
            )
            return
