"""Whether torch's transforms give the numbers of plain autograd; what they cannot do is no fault.

B rows, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import vmap

from recurra.errors import in_one_line
from recurra.nn.contract.subject import Subject, apart, draws, learned, looks_ahead, shortly
from recurra.nn.state import map_tensors
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.base import Recurrence

__all__ = ["agree", "compiles", "twice", "under_autocast"]

SMALL = 1e-6


class Outputs(nn.Module):
    """A recurrence as a module of sequences.

    Args:
        cell: a cell or wrapper.
    """

    def __init__(self, cell: Recurrence) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs alone."""
        y: Tensor = unroll(self.cell, x)[0]
        return y


def agree(subject: Subject) -> Iterator[str]:
    """vmap over a batch of batches gives what each gives.

    Args:
        subject: what is checked.
    """
    subject.doing = "torch.func.vmap over inputs"
    cell = subject.fresh(torch.float64)
    x = torch.stack([subject.x(2, 3, cell, seed=seed) for seed in (3, 4)])
    run = Outputs(cell)
    with torch.no_grad():
        try:
            got = vmap(run)(x)
        except Exception as error:  # what it cannot do it says
            subject.limits.append(f"torch.func.vmap does not take it: {in_one_line(error)}")
            return
        expected = torch.stack([run(each) for each in x])
    if (off := apart(got, expected)) is not None:
        yield f"torch.func.vmap over inputs gives another output (B = 2, T = 3; {shortly(off)})"


def twice(subject: Subject) -> Iterator[str]:
    """The gradient of a gradient is that of finite differences.

    Args:
        subject: what is checked.
    """
    subject.doing = "the gradient of a gradient"
    for leaf in ("x", *learned(subject.fresh())):
        try:
            found = _curvatures(subject, leaf)
        except RuntimeError as error:
            subject.limits.append(f"it cannot be differentiated twice: {in_one_line(error)}")
            return
        if found is None:
            continue
        got, expected = found
        if abs(got - expected) > 1e-3 * max(abs(expected), abs(got)) + 1e-6:
            yield (
                f"the gradient by {leaf} of the gradient by x is {got:.2g} along a line, by finite "
                f"differences {expected:.2g} (B = 2, T = 3): it is differentiated once, and the "
                "second time silently wrong"
            )
            return


def _curvatures(subject: Subject, leaf: str) -> tuple[float, float] | None:
    drawn = torch.Generator().manual_seed(9)
    cell = subject.fresh(torch.float64)
    base = subject.x(2, 3, cell)
    across = torch.randn(base.shape, generator=drawn, dtype=torch.float64)
    at = base if leaf == "x" else dict(cell.named_parameters())[leaf]
    if at.dtype != torch.float64:
        return None
    along = torch.randn(at.shape, generator=drawn, dtype=torch.float64)
    with torch.no_grad():  # a sine of what is large has no differences
        y = unroll(cell, base, subject.begins(2), generator=torch.Generator().manual_seed(7))[0]
        scale = y.double().abs().amax().clamp(min=1.0)

    def slope(size: float, graph: bool) -> tuple[Tensor, Tensor]:
        cell = subject.fresh(torch.float64)
        x = base.clone().requires_grad_()
        at = x if leaf == "x" else dict(cell.named_parameters())[leaf]
        with torch.no_grad():
            at.add_(size * along)
        state = map_tensors(lambda t: t, subject.begins(2))
        y, _ = unroll(cell, x, state, generator=torch.Generator().manual_seed(7))
        loss = (y.double() / scale).sin().sum()
        if not loss.requires_grad:
            return torch.zeros(()), at
        (gradient,) = torch.autograd.grad(loss, [x], create_graph=graph, allow_unused=True)
        return (torch.zeros(()) if gradient is None else (gradient * across).sum()), at

    first, at = slope(0.0, True)
    got = 0.0
    if first.requires_grad:
        (second,) = torch.autograd.grad(first, [at], allow_unused=True)
        got = 0.0 if second is None else float((second * along).sum())
    ends = [float(slope(size, False)[0].detach()) for size in (SMALL, -SMALL)]
    return got, (ends[0] - ends[1]) / (2 * SMALL)


def compiles(subject: Subject) -> Iterator[str]:
    """A step under torch.compile gives the same outputs and gradients.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh()
    if looks_ahead(cell) or draws(cell):
        return
    subject.doing = "torch.compile"
    x, state = subject.x(2, 1, cell, torch.float32)[:, 0], subject.begins(2, torch.float32)
    expected = _gradients(cell, lambda x: cell(x, state)[0], x)
    try:
        run = torch.compile(lambda x: cell(x, state)[0], backend="aot_eager")
        got = _gradients(cell, run, x)
    except Exception as error:  # what it cannot do it says
        subject.limits.append(f"torch.compile does not take it: {in_one_line(error):.200}")
        return
    finally:
        torch._dynamo.reset()
    for name, tensor in expected.items():
        if (off := apart(got[name], tensor, 1e-3)) is not None:
            yield f"under torch.compile {name} is another (B = 2, T = 1; {shortly(off)})"
            return


def _gradients(cell: Recurrence, run: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, Tensor]:
    y = run(x)
    parameters = learned(cell)
    found = {"the output": y.detach()}
    if y.requires_grad:
        loss = (y * y.detach().cos()).sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        found |= {f"the gradient of {n}": g for n, g in zip(parameters, gradients) if g is not None}
    return found


def under_autocast(subject: Subject) -> Iterator[str]:
    """Under autocast the numbers are about those without it.

    Args:
        subject: what is checked.
    """
    subject.doing = "unroll under torch.autocast"
    cell = subject.fresh()
    x, state = subject.x(2, 3, cell, torch.float32), subject.begins(2, torch.float32)
    with torch.no_grad():
        expected = unroll(cell, x, state)[0]
        try:
            with torch.autocast("cpu", torch.bfloat16):
                got = unroll(cell, x, state)[0]
        except Exception as error:  # what it cannot do it says
            subject.limits.append(f"torch.autocast does not take it: {in_one_line(error)}")
            return
    if (off := apart(got.float(), expected, 0.3)) is not None:
        yield f"under torch.autocast the output is another (B = 2, T = 3; {shortly(off)})"
