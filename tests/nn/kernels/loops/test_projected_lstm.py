from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.errors import RunError, ShapeError
from recurra.nn.kernels.loops.projected_lstm import projected_lstm_sequence

B, T, I = 5, 6, 3  # noqa: E741


def given(dtype: torch.dtype = torch.float64, P: int = 5, H: int = 19) -> list[Tensor]:
    """Return x, h, c, two weights, the bias and the projection, of which gradients are asked."""
    draw = torch.Generator().manual_seed(5)
    shapes = [(B, T, I), (B, P), (B, H), (4 * H, I), (4 * H, P), (4 * H,), (P, H)]
    tensors = [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]
    tensors[4] *= 0.3
    tensors[6] *= 0.3
    return [tensor.requires_grad_() for tensor in tensors]


def kernel(
    *tensors: Tensor, lengths: Tensor | None = None, clip: float | None = None
) -> tuple[Tensor, ...]:
    x, h, c, *weights = tensors
    return projected_lstm_sequence(x, (h, c), tuple(weights), lengths, clip)


def loop(
    *tensors: Tensor, lengths: Tensor | None = None, clip: float | None = None
) -> tuple[Tensor, ...]:
    """Sak et al. 2014, section 2.2, without peepholes, one step at a time."""
    x, h, c, weight_ih, weight_hh, bias, weight_hr = tensors
    bound = math.inf if clip is None else clip
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ weight_ih.t() + h @ weight_hh.t() + bias).chunk(4, dim=1)
        after = (f.sigmoid() * c + i.sigmoid() * g.tanh()).clamp(-bound, bound)
        read = (o.sigmoid() * after.tanh()) @ weight_hr.t()
        alive = torch.full((B, 1), True) if lengths is None else (lengths > t).unsqueeze(1)
        h, c = torch.where(alive, read, h), torch.where(alive, after, c)
        outputs.append(h)
    return torch.stack(outputs, dim=1), h, c


def within(
    how: Any, *tensors: Tensor, lengths: Tensor | None = None, clip: float | None = None
) -> tuple[Tensor, ...]:
    """Past a row's length what is returned does not matter."""
    y, *ends = how(*tensors, lengths=lengths, clip=clip)
    if lengths is not None:
        y = y * (torch.arange(T) < lengths[:, None])[:, :, None]
    return (y, *ends)


def everything(how: Any, tensors: list[Tensor], **options: Any) -> list[Tensor]:
    made = within(how, *tensors, **options)
    loss = sum((each * torch.arange(each.numel()).sin().view_as(each)).sum() for each in made)
    return [*made, *torch.autograd.grad(loss, tensors)]


@pytest.mark.parametrize("clip", [None, 0.4])
@pytest.mark.parametrize("lengths", [None, [6, 0, 1, 5, 3]], ids=["whole", "lengths"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["single", "double"]
)
def test_the_loop_over_steps(
    clip: float | None, lengths: list[int] | None, dtype: torch.dtype, tolerance: float
) -> None:
    tensors = given(dtype)
    options = {"lengths": None if lengths is None else torch.tensor(lengths), "clip": clip}
    got, expected = (everything(how, tensors, **options) for how in (kernel, loop))
    for each, other in zip(got, expected, strict=True):
        torch.testing.assert_close(each, other, rtol=tolerance, atol=tolerance)


def test_gradients_are_those_of_differences() -> None:
    ends = torch.tensor([6, 0, 1, 5, 3])
    assert torch.autograd.gradcheck(
        lambda *tensors: within(kernel, *tensors, lengths=ends), given(P=2, H=3)
    )


@pytest.mark.parametrize("threads", [2, 3])
def test_the_numbers_do_not_depend_on_threads(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = everything(kernel, given(torch.float32))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts = everything(kernel, given(torch.float32))
    assert all(map(torch.equal, parts[:6], alone[:6]))  # outputs, ends, gradients of x, h and c
    torch.testing.assert_close(parts, alone)


def test_one_step_alone() -> None:
    x, *rest = given()
    first, *tail = kernel(x[:, :1], *rest), kernel(x, *rest)[0]
    torch.testing.assert_close(first[0][:, 0], tail[0][:, 0])
    assert torch.equal(first[0][:, 0], first[1])


def test_under_autocast_it_stays_in_float32() -> None:
    expected = everything(kernel, given(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, everything(kernel, given(torch.float32)), expected))


def test_what_does_not_fit_and_a_second_derivative_are_refused() -> None:
    x, *rest = tensors = given()
    with pytest.raises(ShapeError, match=r"weight_hr is \(P, H\) of torch.float64 where B = 5"):
        kernel(*tensors[:-1], tensors[-1].t())
    (first,) = torch.autograd.grad(kernel(x, *rest)[0].sum(), [x], create_graph=True)
    with pytest.raises(RunError, match="projected_lstm_sequence cannot be differentiated twice"):
        first.sum().backward()


def test_the_operator_is_well_formed() -> None:
    x, *rest = given()
    lengths = torch.tensor([6, 0, 1, 5, 3])
    arguments = (x.detach().transpose(0, 1).requires_grad_(), *rest, lengths, 0.5)
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    operator = torch.ops.recurra.projected_lstm_sequence.default
    torch.library.opcheck(operator, arguments, test_utils=kinds)
