"""Dynamic evaluation: a network that goes on learning from the text it reads.

n tokens of a segment, H units, V tokens in the vocabulary, N tokens in a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError
from recurra.language.models.adaptation import (
    AdaptedNetwork,
    Statistics,
    learned,
    shell,
)
from recurra.language.models.base import LanguageModel, Layout, Saved
from recurra.language.models.network import Hidden, NetworkModel, Span
from recurra.language.options import DynamicOptions, checked
from recurra.language.text.token import token_ids
from recurra.learning.written import typed
from recurra.nn.kernels.descent import Rate
from recurra.nn.state import State

__all__ = ["DynamicModel", "DynamicState", "dynamic"]


class DynamicState(NamedTuple):
    """The weights as they are now, each `(1, ...)`; the words of the segment that were read
    `(1, n)`, -1 where none yet; the network's state before the segment, and its state now."""

    weights: tuple[Tensor, ...]
    words: Tensor
    start: State
    now: State


def dynamic(
    lm: NetworkModel,
    statistics: Statistics | None = None,
    *,
    learning_rate: float | None = None,
    decay: float | None = None,
    epsilon: float = 0.001,
    segment: int = 20,
) -> DynamicModel:
    """Return `lm` as it learns from what it reads; `lm` itself stays as it is.

    The defaults serve a tied 2x300 network on the beginning of the validation text of PTB; segments
    of 20 are better there than the paper's 5, and take a quarter of the time.

    Args:
        lm: a trained network.
        statistics: as `gradient_statistics` returned them: each weight then learns at a rate
            inverse to its own; without them all learn at one rate.
        learning_rate: of a segment's mean gradient; 0.004 with statistics, 1 without.
        decay: share of the way back to the trained weights, taken after each segment; 0.005 with
            statistics, 0.001 without.
        epsilon: added to a weight's statistic.
        segment: n, tokens between two updates.

    Raises:
        ConfigError: for a model that is not a network, statistics of another, or a value out of
            range.
    """
    measured = statistics is not None
    if learning_rate is None:
        learning_rate = 0.004 if measured else 1.0
    if decay is None:
        decay = 0.005 if measured else 0.001
    options = checked(
        DynamicOptions,
        "dynamic evaluation",
        learning_rate=learning_rate,
        decay=decay,
        epsilon=epsilon,
        segment=segment,
    )
    return DynamicModel(lm, options, statistics)


