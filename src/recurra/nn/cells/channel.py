"""The channel loop for a recurrence of one's own, of which only a step is said, and its gradient.

B rows, T steps, C channels; P products of the input and W weights for each channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.bounded import require_bounds, require_loop
from recurra.nn.cells.kernel import Kernel
from recurra.nn.kernels.compiler.compiled import Compiled, served, unserved
from recurra.nn.kernels.scans.channels import ChannelLoop

__all__ = ["ChannelKernel", "channel_kernel"]

Step = Callable[[Tensor, Tensor, Tensor], Tensor]

ROWS, STEPS = 2, 3
"""At how many rows and steps the step is held against the loop."""

ALLOWED = {torch.float64: 1e-8}
"""Dtype -> how far the step may lie from the loop, beside the largest number; else `LOOSE`."""
LOOSE = 1e-4


class ChannelKernel:
    """A compiled loop over the steps that one's own code gives; `channel_kernel` makes one.

    Args:
        name: of the operator of torch, `recurra::own_NAME`.
        forward: a step of a row, in place.
        backward: its gradient, in place.
        step: the same step in torch.
    """

    def __init__(
        self, name: str, forward: Compiled[..., Any], backward: Compiled[..., Any], step: Step
    ) -> None:
        require_loop(name, "forward", forward, ("s", "w", "h"))
        require_loop(name, "backward", backward, ("s", "w", "h", "d_h", "d_s", "d_w"))
        if not callable(step):
            raise ConfigError(
                f"{name}: step is {type(step).__name__}, expected the step in torch, a function of "
                "(s, w, h)"
            )
        self._name, self._own = name, (forward, backward)
        self._tried: set[tuple[int, int, int]] = set()

        def plain(parts: list[Tensor], weights: Tensor, h: Tensor, option: float) -> Any:
            h = step(parts[0], weights, h)
            return h, h

        loops = Compiled(_ahead(forward)), Compiled(_back(backward))
        self._step = step
        self._loop = ChannelLoop(f"own_{name}", *loops, plain, whole=True)
        self._held: set[Any] = set()

    def __call__(
        self, products: Tensor, weights: Tensor, state: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs `(B, T, C)`, zeros past a row's length, and the state there `(B, C)`.

        Under autocast products are narrow; all is brought to the state's dtype.

        Args:
            products: `(B, T, P C)`, all channels of the first product, then of the second.
            weights: `(W, C)`.
            state: `(B, C)`, before the first step.
            lengths: `(B,)`; all steps by default.

        Raises:
            ShapeError: for shapes that do not fit each other, or a dtype or device that no
                compiled loop serves.
            ConfigError: at the first call, the step in torch does not do what `forward` does, or
                one's own code reaches past the end of an array, as far as a trial tells.
        """
        C = state.shape[-1]
        fits = products.dim() == 3 and state.dim() == weights.dim() == 2 and weights.shape[1] == C
        if not fits or products.shape[2] % C or len(products) != len(state):
            shapes = ", ".join(str(tuple(each.shape)) for each in (products, weights, state))
            raise ShapeError(f"expected (B, T, P C), (W, C) and (B, C), got {shapes}")
        if (reason := served(state)) is not None:
            raise ShapeError(reason)
        if not torch.compiler.is_compiling():
            self._try(products.shape[2] // C, len(weights), C)
        parts = products.to(state.dtype).view(*products.shape[:2], -1, C)
        weights = weights.to(state.dtype)
        self._hold_step(parts, weights, state)
        return self._loop([parts], weights, state, lengths)

    def _hold_step(self, parts: Tensor, weights: Tensor, state: Tensor) -> None:
        """Raise ConfigError unless the step is `forward`: tried once for each shape of a row."""
        if torch.compiler.is_compiling() or unserved(state) or not state.numel():
            return
        if any(hasattr(t, "fake_mode") or t.is_meta for t in (parts, weights, state)):
            return
        key = state.dtype, parts.shape[2], len(weights)
        if key in self._held:
            return
        drawn = torch.Generator().manual_seed(1)
        shape = (min(ROWS, len(state)), STEPS, *parts.shape[2:])
        s = torch.randn(shape, generator=drawn, dtype=torch.float64).to(state.dtype)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            w, h = weights.detach(), state.detach()[:ROWS]
            y, _ = self._loop([s], w, h)
            for t in range(STEPS):
                h = self._step(s[:, t], w, h)
                if (off := _off(h, y[:, t])) is not None:
                    raise ConfigError(
                        f"the step given to channel_kernel is not its forward: h is off by {off} "
                        f"(B = {len(s)}, step {t + 1}, {str(state.dtype).removeprefix('torch.')})"
                    )
        self._held.add(key)

    def _try(self, P: int, W: int, C: int) -> None:
        """Try one's own code once for each shape, before it is compiled."""
        if (P, W, C) in self._tried:
            return
        shapes = ((P, C), (W, C), (C,), (C,), (P, C), (W, C))
        for what, loop in zip(("forward", "backward"), self._own):
            require_bounds(self._name, what, loop, shapes)
        self._tried.add((P, W, C))

    def kernel(
        self, x: Tensor, read: Callable[[Tensor], Tensor], weights: Tensor, state_type: Any
    ) -> Kernel | str:
        """Return what `kernel(x)` of a cell returns whose state is its output.

        Args:
            x: the sequences, or anything of their device and dtype.
            read: from inputs `(B, T, I)` to products.
            weights: `(W, C)`.
            state_type: the NamedTuple of the state, which has one tensor.
        """

        def run(x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
            y, h = self(read(x), weights, state[0], lengths)
            return y, state_type(h)

        return served(x) or Kernel("a compiled loop over each unit's own sequence", run)


def channel_kernel(
    name: str, forward: Compiled[..., Any], backward: Compiled[..., Any], step: Step
) -> ChannelKernel:
    """Return a compiled loop, forward and backward, of a recurrence whose channels see themselves.

    Of a row only one step is said, by functions made with `compiled`, in place of arrays:

        forward(s, w, h)
        backward(s, w, h, d_h, d_s, d_w)

    with `s (P, C)` the products of the input at this step, `w (W, C)` the weights, and `h (C,)`
    the state, which is the output too. `forward` writes the next state over h. `backward` is given
    the state before, and in d_h the gradient of the state after, over which it writes that of the
    state before; it sets all of d_s and adds to d_w.

    Shapes: called with `products (B, T, P C)`, `weights (W, C)`, `state (B, C)` and
        `lengths (B,)`, it returns `(B, T, C)` and `(B, C)`.

    Args:
        name: its own among the kernels of a process.
        forward: see above.
        backward: see above.
        step: the same of all rows at once, in torch: `(B, P, C), (W, C), (B, C) -> (B, C)`; where
            derivatives of the gradient are asked for, it is taken.

    Raises:
        ConfigError: a loop is not compiled or takes another number of arguments, or the step is
            no function.

    Source: Li et al. 2018, "Independently recurrent neural network (IndRNN): building a longer
        and deeper RNN", for channels that see themselves alone.

    Example:
        >>> import torch
        >>> from recurra.nn.kernels.compiler.compiled import compiled
        >>> @compiled
        ... def forward(s, w, h):
        ...     for c in range(len(h)):
        ...         h[c] = w[0, c] * h[c] + s[0, c]
        >>> @compiled
        ... def backward(s, w, h, d_h, d_s, d_w):
        ...     for c in range(len(h)):
        ...         d_s[0, c] = d_h[c]
        ...         d_w[0, c] += d_h[c] * h[c]
        ...         d_h[c] *= w[0, c]
        >>> kernel = channel_kernel("leak", forward, backward, lambda s, w, h: w[0] * h + s[:, 0])
        >>> y, h = kernel(torch.ones(1, 3, 1), torch.full((1, 1), 0.5), torch.zeros(1, 1))
        >>> y.flatten()
        tensor([1.0000, 1.5000, 1.7500])
    """
    return ChannelKernel(name, forward, backward, step)


def _off(h: Tensor, y: Tensor) -> str | None:
    """Return how far a state lies from the loop's, in words; None where that is rounding."""
    if h.shape != y.shape:
        return f"its shape, {tuple(h.shape)} for {tuple(y.shape)}"
    most = float((h - y).double().abs().nan_to_num().max())
    allowed = ALLOWED.get(y.dtype, LOOSE) * float(y.double().abs().nan_to_num().max())
    return f"{most:.2g}" if most > allowed + 1e-12 else None


def _ahead(step: Any) -> Callable[..., None]:
    def ahead(
        s: Any, weights: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
        blocks: int, start: int, stop: int,
    ) -> None:  # fmt: skip
        for row in range(start, stop):
            h = end[row]
            for t in range(lengths[row]):
                step(s[row, t], weights, h)
                y[row, t] = h
            y[row, lengths[row] :] = 0

    return ahead


def _back(step: Any) -> Callable[..., None]:
    def back(
        s: Any, weights: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any,
        d_state: Any, d_s: Any, d_weights: Any, blocks: int, start: int, stop: int,
    ) -> None:  # fmt: skip
        for row in range(start, stop):
            d_h, d_w = d_state[row], d_weights[row]
            for t in range(lengths[row] - 1, -1, -1):
                before, d_t = state[row] if t == 0 else y[row, t - 1], d_y[row, t]
                for c in range(len(d_h)):
                    d_h[c] += d_t[c]
                step(s[row, t], weights, before, d_h, d_s[row, t], d_w)
            d_s[row, lengths[row] :] = 0

    return back
