"""Whether the rows of a batch know nothing of each other, nor of where they stand.

B rows, T steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from recurra.nn.cells.base import Cell, gates_of
from recurra.nn.contract.purity import called
from recurra.nn.contract.subject import (
    MODES,
    Results,
    Subject,
    apart,
    copied,
    differing,
    in_words,
    looks_ahead,
    rows_of,
    seeded,
    shortly,
    shown,
)
from recurra.nn.state import State, flatten, map_tensors

__all__ = ["has_gates", "keep_apart", "pass_nan"]


def keep_apart(subject: Subject) -> Iterator[str]:
    """Each row alone is the row in a batch, in any order.

    Args:
        subject: what is checked.
    """
    for training, graded in MODES:
        mode = in_words(training, graded)
        cell = subject.fresh(torch.float64, training)
        if training and not _deterministic(cell):
            return
        x, state = subject.x(3, 3, cell), subject.begins(3)

        def run(
            rows: Any,
            x: Tensor = x,
            state: State = state,
            how: tuple[bool, bool] = (training, graded),
        ) -> Any:
            subject.doing = f"a batch of {len(rows)}{in_words(*how)}"
            one = subject.fresh(torch.float64, how[0])
            with torch.set_grad_enabled(how[1]):
                found = called(subject, one, x[rows].clone(), rows_of(state, rows))
            return {name: tensor.detach() for name, tensor in found.items()}

        T = 3 if looks_ahead(cell) else 1
        fault = (
            _swapped(run, T) or _mixed(run, x, state, cell, T) or _alone(run, T) or _moved(run, T)
        )
        if fault:
            yield fault.replace(" (B =", f"{mode} (B =", 1)
            return


def _deterministic(cell: nn.Module) -> bool:
    return not any(type(part).__name__ in ("Dropout", "Zoneout") for part in cell.modules())


def _swapped(run: Any, T: int) -> str | None:
    together, apart_ = run([0, 1]), (run([0]), run([1]))
    for name, tensor in together.items():
        if tensor.shape[0] != 2 or any(each[name].shape[0] != 1 for each in apart_):
            continue
        first, second = (each[name][0] for each in apart_)
        crossed = apart(tensor[0], second) is None and apart(tensor[1], first) is None
        if crossed and apart(first, second) is not None:
            return (
                f"{shown(name)} comes back with its rows in another order: row 1's is that of row "
                f"2 (B = 2, T = {T}; {shortly(float((tensor[0] - first).abs().max()))})"
            )
    return None


def _mixed(run: Any, x: Tensor, state: State, cell: nn.Module, T: int) -> str | None:
    base = run([0, 1])
    other = x.clone()
    other[1] = x[2]
    changed = {"input": run([0, 1], x=other)}
    for part in flatten(state):
        changed[shown(part)] = run([0, 1], state=_with(state, part))
    for what, results in changed.items():
        for name, tensor in results.items():
            if (off := apart(tensor[0], base[name][0])) is not None:
                norm = next(
                    (
                        place
                        for place, part in cell.named_modules()
                        if isinstance(part, nn.modules.batchnorm._NormBase)
                    ),
                    None,
                )
                why = f" ({norm} takes statistics over the batch)" if norm else ""
                return (
                    f"row 1's {shown(name)} changes when row 2's {what} does: the step mixes the "
                    f"rows of a batch{why} (B = 2, T = {T}; {shortly(off)})"
                )
    return None


def _with(state: State, part: str) -> State:
    """Return a state whose third row stands in the place of the second, in one part."""
    parts = flatten(state)

    def other(tensor: Tensor) -> Tensor:
        if tensor is not parts[part]:
            return tensor
        made = tensor.clone()
        made[1] = tensor[2]
        return made

    return map_tensors(other, state)


def _alone(run: Any, T: int) -> str | None:
    for rows in ([0, 1], [0, 1, 2], [0, 1, 2, 0, 1]):
        together = run(rows)
        for n, row in enumerate(rows[:3]):
            for name, tensor in run([row]).items():
                if (off := apart(together[name][n], tensor[0])) is not None:
                    return (
                        f"row {n + 1}'s {shown(name)} alone is not that in a batch of "
                        f"{len(rows)}: the step depends on how many rows there are, or on where "
                        f"one stands (B = {len(rows)}, T = {T}; {shortly(off)})"
                    )
    return None


def _moved(run: Any, T: int) -> str | None:
    order = [2, 0, 1]
    straight, turned = run([0, 1, 2]), run(order)
    for name, tensor in straight.items():
        if (off := apart(turned[name], tensor[order])) is not None:
            return (
                f"rows in another order give another {shown(name)} (B = 3, T = {T}; {shortly(off)})"
            )
    return None


def pass_nan(subject: Subject) -> Iterator[str]:
    """A NaN in a row is seen in that row, and in no other.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh(torch.float64)
    x, state = subject.x(3, 1, cell), subject.begins(3)
    subject.doing = "a step at a NaN"

    def run(x: Tensor) -> Results:
        with torch.no_grad():
            return called(
                subject, subject.fresh(torch.float64), x[:2].clone(), rows_of(state, [0, 1])
            )

    base, moved, spoilt = run(x), x.clone(), x.clone()
    moved[1], spoilt[1] = x[2], torch.nan
    depends, result = run(moved), run(spoilt)
    for name, tensor in result.items():
        if not tensor[0].isfinite().all() and base[name][0].isfinite().all():
            yield (
                f"row 1's {shown(name)} is not finite where row 2's input is NaN (B = 2, T = 1): "
                "the step mixes the rows of a batch, if by a product with 0"
            )
            return
    for name, tensor in result.items():
        hangs = apart(depends[name][1], base[name][1]) is not None
        if hangs and tensor.is_floating_point() and not tensor[1].isnan().any():
            yield (
                f"a NaN in the input does not reach the {shown(name)}, which depends on it (B = "
                "1, T = 1): it is hidden, as by nan_to_num, and nobody learns of it"
            )
            return


def has_gates(subject: Subject) -> Iterator[str]:
    """Its gates, where its class states some, are those of a step: of each row, and no more.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh()
    if not isinstance(cell, Cell):
        return
    subject.doing = "gates(x, state)"
    for rows in (2, 3):
        x, state = (
            subject.x(rows, 1, cell, torch.float32)[:, 0],
            subject.begins(rows, torch.float32),
        )
        found = []
        with torch.no_grad():
            for seed in (11, 12):
                given, start = x.clone(), copied(state)
                with seeded(seed):
                    found.append(gates_of(cell, given, start))
                changed = differing({"x": given, **flatten(start)}, {"x": x, **flatten(state)}, 0.0)
                if changed:
                    yield f"gates(x, state) changes its {shown(changed[0])} in place (B = {rows})"
                    return
        if fault := _wrong_gates(found[0], rows):
            yield f"gates(x, state) gives {fault}"
            return
        if differs := differing(found[1], found[0]):
            yield (
                f"gates(x, state) gives another {differs[0]} the second time (B = {rows}; "
                f"{differs[1]}): something in it is random, or kept between calls"
            )
            return


def _wrong_gates(gates: Any, rows: int) -> str | None:
    if not isinstance(gates, dict):
        return f"{type(gates).__name__}, expected a dict of names and tensors"
    for name, gate in gates.items():
        if not isinstance(gate, Tensor):
            return f"{name} of type {type(gate).__name__}, expected a tensor"
        if gate.dim() < 1 or gate.shape[0] != rows:
            return f"{name} of shape {tuple(gate.shape)}, expected {rows} rows"
    return None
