"""The compiled loop beside one written out here; how cells use it is for test_contract.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.errors import RunError, ShapeError
from recurra.nn.kernels.loops import lstm as lstm_sequence
from recurra.nn.kernels.loops.lstm import LSTMParts, lstm_family_sequence

B, T, H = 4, 6, 5
LENGTHS = torch.tensor([6, 0, 3, 1])
PAST = (torch.arange(T) >= LENGTHS.unsqueeze(1)).unsqueeze(2)

MEMBERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "peephole": {"peephole": True},
    "peephole clipped": {"peephole": True, "clip": 0.3},
    "coupled": {"coupled": True},
    "layer norm": {"norm": True},
    "zoneout": {"keep_h": 0.4, "keep_c": 0.3, "masks": True},
    "zoneout of the memory": {"keep_c": 0.3, "masks": True},
    "expected zoneout": {"keep_h": 0.4, "keep_c": 0.3},
    "expected zoneout of h": {"keep_h": 0.4},
    "coupled, peephole, clip, zoneout": {
        "coupled": True, "peephole": True, "clip": 0.3, "keep_h": 0.4, "keep_c": 0.3, "masks": True,
    },
    "norm, peephole, clip, expected zoneout": {
        "norm": True, "peephole": True, "clip": 0.3, "keep_h": 0.4, "keep_c": 0.3,
    },
}  # fmt: skip


@dataclass
class Member:
    """A member of the family, drawn at random: its tensors, and what is no tensor."""

    dtype: torch.dtype
    peephole: bool = False
    norm: bool = False
    coupled: bool = False
    clip: float | None = None
    keep_h: float = 0.0
    keep_c: float = 0.0
    masks: bool = False
    leaves: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        G = (3 if self.coupled else 4) * H
        shapes = [(B, T, 3), (B, H), (B, H), (G, 3), (G, H), (G,)]
        shapes += [(3, H)] * self.peephole + [(2, G), (2, H)] * self.norm
        self.leaves = [torch.randn(s, dtype=self.dtype).requires_grad_() for s in shapes]
        self.keeps: list[Any] = [self.keep_h, self.keep_c]
        if self.masks:
            draws = torch.rand(2, B, T + 1, H, dtype=self.dtype)
            self.keeps = [(d >= p).to(self.dtype) if p else 0.0 for d, p in zip(draws, self.keeps)]

    def kernel(self, *leaves: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        x, h, c, *weights = leaves[:6]
        rest = list(leaves[6:])
        parts = LSTMParts(
            peephole=rest.pop(0) if self.peephole else None,
            gains=rest[0] if self.norm else None,
            norm=rest[1] if self.norm else None,
            coupled=self.coupled,
            clip=self.clip,
            eps=1e-5,
            keep_h=self.keeps[0],
            keep_c=self.keeps[1],
            begin=1,
        )
        y, *ends = lstm_family_sequence(x, h, c, tuple(weights), parts, lengths)
        return [y if lengths is None else y.masked_fill(PAST, 0), *ends]

    def loop(self, *leaves: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        x, h, c = leaves[:3]
        ys = []
        for t in range(T):
            alive = torch.ones(B, 1, dtype=torch.bool)
            if lengths is not None:
                alive = (lengths > t).unsqueeze(1)
            after = self.step(x[:, t], h, c, leaves, t)
            h, c = (torch.where(alive, new, old) for new, old in zip(after, (h, c)))
            ys.append(torch.where(alive, h, 0))
        return [torch.stack(ys, dim=1), h, c]

    def step(
        self, x: Tensor, h: Tensor, c: Tensor, leaves: tuple[Tensor, ...], t: int
    ) -> tuple[Tensor, Tensor]:
        weight_ih, weight_hh, bias, *rest = leaves[3:]
        p_i = p_f = p_o = torch.zeros(())
        if self.peephole:
            p_i, p_f, p_o = rest.pop(0)
        into, from_h = x @ weight_ih.T, h @ weight_hh.T
        if self.norm:
            (gain_x, gain_h), (gain, shift) = rest
            into = gain_x * F.layer_norm(into, into.shape[1:])
            from_h = gain_h * F.layer_norm(from_h, from_h.shape[1:])
        *i, f, g, o = (into + from_h + bias).split(H, dim=1)
        forget = (f + p_f * c).sigmoid()
        take = 1 - forget if self.coupled else (i[0] + p_i * c).sigmoid()
        memory = forget * c + take * g.tanh()
        if self.clip:
            memory = memory.clamp(-self.clip, self.clip)
        read = gain * F.layer_norm(memory, (H,)) + shift if self.norm else memory
        output = (o + p_o * memory).sigmoid() * read.tanh()
        keeps = [k if isinstance(k, float) else 1 - k[:, t + 1] for k in self.keeps]
        return keeps[0] * h + (1 - keeps[0]) * output, keeps[1] * c + (1 - keeps[1]) * memory


def gradients(results: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    loss = sum((r * torch.arange(r.numel()).sin().view_as(r)).sum() for r in results)
    assert isinstance(loss, Tensor)
    return list(torch.autograd.grad(loss, leaves))


every_member = pytest.mark.parametrize("options", MEMBERS.values(), ids=MEMBERS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("lengths", [None, LENGTHS, LENGTHS.int()], ids=["all", "i64", "i32"])
@every_member
def test_forward_and_backward(
    options: dict[str, Any], lengths: Tensor | None, dtype: torch.dtype
) -> None:
    member = Member(dtype, **options)
    got = member.kernel(*member.leaves, lengths=lengths)
    expected = member.loop(*member.leaves, lengths=lengths)
    close = {"rtol": 1e-9, "atol": 1e-10}
    if dtype == torch.float32:
        close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(got, expected, **close)
    grads = [gradients(each, member.leaves) for each in (got, expected)]
    torch.testing.assert_close(*grads, **close)


@every_member
def test_gradients_are_those_of_finite_differences(options: dict[str, Any]) -> None:
    member = Member(torch.float64, **options)
    assert torch.autograd.gradcheck(
        lambda *leaves: member.kernel(*leaves, lengths=LENGTHS),
        tuple(member.leaves),
        fast_mode=True,
        atol=1e-6,
    )


def test_threads_share_the_rows_and_change_nothing() -> None:
    member = Member(torch.float64, peephole=True, norm=True)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            y = member.kernel(*member.leaves, lengths=LENGTHS)
            results.append([*y, *gradients(y, member.leaves)])
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)


def test_a_row_of_no_step_keeps_its_state_to_the_last_bit() -> None:
    member = Member(torch.float32)
    _, h, c = member.kernel(*member.leaves, lengths=LENGTHS)
    assert torch.equal(h[1], member.leaves[1][1]) and torch.equal(c[1], member.leaves[2][1])


def test_what_the_padding_holds_does_not_matter() -> None:
    member = Member(torch.float64, norm=True)
    other = member.leaves[0].detach().masked_fill(PAST, 99.0).requires_grad_()
    results = []
    for x in (member.leaves[0], other):
        leaves = [x, *member.leaves[1:]]
        y = member.kernel(*leaves, lengths=LENGTHS)
        results.append([*y, *gradients(y, leaves)])
    torch.testing.assert_close(*results)
    assert not results[0][3].masked_select(PAST).any()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_gradient_of_one_result_alone(place: int) -> None:
    member = Member(torch.float64)
    got, expected = (
        torch.autograd.grad(how(*member.leaves)[place].sum(), member.leaves)
        for how in (member.kernel, member.loop)
    )
    torch.testing.assert_close(got, expected)


def test_large_sums_saturate_and_stay_finite() -> None:
    member = Member(torch.float32)
    member.leaves[0] = (1e6 * member.leaves[0].detach()).requires_grad_()
    y = member.kernel(*member.leaves)
    assert all(each.isfinite().all() for each in [*y, *gradients(y, member.leaves)])


def test_a_nan_is_passed_on_by_its_own_row_alone() -> None:
    member = Member(torch.float32)
    x, *rest = (leaf.detach() for leaf in member.leaves)
    x[2, 3, 1] = torch.nan
    y, h, _ = member.kernel(x, *rest)
    assert y[2, 3:].isnan().all() and y[2, :3].isfinite().all() and h[2].isnan().all()
    assert y[[0, 1, 3]].isfinite().all()


def test_a_second_derivative_is_refused_in_one_line() -> None:
    member = Member(torch.float64)
    y, *_ = member.kernel(*member.leaves)
    (first,) = torch.autograd.grad(y.sum(), member.leaves[0], create_graph=True)
    with pytest.raises(RunError, match=r"lstm_family cannot be differentiated twice; .*plain can"):
        first.sum().backward()


def test_another_dtype_of_the_weights_is_refused() -> None:
    member = Member(torch.float64)
    leaves = [leaf.detach() for leaf in member.leaves]
    leaves[4] = leaves[4].float()
    with pytest.raises(ShapeError, match=r"is .* of torch.float64 .* of torch.float32"):
        member.kernel(*leaves)


@pytest.mark.parametrize(
    "options", [MEMBERS["plain"], MEMBERS["layer norm"]], ids=["plain", "norm"]
)
def test_it_is_an_operator_of_torch(options: dict[str, Any], monkeypatch: Any) -> None:
    member = Member(torch.float64, **options)
    calls: list[Any] = []
    operator = lstm_sequence._forward

    def kept(*arguments: Any) -> Any:
        calls.append(arguments)
        return operator(*arguments)

    monkeypatch.setattr(lstm_sequence, "_forward", kept)
    member.kernel(*member.leaves)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, calls[0], test_utils=checks)
