"""A network that learns from a text while it reads it, in tensors of its own.

n tokens of a segment, H units, V tokens in the vocabulary, N tokens in a text.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import DataError
from recurra.language.network import LanguageNetwork
from recurra.machine import native_bfloat16
from recurra.nn.head import SoftmaxHead
from recurra.nn.kernels.descent import Gradient, Rate, descend
from recurra.nn.state import State, detach
from recurra.nn.unroll import unroll
from recurra.work import worked_on

__all__ = ["AdaptedNetwork", "Segment", "Statistics", "gradient_statistics", "learned", "shell"]

Statistics = dict[str, Tensor]
"""Name of a weight -> the root of the mean square of its gradients, of its shape."""


@dataclass(frozen=True, eq=False)
class Segment:
    """What a network made of a segment of a text, and what it takes to learn from it.

    Args:
        inputs: `(n,)` ids.
        targets: `(n,)` ids.
        hidden: `(n, H)`.
        scored: `(n,)`, the targets' log-probabilities, or `(n, V)`, everyone's.
        state: the network's, after the segment.
        embedded: `(n, H)`, what the layers read, where the softmax is differentiated by hand.
    """

    inputs: Tensor
    targets: Tensor
    hidden: Tensor
    scored: Tensor
    state: State
    embedded: Tensor | None = None

    def log_probs(self) -> Tensor:
        """Return the targets' log-probabilities `(n,)`, in nats."""
        if self.embedded is None:
            return self.scored.detach()
        return self.scored.gather(1, self.targets.unsqueeze(1)).squeeze(1)


class AdaptedNetwork:
    """A network that reads segments and learns from each, in tensors of its own.

    Args:
        trained: the network that it starts as, and is drawn back to; never changed.
        rates: how fast each learned weight moves.
        weights: to start from instead, each `(1, ...)`; copied.

    Example:
        >>> from recurra.language.options import NetworkOptions
        >>> network = LanguageNetwork(NetworkOptions(hidden_size=8), 10, torch.Generator())
        >>> adapted = AdaptedNetwork(network, [Rate(0.1, 0.0)] * len(learned(network)))
        >>> ids, state = torch.tensor([1, 2, 3]), network.initial_state()
        >>> before = adapted.read(ids[:2], ids[1:], state)
        >>> adapted.learn(before)
        >>> after = adapted.read(ids[:2], ids[1:], state)
        >>> bool(after.log_probs().mean() > before.log_probs().mean())
        True
    """

    def __init__(
        self,
        trained: LanguageNetwork,
        rates: Sequence[Rate],
        weights: tuple[Tensor, ...] = (),
    ) -> None:
        self.network = shell(trained, weights)
        for parameter in self.network.parameters():
            parameter.data = parameter.data.clone()
        self.rates = rates
        self.trained = [weight.detach() for weight in learned(trained).values()]
        self.learned = learned(self.network)

    def read(self, inputs: Tensor, targets: Tensor, state: State) -> Segment:
        """Read a segment.

        Args:
            inputs: `(n,)` ids.
            targets: `(n,)` ids, the one after each.
            state: the network's, before it.
        """
        network, head = self.network, self.network.head
        if not isinstance(head, SoftmaxHead):
            with torch.enable_grad():
                hidden, after = network(inputs.unsqueeze(0), state)
                scored = head.log_probs_of(hidden[0], targets)
            return Segment(inputs, targets, hidden[0], scored, detach(after))
        with torch.enable_grad():
            embedded = F.embedding(inputs, network.embedding).detach().requires_grad_()
            hidden, after = unroll(network.recurrence, embedded.unsqueeze(0), state)
            hidden = hidden[0]
        with torch.no_grad():
            scored = head.log_probs(hidden)
        return Segment(inputs, targets, hidden, scored, detach(after), embedded)

    @torch.no_grad()
    def learn(self, segment: Segment) -> None:
        """Move the weights against the gradient of a segment's mean surprise, once.

        Args:
            segment: the one read last.
        """
        gradients = self._gradients(segment)
        for weight, trained, gradient, rate in zip(
            self.learned.values(), self.trained, gradients, self.rates, strict=True
        ):
            descend(weight, trained, gradient, rate)

    def weights(self) -> tuple[Tensor, ...]:
        """Return the learned weights as they are now, each `(1, ...)`, not copied."""
        return tuple(weight.detach().unsqueeze(0) for weight in self.learned.values())

    def _gradients(self, segment: Segment) -> list[Gradient]:
        n = len(segment.targets)
        weights = [*self.learned.values()]
        if segment.embedded is None:
            mean = torch.full_like(segment.scored, -1 / n)
            # A cluster that no target is in has no part in it.
            found = torch.autograd.grad(segment.scored, weights, mean, materialize_grads=True)
            return [Gradient(gradient) for gradient in found]
        head, embedding = self.network.head, self.network.embedding
        # A rank of n, and n rows: never a whole matrix of the vocabulary's length.
        d_logits = segment.scored.exp()
        d_logits[torch.arange(n), segment.targets] -= 1
        d_logits /= n
        d_hidden = torch.mm(d_logits, head.weight.detach())  # type: ignore[operator]
        of_layers = [w for w in weights if not any(w is x for x in (*head.parameters(), embedding))]
        wanted = [segment.embedded, *of_layers]
        d_embedded, *of_each = torch.autograd.grad(segment.hidden, wanted, d_hidden)
        of_layer = {id(weight): gradient for weight, gradient in zip(of_layers, of_each)}
        gradients = []
        for weight in weights:
            gradient = Gradient(of_layer.get(id(weight)))
            if weight is head.weight:
                gradient = Gradient(left=d_logits.t(), right=segment.hidden.detach())
            elif weight is head.bias:
                gradient = Gradient(d_logits.sum(0))
            if weight is embedding:
                gradient = gradient._replace(rows=segment.inputs, values=d_embedded)
            gradients.append(gradient)
        return gradients


