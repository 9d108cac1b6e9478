"""Cells of someone's own in which nothing is wrong."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.nn.cells.base import Cell
from recurra.nn.cells.lstm import LSTMCell


class Memory(NamedTuple):
    """One matrix a row: `m (B, O, K)`."""

    m: Tensor


class GatedDeltaCell(Cell):
    """A gated delta rule: `m' = a (m - b (m k) k^T) + b v k^T`, and the output is `m' q`."""

    state_type = Memory
    keys = 5

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.key = nn.Linear(input_size, self.keys)
        self.query = nn.Linear(input_size, self.keys)
        self.value = nn.Linear(input_size, output_size)
        self.gates_of = nn.Linear(input_size, 2)
        nn.init.constant_(self.gates_of.bias, 2.0)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"m": (self.output_size, self.keys)}

    def forward(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        k = nn.functional.normalize(self.key(x), dim=1, eps=1e-6)
        a, b = torch.sigmoid(self.gates_of(x)).unsqueeze(2).unbind(1)
        known = (state.m @ k.unsqueeze(2)).squeeze(2)
        change = torch.einsum("bo,bk->bok", b * (self.value(x) - a * known), k)
        m = a.unsqueeze(2) * state.m + change
        return (m @ self.query(x).unsqueeze(2)).squeeze(2), Memory(m)


class Diagonal(NamedTuple):
    h: Tensor


class DiagonalGRUCell(Cell):
    """A GRU whose recurrent weights are diagonal."""

    state_type = Diagonal

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.read = nn.Linear(input_size, 3 * output_size)
        self.diagonal = nn.Parameter(torch.empty(3, output_size).uniform_(-0.9, 0.9))

    def forward(self, x: Tensor, state: Diagonal) -> tuple[Tensor, Diagonal]:
        r, z, n = self.read(x).chunk(3, dim=1)
        r = torch.sigmoid(r + self.diagonal[0] * state.h)
        z = torch.sigmoid(z + self.diagonal[1] * state.h)
        n = torch.tanh(n + r * self.diagonal[2] * state.h)
        h = z * state.h + (1 - z) * n
        return h, Diagonal(h)


class ChronoLSTMCell(LSTMCell):
    """An LSTM whose forget gates begin at many lengths of memory."""

    longest = 100

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        super().reset_parameters(generator)
        H = self.output_size
        with torch.no_grad():
            times = torch.empty(H).uniform_(1, self.longest - 1, generator=generator)
            self.bias_hh.zero_()
            self.bias_ih[H : 2 * H] = times.log()
            self.bias_ih[:H] = -times.log()


class LearnedStartCell(Cell):
    """A learned first state, a window of inputs, a count, and a fixed table in a buffer."""

    class Window(NamedTuple):
        h: Tensor
        window: Tensor
        count: Tensor

    state_type = Window

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.start = nn.Parameter(torch.full((output_size,), 0.1))
        self.read = nn.Linear(3 * input_size + output_size, output_size)
        self.register_buffer("ramp", torch.linspace(0.5, 1.5, input_size))

    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        where = {"device": device or self.start.device, "dtype": dtype or self.start.dtype}
        return self.Window(
            self.start.to(**where).expand(batch_size, -1),
            torch.zeros(batch_size, 2, self.input_size, **where),
            torch.zeros(batch_size, dtype=torch.int64, device=where["device"]),
        )

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        scale = 1 / math.sqrt(self.output_size)
        window = torch.cat([state.window, (x * self.ramp).unsqueeze(1)], 1)
        h = torch.tanh(self.read(torch.cat([window.flatten(1), state.h], 1))) * scale
        return h, self.Window(h, window[:, 1:], state.count + 1)


def delta_of_nine_keys(input_size: int, output_size: int) -> GatedDeltaCell:
    """A function that makes a cell."""

    class Nine(GatedDeltaCell):
        keys = 9

    return Nine(input_size, output_size)


class EchoCell(DiagonalGRUCell):
    """An echo state network: what is learned is the read-out alone, of units in a fixed order."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.requires_grad_(False)
        self.order = nn.Parameter(torch.arange(output_size).flip(0), requires_grad=False)
        self.readout = nn.Linear(output_size, output_size)

    def forward(self, x: Tensor, state: Diagonal) -> tuple[Tensor, Diagonal]:
        h, state = super().forward(x, state)
        return self.readout(h[:, self.order]), state


class Complex(NamedTuple):
    re: Tensor
    im: Tensor


class ComplexCell(Cell):
    """A diagonal recurrence of complex numbers, as their authors write it."""

    state_type = Complex

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.read = nn.Linear(input_size, output_size)
        self.angle = nn.Parameter(torch.randn(output_size))
        self.decay = nn.Parameter(torch.zeros(output_size))

    def forward(self, x: Tensor, state: Complex) -> tuple[Tensor, Complex]:
        size = torch.exp(-torch.exp(self.decay))
        turn = torch.complex(size * torch.cos(self.angle), size * torch.sin(self.angle))
        z = turn * torch.complex(state.re, state.im) + self.read(x)
        return z.real, Complex(z.real, z.imag)


class LargeCell(DiagonalGRUCell):
    """Outputs of the size that a target has, here of a million."""

    def forward(self, x: Tensor, state: Diagonal) -> tuple[Tensor, Diagonal]:
        h, state = super().forward(x, state)
        return 1e6 * h, state


HONEST = (
    GatedDeltaCell,
    DiagonalGRUCell,
    ChronoLSTMCell,
    LearnedStartCell,
    delta_of_nine_keys,
    EchoCell,
    ComplexCell,
    LargeCell,
)
