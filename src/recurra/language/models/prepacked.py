"""A network packed for one token at a time, as a keyboard or a recogniser reads.

B rows, T steps, H units, V tokens in the vocabulary, N tokens in a text, S numbers of a state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.network import Hidden, NetworkModel, Span
from recurra.language.text.token import token_ids
from recurra.language.use.sampling import ids_of, require_count, tokens_of
from recurra.language.use.suggestion import Suggestion
from recurra.nn.prepacked import PackedSoftmax, Precision, Prepacked, Top
from recurra.nn.state import State, flatten
from recurra.work import working

__all__ = ["PackedState", "PrepackedModel", "prepacked"]

STEPS = 256
"""Steps that a document is read in one call."""

LINES = 64
"""Lines that are read side by side."""

Integers = NDArray[np.integer]
Floats = NDArray[np.float32]


class PackedState(NamedTuple):
    """The tensors of the network's state side by side: `units (B, S)`."""

    units: Tensor


def prepacked(lm: NetworkModel, *, precision: Precision = "float32") -> PrepackedModel:
    """Return a network packed for single steps, several times as fast on a processor.

    This is for language models; `recurra.prepack` packs cells and wrappers alone.

    What is learned later it does not know: pack anew. The first step ever on a machine compiles
    for 5 to 12 seconds; what is compiled is kept on disk, under `RECURRA_CACHE`. It is saved as
    the network it was packed from, with all its digits: int8 saves time and the memory that a
    step reads, and no bytes of a file.

    Args:
        lm: a network of LSTM or GRU cells under a plain softmax.
        precision: of the weights: `"float32"`, the network's own numbers to rounding; or `"int8"`,
            a quarter of what a step reads and faster yet, which costs a trained network of Penn
            Treebank a ten-thousandth of its perplexity.

    Raises:
        ConfigError: for another model, another precision, a network that cannot be packed, or
            without numba.

    Example:
        >>> fast = prepacked(lm, precision="int8")  # doctest: +SKIP
        >>> state = fast.initial_state()  # doctest: +SKIP
        >>> likeliest, state = fast.top(fast.vocabulary.eos, state, 5)  # doctest: +SKIP
    """
    return PrepackedModel(lm, precision)


