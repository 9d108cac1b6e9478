"""Kernels of someone's own, held once against the step that they stand for.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from recurra.errors import ConfigError, RecurraError, in_one_line
from recurra.nn.cells.base import Cell, kernel_of
from recurra.nn.cells.kernel import Kernel
from recurra.nn.kernels.compiler.compiled import unserved
from recurra.nn.state import State, flatten, map_tensors, where
from recurra.nn.wrappers.base import Recurrence, StepPass
from recurra.nn.wrappers.masks import Masks

__all__ = ["is_foreign", "knowing_no_autocast", "prove", "prove_within", "trusting"]

B, T = 2, 3
"""The shapes at which a kernel is tried."""

ALLOWED = {torch.float64: 1e-8, torch.float32: 1e-4}
"""Dtype -> how far a kernel's numbers may lie from the step's, beside the largest; else `LOOSE`."""
LOOSE = 5e-2

PLAIN = (bool, int, float, str, type(None))

_proven: WeakKeyDictionary[type, set[Any]] = WeakKeyDictionary()
_trusted: ContextVar[bool] = ContextVar("trusted", default=False)


def is_foreign(inner: Recurrence) -> bool:
    """Return whether the class of a recurrence is someone's own.

    Args:
        inner: a cell or wrapper.

    Example:
        >>> is_foreign(Cell(3, 5))
        False
    """
    return not type(inner).__module__.startswith("recurra.")


@contextmanager
def trusting() -> Iterator[None]:
    """Run kernels as they are within, as who finds out by himself what is wrong with one.

    Example:
        >>> with trusting():
        ...     pass
    """
    token = _trusted.set(True)
    try:
        yield
    finally:
        _trusted.reset(token)


def prove(inner: Recurrence, kernel: Kernel, x: Tensor) -> None:
    """Raise ConfigError unless a kernel of someone's own does what the step does.

    It is tried once for each class, its plain settings, dtype and device, at two rows and three
    steps, forward and backward, with and without lengths. Where a compiler reads along, or a
    transform is at work, it is not.

    Args:
        inner: a cell or wrapper.
        kernel: of it.
        x: the sequences, or anything of their device and dtype.
    """
    if not is_foreign(inner) or torch.compiler.is_compiling() or _trusted.get():
        return
    if unserved(x) or hasattr(x, "fake_mode") or type(x) not in (Tensor, torch.nn.Parameter):
        return
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        return
    settings = {k: v for k, v in vars(inner).items() if isinstance(v, PLAIN)}
    told = tuple(sorted(settings.items(), key=str))
    key = (kernel.name, x.dtype, x.device.type, torch.is_grad_enabled(), told)
    if key in (known := _proven.setdefault(type(inner), set())):
        return
    with trusting(), torch.autocast(x.device.type, enabled=False):
        _compare(inner, x)
    known.add(key)


def prove_within(model: torch.nn.Module) -> None:
    """Prove the kernel of every cell of someone's own in a model, before it is trained.

    Args:
        model: any.

    Raises:
        ConfigError: a kernel does not do what the step does.

    Example:
        >>> prove_within(torch.nn.Sequential(torch.nn.Linear(3, 5)))
    """
    for cell in model.modules():
        if isinstance(cell, Cell) and is_foreign(cell):
            like = next(cell.parameters(), torch.zeros(()))
            x = torch.zeros(B, T, cell.input_size, device=like.device, dtype=like.dtype)
            if isinstance(kernel := kernel_of(cell, x), Kernel):
                prove(cell, kernel, x)


def knowing_no_autocast(
    inner: Recurrence, x: Tensor, find: Callable[[Recurrence, Tensor], Kernel | str]
) -> Kernel | str:
    """Return the kernel that `find` gives; one of someone's own runs without autocast.

    Few of them know of tensors that are narrowed there, as to bfloat16: theirs are of the
    weights' dtype, as those of the package's compiled kernels are.

    Args:
        inner: a cell or wrapper.
        x: the sequences, or anything of their device and dtype.
        find: gives its kernel for such sequences.
    """
    device = x.device.type
    if unserved(x) or not torch.is_autocast_enabled(device) or not _is_own(inner):
        return find(inner, x)
    dtype = next((p.dtype for p in inner.parameters() if p.is_floating_point()), torch.float32)

    def kept(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    kernel = find(inner, kept(x))
    if not isinstance(kernel, Kernel):
        return kernel
    within = kernel.run

    def run(x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        with torch.autocast(device, enabled=False):
            return within(kept(x), map_tensors(kept, state), lengths)

    name = f"{kernel.name}, in {str(dtype).removeprefix('torch.')} under autocast"
    return Kernel(name, run, kernel.looped)


def _is_own(inner: Recurrence) -> bool:
    """Return whether the kernel of a recurrence, and not only its class, is someone's own."""
    name = "kernel" if isinstance(inner, Cell) else "fused"
    owner = next((kind for kind in type(inner).__mro__ if name in vars(kind)), None)
    return owner is not None and not owner.__module__.startswith("recurra.")


