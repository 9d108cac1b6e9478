"""A mixture whose weights validation chooses, and what each of its parts is worth.

N tokens in a split, K parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, RunError
from recurra.language.metrics import TextMetrics, format_perplexity, no_log_prob
from recurra.language.models.adaptation import gradient_statistics
from recurra.language.models.base import LanguageModel
from recurra.language.models.cache import CacheModel, cache, pointer_log_probs
from recurra.language.models.cached import mix
from recurra.language.models.dynamic import dynamic
from recurra.language.models.mixture import MixtureModel, by_previous, fit_weights, mixed
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.models.unigram_cache import UnigramCacheModel, unigram_cache
from recurra.language.options import MixtureOptions
from recurra.language.text.dataset import TextDataset
from recurra.learning.plan import attempted
from recurra.work import worked_on, working

__all__ = ["Mixed", "Part", "Scores", "components", "learn_mixture", "ngram_parts", "streams"]

Floats = NDArray[np.float64]
Metrics = Mapping[str, float | int | None]


Setting = tuple[float, int]

SETTINGS: list[Setting] = [
    (theta, window) for window in (500, 2000) for theta in (0.1, 0.2, 0.3, 0.5, 1.0)
]
"""Theta and window of the pointer caches that validation chooses from."""

DIVERGED = 0.5
"""Nats a token by which a part is worse than a guess among all tokens when it has diverged."""


class Scores:
    """The log-probabilities that models give the splits of a dataset, each computed once.

    Args:
        dataset: the text.
        without: splits that there is no time for.
    """

    def __init__(self, dataset: TextDataset, without: Container[str] = ()) -> None:
        self.dataset = dataset
        self.splits = [split for split in dataset.splits if split not in without]
        # The models are kept too: an id is theirs as long as they live.
        self._known: dict[tuple[int, str], tuple[LanguageModel, Floats]] = {}
        self._cached: dict[tuple[int, str, Setting], tuple[LanguageModel, Floats]] = {}

    def of(self, model: LanguageModel, split: str) -> Floats:
        """Return the `(N,)` log-probabilities of a split's tokens, the state carried throughout.

        Args:
            model: any language model of the dataset's vocabulary.
            split: one of the dataset's.
        """
        key = id(model), split
        if key not in self._known:
            with working(f"scoring {split} by {model.kind}"):
                self._known[key] = model, self._compute(model, split)
        return self._known[key][1]

    def cached(self, lm: LanguageModel, split: str, settings: Sequence[Setting]) -> list[Floats]:
        """Return what pointer caches over a model, each by itself, give a split's tokens.

        Args:
            lm: a network, or one that is evaluated dynamically; its own are known afterwards.
            split: one of the dataset's.
            settings: theta and window of each.
        """
        wanted = [each for each in settings if (id(lm), split, each) not in self._cached]
        if wanted:
            with working(f"scoring {split} by caches over {lm.kind}"):
                own, found = pointer_log_probs(lm, self.dataset.ids(split), wanted)
            self._known[id(lm), split] = lm, own
            for setting, log_probs in zip(wanted, found):
                self._cached[id(lm), split, setting] = lm, log_probs
        return [self._cached[id(lm), split, each][1] for each in settings]

    def _compute(self, model: LanguageModel, split: str) -> Floats:
        ids = self.dataset.ids(split)
        if isinstance(model, MixtureModel):
            return model.mixed(np.stack([self.of(part, split) for part in model.inner]), ids)
        if isinstance(model, CacheModel):
            lm, given = model.inner[0], model.options
            (cached,) = self.cached(lm, split, [(given.theta, given.window)])
            return mix(self.of(lm, split), cached, given.weight)
        if isinstance(model, UnigramCacheModel):
            return model.mixed(self.of(model.inner[0], split), ids)
        return model.log_probs_of(ids)

    def metrics(self, model: LanguageModel, split: str) -> Metrics | None:
        """Return how well a model predicts a split; None where there is no such split.

        Args:
            model: any language model of the dataset's vocabulary.
            split: `"valid"` or `"test"`.
        """
        if split not in self.splits:
            return None
        return TextMetrics.of(self.of(model, split), self.dataset.facts(split)).as_dict()


class Part(NamedTuple):
    """A part of a mixture.

    Args:
        model: what is mixed; a cache speaks for itself here, so that its weight is learned too.
        alone: what its own perplexity is told of: a cache with the model that it is over.
    """

    model: LanguageModel
    alone: LanguageModel


@dataclass(frozen=True)
class Mixed:
    """A mixture with learned weights, and its report.

    Args:
        model: the mixture.
        report: `valid` and `test`, the mixture's metrics, and `parts`: name -> `weight` (its mean
            over validation), `valid_perplexity` and `test_perplexity` of the part alone (of a
            cache with the model that it is over), and `without`: the perplexity of the mixture of
            all others, by test where there is one.
        left_out: name -> why, of the parts that nothing could be made of.
    """

    model: MixtureModel
    report: dict[str, Any]
    left_out: dict[str, str] = field(default_factory=dict)


def ngram_parts(ngrams: NgramModel) -> dict[str, Part]:
    """Return n-grams, and a cache of the words just read, by name.

    Args:
        ngrams: the counted n-grams; of order 5 they are called `kn5` and `kn5_cache`.
    """
    name = f"kn{ngrams.counts.order}"
    cached = Part(unigram_cache(ngrams, weight=1.0), unigram_cache(ngrams))
    return {name: Part(ngrams, ngrams), f"{name}_cache": cached}


def components(
    models: Mapping[str, LanguageModel],
    options: MixtureOptions,
    ngrams: Mapping[str, Part],
    scores: Scores,
    left_out: dict[str, str] | None = None,
) -> dict[str, Part]:
    """Return the parts of a mixture by name: the models, and what the options add to them.

    A part that cannot be made is named in `left_out`.

    Args:
        models: name -> model; caches and dynamic evaluation are of the networks among them.
        options: which parts are wanted.
        ngrams: as `ngram_parts` gives those of the order that the options ask for, or nothing.
        scores: of a dataset whose validation split chooses the caches' settings.
        left_out: name -> why; a part that is there already is not made.

    Raises:
        ConfigError: a part is wanted of a network, and there is none.
    """
    parts = {name: Part(model, model) for name, model in models.items()}
    out = {} if left_out is None else left_out

    def add(name: str, make: Callable[[], Part]) -> Part | None:
        if (made := attempted(name, make, out)) is not None:
            parts[name] = made
        return made

    for name, model in models.items():
        if not isinstance(model, NetworkModel):
            continue
        if options.cache:
            add(f"{name}_cache", partial(chosen_cache, model, scores))
        if options.dynamic:
            adapting = add(f"{name}_dynamic", partial(_adapting, model, scores))
            if adapting and options.cache:
                add(f"{name}_dynamic_cache", partial(chosen_cache, adapting.model, scores))
    networks = any(isinstance(model, NetworkModel) for model in models.values())
    if (options.cache or options.dynamic) and not networks:
        raise ConfigError("a cache and dynamic evaluation need a network; none of these is one")
    if ngrams:
        plain, cached = ngrams
        parts[plain] = ngrams[plain]
        if options.unigram_cache:
            parts[cached] = ngrams[cached]
    elif options.unigram_cache:
        name, model = next(iter(models.items()))
        parts[f"{name}_unigram_cache"] = Part(
            unigram_cache(model, weight=1.0), unigram_cache(model)
        )
    return parts


def _adapting(model: NetworkModel, scores: Scores) -> Part:
    train = scores.dataset.ids("train")
    found = dynamic(model, gradient_statistics(model.network, train, rows=streams(train)))
    return Part(found, found)


def streams(ids: NDArray[Any]) -> int:
    """Return how many rows a text is cut into for its gradients: a hundred, fewer if short.

    Args:
        ids: `(N,)`, the text.
    """
    return max(1, min(100, len(ids) // 50))


def chosen_cache(lm: LanguageModel, scores: Scores) -> Part:
    """Return the pointer cache over a model that serves validation best.

    Args:
        lm: a network, or one that is evaluated dynamically.
        scores: of a dataset with a validation split.

    Raises:
        DataError: the model, or every cache over it, gives a token what is no probability.
    """
    found = scores.cached(lm, "valid", SETTINGS)
    own = scores.of(lm, "valid")
    weights = [fit_weights([own, each]) for each in found]
    nats = [-mixed([own, each], pair).mean() for each, pair in zip(found, weights)]
    best = int(np.argmin(nats))
    theta, window = SETTINGS[best]
    alone = cache(lm, weight=float(weights[best][1]), theta=theta, window=window)
    return Part(cache(lm, weight=1.0, theta=theta, window=window), alone)


def learn_mixture(parts: Mapping[str, Part], scores: Scores, buckets: str = "none") -> Mixed:
    """Return the parts mixed by the weights under which validation is likeliest.

    A part that gives validation what is no probability, or predicts it worse than a guess among
    all words would, is left out.

    Args:
        parts: by name, of the dataset's vocabulary.
        scores: of the dataset; what is known there is not computed again.
        buckets: `"none"`, or `"previous"`: weights by how rare the token before is.

    Raises:
        ConfigError: the dataset has no validation split.
        RunError: no part is left.
    """
    dataset = scores.dataset
    if "valid" not in scores.splits:
        raise ConfigError(
            "a mixture's weights are learned on validation; the text has no such split"
        )
    out = _unsound(parts, scores)
    parts = {name: part for name, part in parts.items() if name not in out}
    if not parts:
        told = "; ".join(f"{name} {why}" for name, why in out.items())
        raise RunError(f"nothing is left to mix: {told}")
    judged = "test" if "test" in scores.splits else "valid"
    table = None if buckets == "none" else by_previous(len(dataset.vocabulary))
    models = [part.model for part in parts.values()]
    count = 1 if table is None else int(table.max()) + 1
    uniform = np.full((count, len(models)), 1 / len(models))
    shape = MixtureModel(models, uniform, table)
    of = {s: shape.buckets_of(dataset.ids(s)) for s in {"valid": 0, judged: 0}}
    rows = {s: _rows(models, scores, s) for s in of}
    weights = fit_weights(rows["valid"], of["valid"], count)
    model = MixtureModel(models, weights, table)
    entries: dict[str, Any] = {}
    for n, (name, part) in enumerate(worked_on(parts.items(), "weighing", "parts")):
        entries[name] = {"weight": float(weights[of["valid"], n].mean())}
        for split in ("valid", "test"):
            metrics = scores.metrics(part.alone, split)
            entries[name][f"{split}_perplexity"] = metrics and metrics["perplexity"]
        entries[name]["without"] = _without(n, rows, of, count, judged)
    return Mixed(
        model,
        {
            "valid": scores.metrics(model, "valid"),
            "test": scores.metrics(model, "test"),
            "parts": entries,
        },
        out,
    )


def _unsound(parts: Mapping[str, Part], scores: Scores) -> dict[str, str]:
    """Return the parts that have no place in a mixture, and why."""
    _rows([part.model for part in parts.values()], scores, "valid")
    out = {}
    size = len(scores.dataset.vocabulary)
    for name, part in parts.items():
        for model in (part.model, part.alone):
            log_probs = scores.of(model, "valid")
            if (place := no_log_prob(log_probs)) is not None:
                odd = log_probs[place]
                out[name] = f"gives token {place + 1:,} of validation a log-probability of {odd:g}"
                break
        else:
            nats = -float(log_probs.mean())
            if nats > math.log(size) + DIVERGED:
                told = format_perplexity(nats)
                out[name] = f"diverged: perplexity {told} on validation, of {size:,} tokens"
    return out


def _without(
    n: int, rows: Mapping[str, Floats], of: Mapping[str, NDArray[Any]], count: int, judged: str
) -> float | None:
    """Return the perplexity of the mixture of all parts but one, its weights learned anew."""
    rest = [k for k in range(len(rows["valid"])) if k != n]
    if not rest:
        return None
    weights = fit_weights(rows["valid"][rest], of["valid"], count)
    log_probs = mixed(rows[judged][rest], weights, of[judged])
    return TextMetrics(len(log_probs), 0, float(-log_probs.mean())).as_dict()["perplexity"]


def _rows(models: list[LanguageModel], scores: Scores, split: str) -> Floats:
    """Return `(K, N)` log-probabilities; caches first, as they find what they wrap as well."""
    for model in models:
        if isinstance(model, CacheModel):
            scores.of(model, split)
    return np.stack([scores.of(model, split) for model in worked_on(models, "mixing", "parts")])
