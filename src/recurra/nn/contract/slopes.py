"""Whether gradients are those of finite differences, in float64, tensor by tensor.

B rows, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from recurra.nn.contract.purity import called, in_words, whole
from recurra.nn.contract.subject import (
    Results,
    Subject,
    copied,
    draws,
    is_smooth,
    learned,
    looks_ahead,
    shown,
)
from recurra.nn.state import State, flatten, map_tensors
from recurra.nn.unroll import unroll_plain
from recurra.nn.wrappers.base import Recurrence

__all__ = ["ALLOWED", "SMALL", "are_finite", "keep_apart", "of_sequences", "of_steps", "weighed"]

SMALL = 1e-6
ALLOWED = 1e-4
"""How far a slope may be from that of finite differences, beside the largest of them."""

Run = Callable[[Recurrence, Tensor, State], Results]


def of_steps(subject: Subject) -> Iterator[str]:
    """The gradients of a step are those of finite differences, in input, state and parameters.

    Args:
        subject: what is checked.
    """
    if looks_ahead(subject.fresh()):
        return
    subject.doing = "the gradient of a step"
    for training in (False, True):
        if training and draws(subject.fresh()):
            return  # wrappers may draw masks

        def run(cell: Recurrence, x: Tensor, state: State, training: bool = training) -> Results:
            return called(subject, cell.train(training), x, state)

        fault = _first_wrong(subject, run, 1, False) or _bent(subject, run, 1)
        if fault:
            yield fault.replace(" (B =", f"{in_words(training, False)} (B =", 1)
            return


def of_sequences(subject: Subject) -> Iterator[str]:
    """The gradients of sequences are, from a state that is given and from the initial one.

    Args:
        subject: what is checked.
    """
    subject.doing = "the gradient of unroll"
    subject.limits += _unused(subject)
    for from_start in (False, True):
        fault = _first_wrong(subject, whole, 3, from_start) or _bent(subject, whole, 3)
        if fault:
            yield fault
            return


def _unused(subject: Subject) -> list[str]:
    """Return, in sentences, of which parameters nothing depends, in training or outside of it."""
    left: dict[str, None] | None = None
    for training in (False, True):
        cell = subject.fresh(torch.float64, training)
        parameters = learned(cell)
        x = subject.x(2, 3, cell)
        y, after = unroll_plain(cell, x, generator=torch.Generator().manual_seed(7))
        ends = [each for each in (y, *flatten(after).values()) if each.requires_grad]
        if not ends or not parameters:
            return []
        losses = [loss for loss in map(weighed, ends) if loss is not None]
        total = sum(losses, torch.zeros((), dtype=torch.float64))
        found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        unused = [n for n, g in zip(parameters, found) if g is None]
        left = dict.fromkeys(n for n in unused if left is None or n in left)
    return [f"nothing that comes out depends on {name}" for name in left or ()]


def _first_wrong(subject: Subject, run: Run, T: int, from_start: bool) -> str | None:
    """Return what is wrong with the first leaf of which something is."""
    parts = [] if from_start else flatten(subject.begins(2))
    for leaf in ["x", *parts, *learned(subject.fresh())]:
        for end, (got, expected) in _slopes(subject, run, T, from_start, leaf).items():
            if abs(got - expected) > ALLOWED * max(abs(expected), abs(got)) + 1e-7:
                return _told(leaf, got, expected, end, T, from_start)
    return None


def _told(leaf: str, got: float, expected: float, end: str, T: int, from_start: bool) -> str:
    what = "x" if leaf == "x" else f"the first {shown(leaf)}" if leaf.startswith("state") else leaf
    where = f"(B = 2, T = {T}{', from initial_state' * from_start})"
    if abs(got) < 1e-9:
        return (
            f"no gradient of the {shown(end)} reaches {what}: it is 0, by finite differences "
            f"{expected:.2g} {where}; something cuts it off, as detach() or .data do"
        )
    ratio = got / expected if expected else float("inf")
    times = f", {ratio:.2g} times it" if 0.01 < abs(ratio) < 100 else ""
    return (
        f"the gradient of the {shown(end)} by {what} is {got:.2g} along a line, by finite "
        f"differences {expected:.2g}{times} {where}"
    )


def _slopes(
    subject: Subject, run: Run, T: int, from_start: bool, leaf: str
) -> dict[str, tuple[float, float]]:
    """Return the slope of each end along a line, by autograd and by differences."""
    results, along, tensor = _outcome(subject, run, T, from_start, leaf, 0.0, graded=True)
    if tensor is None:
        return {}
    above, below = (
        _outcome(subject, run, T, from_start, leaf, size)[0] for size in (SMALL, -SMALL)
    )
    found = {}
    for end, result in results.items():
        loss, up, down = (weighed(each) for each in (result, above[end], below[end]))
        if loss is None or up is None or down is None:
            continue
        got = 0.0
        if loss.requires_grad:
            (slope,) = torch.autograd.grad(loss, [tensor], retain_graph=True, allow_unused=True)
            got = 0.0 if slope is None else float((slope * along).sum())
        found[end] = got, float(up - down) / (2 * SMALL)
    return found


def weighed(tensor: Tensor) -> Tensor | None:
    """Return a sum of numbers, each by a weight of its own; None of what is not made of any.

    Args:
        tensor: what comes out.
    """
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if not tensor.is_floating_point():
        return None
    weights = (torch.arange(tensor.numel(), dtype=torch.float64) + 1).sin().view_as(tensor)
    return (tensor.double() * weights).sum()


def _outcome(
    subject: Subject,
    run: Run,
    T: int,
    from_start: bool,
    leaf: str,
    size: float,
    graded: bool = False,
) -> tuple[Results, Tensor, Any]:
    """Run with one leaf moved along a line; returns the results, the line and the leaf."""
    cell = subject.fresh(torch.float64)
    x, state = subject.x(2, T, cell), None if from_start else subject.begins(2)
    parameters = dict(cell.named_parameters())
    parts = {} if state is None else flatten(state)
    at: Any = x if leaf == "x" else parameters.get(leaf, parts.get(leaf))
    smooth = leaf == "x" or leaf in parameters or (at is not None and is_smooth(at))
    if not smooth or at is None or at.is_complex() or at.dtype != torch.float64:
        return {}, torch.empty(0), None
    along = torch.randn(at.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    if leaf in parameters:
        with torch.no_grad():
            at.add_(size * along)
    else:
        at = (at + size * along).requires_grad_(graded)
        x = at if leaf == "x" else x
        old = parts.get(leaf)
        state = map_tensors(lambda each: at if each is old else each, state) if parts else state
    with torch.set_grad_enabled(graded):
        if state is None and not from_start:
            state = subject.begins(2)
        return run(cell, x, state), along, at


def _bent(subject: Subject, run: Run, T: int) -> str | None:
    """Return what is wrong where gradients do not grow as the loss does."""
    found = []
    for factor in (1.0, 1e4, 1e-4):
        cell = subject.fresh(torch.float64)
        x, state = subject.x(2, T, cell).requires_grad_(), subject.begins(2)
        state = map_tensors(lambda t: t.requires_grad_() if is_smooth(t) else t, state)
        results = run(cell, x, state)
        losses = [loss for loss in map(weighed, results.values()) if loss is not None]
        leaves = {"x": x, **learned(cell)}
        total = sum(losses, torch.zeros((), dtype=torch.float64)) * factor
        if not total.requires_grad:
            return None
        gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        found.append({n: g / factor for n, g in zip(leaves, gradients) if g is not None})
    for name, gradient in found[0].items():
        for factor, other in zip((1e4, 1e-4), found[1:]):
            off = float((other[name] - gradient).abs().max())
            if off > 1e-6 * float(gradient.abs().max()) + 1e-12:
                return (
                    f"the gradient of {name} does not grow with the loss: at {factor:g} times the "
                    f"loss it is not {factor:g} times as large (B = 2, T = {T}; off by {off:.2g} "
                    "of it); a hook or a function of its own clips or changes it"
                )
    return None


def keep_apart(subject: Subject) -> Iterator[str]:
    """No gradient passes from one row to another.

    Args:
        subject: what is checked.
    """
    subject.doing = "the gradient of unroll"
    cell = subject.fresh(torch.float64)
    x, state = subject.x(3, 3, cell).requires_grad_(), subject.begins(3)
    results = whole(cell, x, copied(state))
    for name, tensor in results.items():
        loss = weighed(tensor[:1])
        if loss is None or not loss.requires_grad:
            continue
        (gradient,) = torch.autograd.grad(loss, [x], retain_graph=True, allow_unused=True)
        if gradient is not None and gradient[1:].any():
            yield (
                f"a gradient passes from row 1's {shown(name)} to the input of another row (B = 3, "
                f"T = 3; {float(gradient[1:].abs().max()):.2g})"
            )
            return


def are_finite(subject: Subject) -> Iterator[str]:
    """At an input of zeros, as padding is, output and gradients are finite.

    Args:
        subject: what is checked.
    """
    subject.doing = "unroll over padding"
    cell = subject.fresh(torch.float64)
    x = torch.zeros(2, 3, cell.input_size, dtype=torch.float64, requires_grad=True)
    results = whole(cell, x, None)
    for name, tensor in results.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            yield (
                f"the {shown(name)} is not finite for an input of zeros from initial_state (B = 2, "
                "T = 3), which padding is: lengths and masks do not help against it"
            )
            return
    leaves = {"x": x, **learned(cell)}
    losses = [loss for loss in map(weighed, results.values()) if loss is not None]
    total = sum(losses, torch.zeros((), dtype=torch.float64))
    if not total.requires_grad:
        return
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients):
        if gradient is not None and not gradient.isfinite().all():
            yield (
                f"the gradient of {name} is NaN for an input of zeros from initial_state (B = 2, "
                "T = 3), which padding is: one such row spoils the whole batch's"
            )
            return