def learned(network: LanguageNetwork) -> dict[str, nn.Parameter]:
    """Return the weights that are learned, by name, a shared one once.

    Args:
        network: any.
    """
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


def shell(network: LanguageNetwork, weights: Sequence[Tensor] = ()) -> LanguageNetwork:
    """Return another network, in evaluation mode, on the same tensors or on those given.

    Args:
        network: left as it is.
        weights: the learned ones, each `(1, ...)`.
    """
    shared: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
        for parameter in network.parameters()
    }
    other = copy.deepcopy(network, shared).eval()
    other.sparse = False
    for parameter, weight in zip(learned(other).values(), weights):
        parameter.data = weight[0]
    return other


def gradient_statistics(
    network: LanguageNetwork,
    ids: NDArray[np.integer],
    *,
    rows: int = 100,
    steps: int = 5,
    tokens: int = 100_000,
) -> Statistics:
    """Return the root of the mean square of every learned weight's gradient, over chunks of a text.

    Matrix products are in bfloat16 where the processor has it.

    Args:
        network: a trained one; left as it is.
        ids: `(N,)`, the text that it was trained on.
        rows: of a chunk; the text is cut into as many parts, read side by side.
        steps: of a chunk.
        tokens: about how many are read, from the beginning of each part.

    Raises:
        DataError: the text is shorter than a chunk.

    Source: Krause et al. 2018, "Dynamic evaluation of neural sequence models", section 4.
    """
    length = (len(ids) - 1) // rows
    if length < steps:
        raise DataError(
            f"gradient statistics are taken from chunks of {rows * steps:,} tokens, got a text of "
            f"{len(ids):,}; give a longer one, or fewer rows"
        )
    own = shell(network)
    sums = {name: torch.zeros_like(weight.data) for name, weight in learned(own).items()}
    device = own.embedding.device
    narrow = native_bfloat16(device)
    text = torch.from_numpy(ids[: rows * length + 1].astype(np.int64)).to(device)
    inputs, targets = text[:-1].view(rows, length), text[1:].view(rows, length)
    state = own.initial_state(rows)
    chunks = max(1, min(length, tokens // rows) // steps)
    for start in worked_on(range(0, chunks * steps, steps), "taking gradients", "chunks"):
        at = slice(start, start + steps)
        with torch.enable_grad(), torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            hidden, state = own(inputs[:, at], detach(state))
            loss = own.head.loss(hidden, targets[:, at])
        gradients = torch.autograd.grad(loss, list(learned(own).values()), materialize_grads=True)
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total.addcmul_(gradient, gradient)
    return {name: total.div_(chunks).sqrt_() for name, total in sums.items()}
