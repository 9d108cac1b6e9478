"""Whether what runs whole sequences does what the step does, forward and backward.

B rows, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recurra.errors import in_one_line
from recurra.nn.cells.base import Cell
from recurra.nn.cells.kernel import Kernel
from recurra.nn.contract.subject import (
    Results,
    Subject,
    copied,
    differing,
    draws,
    named,
    shown,
)
from recurra.nn.sequences import kernel_for
from recurra.nn.state import State, flatten, map_tensors
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers.base import Recurrence, Wrapper

__all__ = ["has_kernel", "is_the_step", "runs", "sees_no_future", "shares_nothing"]

LENGTHS = (3, 1)
SIZES = ((1, 1), (3, 1), (1, 3), (2, 2), (5, 7), (3, 17), (2, 40))


@dataclass(frozen=True)
class Case:
    """One way to run it: rows, steps, dtype, what is told, and how tensors lie."""

    rows: int = 2
    steps: int = 3
    dtype: torch.dtype = torch.float64
    started: bool = True
    turned: bool = False
    training: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """Return it in words."""
        kind = str(self.dtype).removeprefix("torch.") if self.dtype != torch.float64 else ""
        lengths = self.options.get("lengths")
        words = [
            f"B = {self.rows}, T = {self.steps}",
            *([] if lengths is None else [f"lengths {' and '.join(map(str, lengths.tolist()))}"]),
            *([kind] * bool(kind)),
            *(["tensors not contiguous"] * self.turned),
            *(["in training mode"] * self.training),
        ]
        return ", ".join(words)


def has_kernel(subject: Subject) -> bool:
    """Return whether anything in it runs on something else than the loop.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh()
    x = torch.zeros(2, 3, cell.input_size)
    return any(
        isinstance(kernel_for(part, x), Kernel)
        for part in cell.modules()
        if isinstance(part, Cell) or (isinstance(part, Wrapper) and part.stepwise())
    )


def runs(subject: Subject) -> Iterator[str]:
    """Sequences run.

    Args:
        subject: what is checked.
    """
    subject.doing = "the kernel" if has_kernel(subject) else "unroll"
    for training in (False, True):
        cell = subject.fresh(training=training)
        x = subject.x(2, 3, cell, torch.float32)
        try:
            unroll(cell, x, generator=torch.Generator().manual_seed(7))
        except Exception as error:  # a kernel of the user's may raise anything
            mode = ", in training mode" * training
            yield f"{subject.doing} raises {in_one_line(error)} (B = 2, T = 3{mode})"
            return


def is_the_step(subject: Subject) -> Iterator[str]:
    """The kernel gives what the loop over its step gives, and its gradients.

    Args:
        subject: what is checked.
    """
    if not has_kernel(subject):
        return
    lengths = {"lengths": torch.tensor(LENGTHS)}
    # in training mode wrappers may draw masks, and each of the two has its own
    trained = () if draws(subject.fresh()) else (Case(training=True),)
    several: tuple[tuple[Callable[[Subject, Case], str | None], Case], ...] = (
        (_forward, Case(started=False)),
        (_forward, Case()),
        (_forward, Case(options=lengths)),
        *((_forward, Case(rows, steps)) for rows, steps in SIZES),
        (_forward, Case(3, 4, turned=True)),
        (_backward, Case()),
        (_backward, Case(options=lengths)),
        (_backward, Case(5, 7)),
        (_backward, Case(3, 4, turned=True)),
        (_forward, Case(dtype=torch.float32)),
        (_backward, Case(dtype=torch.float32)),
        (_again, Case()),
        *((_forward, case) for case in trained),
        *((_backward, case) for case in trained),
    )
    for find, case in several:
        if fault := find(subject, case):
            yield fault
            return


