"""Whether what holds of few rows, steps and units holds of more, and of large inputs.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.errors import in_one_line
from recurra.nn.contract.kernel import has_kernel
from recurra.nn.contract.purity import called
from recurra.nn.contract.slopes import ALLOWED, SMALL, weighed
from recurra.nn.contract.subject import (
    Results,
    Subject,
    copied,
    differing,
    is_smooth,
    learned,
    named,
    rows_of,
    shown,
)
from recurra.nn.state import State, flatten, map_tensors
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers.base import Recurrence

__all__ = ["at", "at_other_sizes", "sized"]

B, T = 9, 64
LARGE = 10.0
"""How large inputs are, in all rows but the first three."""

TRIED = (6, 8, 12, 16, 5, 10, 9, 15, 7, 14, 24, 32, 64)
"""Which numbers of units are tried, where four are refused."""

WIDTHS = (20, 72)
ALLOWED_IN_ALL = 1e-3
"""That of all leaves at once over many steps, which bend more."""

MOST_GROWTH = 1e2
"""By how much a change of the input may grow on its way, or rounding would be all that is seen."""

Run = Callable[[Tensor, State], Results]


class Place(NamedTuple):
    """A cell and the numbers at which it is asked: `x (B, T, I)` and the state before them."""

    cell: Recurrence
    x: Tensor
    state: State
    told: str


def sized(
    make: Callable[[int, int], Recurrence],
    name: str,
    input_size: int | None,
    output_size: int | None,
) -> Subject:
    """Return what is made of two sizes, at those given, or at the first that the constructor takes.

    Args:
        make: makes one of I and O.
        name: what it is called.
        input_size: I; what it takes for None.
        output_size: O; what it takes for None.
    """
    pairs = [(input_size or 3, output_size or 4)]
    if output_size is None:
        pairs += [(input_size or 3, width) for width in TRIED]
    if input_size is None:
        pairs += [(width, width) for width in ([output_size] if output_size else (4, *TRIED))]
    first = ""
    for sizes in pairs:
        subject = Subject(partial(make, *sizes), name, make, sizes)
        try:
            subject.fresh()
        except Exception as error:  # a constructor of the user's may raise anything
            first = first or in_one_line(error)
            if not isinstance(error, ValueError | AssertionError | RuntimeError | ArithmeticError):
                break  # whatever the size is
        else:
            if first:
                at, refused = (f"{inputs} -> {units}" for inputs, units in (sizes, pairs[0]))
                subject.limits.append(f"made of {at}, as {refused} is refused: {first}")
            return subject
    subject = Subject(partial(make, *pairs[0]), name, make, pairs[0])
    units = ", ".join(dict.fromkeys(str(units) for _, units in pairs))
    subject.refused = True
    subject.tried = (
        f" (units that were tried: {units})" if output_size is None and len(pairs) > 1 else ""
    )
    return subject


def at(subject: Subject, width: int) -> Subject | None:
    """Return it at another width, or at one near it that it takes; None where there is none.

    Args:
        subject: what is checked.
        width: O.
    """
    if subject.sized is None:
        return None
    inputs, units = subject.sizes
    for near in (width, width + 1, width + 3, width + 4, width + 8, width + 5, width - 2):
        made = sized(subject.sized, subject.name, near if inputs == units else inputs, near)
        if not made.refused:
            return made
    return None


def at_other_sizes(subject: Subject) -> Iterator[str]:
    """At nine rows, 64 steps, inputs up to 10, and at other widths, steps and kernels hold too.

    Args:
        subject: what is checked.
    """
    for each in (subject, *(at(subject, width) for width in WIDTHS)):
        if each is None:  # it is of one width alone
            continue
        wide = each is not subject
        try:
            fault = _of_a_step(each, wide) or _of_sequences(each, wide)
        except Exception as error:  # a cell of the user's may raise anything
            units = each.fresh().output_size
            fault = f"{each.doing} raises {in_one_line(error)} (B = {B}, {units} units)"
        if fault:
            yield fault
            return


def _inputs(subject: Subject, cell: Recurrence, steps: int, seed: int = 3) -> Tensor:
    x = subject.x(B, steps, cell, seed=seed)
    drawn = torch.Generator().manual_seed(seed)
    large = torch.rand(x[3:].shape, generator=drawn, dtype=x.dtype) * 2 - 1
    return torch.cat([x[:3], LARGE * large])


def _of_a_step(subject: Subject, wide: bool) -> str | None:
    """Return what is wrong with a step of many rows: that after 63 steps, of what is not wide."""
    found = None
    for seed in (3, 13):  # a kink may lie at one place, at two it does not
        cell = subject.fresh(torch.float64)
        subject.doing = "a step of many rows"
        x, state = _inputs(subject, cell, 1, seed), subject.begins(B)
        steps = 1
        if not wide:
            with torch.no_grad():
                before = unroll_plain(cell, subject.x(B, T - 1, cell, seed=seed), copied(state))[1]
            if all(_moderate(part) for part in flatten(before).values()):
                state, steps = copied(before), T
        told = f"B = {B}, T = {steps}, {cell.output_size} units, inputs up to {LARGE:g}"
        place = Place(cell, x, state, told)
        if fault := _mixed(subject, place):
            return fault
        found = _first_wrong(place, partial(called, subject, cell), split=True)
        if found is None:
            return None
    return found


def _moderate(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    return bool(tensor.isfinite().all()) and float(tensor.abs().max()) < 1e6


def _mixed(subject: Subject, place: Place) -> str | None:
    cell, x, state, told = place
    with torch.no_grad():
        together = called(subject, cell, x.clone(), copied(state))
        parts = [
            called(subject, cell, x[rows].clone(), rows_of(state, rows))
            for rows in (slice(0, 4), slice(4, B))
        ]
    apart = {name: torch.cat([part[name] for part in parts]) for name in together}
    if found := differing(together, apart):
        return (
            f"the {shown(found[0])} of {B} rows is not that of 4 and of 5 of them: the step "
            f"depends on how many rows there are ({told}; {found[1]})"
        )
    return None


def _first_wrong(place: Place, run: Run, split: bool) -> str | None:
    """Return what is wrong with the first leaf of which something is; or with all as one."""
    cell, x, state, told = place
    parts = {n: t for n, t in flatten(state).items() if is_smooth(t) and not t.is_complex()}
    weights = {n: p for n, p in learned(cell).items() if p.dtype == torch.float64}
    leaves = {"x": x, **parts, **weights}
    drawn = torch.Generator().manual_seed(9)
    along = {n: torch.randn(t.shape, generator=drawn, dtype=x.dtype) for n, t in leaves.items()}

    def moved(names: list[str], size: float, graded: bool = False) -> tuple[Results, list[Tensor]]:
        kept = {n: p.detach().clone() for n, p in weights.items()}
        at = {n: (t + size * along[n] * (n in names)).detach() for n, t in leaves.items()}
        given = {n: at[n].requires_grad_(graded) for n in ("x", *parts)}
        with torch.no_grad():
            for name in weights.keys() & {*names}:
                weights[name].copy_(at[name])
        begin = map_tensors(
            lambda t: next((given[n] for n, p in parts.items() if p is t), t.clone()), state
        )
        with torch.set_grad_enabled(graded):
            results = run(given["x"], begin)
        with torch.no_grad():
            for name in () if graded else weights.keys() & {*names}:
                weights[name].copy_(kept[name])
        return results, [given.get(n, weights.get(n, x)) for n in leaves]

    results, at = moved([], 0.0, graded=True)
    slopes = {end: _gradients(tensor, at) for end, tensor in results.items()}
    for names in [[name] for name in leaves] if split else [list(leaves)]:
        above, below = (moved(names, size)[0] for size in (SMALL, -SMALL))
        for end, found in slopes.items():
            up, down = (weighed(each[end]) for each in (above, below))
            if found is None or up is None or down is None:
                continue
            pairs = zip(leaves, found)
            got = sum(float((g * along[n]).sum()) for n, g in pairs if g is not None and n in names)
            expected = float(up - down) / (2 * SMALL)
            noise = 1e-7 + 1e-8 * float(results[end].detach().abs().sum())
            allowed = ALLOWED if split else ALLOWED_IN_ALL
            if not abs(got - expected) <= allowed * max(abs(expected), abs(got)) + noise:
                return _told(names, end, got, expected, told)
    return None


def _told(names: list[str], end: str, got: float, expected: float, told: str) -> str:
    (name,) = names if len(names) == 1 else ("x, state and parameters",)
    what = f"the {shown(name)} before it" if name.startswith("state") else name
    if abs(got) < 1e-9:
        return (
            f"no gradient of the {shown(end)} reaches {what}: it is 0, by finite differences "
            f"{expected:.3g} ({told}); something cuts it off at this size, not at a small one"
        )
    return (
        f"the gradient of the {shown(end)} by {what} is {got:.3g} along a line, by finite "
        f"differences {expected:.3g} ({told}); at a small size it is right"
    )


def _gradients(tensor: Tensor, leaves: list[Tensor]) -> list[Tensor | None] | None:
    """Return the gradient by each leaf; None where the end is of no numbers that move."""
    loss = weighed(tensor) if tensor.is_floating_point() else None
    if loss is None:
        return None
    wanted = [n for n, leaf in enumerate(leaves) if leaf.requires_grad]
    found: list[Tensor | None] = [None] * len(leaves)
    if loss.requires_grad:
        some = [leaves[n] for n in wanted]
        all_of = torch.autograd.grad(loss, some, retain_graph=True, allow_unused=True)
        for n, gradient in zip(wanted, all_of):
            found[n] = gradient
    return found


def _of_sequences(subject: Subject, wide: bool) -> str | None:
    """Return what is wrong with sequences: with the loop's gradient, or the kernel beside it."""
    kernel = has_kernel(subject)
    if wide and (not kernel or subject.fresh().output_size < WIDTHS[-1] - WIDTHS[0]):
        return None
    subject.doing = "unroll over many steps"
    place = _tame(subject)
    if place is None:
        return None
    cell, _, _, told = place

    def whole(how: Callable[..., Any], lengths: Tensor | None = None) -> Run:
        def run(x: Tensor, state: State) -> Results:
            drawn = torch.Generator().manual_seed(7)
            y, after = how(cell, x, state, lengths=lengths, generator=drawn)
            return named(y, after, "last")

        return run

    if not wide and (fault := _first_wrong(place, whole(unroll_plain), split=False)):
        return fault
    ends = torch.tensor([T, 1, 0, 63, 40, 41, 17, 33, 64])
    for lengths in (None, ends)[: 0 if not kernel else 1 if wide else 2]:
        expected, got = (_everything(place, whole(how, lengths)) for how in (unroll_plain, unroll))
        if found := differing(got, expected, 1e-7):
            lent = "" if lengths is None else ", lengths of their own"
            return f"the kernel's {found[0]} is not the step's ({told}{lent}; {found[1]})"
    return None


