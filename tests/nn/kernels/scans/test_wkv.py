from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.kernels.scans.wkv import wkv_scan

B, T, C = 3, 9, 20


def given(dtype: torch.dtype = torch.float64, size: float = 1.0, C: int = C) -> list[Tensor]:
    """Return r, k, v, w, u, c and m, of which gradients are asked."""
    draw = torch.Generator().manual_seed(3)
    shapes = [(B, T, C)] * 3 + [(C,)] * 2 + [(B, C)] * 2
    tensors = [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]
    tensors[1] *= size
    tensors[3] = tensors[3].exp()
    return [tensor.requires_grad_() for tensor in tensors]


def scan(*tensors: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    r, k, v, w, u, c, m = tensors
    y, (c, m) = wkv_scan(r, k, v, (w, u), (c, m), lengths)
    return y, c, m


def loop(*tensors: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The equations one step at a time, by torch's own functions."""
    r, k, v, w, u, c, m = tensors
    outputs = []
    for t in range(r.shape[1]):
        alive = torch.full((len(c), 1), True) if lengths is None else (lengths > t).unsqueeze(1)
        new = v[:, t] - c
        wkv = c + torch.sigmoid(u + k[:, t] - m) * new
        outputs.append(torch.where(alive, torch.sigmoid(r[:, t]) * wkv, 0))
        after = torch.logaddexp(m - w, k[:, t])
        c = torch.where(alive, c + torch.exp(k[:, t] - after) * new, c)
        m = torch.where(alive, after, m)
    return torch.stack(outputs, dim=1), c, m


def everything(how: Any, tensors: list[Tensor], lengths: Tensor | None = None) -> list[Tensor]:
    made = how(*tensors, lengths=lengths)
    loss = sum((each * torch.arange(each.numel()).sin().view_as(each)).sum() for each in made)
    return [*made, *torch.autograd.grad(loss, tensors)]


@pytest.mark.parametrize("lengths", [None, [9, 0, 1]], ids=["whole", "lengths"])
@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["single", "double"]
)
def test_the_loop_over_steps(
    size: float, lengths: list[int] | None, dtype: torch.dtype, tolerance: float
) -> None:
    tensors, ends = given(dtype, size), None if lengths is None else torch.tensor(lengths)
    for got, expected in zip(everything(scan, tensors, ends), everything(loop, tensors, ends)):
        assert got.isfinite().all()
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_gradients_are_those_of_differences() -> None:
    ends = torch.tensor([9, 0, 4])
    assert torch.autograd.gradcheck(lambda *tensors: scan(*tensors, lengths=ends), given(C=2))


def test_alike_keys_without_decay_make_the_plain_mean() -> None:
    r, v = torch.full((1, 50, 1), math.inf), torch.randn(1, 50, 1, dtype=torch.float64)
    zero, nothing = torch.zeros(1).double(), torch.full((1, 1), -1e4).double()
    for key in (-700.0, 0.0, 700.0):
        k = torch.full_like(v, key)
        y, (c, m) = wkv_scan(r.double(), k, v, (zero, zero), (nothing * 0, nothing))
        expected = v.cumsum(dim=1) / torch.arange(1, 51).view(1, 50, 1)
        np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-12)
        assert c.item() == pytest.approx(v.mean().item())
        assert m.item() == pytest.approx(key + math.log(50))


def test_nan_of_one_channel_stays_in_it() -> None:
    for place in range(3):
        tensors = [tensor.detach() for tensor in given(torch.float32)]
        tensors[place][0, 2, 3] = torch.nan
        y, *_ = scan(*tensors)
        expected = torch.zeros(B, T, C, dtype=torch.bool)
        expected[0, 2 : 3 if place == 0 else T, 3] = True
        assert torch.equal(y.isnan(), expected)


@pytest.mark.parametrize("threads", [2, 3])
def test_the_numbers_do_not_depend_on_threads(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = torch.Generator().manual_seed(4)
    r, k, v = (torch.randn(1, 2000, 64, generator=draw) for _ in range(3))
    weights, state = (torch.rand(64), torch.rand(64)), (torch.rand(1, 64), torch.rand(1, 64))
    alone, end = wkv_scan(r, k, v, weights, state)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts, part_end = wkv_scan(r, k, v, weights, state)
    assert torch.equal(parts, alone) and all(map(torch.equal, part_end, end))


def test_what_does_not_fit_is_refused() -> None:
    r, k, v, w, u, c, m = given()
    with pytest.raises(ShapeError, match=r"w is \(C\) of torch.float64 where B = 3"):
        wkv_scan(r, k, v, (w[:3], u), (c, m))


def test_the_operator_is_well_formed() -> None:
    r, k, v, w, u, c, m = given()
    both = torch.cat([w, u]).detach().requires_grad_()
    state = torch.cat([c, m], dim=1).detach().requires_grad_()
    arguments = ([r, k, v], both, state, torch.tensor([9, 0, 4]), 0.0)
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.recurra.wkv_scan.default, arguments, test_utils=kinds)
