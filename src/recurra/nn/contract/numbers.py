"""Whether numbers are of the dtype that is asked for, all the way, and where it says.

B rows, T steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from recurra.errors import in_one_line
from recurra.nn.contract.purity import called
from recurra.nn.contract.subject import (
    Results,
    Subject,
    copied,
    differing,
    is_smooth,
    learned,
    looks_ahead,
    loose,
    shown,
)
from recurra.nn.state import flatten, map_tensors
from recurra.nn.unroll import unroll

__all__ = ["in_float32", "of_every_dtype", "on_every_device", "precise"]

HALF = (torch.bfloat16, torch.float16)
SINGLE = 1e-3
"""How far numbers of float32 may be from those of float64, beside the largest of them."""
UNTAKEN = ("not implemented", "to be Half, Float or Double", "ComplexHalf", "ComplexBFloat16")
"""Words of torch where it has no operation of a half, nor complex numbers of them."""


def of_every_dtype(subject: Subject) -> Iterator[str]:
    """It computes in the dtype of its weights and input: float64, float32 and the halves.

    Args:
        subject: what is checked.
    """
    refused: dict[str, str] = {}
    for dtype in (torch.float64, *HALF):
        kind = str(dtype).removeprefix("torch.")
        subject.doing = f"a step in {kind}"
        cell = subject.fresh(dtype)
        x, state = subject.x(2, 2, cell, dtype), cell.initial_state(2)
        before = flatten(state)
        for name, tensor in before.items():
            if tensor.is_floating_point() and tensor.dtype != dtype:
                given = f"{shown(name)} of {_kind(tensor)}"
                yield f"after .to(torch.{kind}) initial_state() gives {given}"
                return
        try:
            with torch.no_grad():
                results = called(subject, cell, x, state)
        except RuntimeError as error:
            if dtype in HALF and any(words in str(error) for words in UNTAKEN):
                refused[kind] = in_one_line(error)
                continue  # an operation that torch has not, and says so
            left = _left_behind(cell)
            yield f"{subject.doing} raises {in_one_line(error)}{left}"
            return
        kinds = {
            "output": dtype,
            **{n: t.dtype for n, t in zip(list(results)[1:], before.values())},
        }
        for name, tensor in results.items():
            if tensor.dtype != kinds[name]:
                yield (
                    f"{shown(name)} is of {_kind(tensor)} where input, weights and state are of "
                    f"{kind} (B = 2, T = 1)"
                )
                return
    if refused:
        are = "is" if len(refused) == 1 else "are"
        said = next(iter(refused.values()))
        subject.limits.append(f"{' and '.join(refused)} {are} not taken: {said}")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _left_behind(cell: nn.Module) -> str:
    names = [name for name, found, *_ in loose(cell) if isinstance(found, Tensor)]
    return (
        f": self.{names[0]} is neither a parameter nor a buffer, so .to() leaves it behind; "
        "register_buffer keeps it"
        if names
        else ""
    )


def precise(subject: Subject) -> Iterator[str]:
    """In float64 the smallest change of a number is seen: nothing inside is of float32.

    Args:
        subject: what is checked.
    """
    subject.doing = "a step in float64"
    leaves = ["x", *flatten(subject.begins(2)), *dict(subject.fresh().named_parameters())]
    for leaf in leaves:
        slopes = []
        for small in (1e-8, 1e-5):
            ends = [_moved(subject, leaf, size) for size in (small, -small)]
            if ends[0] is None or ends[1] is None:
                break
            slopes.append((ends[0] - ends[1]) / (2 * small))
        if len(slopes) < 2:
            continue
        off = (slopes[0] - slopes[1]).abs().max()
        scale = slopes[1].abs().max()
        if float(off) > 1e-2 * float(scale) + 1e-5:
            what = "its input" if leaf == "x" else f"its {shown(leaf)}"
            yield (
                f"it computes with less than float64 where its weights and input are of float64: "
                f"a change of 1e-8 in {what} is lost, one of 1e-5 is not (B = 2, T = 1): "
                "something inside is cast to float32"
            )
            return


def in_float32(subject: Subject) -> Iterator[str]:
    """In float32 numbers and gradients are about those in float64.

    Args:
        subject: what is checked.
    """
    subject.doing = "a step in float32"
    narrow, wide = (_graded(subject, dtype) for dtype in (torch.float32, torch.float64))
    if found := differing(narrow, wide, SINGLE):
        name, off = found
        got, expected = narrow[name].double(), wide[name].double()
        ratio = float((got * expected).sum() / (expected * expected).sum())
        about = abs(ratio - 1) > 0.01 and differing({name: got}, {name: ratio * expected}, SINGLE)
        times = "" if about is not None else f", but {ratio:.2g} times it"
        yield f"{shown(name)} in float32 is not that in float64{times} (B = 2, T = 1; {off})"


def _graded(subject: Subject, dtype: torch.dtype) -> Results:
    """Return what a step gives, and its gradients."""
    cell = subject.fresh(dtype)
    kind = torch.complex64 if dtype == torch.float32 else torch.complex128

    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(kind)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    x = subject.x(2, 3, cell, dtype).requires_grad_()
    results = called(subject, cell, x, map_tensors(cast, subject.begins(2)))
    loss = torch.zeros((), dtype=torch.float64)
    for each in results.values():
        if each.is_floating_point() or each.is_complex():
            reals = torch.view_as_real(each) if each.is_complex() else each
            weights = (torch.arange(reals.numel(), dtype=torch.float64) + 1).sin()
            loss = loss + (reals.double() * weights.view_as(reals)).sum()
    leaves = {"x": x, **learned(cell)}
    found = {name: each.detach() for name, each in results.items()}
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        for name, each in zip(leaves, gradients):
            if each is not None:
                found[f"the gradient of {name}"] = each
    return found


def _moved(subject: Subject, leaf: str, size: float) -> Tensor | None:
    """Return all that a step gives, as one vector, where a leaf has moved."""
    cell = subject.fresh(torch.float64)
    x, state = subject.x(2, 3, cell), subject.begins(2)
    drawn = torch.Generator().manual_seed(9)

    def move(tensor: Tensor) -> Tensor:
        along = torch.randn(tensor.shape, generator=drawn, dtype=torch.float64)
        return tensor + size * along

    parameters = dict(cell.named_parameters())
    with torch.no_grad():
        if leaf == "x":
            x = move(x)
        elif leaf in parameters:
            if parameters[leaf].dtype != torch.float64:
                return None
            parameters[leaf].copy_(move(parameters[leaf]))
        else:
            part = flatten(state)[leaf]
            if not is_smooth(part) or part.is_complex():
                return None
            state = map_tensors(lambda each: move(each) if each is part else each, state)
        results = called(subject, cell, x, copied(state)).values()
    return torch.cat([each.double().flatten() for each in results if each.is_floating_point()])


def on_every_device(subject: Subject) -> Iterator[str]:
    """All that it makes is where its input is, as it is tried on meta.

    Args:
        subject: what is checked.
    """
    subject.doing = "unroll on another device (meta)"
    cell = subject.fresh()
    left = _left_behind(cell)
    on_meta = cell.to("meta")
    x = torch.empty(2, 3, cell.input_size, device="meta")
    try:
        y, after = unroll(on_meta, x, on_meta.initial_state(2, device=torch.device("meta")))
        if not looks_ahead(cell):
            subject.step(on_meta, x[:, 0], on_meta.initial_state(2))
    except (RuntimeError, NotImplementedError, ValueError) as error:
        said = str(error)
        blind = ("item()", "Cannot copy out of meta", "data-dependent", "nonzero", "Meta tensors")
        if isinstance(error, NotImplementedError) or any(word in said for word in blind):
            return  # it looks at numbers, which meta has none of
        yield f"{subject.doing} raises {in_one_line(error)}{left}; make tensors like x: x.new_zeros"
        return
    for name, tensor in {"output": y, **flatten(after, "last state")}.items():
        if not tensor.is_meta:
            yield f"{subject.doing} gives {shown(name)} on {tensor.device}: its device is fixed"
            return
