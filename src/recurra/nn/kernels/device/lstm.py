"""Whole sequences of the LSTM's relatives on a GPU, forward and backward, by Triton.

B rows, T steps, I inputs, H units; G sums, 4H, or 3H where i = 1 - f. At small widths one kernel
takes all steps, with the weights where the sums are; at others a step is a product and a kernel
for all that follows it. Before a kernel is used, it has to agree with steps written in torch on
this very GPU; one that does not, or does not compile, is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.lstm import LSTMParts, LSTMWeights, lstm_family_sequence
from recurra.nn.kernels.loops.plain import lstm_step, normalised
from recurra.nn.kernels.operator import register_gradient, steps_in_torch, writable

__all__ = ["Found", "lstm_family_for"]

WHOLE = 64
"""Up to how many units one kernel takes all steps."""

WIDEST = 2048
"""The units a program can hold in a row."""

ROWS = 16
"""Rows of a program that takes products, the least that Triton has."""

TOLERANCE = 5e-3
"""By how much of the largest number a kernel may be off, where torch may have products in TF32."""

Sequence = Callable[..., tuple[Tensor, Tensor, Tensor]]


class Found(NamedTuple):
    """What runs a relative of the LSTM, its name, and whether it is a loop over steps."""

    run: Sequence
    name: str
    looped: bool = False


class Kind(NamedTuple):
    """What a kernel is compiled for: units, gates, and the parts that there are."""

    H: int
    N: int
    PEEPHOLE: bool
    NORM: bool
    CLIP: bool
    WHOLE: bool


def lstm_family_for(x: Tensor, H: int, *parts: str) -> Found | str:
    """Return what runs a relative of the LSTM over whole sequences, or why only a loop does.

    Args:
        x: the sequences, or anything of their device and dtype.
        H: units.
        parts: what it has beside the LSTM: peephole, norm, clip, coupled.
    """
    reason = served(x)
    if not reason:
        return Found(lstm_family_sequence, "the compiled LSTM")
    if not x.is_cuda:
        return reason
    if torch.compiler.is_compiling():
        return "torch.compile is at work"
    if x.dtype != torch.float32 or torch.is_autocast_enabled("cuda"):
        return "Triton's loop is for float32 throughout"
    if H > WIDEST:
        return f"Triton's loop is for up to {WIDEST} units"
    if find_spec("triton") is None:
        return "triton is not installed"
    gates = 3 if "coupled" in parts else 4
    fault = None
    for whole in (True, False) if H <= WHOLE else (False,):
        kind = Kind(H, gates, "peephole" in parts, "norm" in parts, "clip" in parts, whole)
        fault = _fault(kind, x.device)
        if fault is None:
            name = "one Triton kernel" if whole else "products and Triton kernels"
            run = partial(_sequence, whole=whole)
            return Found(run, f"{name} of the LSTM", looped=not whole)
    return f"Triton's loop {fault}"


def _sequence(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: LSTMWeights,
    parts: LSTMParts,
    lengths: Tensor | None = None,
    whole: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `lstm_family_sequence` does, without zoneout, on a GPU and in float32."""
    weight_ih, weight_hh, bias = weights
    gains = weight_hh.new_empty(0)
    if parts.gains is None:
        sums = F.linear(x, weight_ih, bias)
    else:
        sums = F.layer_norm(F.linear(x, weight_ih), bias.shape, parts.gains[0], bias, parts.eps)
        gains = parts.gains[1]
    none = x.new_empty(0)
    steps = lengths
    if steps is None:
        steps = torch.full((len(x),), x.shape[1], device=x.device)
    own = [none if part is None else part for part in (parts.peephole, parts.norm)]
    clip = 0.0 if parts.clip is None else parts.clip
    y, c_end, *_ = _ahead(
        sums, h, c, weight_hh, own[0], gains, own[1], steps, clip, parts.eps, whole
    )
    return y, y[:, -1].clone(), c_end


