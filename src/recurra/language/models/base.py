"""The language model: a recurrence over tokens that gives the next token's distribution.

B rows, V tokens in the vocabulary, N tokens in a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError
from recurra.language.entry import FORMAT
from recurra.language.metrics import TextMetrics
from recurra.language.text.dataset import SplitFacts
from recurra.language.text.tokenization import Rule
from recurra.language.text.vocabulary import Vocabulary
from recurra.language.use import decoding, scoring
from recurra.language.use.scoring import Context, Score
from recurra.learning.weights import require_room
from recurra.learning.written import placed
from recurra.nn.state import State
from recurra.storage.files import json_bytes
from recurra.storage.pretrained import CONFIG, Pretrained, open_pretrained, save_pretrained
from recurra.storage.sources import Unchanged
from recurra.table import Table, named_by_file

__all__ = ["MODELS", "LanguageModel", "Layout", "Saved"]

Layout = dict[str, Tensor]
"""Tensors by name, or what a file's header says of them: then on the meta device."""

ALONE, NESTED = FORMAT.versions
(VOCABULARY,) = FORMAT.files
MOST_MODELS = 64
"""In one file."""
MOST_READINGS = 1024
"""By the models of one file, of one token: one that stands in two others reads it twice."""

MODELS = Table(
    "language model",
    {
        "network": "recurra.language.models.network:NetworkModel",
        "prepacked": "recurra.language.models.prepacked:PrepackedModel",
        "ngram": "recurra.language.models.ngram:NgramModel",
        "cache": "recurra.language.models.cache:CacheModel",
        "unigram_cache": "recurra.language.models.unigram_cache:UnigramCacheModel",
        "dynamic": "recurra.language.models.dynamic:DynamicModel",
        "mixture": "recurra.language.models.mixture:MixtureModel",
        "temperature": "recurra.language.models.temperature:TemperatureModel",
    },
)
"""What a saved model says it is -> its class."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved of one model.

    Args:
        vocabulary: what ids mean.
        rule: how text is cut into tokens.
        facts: as `LanguageModel.facts` returned them.
        tensors: as `LanguageModel.tensors` returned them.
        inner: the models it is made of.
    """

    vocabulary: Vocabulary
    rule: str
    facts: Mapping[str, Any]
    tensors: dict[str, Tensor]
    inner: tuple[LanguageModel, ...] = ()


class LanguageModel:
    """What every language model is; a subclass gives `initial_state`, `step` and the rest.

    Args:
        vocabulary: what ids mean.
        rule: how text is cut into tokens.
        inner: the models it is made of.
    """

    can: ClassVar[frozenset[str]] = frozenset(
        ("score", "generate", "suggest", "explain", "mix", "step")
    )
    """What one may ask of it, by the names of the commands."""
    kind: ClassVar[str]
    """Its name in MODELS."""
    inner: tuple[LanguageModel, ...]
    """The models it is made of."""
    most_rows: int | None
    """How many texts it can read side by side, no more than those in it; None: any number."""

    def __init__(self, vocabulary: Vocabulary, rule: str, *inner: LanguageModel) -> None:
        self.vocabulary = vocabulary
        self.rule = rule
        self.inner = inner
        bounds = [each.most_rows for each in inner if each.most_rows is not None]
        self.most_rows = min(bounds, default=None)

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
        return TextMetrics.of(log_probs, facts)

    def score(
        self,
        texts: Iterable[str],
        *,
        context: Context = "independent",
        given: str = "",
        open_vocabulary: bool = False,
    ) -> list[Score]:
        """Return how likely each line is, as `recurra.language.use.scoring.score` tells it.

        Args:
            texts: lines, with their newlines or without.
            context: `"independent"` scores each alone, `"document"` as the lines of one text.
            given: text that is read first and not scored.
            open_vocabulary: whether a word outside the vocabulary is spelled out.

        Raises:
            ConfigError: for another context, or a single string as `texts`.
        """
        return list(
            scoring.score(
                self, texts, context=context, given=given, open_vocabulary=open_vocabulary
            )
        )

    # Functions as methods: the model is their first argument.
    generate = decoding.generate
    generate_many = decoding.generate_many
    suggest = decoding.suggest

    def facts(self) -> dict[str, Any]:
        """Return what `restore` needs beside tensors, as JSON values; not what `inner` needs."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return what the model has learned; not what those in `inner` have."""
        return {}

    @classmethod
    def check(cls, saved: Saved, inner: Sequence[Layout]) -> None:
        """Raise unless tensors are of the shapes that such a model has, before they are read.

        Args:
            saved: what there is of it; the tensors are on the meta device.
            inner: the tensors of the models that it is made of.

        Raises:
            CheckpointError: they are not; of most kinds there are none.
        """
        if saved.tensors:
            raise CheckpointError(f"a {cls.kind} model has no tensors: {min(saved.tensors)!r:.80}")

    @classmethod
    def restore(cls, saved: Saved) -> LanguageModel:
        """Return the model that was saved.

        Args:
            saved: what there is of it.

        Raises:
            CheckpointError: it is not what such a model is made of.
        """
        raise NotImplementedError

    def save_pretrained(
        self, directory: Path | str, *, config: Mapping[str, Any] | None = None
    ) -> None:
        """Write the model, and those that it is made of, as a directory that is loadable alone.

        Args:
            directory: its place: free, an empty folder, or a model, which is replaced.
            config: of a run, which says what text it learned from; for a model that lies in none.

        Raises:
            ConfigError: it is made of models of different vocabularies; or what is there is no
                model, or holds something else too.
            CheckpointError: it is made of too many.
        """
        models = _graph(self)
        facts: dict[str, Any] = {"rule": self.rule}
        if len(models) == 1:
            version, tensors = ALONE, self.tensors()
            facts |= self.facts()
        else:
            version = NESTED
            place = {id(model): n for n, model in enumerate(models)}
            _readings([place[id(part)] for part in each.inner] for each in models)
            facts["models"] = [
                {"kind": each.kind, "inner": [place[id(part)] for part in each.inner]}
                | each.facts()
                for each in models
            ]
            tensors = {
                f"{n}/{name}": tensor
                for n, each in enumerate(models)
                for name, tensor in each.tensors().items()
            }
        files = {VOCABULARY: self.vocabulary.to_json()}
        if config is not None:
            files[CONFIG] = json_bytes(config)
        save_pretrained(directory, FORMAT, self.kind, facts, tensors, files, version)

    @staticmethod
    def from_pretrained(run: Path | str, *, allow_import: Iterable[str] = ()) -> LanguageModel:
        """Return the model of a finished run.

        Args:
            run: a run directory, the `model` directory in one, or a file of n-grams as other
                tools write them, in ARPA's form.
            allow_import: cells of someone's own that it may name, as `["module:Name"]`.

        Raises:
            CheckpointError: there is none, or it is damaged, or names a cell that is not allowed.
        """
        with named_by_file(run, allow_import, Unchanged(run)):
            return _opened(run)