class PrepackedModel(Hidden, LanguageModel):
    """A language network whose steps read packed weights.

    Args:
        lm: a network of LSTM or GRU cells under a plain softmax; never changed.
        precision: of the weights, `"float32"` or `"int8"`.

    Raises:
        ConfigError: as `prepacked` says.

    Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient
        integer-arithmetic-only inference"; `recurra.nn.prepacked.prepack` says how it differs.
    """

    kind = "prepacked"

    def __init__(self, lm: NetworkModel, precision: Precision = "float32") -> None:
        if not isinstance(lm, NetworkModel):
            if isinstance(lm, LanguageModel):
                got = f"a {lm.kind} model; pack what is in it"
            else:
                got = f"{type(lm).__name__}; recurra.prepack packs cells and wrappers"
            raise ConfigError(f"prepacked takes a network that models language, got {got}")
        super().__init__(lm.vocabulary, lm.rule, lm)
        self.precision = precision
        network = lm.network
        with working("packing the weights"):
            self._softmax = PackedSoftmax(network.head, precision)
            self._recurrence = Prepacked(network.recurrence, precision)
        self._embedding: Floats = network.embedding.detach().numpy().copy()

    @property
    def hidden_size(self) -> int:
        """H, units of a hidden vector."""
        return self._recurrence.output_size

    def initial_state(self, batch_size: int = 1) -> PackedState:
        """Return the network's initial state."""
        tensors = flatten(self._recurrence.initial_state(batch_size)).values()
        return PackedState(torch.cat([*tensors], dim=1))

    def step_with_hidden(self, token: int | Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Read a token; return what `step` does, and the vector the next one is predicted from."""
        hidden, after = self._after(token, state)
        log_probs = torch.from_numpy(self._softmax.log_probs(hidden))
        return log_probs, torch.from_numpy(hidden), after

    def top(self, token: int | Tensor, state: State, k: int = 5) -> tuple[Top, State]:
        """Read a token; return the `k` likeliest next ones, best first, and the state.

        No other's probability is made, and nothing is sorted: this is the fastest way.

        Args:
            token: an id, or `(B,)` ids.
            state: as `initial_state` or the step before returned it.
            k: at least 1; the whole vocabulary where it is more.

        Returns ids and log-probabilities, `(k,)` for an id, `(B, k)` for ids.

        Raises:
            ConfigError: `k` is not positive.
        """
        require_count("k", k, 1)
        hidden, after = self._after(token, state)
        found = self._softmax.top(hidden, k)
        return (Top(found.ids[0], found.log_probs[0]) if isinstance(token, int) else found), after

    def _after(self, token: int | Tensor, state: State) -> tuple[Floats, PackedState]:
        """Return the hidden vectors `(B, H)` and the state, once a token is read."""
        if isinstance(token, int):
            ids = np.array([[token]])
        else:
            ids = token_ids(token).to(torch.int64).reshape(-1, 1).numpy().copy()
        hidden, units = self._read(ids, state[0].numpy().copy())
        return hidden[:, 0], PackedState(torch.from_numpy(units))

    def _read(self, ids: NDArray[np.int64], units: Floats) -> tuple[Floats, Floats]:
        """Return the hidden vectors `(B, T, H)`, and the state, which is changed."""
        return self._recurrence.read(self._embedding, ids, units), units

    def spans(self, ids: Integers) -> Iterator[Span]:
        """Yield one text's hidden vectors and log-probabilities, in stretches from its start."""
        targets = np.array(ids, np.int64)
        inputs = np.concatenate([[self.vocabulary.eos], targets[:-1]])
        units = self.initial_state().units.numpy()
        for start in range(0, len(targets), STEPS):
            part = slice(start, start + STEPS)
            (hidden,), units = self._read(inputs[None, part], units)
            yield self._span(hidden, targets[part])

    def spans_of_lines(self, lines: list[Integers]) -> Iterator[tuple[int, Span]]:
        """Yield the number and the whole of every line, those of like length side by side."""
        order = sorted(
            (n for n, line in enumerate(lines) if len(line)), key=lambda n: len(lines[n])
        )
        for start in range(0, len(order), LINES):
            chosen = order[start : start + LINES]
            inputs = np.full((len(chosen), len(lines[chosen[-1]])), self.vocabulary.eos, np.int64)
            for row, n in zip(inputs, chosen):
                row[1 : len(lines[n])] = lines[n][:-1]
            hidden, _ = self._read(inputs, self.initial_state(len(chosen)).units.numpy())
            for own, n in zip(hidden, chosen):
                targets = np.array(lines[n], np.int64)
                yield n, self._span(own[: len(targets)], targets)

    def _span(self, hidden: Floats, targets: NDArray[np.int64]) -> Span:
        log_probs = self._softmax.log_probs_of(hidden, targets)
        return Span(torch.from_numpy(hidden), log_probs)

    def suggest(self, text: str = "", top: int = 5) -> list[Suggestion]:
        """Return the likeliest next words, or completions of the word that `text` ends within."""
        if self.rule not in ("split", "words") or (text and not text[-1].isspace()):
            return super().suggest(text, top)
        require_count("top", top, 1)
        vocabulary = self.vocabulary
        ids = ids_of(self, tokens_of(self, text))
        hidden, _ = self._read(np.array([ids]), self.initial_state().units.numpy())
        found = self._softmax.top(hidden[:, -1], top + 1)
        pairs = zip(found.ids[0].tolist(), found.log_probs[0].double().exp().tolist())
        likeliest = [pair for pair in pairs if pair[0] != vocabulary.unk][:top]
        words = vocabulary.decode([place for place, _ in likeliest])
        return [Suggestion(word, pair[1]) for word, pair in zip(words, likeliest)]

    def facts(self) -> dict[str, Any]:
        """Return the precision; the network has the tensors, and is packed again."""
        return {"precision": self.precision}

    @classmethod
    def restore(cls, saved: Saved) -> PrepackedModel:
        """Return the model that `facts` and `inner` describe.

        Raises:
            CheckpointError: there is no such precision, or not one network that can be packed.
        """
        facts, inner = saved.facts, saved.inner
        if facts.keys() != {"precision"} or saved.tensors or len(inner) != 1:
            raise CheckpointError("a prepacked model is one network and a precision, no more")
        precision = facts["precision"]
        if precision not in get_args(Precision) or not isinstance(inner[0], NetworkModel):
            raise CheckpointError(
                f"a prepacked model is a network in float32 or int8, got a {inner[0].kind} model "
                f"in {precision!r:.80}"
            )
        return cls(inner[0], precision)