class DynamicModel(Hidden, LanguageModel):
    """A network whose weights follow the text: after each segment of n tokens they become

        w - learning_rate g / (rms + epsilon) + min(decay rms / mean(rms), 1) (w_0 - w)

    with g the gradient of the segment's mean surprise, w_0 the trained weights and rms the
    statistics of their gradients; without statistics w - learning_rate g + decay (w_0 - w). What
    was read before the segment is not differentiated. Each text, and each line of independent
    ones, starts from the trained weights. One text at a time.

    Args:
        lm: a trained network; never changed.
        options: rate, decay, epsilon and segment.
        statistics: as `gradient_statistics` returned them; None for one rate for all weights.

    Raises:
        ConfigError: for a model that is not a network, or statistics of another.

    Source: Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models",
        equations 6 to 9.

    Differs: the mean of rms is taken over all weights, not over each tensor's mean.
    """

    kind = "dynamic"

    def __init__(
        self,
        lm: NetworkModel,
        options: DynamicOptions,
        statistics: Statistics | None = None,
    ) -> None:
        if not isinstance(lm, NetworkModel):
            raise ConfigError(f"only a network is evaluated dynamically, got a {lm.kind} model")
        super().__init__(lm.vocabulary, lm.rule, lm)
        self.most_rows = 1
        self.lm = lm
        self.options = options
        self.statistics = None if statistics is None else _fitting(lm, statistics)
        self.rates = self._rates_of_weights()

    def _rates_of_weights(self) -> list[Rate]:
        rate, decay = self.options.learning_rate, self.options.decay
        if self.statistics is None:
            return [Rate(rate, decay) for _ in learned(self.lm.network)]
        each = list(self.statistics.values())
        mean = sum(float(rms.sum()) for rms in each) / sum(rms.numel() for rms in each)
        # Where no gradient was ever seen there is nothing to be drawn back from.
        share = decay / mean if mean else 0.0
        return [
            Rate(rate / (rms + self.options.epsilon), (rms * share).clamp_(max=1)) for rms in each
        ]

    @property
    def hidden_size(self) -> int:
        """H, units of a hidden vector."""
        return self.lm.hidden_size

    def initial_state(self, batch_size: int = 1) -> DynamicState:
        """Return the trained weights, no words, and the network's initial state.

        Args:
            batch_size: 1, as the weights are those of one text.

        Raises:
            ConfigError: for another.
        """
        if batch_size != 1:
            raise ConfigError(f"dynamic evaluation follows 1 text at a time, not {batch_size}")
        state = self.lm.initial_state(1)
        words = torch.full((1, self.options.segment), -1, device=self.lm.network.embedding.device)
        weights = [weight.detach() for weight in learned(self.lm.network).values()]
        return DynamicState(tuple(weight.unsqueeze(0) for weight in weights), words, state, state)

    @torch.no_grad()
    def step_with_hidden(
        self, token: int | Tensor, state: DynamicState
    ) -> tuple[Tensor, Tensor, DynamicState]:
        """Read a token; return what `step` does, and the vector the next one is predicted from."""
        weights, words, start, now = state
        read = token_ids(token).to(words.device).view(1)
        count = int((words >= 0).sum())
        if count == words.shape[1]:
            # The last target of the segment has come to be known: now it can be learned from.
            adapted = AdaptedNetwork(self.lm.network, self.rates, weights)
            adapted.learn(adapted.read(words[0], torch.cat([words[0, 1:], read]), start))
            weights, start, count = adapted.weights(), now, 0
            words = torch.full_like(words, -1)
        words = words.clone()
        words[0, count] = read[0]
        network = shell(self.lm.network, weights)
        hidden, now = network(read.view(1, 1), now)
        state = DynamicState(weights, words, start, now)
        return network.head.log_probs(hidden[:, 0]), hidden[:, 0], state

    def spans(self, ids: NDArray[np.integer]) -> Iterator[Span]:
        """Yield one text's hidden vectors and log-probabilities, segment by segment."""
        network = AdaptedNetwork(self.lm.network, self.rates)
        state = self.lm.initial_state()
        text = torch.from_numpy(np.concatenate([[self.vocabulary.eos], ids]).astype(np.int64))
        text = text.to(self.lm.network.embedding.device)
        n = self.options.segment
        for at in range(0, len(ids), n):
            targets = text[at + 1 : at + n + 1]
            segment = network.read(text[at : at + len(targets)], targets, state)
            log_probs = segment.log_probs().double().cpu().numpy()
            yield Span(segment.hidden.detach(), log_probs)
            if at + n < len(ids):
                network.learn(segment)
            state = segment.state

    def spans_of_lines(self, lines: list[NDArray[np.integer]]) -> Iterator[tuple[int, Span]]:
        """Yield the number and the whole of every line; each starts from the trained weights."""
        for n, line in enumerate(lines):
            if len(line):
                hidden, log_probs = zip(*self.spans(line), strict=True)
                yield n, Span(torch.cat(hidden), np.concatenate(log_probs))

    def facts(self) -> dict[str, Any]:
        """Return the options."""
        return self.options.model_dump(mode="json")

    def tensors(self) -> dict[str, Tensor]:
        """Return the statistics, if there are any."""
        return dict(self.statistics or {})

    @classmethod
    def check(cls, saved: Saved, inner: Sequence[Layout]) -> None:
        """Raise unless the statistics are of the shapes of the network's weights."""
        known = inner[0] if inner else {}
        for name, tensor in saved.tensors.items():
            if name not in known or known[name].shape != tensor.shape:
                raise CheckpointError(f"gradient statistics of another network: {name!r:.80}")

    @classmethod
    def restore(cls, saved: Saved) -> DynamicModel:
        """Return the model that `facts` and `tensors` describe, over the one in `inner`.

        Raises:
            CheckpointError: the options are not valid, there is not one network, or the
                statistics are not of its weights.
        """
        match saved.inner:
            case (NetworkModel() as lm,):
                pass
            case _:
                kinds = [each.kind for each in saved.inner]
                raise CheckpointError(f"a dynamic model is made of one network, got {kinds}")
        options = typed(DynamicOptions, saved.facts, "model.json: the dynamic model")
        try:
            return cls(lm, options, saved.tensors or None)
        except ConfigError as error:
            raise CheckpointError(f"the dynamic model is not valid: {error}") from error


def _fitting(lm: NetworkModel, statistics: Statistics) -> Statistics:
    """Return the statistics in the order of the weights."""
    expected = {name: tuple(weight.shape) for name, weight in learned(lm.network).items()}
    found = {name: tuple(tensor.shape) for name, tensor in statistics.items()}
    if found != expected:
        wrong = sorted(name for name, _ in set(expected.items()) ^ set(found.items()))
        raise ConfigError(f"gradient statistics of another network: {wrong[:3]} do not fit")
    if not all(bool(((rms >= 0) & rms.isfinite()).all()) for rms in statistics.values()):
        raise ConfigError("gradient statistics are finite and not negative; these are not")
    device = lm.network.embedding.device
    return {name: statistics[name].to(device, torch.float32) for name in expected}
