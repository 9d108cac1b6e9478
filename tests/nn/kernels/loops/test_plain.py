from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional as F

from recurra.nn.kernels.loops.plain import normalised


def test_normalised_rows_are_torch_s_and_their_derivatives_those_of_differences() -> None:
    v, gain = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 5), (5,)))
    run = partial(normalised, eps=1e-3)
    torch.testing.assert_close(run(v, gain), F.layer_norm(v, (5,), gain, None, 1e-3))

    def first(*leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(run(*leaves).sin().sum(), leaves, create_graph=True)

    assert torch.autograd.gradcheck(run, (v, gain))
    assert torch.autograd.gradgradcheck(run, (v, gain))
    assert torch.autograd.gradgradcheck(first, (v, gain))