@torch.library.custom_op("recurra::device_lstm", mutates_args=())
def _ahead(
    sums: Tensor,
    h: Tensor,
    c: Tensor,
    weight: Tensor,
    peephole: Tensor,
    gains: Tensor,
    norm: Tensor,
    steps: Tensor,
    clip: float,
    eps: float,
    whole: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return `y`, `c` at the end; and for the way back all c, the gates and the sums from h."""
    B, T, _ = sums.shape
    H = h.shape[1]
    gates = sums.clone(memory_format=torch.contiguous_format)
    y, cs = (sums.new_empty(B, T, H) for _ in range(2))
    keep = len(gains) or not whole
    from_h = torch.empty_like(gates) if keep else sums.new_empty(0)
    given = [t.contiguous() for t in (weight, peephole, gains, norm, h, c, steps)]
    kind = _kind(H, weight, peephole, norm, clip, whole)
    if whole:
        _launch("forward", kind, gates, from_h, *given, y, cs, B, T, 0, T, clip, eps)
    for t in () if whole else range(T):
        torch.mm(y[:, t - 1] if t else h, weight.t(), out=from_h[:, t])
        _launch("forward", kind, gates, from_h, *given, y, cs, B, T, t, t + 1, clip, eps)
    kept = from_h if len(gains) else sums.new_empty(0)
    return y, cs[:, -1].clone(), cs, gates, kept


@_ahead.register_fake
def _(
    sums: Tensor, h: Tensor, c: Tensor, weight: Tensor, peephole: Tensor, gains: Tensor, *_: Any
) -> tuple[Tensor, ...]:
    y = sums.new_empty(*sums.shape[:2], h.shape[1])
    gates = sums.new_empty(sums.shape)
    from_h = sums.new_empty(sums.shape if len(gains) else (0,))
    return y, sums.new_empty(c.shape), torch.empty_like(y), gates, from_h


@torch.library.custom_op("recurra::device_lstm_backward", mutates_args=())
def _back(
    d_y: Tensor | None,
    d_c: Tensor | None,
    saved: list[Tensor],
    clip: float,
    eps: float,
    whole: bool,
) -> list[Tensor]:
    """Return the gradients of the sums, h, c, the weight, and the three parts."""
    h, c, weight, peephole, gains, norm, steps, y, cs, gates, from_h = saved
    B, T, H = y.shape
    d_y, d_c = writable(d_y, y), writable(d_c, c)
    d_h = torch.zeros_like(d_c)
    d_sums = torch.empty_like(gates)
    d_from_h = torch.empty_like(gates) if len(gains) else d_sums
    d_read = torch.empty_like(y) if len(norm) else y.new_empty(0)
    weight = weight.contiguous()
    given = [t.contiguous() for t in (peephole, gains, norm, c, steps)]
    given = [d_y, d_h, d_c, gates, from_h, weight, *given, cs, d_sums, d_from_h, d_read]
    kind = _kind(H, weight, peephole, norm, clip, whole)
    if whole:
        _launch("backward", kind, *given, B, T, 0, T, clip, eps)
    for t in () if whole else reversed(range(T)):
        _launch("backward", kind, *given, B, T, t, t + 1, clip, eps)
        d_h.addmm_(d_from_h[:, t], weight)
    before = torch.cat([h.unsqueeze(1), y[:, :-1]], dim=1).reshape(-1, H)
    d_weight = d_from_h.view(B * T, -1).t() @ before
    d_peephole, d_gains, d_norm = (torch.zeros_like(part) for part in (peephole, gains, norm))
    if len(peephole):
        c_before = torch.cat([c.unsqueeze(1), cs[:, :-1]], dim=1)
        d_i, d_f, _, d_o = d_sums.chunk(4, dim=2)
        pairs = ((d_i, c_before), (d_f, c_before), (d_o, cs))
        d_peephole = torch.stack([(d * v).sum((0, 1)) for d, v in pairs])
    if len(gains):
        d_gains = (d_sums * F.layer_norm(from_h, gains.shape, eps=eps)).sum((0, 1))
        read = F.layer_norm(cs, (H,), eps=eps)
        d_norm = torch.stack([(d_read * read).sum((0, 1)), d_read.sum((0, 1))])
    return [d_sums, d_h, d_c, d_weight, d_peephole, d_gains, d_norm]


@_back.register_fake
def _(d_y: Any, d_c: Any, saved: list[Tensor], *_: Any) -> list[Tensor]:
    gates, ends = saved[9], saved[:6]
    return [torch.empty_like(gates), *(part.new_empty(part.shape) for part in ends)]


def _differentiate(d: Any, given: Any, made: Any) -> Any:
    return *_back(*d, [*given[1:8], *made], *given[8:]), *[None] * 4


def _plain(sums: Tensor, h: Tensor, c: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
    weight, peephole, gains, norm, steps, clip, eps, _ = given

    def step(t: int, state: Any) -> Any:
        h, c = state
        from_h = F.linear(h, weight)
        if gains.shape[0]:
            from_h = normalised(from_h, gains, eps)
        return lstm_step(sums[:, t] + from_h, c, peephole, norm, clip or math.inf, eps)

    y, (_, c) = steps_in_torch(step, sums.shape[1], (h, c), steps)
    return y.transpose(0, 1), c


register_gradient(_ahead, _differentiate, _plain)


def _kind(H: int, weight: Tensor, peephole: Tensor, norm: Tensor, clip: float, whole: bool) -> Kind:
    return Kind(H, len(weight) // H, len(peephole) > 0, len(norm) > 0, clip > 0, whole)


def _launch(name: str, kind: Kind, *given: Any) -> None:
    """Run a kernel over the rows; `given` ends with B, T, start, end, clip, eps."""
    steps: Any = import_module("recurra.nn.kernels.device.triton_lstm")
    width = max(16, 1 << (kind.H - 1).bit_length())
    rows = ROWS if kind.WHOLE else max(1, 256 // width)
    # In one stage, and eight warps for products: else 64 units overflow registers.
    how = {"num_warps": 8 if kind.WHOLE else 4, "num_stages": 1}
    on: Any = torch.cuda.device_of
    with on(given[0]):
        run = getattr(steps, name)[(-(-given[-6] // rows),)]
        run(*given, W=width, R=rows, **kind._asdict(), **how)


@cache
def _fault(kind: Kind, device: torch.device) -> str | None:
    """Return why a kernel does not do on a device what steps in torch do; None where it does."""
    try:
        worst = max(_differences(kind, device))
    except Exception as error:  # whatever a compiler or a GPU says
        return f"fails: {(str(error).splitlines() or [type(error).__name__])[0]}"
    return None if worst < TOLERANCE else f"is off by {worst:.1g}"


def _differences(kind: Kind, device: torch.device, B: int = 18, T: int = 3) -> list[float]:
    """Return how far all that a kernel gives is from what steps in torch give."""
    source = torch.Generator().manual_seed(1)
    H, G = kind.H, kind.H * kind.N

    def draw(*shape: int) -> Tensor:
        numbers = torch.randn(shape, generator=source) * (
            0.5 if len(shape) == 1 else shape[-1] ** -0.5
        )
        return numbers.to(device)

    x, h, c = draw(B, T, 5), draw(B, H), draw(B, H)
    weights = draw(G, 5), draw(G, H), draw(G)
    lengths = (torch.arange(B) % (T + 1)).to(device)
    parts = LSTMParts(
        peephole=draw(3, H) if kind.PEEPHOLE else None,
        gains=draw(2, G) if kind.NORM else None,
        norm=draw(2, H) if kind.NORM else None,
        coupled=kind.N == 3,
        clip=0.3 if kind.CLIP else None,
        eps=1e-3,
    )
    named = [n for n in ("peephole", "gains", "norm") if getattr(parts, n) is not None]
    leaves = [x, h, c, *weights, *(getattr(parts, n) for n in named)]
    found = []
    with torch.inference_mode(False), torch.enable_grad():
        runs: list[tuple[Any, torch.dtype]] = [
            (_sequence, torch.float32),
            (_in_torch, torch.float64),
        ]
        for run, to in runs:
            given = [leaf.detach().to(to).requires_grad_() for leaf in leaves]
            rest = iter(given[6:])
            own = {name: next(rest) for name in named}
            outputs = run(*given[:3], given[3:6], parts._replace(**own), lengths, kind.WHOLE)
            waves = [
                torch.arange(o.numel(), device=device).view_as(o).sin().to(to) for o in outputs
            ]
            found.append([*outputs, *torch.autograd.grad(outputs, given, waves)])
    return [
        ((a - b).abs().max() / b.abs().max().clamp(min=1e-3)).nan_to_num(math.inf).item()
        for a, b in zip(*found, strict=True)
    ]


def _in_torch(
    x: Tensor, h: Tensor, c: Tensor, weights: Any, parts: LSTMParts, lengths: Tensor, *_: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the steps one by one."""
    weight_ih, weight_hh, bias = weights
    none = x.new_empty(0)
    peephole, norm = (none if part is None else part for part in (parts.peephole, parts.norm))

    def step(t: int, state: Any) -> Any:
        h, c = state
        from_x, from_h = F.linear(x[:, t], weight_ih), F.linear(h, weight_hh)
        if parts.gains is not None:
            from_x, from_h = (
                F.layer_norm(v, bias.shape, gain, None, parts.eps)
                for v, gain in zip((from_x, from_h), parts.gains, strict=True)
            )
        clip = math.inf if parts.clip is None else parts.clip
        return lstm_step(from_x + from_h + bias, c, peephole, norm, clip, parts.eps)

    y, (h, c) = steps_in_torch(step, x.shape[1], (h, c), lengths)
    return y.transpose(0, 1), h, c
