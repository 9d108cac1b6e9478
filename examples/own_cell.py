"""A cell of one's own, in one class: the minimal gated unit of Zhou et al. 2016.

It learns to repeat what it heard three steps ago. A language model of such cells is
`recurra train --set network.cell=own_cell:MinimalGatedCell`, and what reads that run later is told
that this code may run: `recurra evaluate runs/docstrings --allow-import own_cell:MinimalGatedCell`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

import recurra as rc
from recurra.nn.cells.base import Cell

DELAY = 3


class MinimalGatedState(NamedTuple):
    h: Tensor


class MinimalGatedCell(Cell):
    state_type = MinimalGatedState

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.candidate = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, x: Tensor, state: MinimalGatedState) -> tuple[Tensor, MinimalGatedState]:
        f = torch.sigmoid(self.gate(torch.cat([x, state.h], 1)))
        candidate = torch.tanh(self.candidate(torch.cat([x, f * state.h], 1)))
        h = (1 - f) * state.h + f * candidate
        return h, MinimalGatedState(h)


def main() -> float:
    torch.manual_seed(1)
    cell = rc.Stack([MinimalGatedCell(1, 16), MinimalGatedCell(16, 16)])
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
