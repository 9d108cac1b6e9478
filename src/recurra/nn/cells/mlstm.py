"""The LSTM with a matrix memory. B rows, T steps, I inputs, H units in N heads of d each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.state import State

__all__ = ["MLSTMCell", "MLSTMState"]

CHUNK = 64
"""Steps that are looked at all by all; from chunk to chunk the memory is carried."""

SMALLEST = -80.0
"""The logarithm below which a divisor of 1 is not written in units of its own scale."""


class MLSTMState(NamedTuple):
    """The state of an MLSTMCell: `c (B, N, d, d)`, `n (B, N, d)`, `m (B, N)`."""

    c: Tensor
    n: Tensor
    m: Tensor


class MLSTMCell(Cell):
    """The mLSTM of the xLSTM: each head writes values at keys into a matrix, and reads by queries.

        q, k, v = W_q x + b_q, (W_k x + b_k) / sqrt(d), W_v x + b_v
        i, f, o = W_i x + b_i, W_f x + b_f, W_o x + b_o         i and f one number a head
        C' = F C + exp(i) v k^T,  N' = F N + exp(i) k,  F = sigmoid(f)
        y = sigmoid(o) * C' q / max(|N' . q|, 1)

    The state is `c = C / exp(m)` and `n = N / exp(m)`, with m the largest exponent so far:
    `m' = max(log F + m, i)`. No step reads the output of the one before, so over whole
    sequences chunks of steps are products of matrices.

    Shapes: `x (B, I)`, state `c (B, N, d, d)`, `n (B, N, d)`, `m (B, N)` with d = H / N, output
        `(B, H)`; `weight_ih (4H + 2N, I)`, `bias_ih (4H + 2N,)`, rows in the order
        q, k, v, o, i, f.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        num_heads: N, which divides H; a head's memory has (H / N) squared numbers.
        forget_bias: added to the forget gate's bias at initialisation.

    Raises:
        ConfigError: where the heads do not divide the units.
        ShapeError: at a step, for an input or state of another shape.

    Source: Beck et al. 2024, "xLSTM: extended long short-term memory", equations 19-27, and
        its appendix on the form for whole sequences.

    Example:
        >>> cell = MLSTMCell(3, 6, num_heads=2)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state.c.shape
        (torch.Size([2, 6]), torch.Size([2, 2, 3, 3]))
    """

    state_type = MLSTMState

    def __init__(
        self, input_size: int, hidden_size: int, num_heads: int = 1, forget_bias: float = 3.0
    ) -> None:
        super().__init__(input_size, hidden_size)
        if num_heads < 1 or hidden_size % num_heads:
            raise ConfigError(
                f"MLSTMCell: num_heads divides the {hidden_size} units, got {num_heads}"
            )
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.head_size = hidden_size // num_heads
        self.forget_bias = forget_bias
        rows = 4 * hidden_size + 2 * num_heads
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(H), 1/sqrt(H)), then add the forget bias."""
        super().reset_parameters(generator)
        with torch.no_grad():
            self.bias_ih[-self.num_heads :] += self.forget_bias

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return those of the memory, its normaliser and its exponent."""
        N, d = self.num_heads, self.head_size
        return {"c": (N, d, d), "n": (N, d), "m": (N,)}

    def forward(self, x: Tensor, state: MLSTMState) -> tuple[Tensor, MLSTMState]:
        """Take one step."""
        check_step(self, x, state)
        c, n, m = state
        q, k, v, o, i, f = self._parts(x)
        kept = F.logsigmoid(f) + m
        m = torch.maximum(kept, i)
        keep, write = torch.exp(kept - m).unsqueeze(2), torch.exp(i - m).unsqueeze(2)
        c = keep.unsqueeze(3) * c + (write * v).unsqueeze(3) * k.unsqueeze(2)
        n = keep * n + write * k
        read = (c * q.unsqueeze(2)).sum(3)
        y = torch.sigmoid(o) * (read / _divisor((n * q).sum(2), m)).flatten(1)
        return y, MLSTMState(c, n, m)

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return q, k, v `(..., N, d)`, the sums of o `(..., H)`, and of i and f `(..., N)`."""
        H, N = self.hidden_size, self.num_heads
        sums = F.linear(x, self.weight_ih, self.bias_ih)
        q, k, v, o, i, f = torch.split_with_sizes(sums, [H, H, H, H, N, N], dim=-1)
        q, k, v = (part.view(*x.shape[:-1], N, self.head_size) for part in (q, k, v))
        return q, k * self.head_size**-0.5, v, o, i, f

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the products of matrices, chunk by chunk."""
        if torch.compiler.is_compiling():
            return "torch.compile would unroll the chunks"
        return Kernel(f"products of matrices over chunks of {CHUNK} steps", self._sequences)

    def _sequences(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        q, k, v, o, i, f = self._parts(x)
        # Products of all steps by all give an earlier one 0 times what is written later: what is
        # not finite goes by the gate, which no earlier step sees.
        i, v = i + (0 * v.detach()).sum(3), torch.nan_to_num(v, 0.0, 0.0, 0.0)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (B, N, T, d)
        i, log_f = i.transpose(1, 2), F.logsigmoid(f).transpose(1, 2)  # (B, N, T)
        if lengths is not None:  # padding writes nothing and forgets nothing
            past = torch.arange(x.shape[1], device=x.device) >= lengths.view(-1, 1, 1)
            i, log_f = i.masked_fill(past, -torch.inf), log_f.masked_fill(past, 0)
        outputs = []
        for start in range(0, x.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            y, state = _chunk(
                q[:, :, part], k[:, :, part], v[:, :, part], i[..., part], log_f[..., part], state
            )
            outputs.append(y)
        y = torch.cat(outputs, dim=2).transpose(1, 2).flatten(2)
        return torch.sigmoid(o) * y, state


def _divisor(reads: Tensor, m: Tensor) -> Tensor:
    """Return max(|N . q|, 1) in units of exp(m), with a last dimension of one."""
    return torch.maximum(reads.abs(), torch.exp(-m.clamp(min=SMALLEST))).unsqueeze(-1)


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, i: Tensor, log_f: Tensor, state: State
) -> tuple[Tensor, MLSTMState]:
    """Return what the queries `(B, N, L, d)` read, and the state after the last of the L steps."""
    c, n, m = state
    kept = log_f.cumsum(2)  # from before the chunk until after each step
    written = kept.unsqueeze(3) - kept.unsqueeze(2) + i.unsqueeze(2)
    later = torch.ones(written.shape[2:], dtype=torch.bool, device=q.device).triu(1)
    written = written.masked_fill(later, -torch.inf)  # (B, N, read at, written at)
    carried = kept + m.unsqueeze(2)
    m = torch.maximum(carried, written.amax(3))
    write, carry = torch.exp(written - m.unsqueeze(3)), torch.exp(carried - m).unsqueeze(3)
    scores = (q @ k.transpose(2, 3) * write).tril_()
    read = scores @ v + carry * (q @ c.transpose(2, 3))
    reads = scores.sum(3) + (carry * (q @ n.unsqueeze(3))).squeeze(3)
    last, carry = write[:, :, -1].unsqueeze(3), carry[:, :, -1]
    c = carry.unsqueeze(3) * c + (last * v).transpose(2, 3) @ k
    n = carry * n + (last * k).sum(2)
    return read / _divisor(reads, m), MLSTMState(c, n, m[:, :, -1])
