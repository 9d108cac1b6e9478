"""A cell of one's own, in one class, with an option and a start: Zhou et al. 2016, minimal gates.

It learns to repeat what it heard three steps ago. `recurra check own_cell:MinimalGatedCell` says
whether it keeps the contract, `recurra train --set network.cell=own_cell:MinimalGatedCell` trains
on it, and `recurra evaluate runs/docstrings --allow-import own_cell:MinimalGatedCell` may run it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

import recurra as rc

DELAY = 3


class MinimalGatedState(NamedTuple):
    h: Tensor


class MinimalGatedCell(rc.Cell):
    state_type = MinimalGatedState

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        super().__init__(input_size, hidden_size)
        self.gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.candidate = nn.Linear(input_size + hidden_size, hidden_size)
        nn.init.constant_(self.gate.bias, -forget_bias)  # stays so: no recipe draws over it

    def forward(self, x: Tensor, state: MinimalGatedState) -> tuple[Tensor, MinimalGatedState]:
        f = torch.sigmoid(self.gate(torch.cat([x, state.h], 1)))
        candidate = torch.tanh(self.candidate(torch.cat([x, f * state.h], 1)))
        h = (1 - f) * state.h + f * candidate
        return h, MinimalGatedState(h)


def main() -> float:
    torch.manual_seed(1)
    cell = rc.Stack([MinimalGatedCell(1, 16), MinimalGatedCell(16, 16, forget_bias=0.5)])
    read = nn.Linear(16, 1)
    adam = torch.optim.Adam([*cell.parameters(), *read.parameters()], lr=0.02)
    for step in range(151):
        x = torch.randint(0, 2, (32, 12, 1)).float()
        y, _ = rc.unroll(cell, x)
        said, heard = read(y[:, DELAY:]), x[:, :-DELAY]
        loss = nn.functional.binary_cross_entropy_with_logits(said, heard)
        loss.backward()
        adam.step()
        adam.zero_grad()
        if step % 50 == 0:
            print(f"step {step:3}  loss {loss.item():.4f}")
    return loss.item()


if __name__ == "__main__":
    main()
