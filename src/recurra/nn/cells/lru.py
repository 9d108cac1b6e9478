"""The linear recurrent unit. B rows, I inputs, O outputs, N complex units of state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.products.linear import Linear, linear_of_steps
from recurra.nn.kernels.scans.linear import scan_pairs

__all__ = ["LRUCell", "LRUState"]


class LRUState(NamedTuple):
    """The state of an LRUCell, complex: `real (B, N)`, `imag (B, N)`."""

    real: Tensor
    imag: Tensor


class LRUCell(Cell):
    """A linear recurrence of complex units, each turned and shrunk at every step.

        lambda = exp(-exp(nu_log) + i exp(theta_log))
        h' = lambda * h + exp(gamma_log) * (B x)
        y = Re(C h') + D x

    and the output is `y`. `|lambda| < 1` whatever is learned, and `exp(gamma_log)` starts as
    `sqrt(1 - |lambda|^2)`, so that the state of a white input has the variance of `B x`.
    Nothing bends here: what is between layers must.

    Shapes: `x (B, I)`, state `real (B, N)`, `imag (B, N)`, output `(B, O)`; `nu_log`,
        `theta_log`, `gamma_log` `(N,)`, `weight_ih (2N, I)`: the real parts of B before the
        imaginary ones, `weight_ho (O, 2N)`: those of C alike, `weight_io (O, I)`: D.

    Args:
        input_size: I, features of an input.
        hidden_size: O, features of an output.
        state_size: N, complex units; O by default.
        least_radius: of lambda at initialisation, in [0, 1).
        most_radius: of lambda at initialisation, in (least_radius, 1].
        most_phase: of lambda at initialisation, in radians; small for long sequences.

    Raises:
        ConfigError: unless 0 <= least_radius < most_radius <= 1 and most_phase > 0.
        ShapeError: at a step, for an input or state of another shape.

    Source: Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences",
        sections 3.3 and 3.4, appendix A.

    Differs: in that D is a matrix, as O need not be I.

    Example:
        >>> cell = LRUCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state._fields
        (torch.Size([2, 5]), ('real', 'imag'))
    """

    state_type = LRUState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        state_size: int | None = None,
        least_radius: float = 0.0,
        most_radius: float = 1.0,
        most_phase: float = 2 * math.pi,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if not (0 <= least_radius < most_radius <= 1 and most_phase > 0):
            raise ConfigError(
                "an LRU starts with 0 <= least_radius < most_radius <= 1 and most_phase > 0, got "
                f"{least_radius}, {most_radius}, {most_phase}"
            )
        self.hidden_size = hidden_size
        self.state_size = N = hidden_size if state_size is None else state_size
        if N < 1:
            raise ConfigError(f"state_size is at least 1, got {N}")
        self.least_radius, self.most_radius = least_radius, most_radius
        self.most_phase = most_phase
        self.nu_log = nn.Parameter(torch.empty(N))
        self.theta_log = nn.Parameter(torch.empty(N))
        self.gamma_log = nn.Parameter(torch.empty(N))
        self.weight_ih = nn.Parameter(torch.empty(2 * N, input_size))
        self.weight_ho = nn.Parameter(torch.empty(hidden_size, 2 * N))
        self.weight_io = nn.Parameter(torch.empty(hidden_size, input_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw lambda uniformly from the ring of the given radii and phases, weights normally."""
        least, most = self.least_radius**2, self.most_radius**2
        for weight, fan in (
            (self.weight_ih, 2 * self.input_size),
            (self.weight_ho, self.state_size),
            (self.weight_io, self.input_size),
        ):
            nn.init.normal_(weight, 0, fan**-0.5, generator=generator)
        with torch.no_grad():
            like = self.nu_log
            u, phase = (
                torch.rand(like.shape, generator=generator, device=like.device).double()
                for _ in range(2)
            )
            # Away from the ends, whose logarithms are not finite.
            squared = (least + u * (most - least)).clamp(1e-12, 1 - 1e-7)
            self.nu_log.copy_((-0.5 * squared.log()).log())
            self.theta_log.copy_((self.most_phase * phase.clamp(min=1e-7)).log())
            self.gamma_log.copy_(0.5 * (1 - squared).log())

    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the two parts: `(N,)`."""
        return {"real": (self.state_size,), "imag": (self.state_size,)}

    def forward(self, x: Tensor, state: LRUState) -> tuple[Tensor, LRUState]:
        """Take one step."""
        check_step(self, x, state)
        real, imag = state
        lambda_real, lambda_imag = self._lambda().chunk(2)
        into_real, into_imag = self._into(x).chunk(2, dim=1)
        after = LRUState(
            lambda_real * real - lambda_imag * imag + into_real,
            lambda_real * imag + lambda_imag * real + into_imag,
        )
        return self._out(torch.cat(after, dim=1), x), after

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled scan."""

        def run(x: Tensor, state: LRUState, lengths: Tensor | None) -> tuple[Tensor, LRUState]:
            into = self._into(x, linear_of_steps)
            h, end = scan_pairs(self._lambda(), into, torch.cat(state, dim=1), lengths)
            return self._out(h, x, linear_of_steps), LRUState(*end.chunk(2, dim=1))

        return served(x) or Kernel("a compiled scan of complex numbers", run)

    def _lambda(self) -> Tensor:
        """Return the factors `(2N,)`, real parts first."""
        radius, phase = torch.exp(-torch.exp(self.nu_log)), torch.exp(self.theta_log)
        return torch.cat([radius * torch.cos(phase), radius * torch.sin(phase)])

    def _into(self, x: Tensor, linear: Linear = F.linear) -> Tensor:
        """Return what comes into the state, `(..., 2N)`, real parts first."""
        gamma = torch.exp(self.gamma_log).repeat(2)
        # Under autocast the product is narrow; what goes round and round is not.
        return linear(x, gamma.unsqueeze(1) * self.weight_ih).to(x.dtype)

    def _out(self, h: Tensor, x: Tensor, linear: Linear = F.linear) -> Tensor:
        """Return Re(C h) + D x."""
        real, imag = self.weight_ho.chunk(2, dim=1)
        y = linear(h, torch.cat([real, -imag], dim=1)) + linear(x, self.weight_io)
        return y.to(x.dtype)