def _tried(
    subject: Subject, how: Callable[..., Any], case: Case, within: bool = True
) -> tuple[Recurrence, Tensor, State, Results]:
    """Run it, `within` lengths or past them; returns the cell, the leaves, and what came out."""
    cell = subject.fresh(case.dtype, case.training)
    x = subject.x(case.rows, case.steps, cell, case.dtype)
    begin = subject.begins(case.rows, case.dtype) if case.started else None
    if case.turned:
        x = x.transpose(0, 2).contiguous().transpose(0, 2)
        begin = map_tensors(_turned, begin)
    x.requires_grad_()
    if begin is not None:
        begin = map_tensors(lambda t: t.requires_grad_() if t.is_floating_point() else t, begin)
    options = dict(case.options)
    if not within:  # what lies past the lengths reaches no kernel
        past = torch.arange(case.steps) >= options.pop("lengths").unsqueeze(1)
        x = x.masked_fill(past.unsqueeze(2), 0)
    y, after = how(cell, x, begin, generator=torch.Generator().manual_seed(7), **options)
    return cell, x, begin, named(y, after, "last")


def _turned(tensor: Tensor) -> Tensor:
    """Return the same numbers, lying in another order."""
    order = tuple(reversed(range(tensor.dim())))
    return tensor.permute(order).contiguous().permute(order)


def _forward(subject: Subject, case: Case) -> str | None:
    subject.doing = f"the kernel at {case.told()}"
    expected = _tried(subject, unroll_plain, case)[3]
    try:
        got = _tried(subject, unroll, case)[3]
    except Exception as error:  # a kernel of the user's may raise anything
        return f"the kernel raises {in_one_line(error)} ({case.told()})"
    for name, tensor in expected.items():
        if got[name].dtype != tensor.dtype:
            kinds = (str(each.dtype).removeprefix("torch.") for each in (got[name], tensor))
            return "the kernel gives {} of {}, the step of {} ({})".format(
                shown(name), *kinds, case.told()
            )
    if (found := differing(got, expected)) is None:
        return None
    name, off = found
    why = _why(subject, case, got, expected, name)
    return f"the kernel's {shown(name)} is not the step's{why} ({case.told()}; {off})"


def _why(subject: Subject, case: Case, got: Results, expected: Results, name: str) -> str:
    """Return what makes the difference, where that can be found out."""
    if "lengths" in case.options:
        whole = _tried(subject, unroll, case, within=False)[3]
        ends = {n: t for n, t in whole.items() if n != "output"}
        if differing({n: got[n] for n in ends}, ends) is None:
            return ": it does not heed lengths, its state is that after all steps"
        return " where rows end at lengths of their own"
    if case.started and differing(_tried(subject, unroll, Case(started=False))[3], got) is None:
        return ": it does not start from the state that it is given"
    if name == "output" and got[name].shape == expected[name].shape:
        ratio = (got[name] / expected[name]).detach()
        if float(ratio.std()) < 1e-3 * abs(float(ratio.mean())):
            return f", but {float(ratio.mean()):.3g} times it"
    return ""


def _backward(subject: Subject, case: Case) -> str | None:
    subject.doing = f"the gradient of the kernel at {case.told()}"
    expected = _gradients(subject, unroll_plain, case)
    try:
        got = _gradients(subject, unroll, case)
    except Exception as error:  # a kernel of the user's may raise anything
        return f"the gradient of the kernel raises {in_one_line(error)} ({case.told()})"
    most = 1e-4 if case.dtype == torch.float32 else 1e-7
    if (found := differing(got, expected, most)) is None:
        return None
    name, off = found
    zero = not got[name].any() and bool(expected[name].any())
    what = "is 0, as if cut off" if zero else "is not that of the step"
    return f"the kernel's gradient of {name} {what} ({case.told()}; {off})"


