"""A recurrent network as a language model.

B rows, T steps, H units, V tokens in the vocabulary, N tokens in a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from recurra.errors import CheckpointError, ConfigError, ResourceError
from recurra.language.model import LanguageModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.vocabulary import Vocabulary
from recurra.machine import is_out_of_memory
from recurra.nn.state import State
from recurra.nn.unroll import unroll
from recurra.randomness import generator
from recurra.train.loop import load_weights, require_fit

__all__ = ["NetworkModel"]

CHUNK = 2**23
"""Most logits held at once while scoring: 32 MB."""

STEPS = 1024
"""Steps that one call of a kernel takes through a document."""

BATCH = 16_384
"""Most tokens, padding included, that lines scored side by side have."""


class NetworkModel(LanguageModel):
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

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the network's initial state.

        Args:
            batch_size: B, texts side by side.
        """
        return self.network.initial_state(batch_size)

    @torch.no_grad()
    def step(self, token: int | Tensor, state: State) -> tuple[Tensor, State]:
        """Read a token; return the next one's log-probabilities in nats, and the state.

        Args:
            token: an id, or `(B,)` ids.
            state: as `initial_state` or the step before returned it.
        """
        ids = torch.as_tensor(token, device=self._device).view(-1, 1)
        hidden, state = self.network(ids, state)
        log_probs = self.network.head.log_probs(hidden[:, 0])
        return (log_probs[0] if isinstance(token, int) else log_probs), state

    @torch.no_grad()
    def log_probs_of(self, ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it.

        Args:
            ids: `(N,)`.
        """
        state = self.initial_state()
        before = self.vocabulary.eos
        parts = []
        for start in range(0, len(ids), STEPS):
            targets = torch.from_numpy(ids[start : start + STEPS].astype(np.int64))
            targets = targets.to(self._device)
            inputs = torch.cat([targets.new_tensor([before]), targets[:-1]])
            hidden, state = self.network(inputs.unsqueeze(0), state)
            parts.append(self._score(hidden[0], targets))
            before = int(targets[-1])
        return np.concatenate(parts) if parts else np.zeros(0)

    @torch.no_grad()
    def log_probs_of_lines(self, lines: list[NDArray[np.integer]]) -> list[NDArray[np.float64]]:
        """Return the log-probabilities of lines that know nothing of each other, side by side.

        Args:
            lines: ids of each.
        """
        results: list[NDArray[np.float64]] = [np.zeros(0)] * len(lines)
        for chosen in _batches([len(line) for line in lines]):
            targets = [torch.from_numpy(lines[n].astype(np.int64)) for n in chosen]
            lengths = torch.tensor([len(line) for line in targets], device=self._device)
            padded = pad_sequence(targets, batch_first=True).to(self._device)
            inputs = padded.roll(1, dims=1)
            inputs[:, 0] = self.vocabulary.eos
            embedded = F.embedding(inputs, self.network.embedding)
            hidden, _ = unroll(self.network.recurrence, embedded, lengths=lengths)
            real = torch.arange(padded.shape[1], device=self._device) < lengths.unsqueeze(1)
            scores = self._score(hidden[real], padded[real])
            ends = np.cumsum([len(line) for line in targets])
            for n, score in zip(chosen, np.split(scores, ends[:-1])):
                results[n] = score
        return results

    def _score(self, hidden: Tensor, targets: Tensor) -> NDArray[np.float64]:
        """Return `(N,)` log-probabilities of targets; where memory is short, in smaller chunks."""
        rows = max(1, CHUNK // len(self.vocabulary))
        while True:
            try:
                return np.concatenate([*self._score_chunks(hidden, targets, rows)])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if rows == 1:
                    raise ResourceError("out of memory while scoring a single token") from error
                rows //= 2

    def _score_chunks(
        self, hidden: Tensor, targets: Tensor, rows: int
    ) -> Iterator[NDArray[np.float64]]:
        head = self.network.head
        for start in range(0, len(targets), rows):
            logits = F.linear(hidden[start : start + rows], head.weight, head.bias)
            nats = F.cross_entropy(logits, targets[start : start + rows], reduction="none")
            yield -nats.double().cpu().numpy()

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
    def restore(
        cls,
        vocabulary: Vocabulary,
        rule: str,
        facts: Mapping[str, Any],
        tensors: dict[str, Tensor],
    ) -> NetworkModel:
        """Return the model that `facts` and `tensors` describe.

        Args:
            vocabulary: what ids mean.
            rule: how text is cut into tokens.
            facts: with `network`, the options.
            tensors: the weights.

        Raises:
            CheckpointError: the options or the weights do not fit.
        """
        try:
            options = NetworkOptions.model_validate(facts["network"])
            with torch.device("meta"):
                sketch = LanguageNetwork(options, len(vocabulary), None)
        except (KeyError, ValidationError, ConfigError) as error:
            said = " ".join(str(error).split())
            raise CheckpointError(f"the model's options are not valid: {said}") from error
        require_fit(sketch, tensors)  # before anything of that size is allocated
        network = LanguageNetwork(options, len(vocabulary), generator(0, "restore"))
        load_weights(network, tensors)
        return cls(network, options, vocabulary, rule)


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
