"""The channel loop with a step of one's own: against the step in torch, whatever the shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import recurra as rc
from recurra.errors import ConfigError, ShapeError
from recurra.nn.contract.suite import first_failure


@rc.compiled
def forward(s: Any, w: Any, h: Any) -> None:
    for c in range(len(h)):
        h[c] = s[0, c] + s[1, c] * w[0, c] * h[c]


@rc.compiled
def backward(s: Any, w: Any, h: Any, d_h: Any, d_s: Any, d_w: Any) -> None:
    for c in range(len(h)):
        d_s[0, c] = d_h[c]
        d_s[1, c] = d_h[c] * w[0, c] * h[c]
        d_w[0, c] += d_h[c] * s[1, c] * h[c]
        d_h[c] *= s[1, c] * w[0, c]


def step(s: Tensor, w: Tensor, h: Tensor) -> Tensor:
    return s[:, 0] + s[:, 1] * w[0] * h


loop = rc.channel_kernel("tested", forward, backward, step)


def plain(s: Tensor, w: Tensor, h: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    T = s.shape[1]
    outputs = []
    for t in range(T):
        after = step(s[:, t].unflatten(1, (2, -1)), w, h)
        there = (
            torch.ones(len(h), 1, dtype=torch.bool) if lengths is None else (lengths > t)[:, None]
        )
        h = after.where(there, h)
        outputs.append(after * there)
    return torch.stack(outputs, 1), h


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 0, 5])])
@pytest.mark.parametrize("C", [1, 7, 64])
def test_outputs_and_gradients_are_those_of_the_steps(
    dtype: torch.dtype, lengths: Tensor | None, C: int
) -> None:
    torch.manual_seed(1)
    shapes = ((3, 5, 2 * C), (1, C), (3, C))
    given = [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]
    results = []
    for run in (loop, plain):
        y, h = run(*given, lengths)
        found = torch.autograd.grad((y * y).sum() + h.sum(), given)
        results.append((y, h, *found))
    torch.testing.assert_close(*results)


def test_it_runs_over_every_thread_that_is_given() -> None:
    given = torch.randn(32, 40, 2 * 64).tanh(), torch.rand(1, 64), torch.randn(32, 64)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.testing.assert_close(loop(*given), plain(*given))
    finally:
        torch.set_num_threads(threads)


def test_narrow_products_are_brought_to_the_dtype_of_the_state() -> None:
    """Under `network.precision=auto` a product of the cell's own comes as bfloat16."""
    given = torch.randn(2, 3, 8).bfloat16(), torch.randn(1, 4), torch.zeros(2, 4)
    y, h = loop(*given)
    assert y.dtype is h.dtype is torch.float32
    torch.testing.assert_close((y, h), plain(given[0].float(), *given[1:]))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3, 9), (1, 4), (2, 4)), r"expected \(B, T, P C\), \(W, C\) and \(B, C\), got"),
        (((2, 3, 8), (4,), (2, 4)), r"got \(2, 3, 8\), \(4,\), \(2, 4\)"),
        (((3, 3, 8), (1, 4), (2, 4)), "expected"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        loop(*(torch.zeros(shape) for shape in shapes))


def test_a_state_that_no_compiled_loop_serves_is_refused() -> None:
    half = (torch.zeros(shape).half() for shape in ((2, 3, 8), (1, 4), (2, 4)))
    with pytest.raises(ShapeError, match="of float32 and float64, not float16"):
        loop(*half)


class Own(rc.Cell):
    """A cell on the loop, whose own step is right."""

    state_type = rc.IndRNNState

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.read = torch.nn.Linear(input_size, 2 * output_size)
        self.w = torch.nn.Parameter(torch.rand(1, output_size))

    def forward(self, x: Tensor, state: Any) -> Any:
        h = step(self.read(x).unflatten(1, (2, -1)), self.w, state.h)
        return h, rc.IndRNNState(h)

    def kernel(self, x: Tensor) -> Any:
        return loop.kernel(x, self.read, self.w, rc.IndRNNState)


def test_a_step_that_is_not_its_forward_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_held", set())
    monkeypatch.setattr(loop, "_step", lambda s, w, h: 0.999 * step(s, w, h))
    given = torch.randn(2, 4, 6), torch.randn(1, 3), torch.randn(2, 3)
    said = "^the step given to channel_kernel is not its forward: h is off by "
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"{said}0\.\d+ \(B = 2, step 1, float32\)"):
            loop(*given)
    found = first_failure(Own)
    assert found is not None and said[1:] in found.said
    monkeypatch.setattr(loop, "_step", lambda s, w, h: step(s, w, h).sum(1))
    with pytest.raises(ConfigError, match=rf"{said}its shape, \(2,\) for \(2, 3\)"):
        loop(*given)


def test_the_step_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(s: Tensor, w: Tensor, h: Tensor) -> Tensor:
        calls.append(len(s))
        return step(s, w, h)

    monkeypatch.setattr(loop, "_held", set())
    monkeypatch.setattr(loop, "_step", counted)
    for _ in range(3):
        loop(torch.randn(5, 4, 6), torch.randn(1, 3), torch.randn(5, 3))
    assert calls == [2, 2, 2]


@rc.compiled
def next_of(h: Any, c: int) -> Any:
    return h[c + 1]


@rc.compiled
def past_forward(s: Any, w: Any, h: Any) -> None:
    for c in range(len(h)):
        h[c] = s[0, c] + w[0, c] * next_of(h, c)


@rc.compiled
def past_backward(s: Any, w: Any, h: Any, d_h: Any, d_s: Any, d_w: Any) -> None:
    for c in range(len(h)):
        d_s[2, c] = d_h[c]


def test_an_index_past_the_end_is_named_before_anything_is_compiled() -> None:
    given = torch.zeros(2, 3, 8), torch.zeros(1, 4), torch.zeros(2, 4)
    past = rc.channel_kernel("past_f", past_forward, backward, step)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"^past_f: forward reaches past the end: h\[4\], and "
                           r"h is of shape \(4,\) \(test_channel\.py:\d+\)$"):  # fmt: skip
            past(*given)
    past = rc.channel_kernel("past_b", forward, past_backward, step)
    with pytest.raises(
        ConfigError, match=r"backward .*: d_s\[2, 0\], and d_s is of shape \(2, 4\)"
    ):
        past(*given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((forward, backward, None), r"step is NoneType, expected the step in torch"),
        ((step, backward, step), "forward is not compiled; write @rc.compiled above it"),
        ((backward, backward, step), r"forward takes \(s, w, h, d_h, .*\), expected \(s, w, h\)"),
        (
            (forward, forward, step),
            r"backward takes \(s, w, h\), expected \(s, w, h, d_h, d_s, d_w\)",
        ),
    ],
)
def test_what_is_no_loop_is_refused_where_it_is_made(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^refused: {message}"):
        rc.channel_kernel("refused", *given)