def _gradients(subject: Subject, how: Callable[..., Any], case: Case) -> Results:
    """Return the gradients of the outputs, of each part of the last state, and of all of them."""
    cell, x, begin, results = _tried(subject, how, case)
    leaves = {"x": x, **{f"the first {shown(n)}": t for n, t in flatten(begin).items()}}
    leaves |= dict(cell.named_parameters())
    leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    gradients = {}
    ends = {n: t for n, t in results.items() if t.requires_grad and t.is_floating_point()}
    for end, tensor in ends.items():
        weights = (torch.arange(tensor.numel()) + 1).sin().to(tensor.dtype).view_as(tensor)
        for how_much, given in (
            ("", weights),
            (" at equal weights", tensor.new_ones(()).expand_as(tensor)),
            (" at gradients not contiguous", _turned(weights)),
        ):
            found = torch.autograd.grad(
                tensor,
                list(leaves.values()),
                given,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for name, gradient in zip(leaves, found):
                gradients[f"{name} from the {shown(end)}{how_much}"] = gradient
    for name, leaf in leaves.items():  # where nothing of it can be differentiated
        gradients.setdefault(f"{name} from the output", torch.zeros_like(leaf))
    return gradients


def _again(subject: Subject, case: Case) -> str | None:
    """Return what is wrong where no gradient is asked for, or where it is run a second time."""
    subject.doing = "the kernel without gradients"
    cell = subject.fresh(torch.float64)
    x, state = subject.x(2, 3, cell), subject.begins(2)
    other = subject.x(2, 3, cell, seed=4)
    y, after = unroll_plain(cell, x, copied(state))
    expected = named(y, after, "last")
    with torch.no_grad():
        got = named(*unroll(cell, x, copied(state)), "last")
        if found := differing(got, expected):
            return (
                f"the kernel's {shown(found[0])} under torch.no_grad() is not the step's (B = 2, "
                f"T = 3; {found[1]})"
            )
        unroll(cell, other, copied(state))
        if found := differing(got, expected):
            return (
                f"the kernel writes a later call's {shown(found[0])} over that of an earlier one "
                f"(B = 2, T = 3; {found[1]})"
            )
        if found := differing(named(*unroll(cell, x, copied(state)), "last"), expected):
            return (
                f"the kernel gives another {shown(found[0])} at a second call (B = 2, T = 3; "
                f"{found[1]})"
            )
    return None


def sees_no_future(subject: Subject) -> Iterator[str]:
    """Later steps change no earlier output.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh(torch.float64)
    if any(isinstance(part, Wrapper) and part.looks_ahead for part in cell.modules()):
        return
    subject.doing = "unroll"
    x, state = subject.x(2, 4, cell), subject.begins(2)
    with torch.no_grad():
        before = unroll(cell, x, copied(state))[0]
        for later in (2.0, torch.nan, torch.inf):
            spoilt = x.clone()
            spoilt[:, 3] = later
            after = unroll(cell, spoilt, copied(state))[0]
            if found := differing({"y": after[:, :3]}, {"y": before[:, :3]}):
                yield (
                    f"the output of step 3 changes when the input of step 4 becomes {later:g}: the "
                    f"future leaks back (B = 2, T = 4; {found[1]})"
                )
                return


def shares_nothing(subject: Subject) -> Iterator[str]:
    """What `unroll` returns may be written over: neither input nor state nor weights change.

    Args:
        subject: what is checked.
    """
    subject.doing = "unroll"
    for T in (1, 3):
        cell = subject.fresh()
        x, state = subject.x(2, T, cell, torch.float32), subject.begins(2, torch.float32)
        with torch.no_grad():
            y, after = unroll(cell, x, state)
            kept = {
                "its input": x,
                **{f"the {shown(n)} it was given": t for n, t in flatten(state).items()},
            }
            kept |= {f"the last {shown(n)}": t for n, t in flatten(after).items()}
            kept |= {f"its {n}": t for n, t in (*cell.named_parameters(), *cell.named_buffers())}
            before = {name: tensor.detach().clone() for name, tensor in kept.items()}
            y.fill_(7.5)
            if found := differing(kept, before, 0.0):
                yield (
                    f"writing over the output of unroll changes {found[0]}, with which it shares "
                    f"memory (B = 2, T = {T})"
                )
                return
