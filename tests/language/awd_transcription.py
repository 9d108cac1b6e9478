"""The recipe of AWD-LSTM, written down from the paper in plain loops; nothing of the package.

Merity, Keskar & Socher 2018, "Regularizing and optimizing LSTM language models". B rows, T steps,
V words, E units of an embedding, H of a layer. Every mask is given: zeros, and 1 / (1 - p).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass
class Masks:
    """What one chunk drops: each is drawn once and serves all of the chunk's steps."""

    words: Tensor
    """`(V,)`: whole rows of the embedding matrix (section 4.3)."""
    recurrent: list[Tensor]
    """`(4H, H)` of each layer: DropConnect on the hidden-to-hidden weights (section 2)."""
    embedded: Tensor
    """`(B, E)`: the first layer's inputs (section 4.2)."""
    outputs: list[Tensor]
    """`(B, H)` of each layer: what goes on to the next, or to the softmax (section 4.2)."""


@dataclass
class Layer:
    """The weights of an LSTM, gates in the order input, forget, candidate, output."""

    W: Tensor
    U: Tensor
    b: Tensor


@dataclass
class Step:
    """What one update saw."""

    length: int
    rate: float
    loss: float
    norm: float


class AwdLstm:
    """Embedding, LSTM layers and softmax, whose weights are the embedding's (section 4.5)."""

    def __init__(self, embedding: Tensor, layers: Sequence[Layer], bias: Tensor) -> None:
        self.embedding = embedding
        self.layers = list(layers)
        self.bias = bias
        self.state = self.zeros(1)

    def parameters(self) -> list[Tensor]:
        return [self.embedding, self.bias] + [p for e in self.layers for p in (e.W, e.U, e.b)]

    def zeros(self, B: int) -> list[tuple[Tensor, Tensor]]:
        return [
            (e.U.new_zeros(B, e.U.shape[1]), e.U.new_zeros(B, e.U.shape[1])) for e in self.layers
        ]

    def loss(
        self, words: Tensor, targets: Tensor, masks: Masks, alpha: float, beta: float
    ) -> Tensor:
        """Return the mean surprise of `targets (B, T)`, with both penalties (section 4.6)."""
        B, T = words.shape
        scaled = self.embedding * masks.words[:, None]
        xs = [scaled[words[:, t]] * masks.embedded for t in range(T)]
        for n, layer in enumerate(self.layers):
            h, c = self.state[n]
            U = layer.U * masks.recurrent[n]
            raw = []
            for x in xs:
                h, c = lstm(x, h, c, layer.W, U, layer.b)
                raw.append(h)
            self.state[n] = h.detach(), c.detach()
            xs = [h * masks.outputs[n] for h in raw]
        surprise = torch.zeros((), dtype=torch.float64)
        for t in range(T):
            scores = xs[t] @ self.embedding.T + self.bias
            scores = scores - scores.max(dim=1, keepdim=True).values.detach()
            normalizer = torch.log(torch.exp(scores).sum(dim=1))
            surprise = surprise + (normalizer - scores[torch.arange(B), targets[:, t]]).sum()
        H = raw[0].shape[1]
        activation = sum((x**2).sum() for x in xs) / (B * T * H)
        change = sum(((b - a) ** 2).sum() for a, b in pairwise(raw))
        change = change / (B * (T - 1) * H) if T > 1 else 0.0
        return surprise / (B * T) + alpha * activation + beta * change


def lstm(x: Tensor, h: Tensor, c: Tensor, W: Tensor, U: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return h and c one step later (section 2's equations, with a bias)."""
    H = h.shape[1]
    z = x @ W.T + h @ U.T + b
    i, f, g, o = (z[:, n * H : (n + 1) * H] for n in range(4))
    i, f, o = 1 / (1 + torch.exp(-i)), 1 / (1 + torch.exp(-f)), 1 / (1 + torch.exp(-o))
    g = torch.tanh(g)
    c = i * g + f * c
    return o * torch.tanh(c), c


def chunk_lengths(
    steps: int, T: int, uniform: Sequence[float], normal: Sequence[float]
) -> list[int]:
    """Return the lengths of an epoch's chunks (section 4.1), from the draws of each."""
    lengths: list[int] = []
    for u, z in zip(uniform, normal):
        base = T if u >= 0.05 else T / 2
        lengths.append(max(5, int(base + 5 * z)))
        if sum(lengths) >= steps:
            lengths[-1] -= sum(lengths) - steps
            return lengths
    raise ValueError("too few draws")


def update(
    model: AwdLstm,
    words: Tensor,
    targets: Tensor,
    masks: Masks,
    T: int,
    rate: float = 30.0,
    clip: float = 0.25,
    decay: float = 1.2e-6,
    alpha: float = 2.0,
    beta: float = 1.0,
) -> Step:
    """Take one step of SGD over a chunk, its rate scaled by the chunk's length."""
    loss = model.loss(words, targets, masks, alpha, beta)
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    scale = clip / norm if norm > clip else 1.0
    length = words.shape[1]
    scaled = rate * length / T
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients):
            parameter -= scaled * (scale * gradient + decay * parameter)
    return Step(length, scaled, float(loss.detach()), norm)
