"""The language model: a recurrence over tokens that gives the next token's distribution.

B rows, V tokens in the vocabulary, N tokens in a text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError
from recurra.language.dataset import SplitFacts
from recurra.language.metrics import TextMetrics
from recurra.language.tokenization import Rule, detokenize, tokens
from recurra.language.vocabulary import Vocabulary
from recurra.nn.state import State
from recurra.pretrained import open_pretrained, save_pretrained
from recurra.randomness import generator
from recurra.table import Table

__all__ = ["MODELS", "LanguageModel"]

KIND, VERSION = "recurra-language-model", 1
VOCABULARY = "vocabulary.json"

MODELS = Table(
    "language model",
    {
        "network": "recurra.language.network_model:NetworkModel",
        "ngram": "recurra.language.ngram_model:NgramModel",
    },
)
"""What a saved model says it is -> its class."""


class LanguageModel:
    """What every language model is; a subclass gives `initial_state`, `step` and the rest.

    Args:
        vocabulary: what ids mean.
        rule: how text is cut into tokens.
    """

    kind: str

    def __init__(self, vocabulary: Vocabulary, rule: str) -> None:
        self.vocabulary = vocabulary
        self.rule = rule

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the state before any token; the first one given is `<eos>`.

        Args:
            batch_size: B, texts side by side.
        """
        raise NotImplementedError

    def step(self, token: int | Tensor, state: State) -> tuple[Tensor, State]:
        """Read a token; return the next one's log-probabilities in nats, and the state.

        Args:
            token: an id, or `(B,)` ids.
            state: as `initial_state` or the step before returned it.

        Returns `(V,)` for an id, `(B, V)` for ids.
        """
        raise NotImplementedError

    def log_probs_of(self, ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it.

        The whole text is one sequence, the state carried from its start to its end: the same
        numbers as one `step` at a time.

        Args:
            ids: `(N,)`.
        """
        raise NotImplementedError

    def log_probs_of_lines(self, lines: list[NDArray[np.integer]]) -> list[NDArray[np.float64]]:
        """Return the log-probabilities of lines that know nothing of each other.

        Args:
            lines: ids of each, usually with a closing `<eos>`.
        """
        return [self.log_probs_of(line) for line in lines]

    def evaluate(
        self, ids: NDArray[np.integer], facts: SplitFacts, context: str = "document"
    ) -> TextMetrics:
        """Return how well a text is predicted.

        Args:
            ids: `(N,)`, what to score, every token of it.
            facts: what was counted while the text became ids.
            context: `"document"` carries the state throughout, `"independent"` starts every
                line anew.

        Raises:
            ConfigError: for another context.
        """
        if context == "document":
            log_probs = self.log_probs_of(ids)
        elif context == "independent":
            ends = np.flatnonzero(ids == self.vocabulary.eos) + 1
            lines = [line for line in np.split(ids, ends) if len(line)]
            log_probs = np.concatenate([np.zeros(0), *self.log_probs_of_lines(lines)])
        else:
            raise ConfigError(f"context is 'document' or 'independent', got {context!r}")
        nats = float(-log_probs.mean()) if len(log_probs) else math.nan
        return TextMetrics(len(log_probs), facts.oov, nats, facts.characters)

    def generate(
        self, num_tokens: int = 100, *, prompt: str = "", temperature: float = 1.0, seed: int = 1
    ) -> str:
        """Return text that goes on from `prompt`, drawn token by token, without `<unk>`.

        Args:
            num_tokens: how many to draw.
            prompt: what the text begins with.
            temperature: above 0; below 1 prefers what is likely.
            seed: of the draws.
        """
        draws = generator(seed, "generate")
        unk = torch.tensor(self.vocabulary.unk)
        given = [token for part in tokens([prompt], self.rule) for token in part]
        ids = [int(index) for index in self.vocabulary.encode(given)]
        state = self.initial_state()
        for index in [self.vocabulary.eos, *ids]:
            log_probs, state = self.step(index, state)
        for _ in range(num_tokens):
            known = log_probs.cpu().index_fill(0, unk, -math.inf)
            weights = torch.softmax((known - known.max()) / temperature, dim=0)
            ids.append(int(torch.multinomial(weights, 1, generator=draws)))
            log_probs, state = self.step(ids[-1], state)
        return detokenize(self.vocabulary.decode(ids), self.rule)

    def facts(self) -> dict[str, Any]:
        """Return what `restore` needs beside tensors, as JSON values."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """Return what the model has learned."""
        raise NotImplementedError

    @classmethod
    def restore(
        cls,
        vocabulary: Vocabulary,
        rule: str,
        facts: Mapping[str, Any],
        tensors: dict[str, Tensor],
    ) -> LanguageModel:
        """Return the model that `facts` and `tensors` describe.

        Args:
            vocabulary: what ids mean.
            rule: how text is cut into tokens.
            facts: as `facts` returned them.
            tensors: as `tensors` returned them.
        """
        raise NotImplementedError

    def save_pretrained(self, directory: Path | str) -> None:
        """Write the model as a directory that is loadable alone.

        Args:
            directory: its place; what is there is replaced.
        """
        facts = {"rule": self.rule, **self.facts()}
        files = {VOCABULARY: self.vocabulary.to_json()}
        save_pretrained(directory, KIND, VERSION, self.kind, facts, self.tensors(), files)

    @staticmethod
    def from_pretrained(run: Path | str) -> LanguageModel:
        """Return the model of a finished run.

        Args:
            run: a run directory, or the `model` directory in one.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        found = open_pretrained(run, KIND, VERSION, [VOCABULARY])
        facts = dict(found.facts)
        # A place of one's own, `module:Name`, would let a file choose what is imported.
        if found.kind not in MODELS.places or "rule" not in facts:
            raise CheckpointError(f"{found.facts_path} describes no known kind of model")
        rule = facts.pop("rule")
        if rule not in get_args(Rule):
            raise CheckpointError(
                f"{found.facts_path}: no rule of tokenization is named {rule!r:.80}"
            )
        vocabulary = Vocabulary.from_json(found.files[VOCABULARY].read_bytes())
        make = MODELS[found.kind]
        restored: LanguageModel = make.restore(vocabulary, rule, facts, found.tensors)
        return restored