def _opened(run: Path | str) -> LanguageModel:
    """Return the model of a finished run, whose names are a file's."""
    found = open_pretrained(run, FORMAT)
    if found.weights is None:
        counted: LanguageModel = MODELS["ngram"].from_arpa(found.facts_path)
        return counted
    rule = found.facts.get("rule")
    # A place of one's own, `module:Name`, would let a file choose what is imported.
    if found.kind not in MODELS.places or rule is None:
        raise CheckpointError(f"{found.facts_path} describes no known kind of model")
    if rule not in get_args(Rule):
        raise CheckpointError(f"{found.facts_path}: no rule of tokenization is named {rule!r:.80}")
    models: list[LanguageModel] = []
    with placed(found.facts_path.parent):
        vocabulary = Vocabulary.from_json(found.files[VOCABULARY].read_bytes())
        layouts: list[Layout] = []
        for kind, inner, facts, layout in _entries(found, found.layout):  # by the header alone
            MODELS[kind].check(Saved(vocabulary, rule, facts, layout), [layouts[n] for n in inner])
            layouts.append(layout)
        require_room(found.layout)
        for kind, inner, facts, tensors in _entries(found, found.tensors()):
            parts = tuple(models[n] for n in inner)
            model = MODELS[kind].restore(Saved(vocabulary, rule, facts, tensors, parts))
            if model.inner != parts:
                raise CheckpointError(f"a {kind} model is not made of others")
            models.append(model)
    return models[-1]


def _graph(root: LanguageModel) -> list[LanguageModel]:
    """Return every model that `root` is made of, once, before those made of it; `root` last."""
    found: dict[int, LanguageModel] = {}

    def visit(model: LanguageModel) -> None:
        if id(model) in found:
            return
        if (model.vocabulary, model.rule) != (root.vocabulary, root.rule):
            raise ConfigError(
                f"a {root.kind} model of one vocabulary, made of a {model.kind} model of another, "
                "cannot be saved"
            )
        for part in model.inner:
            visit(part)
        found[id(model)] = model

    visit(root)
    if len(found) > MOST_MODELS:
        raise CheckpointError(
            f"a model made of {len(found)} others cannot be saved: at most {MOST_MODELS}"
        )
    return list(found.values())


def _readings(graph: Iterable[list[int]]) -> None:
    """Refuse a graph whose sharing, doubled again and again, makes one token take forever."""
    readings: list[int] = []
    for inner in graph:
        readings.append(1 + sum(readings[part] for part in inner))
        if readings[-1] > MOST_READINGS:
            raise CheckpointError(
                f"the models that others are made of would read every token {readings[-1]:,} "
                f"times; at most {MOST_READINGS:,} is allowed"
            )


_Entry = tuple[str, list[int], dict[str, Any], Layout]


def _entries(found: Pretrained, learned: Layout) -> Iterator[_Entry]:
    """Yield kind, inner ones by number, facts and tensors of each model in a file, checked."""
    facts = {name: value for name, value in found.facts.items() if name != "rule"}
    if "models" not in facts:
        yield found.kind, [], facts, learned
        return
    models, path = facts.pop("models"), found.facts_path
    if facts or not isinstance(models, list) or not 2 <= len(models) <= MOST_MODELS:
        raise CheckpointError(f"{path}: expected 2 to {MOST_MODELS} models and nothing beside")
    tensors: list[dict[str, Tensor]] = [{} for _ in models]
    for name, tensor in learned.items():
        number, _, rest = name.partition("/")
        if not (number.isdecimal() and str(int(number)) == number and int(number) < len(models)):
            raise CheckpointError(f"{path}: the tensor {name!r:.80} is of none of its models")
        tensors[int(number)][rest] = tensor
    graph: list[list[int]] = []
    for n, entry in enumerate(models):
        match entry:
            case {"kind": str(kind), "inner": [*inner], **own} if kind in MODELS.places:
                if not all(type(part) is int and 0 <= part < n for part in inner):
                    raise CheckpointError(
                        f"{path}: model {n} is made of {inner!r:.80}, but only of those before it"
                    )
                graph.append(inner)
                _readings(graph)
                yield kind, inner, {str(name): own[name] for name in own}, tensors[n]
            case _:
                raise CheckpointError(f"{path}: model {n} is of no known kind: {entry!r:.80}")
    parts = {part for inner in graph for part in inner}
    if len(parts) != len(models) - 1 or kind != found.kind:
        raise CheckpointError(f"{path}: the last model is not a {found.kind} made of the others")