def _compare(inner: Recurrence, like: Tensor) -> None:
    drawn = torch.Generator().manual_seed(1)
    dtype = next((p.dtype for p in inner.parameters() if p.is_floating_point()), like.dtype)
    x = torch.randn(B, T + 1, inner.input_size, generator=drawn).to(like.device, dtype)
    name = type(inner).__name__
    with torch.no_grad():
        begin = inner.initial_state(B, device=x.device, dtype=x.dtype)
        _, state = StepPass(_masks(T + 1), 0)(inner, x[:, 0], begin)
    for lengths in (None, torch.tensor([T, 1], device=x.device)):
        expected = _everything(inner, x[:, 1:], state, lengths, _stepped)
        try:
            got = _everything(inner, x[:, 1:], state, lengths, _by_kernel)
        except RecurraError:
            raise
        except Exception as error:  # a kernel of the user's may raise anything
            raise ConfigError(
                f"{name}: its kernel raises at B = {B}, T = {T}, where its step runs: "
                f"{in_one_line(error)}"
            ) from error
        for part, tensor in expected.items():
            allowed = ALLOWED.get(tensor.dtype, LOOSE)
            if torch.backends.cuda.matmul.allow_tf32 and tensor.is_cuda:
                allowed = LOOSE
            off = _off(got[part], tensor, allowed)
            if off is not None:
                told = "" if lengths is None else ", lengths 3 and 1"
                raise ConfigError(
                    f"{name}: its kernel does not do what its step does: {part} is off by "
                    f"{off:.2g} (B = {B}, T = {T}{told}, {str(dtype).removeprefix('torch.')})"
                    "; mend the kernel, or take it away and the step runs"
                )


def _masks(steps: int) -> Masks:
    return Masks(torch.Generator().manual_seed(2), steps)


def _everything(
    inner: Recurrence, x: Tensor, state: State, lengths: Tensor | None, how: Callable[..., Any]
) -> dict[str, Tensor]:
    """Return outputs, the state at the end and, where gradients are asked for, these."""
    graded = torch.is_grad_enabled()

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().requires_grad_(graded and tensor.is_floating_point())

    x, state = leaf(x), map_tensors(leaf, state)
    y, after = how(inner, x, state, lengths, _masks(x.shape[1]))
    if lengths is not None:
        past = torch.arange(x.shape[1], device=x.device) >= lengths.unsqueeze(1)
        y = y.masked_fill(past.unsqueeze(2), 0)
    results = {"y": y, **flatten(after, "the last state")}
    if not graded:
        return results
    leaves = {"x": x, **flatten(state, "the first state"), **dict(inner.named_parameters())}
    leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    ends = [end for end in results.values() if end.requires_grad]
    if not ends:  # no way back at all
        return results | {f"the gradient of {n}": torch.zeros_like(at) for n, at in leaves.items()}
    weights = [torch.arange(end.numel(), device=end.device).cos().view_as(end) for end in ends]
    loss = sum((end.float() if end.dtype in (torch.half, torch.bfloat16) else end).mul(w).sum()
               for end, w in zip(ends, weights))  # fmt: skip
    found = torch.autograd.grad(
        loss, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return results | {f"the gradient of {n}": g for n, g in zip(leaves, found, strict=True)}


def _stepped(
    inner: Recurrence, x: Tensor, state: State, lengths: Tensor | None, masks: Masks
) -> tuple[Tensor, State]:
    outputs = []
    for t in range(x.shape[1]):
        y, after = StepPass(masks, t)(inner, x[:, t], state)
        state = after if lengths is None else where(lengths > t, after, state)
        outputs.append(y)
    y = torch.stack(outputs, 1)
    return y.to(torch.promote_types(x.dtype, y.dtype)), state


def _by_kernel(
    inner: Recurrence, x: Tensor, state: State, lengths: Tensor | None, masks: Masks
) -> tuple[Tensor, State]:
    kernel = kernel_of(inner, x) if isinstance(inner, Cell) else inner.fused(x, masks)
    if not isinstance(kernel, Kernel):  # of other shapes it has none
        return _stepped(inner, x, state, lengths, masks)
    return kernel.run(x, state, lengths)


def _off(got: Tensor, expected: Tensor, allowed: float) -> float | None:
    """Return how far numbers lie apart, where that is more than is allowed; else None."""
    if got.shape != expected.shape:
        return float("inf")
    if not expected.is_floating_point() or not expected.numel():
        return None if torch.equal(got.to(expected.dtype), expected) else float("inf")
    apart = (got.detach().double() - expected.detach().double()).abs()
    most = float(apart.max())
    scale = float(expected.detach().double().abs().max())
    return None if most <= allowed * scale + allowed * 1e-2 else most
