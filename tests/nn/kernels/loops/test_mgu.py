from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.errors import RunError, ShapeError
from recurra.nn.kernels.loops.mgu import mgu_sequence

B, T, I, H = 5, 6, 3, 19  # noqa: E741


def given(dtype: torch.dtype = torch.float64, H: int = H) -> list[Tensor]:
    """Return x, h, both weights and the bias, of which gradients are asked."""
    draw = torch.Generator().manual_seed(5)
    shapes = [(B, T, I), (B, H), (2 * H, I), (2 * H, H), (2 * H,)]
    tensors = [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]
    tensors[3] *= 0.3
    return [tensor.requires_grad_() for tensor in tensors]


def kernel(*tensors: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x, h, *weights = tensors
    return mgu_sequence(x, h, tuple(weights), lengths)


def loop(*tensors: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Zhou et al. 2016, equation 6, one step at a time."""
    x, h, weight_ih, weight_hh, bias = tensors
    (W_f, W_n), (U_f, U_n), (b_f, b_n) = (part.chunk(2) for part in (weight_ih, weight_hh, bias))
    outputs = []
    for t in range(x.shape[1]):
        f = torch.sigmoid(x[:, t] @ W_f.t() + h @ U_f.t() + b_f)
        n = torch.tanh(x[:, t] @ W_n.t() + (f * h) @ U_n.t() + b_n)
        after = (1 - f) * h + f * n
        h = after if lengths is None else torch.where((lengths > t).unsqueeze(1), after, h)
        outputs.append(h)
    return torch.stack(outputs, dim=1), h


def within(how: Any, *tensors: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Past a row's length what is returned does not matter."""
    y, h = how(*tensors, lengths=lengths)
    return y if lengths is None else y * (torch.arange(T) < lengths[:, None])[:, :, None], h


def everything(how: Any, tensors: list[Tensor], lengths: Tensor | None = None) -> list[Tensor]:
    made = within(how, *tensors, lengths=lengths)
    loss = sum((each * torch.arange(each.numel()).sin().view_as(each)).sum() for each in made)
    return [*made, *torch.autograd.grad(loss, tensors)]


@pytest.mark.parametrize("lengths", [None, [6, 0, 1, 5, 3]], ids=["whole", "lengths"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["single", "double"]
)
def test_the_loop_over_steps(
    lengths: list[int] | None, dtype: torch.dtype, tolerance: float
) -> None:
    tensors, ends = given(dtype), None if lengths is None else torch.tensor(lengths)
    for got, expected in zip(everything(kernel, tensors, ends), everything(loop, tensors, ends)):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_gradients_are_those_of_differences() -> None:
    ends = torch.tensor([6, 0, 1, 5, 3])
    assert torch.autograd.gradcheck(
        lambda *tensors: within(kernel, *tensors, lengths=ends), given(H=2)
    )


@pytest.mark.parametrize("threads", [2, 3])
def test_the_numbers_do_not_depend_on_threads(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = everything(kernel, given(torch.float32))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts = everything(kernel, given(torch.float32))
    assert all(map(torch.equal, parts[:4], alone[:4]))  # y, h, and the gradients of x and h
    torch.testing.assert_close(parts, alone)


def test_under_autocast_it_stays_in_float32() -> None:
    expected = everything(kernel, given(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, everything(kernel, given(torch.float32)), expected))


def test_what_does_not_fit_and_a_second_derivative_are_refused() -> None:
    x, h, *weights = tensors = given()
    with pytest.raises(ShapeError, match=r"weight_hh is \(2H, H\) of torch.float64 where B = 5"):
        mgu_sequence(x, h, (weights[0], weights[1][:3], weights[2]))
    (first,) = torch.autograd.grad(kernel(*tensors)[0].sum(), [x], create_graph=True)
    with pytest.raises(RunError, match="mgu_sequence cannot be differentiated twice"):
        first.sum().backward()


def test_the_operator_is_well_formed() -> None:
    arguments = (*given(), torch.tensor([6, 0, 1, 5, 3]))
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.recurra.mgu_sequence.default, arguments, test_utils=kinds)