def _tame(subject: Subject) -> Place | None:
    """Return it with weights so small that a change of the input does not grow on its way."""
    for halvings in range(6):
        cell = subject.fresh(torch.float64)
        x, state = _inputs(subject, cell, T), subject.begins(B)
        with torch.no_grad():
            for parameter in cell.parameters():
                if parameter.is_floating_point():
                    parameter.mul_(0.5**halvings)
            y, other = (unroll_plain(cell, x + shift, copied(state))[0] for shift in (0, 1e-7))
        growth = float((y - other).abs().max()) / 1e-7
        if growth <= MOST_GROWTH:  # of a NaN it is not
            smaller = f", weights by {0.5**halvings:g}" if halvings else ""
            size = f"B = {B}, T = {T}, {cell.output_size} units, inputs up to {LARGE:g}{smaller}"
            return Place(cell, x, state, size)
    return None


def _everything(place: Place, run: Run) -> Results:
    """Return what comes out, and the gradient of all of it by input, state and parameters."""
    cell, x, state, _ = place
    x = x.clone().requires_grad_()
    state = map_tensors(lambda t: t.clone().requires_grad_() if is_smooth(t) else t.clone(), state)
    results = run(x, state)
    leaves = {"x": x, **{f"the first {shown(n)}": t for n, t in flatten(state).items()}}
    leaves |= learned(cell)
    leaves = {n: leaf for n, leaf in leaves.items() if leaf.requires_grad}
    ends = [t for t in results.values() if t.is_floating_point() and t.requires_grad]
    if not ends:
        return results
    total = torch.stack([loss for loss in map(weighed, ends) if loss is not None]).sum()
    found = torch.autograd.grad(
        total, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return results | {f"gradient of {name}": g for name, g in zip(leaves, found)}
