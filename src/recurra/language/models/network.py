"""A recurrent network as a language model.

B rows, T steps, H units, V tokens in the vocabulary, N tokens in a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recurra.errors import CheckpointError
from recurra.language.models.base import LanguageModel, Layout, Saved
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.token import token_ids
from recurra.language.text.vocabulary import Vocabulary
from recurra.learning.weights import described, load_weights, require_fit
from recurra.learning.written import typed
from recurra.nn.state import State
from recurra.randomness import generator
from recurra.work import working

__all__ = ["Hidden", "NetworkModel", "Span"]

STEPS = 1024
"""Steps that one call of a kernel takes through a document."""

BATCH = 16_384
"""Most tokens, padding included, that lines scored side by side have."""


class Span(NamedTuple):
    """A stretch of a text that has been read.

    Args:
        hidden: `(n, H)`, the vector that each of its tokens was predicted from.
        log_probs: `(n,)` float64, each token's log-probability in nats.
    """

    hidden: Tensor
    log_probs: NDArray[np.float64]


class Hidden:
    """The part of a language model that shows the vectors it predicts from.

    A model gives `hidden_size`, `step_with_hidden`, `spans` and `spans_of_lines`; how it steps and
    scores follows from them.
    """

    @property
    def hidden_size(self) -> int:
        """H, units of a hidden vector."""
        raise NotImplementedError

    def step_with_hidden(self, token: int | Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Read a token; return what `step` does, and the vector the next one is predicted from.

        Shapes: returns `(B, V)`, `(B, H)` and the state, whether given an id or many.

        Args:
            token: an id, or `(B,)` ids.
            state: as `initial_state` or the step before returned it.
        """
        raise NotImplementedError

    def spans(self, ids: NDArray[np.integer]) -> Iterator[Span]:
        """Yield one text's hidden vectors and log-probabilities, in stretches from its start.

        Args:
            ids: `(N,)`; before the first stands `<eos>`.
        """
        raise NotImplementedError

    def spans_of_lines(self, lines: list[NDArray[np.integer]]) -> Iterator[tuple[int, Span]]:
        """Yield the number and the whole of every line that has a token.

        Args:
            lines: ids of each; they know nothing of each other.
        """
        raise NotImplementedError

    def step(self, token: int | Tensor, state: State) -> tuple[Tensor, State]:
        """Read a token; return the next one's log-probabilities in nats, and the state.

        Args:
            token: an id, or `(B,)` ids.
            state: as `initial_state` or the step before returned it.
        """
        log_probs, _, state = self.step_with_hidden(token, state)
        return (log_probs[0] if isinstance(token, int) else log_probs), state

    def log_probs_of(self, ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it.

        Args:
            ids: `(N,)`.
        """
        # One array from the start: small ones that stay would keep what lies between from reuse.
        found = np.empty(len(ids))
        at = 0
        with working("reading", len(ids), "tokens") as tell:
            for span in self.spans(ids):
                found[at : at + len(span.log_probs)] = span.log_probs
                at += len(span.log_probs)
                tell(at)
        return found

    def log_probs_of_lines(self, lines: list[NDArray[np.integer]]) -> list[NDArray[np.float64]]:
        """Return the log-probabilities of lines that know nothing of each other.

        Args:
            lines: ids of each.
        """
        results: list[NDArray[np.float64]] = [np.zeros(0)] * len(lines)
        for n, span in self.spans_of_lines(lines):
            results[n] = span.log_probs
        return results


class NetworkModel(Hidden, LanguageModel):
    """A trained LanguageNetwork, with what its ids mean.

    Args:
        network: the network; put into evaluation mode.
        options: what it was built from.
        vocabulary: what ids mean.
        rule: how text is cut into tokens.
    """

    kind = "network"

    def __init__(
        self, network: LanguageNetwork, options: NetworkOptions, vocabulary: Vocabulary, rule: str
    ) -> None:
        super().__init__(vocabulary, rule)
        self.network = network.eval()
        self.options = options

    @property
    def hidden_size(self) -> int:
        """H, units of a hidden vector."""
        return self.network.recurrence.output_size

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the network's initial state."""
        return self.network.initial_state(batch_size)

    @torch.no_grad()
    def step_with_hidden(self, token: int | Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Read a token; return what `step` does, and the vector the next one is predicted from."""
        ids = token_ids(token).to(self._device).view(-1, 1)
        hidden, state = self.network(ids, state)
        return self.network.head.log_probs(hidden[:, 0]), hidden[:, 0], state

    @torch.no_grad()
    def _span(self, inputs: Tensor, targets: Tensor, state: State) -> tuple[Span, State]:
        hidden, state = self.network(inputs.unsqueeze(0), state)
        return Span(hidden[0], self._score(hidden[0], targets)), state

    def spans(self, ids: NDArray[np.integer]) -> Iterator[Span]:
        """Yield one text's hidden vectors and log-probabilities, in stretches from its start."""
        state = self.initial_state()
        before = self.vocabulary.eos
        for start in range(0, len(ids), STEPS):
            targets = torch.from_numpy(ids[start : start + STEPS].astype(np.int64))
            targets = targets.to(self._device)
            inputs = torch.cat([targets.new_tensor([before]), targets[:-1]])
            span, state = self._span(inputs, targets, state)
            before = int(targets[-1])
            yield span

    def spans_of_lines(self, lines: list[NDArray[np.integer]]) -> Iterator[tuple[int, Span]]:
        """Yield the number and the whole of every line, those of like length side by side."""
        for chosen in _batches([len(line) for line in lines]):
            targets = [torch.from_numpy(lines[n].astype(np.int64)) for n in chosen]
            hidden, log_probs = self._side_by_side(targets)
            lengths = [len(line) for line in targets]
            parts = np.split(log_probs, np.cumsum(lengths)[:-1])
            for n, own, scores in zip(chosen, torch.split(hidden, lengths), parts, strict=True):
                yield n, Span(own, scores)

    @torch.no_grad()
    def _side_by_side(self, lines: list[Tensor]) -> tuple[Tensor, NDArray[np.float64]]:
        """Return the hidden vectors and log-probabilities of lines, one line after the other."""
        lengths = torch.tensor([len(line) for line in lines], device=self._device)
        padded = pad_sequence(lines, batch_first=True).to(self._device)
        inputs = padded.roll(1, dims=1)
        inputs[:, 0] = self.vocabulary.eos
        hidden, _ = self.network(inputs, lengths=lengths)
        real = torch.arange(padded.shape[1], device=self._device) < lengths.unsqueeze(1)
        return hidden[real], self._score(hidden[real], padded[real])

    def _score(self, hidden: Tensor, targets: Tensor) -> NDArray[np.float64]:
        return self.network.head.log_probs_of(hidden, targets).double().cpu().numpy()

    @property
    def _device(self) -> torch.device:
        return self.network.embedding.device

    def facts(self) -> dict[str, Any]:
        """Return the network's options."""
        return {"network": self.options.model_dump(mode="json")}

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights."""
        return dict(self.network.state_dict())

    @classmethod
    def check(cls, saved: Saved, inner: Sequence[Layout]) -> None:
        """Raise unless the tensors are those of the network that `facts` describe."""
        require_fit(described(cls._make(saved, None)), saved.tensors)

    @classmethod
    def restore(cls, saved: Saved) -> NetworkModel:
        """Return the model that `facts` and `tensors` describe.

        Raises:
            CheckpointError: the options or the weights do not fit.
        """
        network = cls._make(saved, generator(0, "restore"))()
        load_weights(network, saved.tensors)
        return cls(network, network.options, saved.vocabulary, saved.rule)

    @staticmethod
    def _make(saved: Saved, draws: torch.Generator | None) -> Callable[[], LanguageNetwork]:
        """Return what makes the network, its weights arbitrary."""
        if saved.inner or saved.facts.keys() != {"network"}:
            raise CheckpointError(
                f"a network model is made of a network alone: {saved.facts!r:.80}"
            )
        options = typed(NetworkOptions, saved.facts["network"], "model.json: network")
        size = len(saved.vocabulary)
        return lambda: LanguageNetwork(options, size, draws)


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Yield the numbers of lines to score side by side, of like lengths, none of them empty."""
    order = sorted((n for n, length in enumerate(lengths) if length), key=lambda n: lengths[n])
    batch: list[int] = []
    for n in order:
        if batch and (len(batch) + 1) * lengths[n] > BATCH:
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch
