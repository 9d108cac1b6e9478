"""Random ARPA files as tools write and prune them, beside dictionaries: what they say of any text.

Back-offs on `</s>`, gaps in orders, `<s>` of any weight and in any place, contexts that pruning
took, heads that are wrong, numbers, separators, encodings and packings of every kind.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MODELS = 3000
CLOSE = 1e-6  # of a base-10 logarithm
WORDS = ("oak", "elm", "émile", "שלום", "1", "-0.5", "ngram", "猫", "x=y")
NEVER = -99.0
Gram = tuple[str, ...]


def run(seed: int) -> dict[str, Any]:
    """Draw models, and compare what is read of each with what its dictionaries say."""
    faults, kinds = [], dict.fromkeys(("gaps", "pruned", "wrong head", "packed", "UTF-16"), 0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(MODELS):
            model = drawn(np.random.default_rng([seed, number]))
            for kind in model.kinds:
                kinds[kind] += 1
            if told := fault(Path(folder), model):
                faults.append(f"model {number}: {told}")
    return {"models": MODELS, "of them": kinds, "faults": faults[:20], "failed": len(faults)}


@dataclass
class Model:
    """A model as the file says it: base-10 logarithms and weights by their words."""

    log_probs: dict[Gram, float] = field(default_factory=dict)
    weights: dict[Gram, float] = field(default_factory=dict)
    unknown: str | None = None
    order: int = 1
    file: bytes = b""
    name: str = "model.arpa"
    kinds: set[str] = field(default_factory=set)
    lines: list[list[str]] = field(default_factory=list)

    def log10(self, gram: Gram) -> float:
        """Return the base-10 logarithm of a gram's last word given the others."""
        if gram in self.log_probs:
            return self.log_probs[gram]
        if len(gram) == 1:
            return self.log_probs[self.unknown,] if self.unknown else NEVER
        return self.weights.get(gram[:-1], 0.0) + self.log10(gram[1:])

    def line(self, words: Sequence[str]) -> list[float]:
        """Return the logarithms of a line's words, and of its end."""
        known = [w if (w,) in self.log_probs else self.unknown or "" for w in words]
        told = ["<s>", *known, "</s>"]
        return [
            self.log10(tuple(told[max(0, n + 1 - self.order) : n + 1])) for n in range(1, len(told))
        ]


def drawn(draws: np.random.Generator) -> Model:
    """Return a random model, its file and lines to score."""
    model = Model(order=int(draws.integers(1, 6)))
    words = [*draws.permutation(WORDS)[: draws.integers(1, 6)].tolist()]
    model.unknown = [None, "<unk>", "<UNK>", "!!UNK"][draws.integers(4)]
    inside = [*words, *([model.unknown] if model.unknown else [])]
    names = [*inside, "</s>", *(["<s>"] if draws.random() < 0.9 else [])]
    draws.shuffle(names)
    sections = {1: [(name,) for name in names]}
    for n in range(2, model.order + 1):
        gap = n < model.order and draws.random() < 0.15
        grams = (
            set() if gap else {_gram(draws, n, names, inside) for _ in range(draws.integers(20))}
        )
        if not (gap and draws.random() < 0.5):
            sections[n] = sorted(grams)
        if gap:
            model.kinds.add("gaps")
    model.file, model.name = _written(draws, model, sections)
    known = {gram for grams in sections.values() for gram in grams}
    if any(gram[:-1] not in known for gram in known if len(gram) > 1):
        model.kinds.add("pruned")
    for _ in range(draws.integers(2, 9)):
        said = draws.choice([*words, "zebra"], draws.integers(0, 7)).tolist()
        model.lines.append(said)
    return model


def _gram(draws: np.random.Generator, n: int, names: Sequence[str], inside: Sequence[str]) -> Gram:
    """Return an n-gram, most often one that can be met."""
    if draws.random() < 0.2:
        return tuple(draws.choice(names, n).tolist())
    gram = draws.choice(inside, n).tolist()
    if draws.random() < 0.4 and "<s>" in names:
        gram[0] = "<s>"
    if draws.random() < 0.3:
        gram[-1] = "</s>"
    return tuple(gram)


def _written(
    draws: np.random.Generator, model: Model, sections: dict[int, list[Gram]]
) -> tuple[bytes, str]:
    """Return the file of a model, whose numbers are drawn here, and its name."""
    between = ["\t", " ", "\t\t", " \t "][draws.integers(4)]
    form = ["%.6g", "%.7f", "%.8e", "%.9E"][draws.integers(4)]
    rows = ["made by hand", "\\data\\ comes next", "ngram 9=9"][: draws.integers(4)]
    rows += [""] * draws.integers(3) + ["\\data\\"]
    wrong, off = draws.random() < 0.15, draws.choice(list(sections))
    for n, grams in sections.items():
        rows.append(f"ngram {n}={len(grams) + wrong * (n == off)}")
    if wrong:
        model.kinds.add("wrong head")
    for n, grams in sections.items():
        rows += [""] * draws.integers(3) + [f"\\{n}-grams:"]
        for gram in grams:
            rows.append(_row(draws, model, gram, form, between, last=n == max(sections)))
            rows += [""] * (draws.random() < 0.02)
    rows += [""] * draws.integers(3) + ["\\end\\"]
    text = ("\r\n" if draws.random() < 0.2 else "\n").join(rows) + "\n" * draws.integers(2)
    kind = draws.random()
    if kind < 0.1:
        model.kinds.add("UTF-16")
    data = text.encode("utf-16" if kind < 0.1 else "utf-8-sig" if kind < 0.3 else "utf-8")
    pack = [gzip.compress, bz2.compress, lzma.compress, None, None, None][draws.integers(6)]
    if pack:
        model.kinds.add("packed")
        data = pack(data)
    return data, ["model.arpa", "model.lm", "model.arpa.gz", "model"][draws.integers(4)]


def _row(
    draws: np.random.Generator, model: Model, gram: Gram, form: str, between: str, last: bool
) -> str:
    log_prob, odd = form % -draws.uniform(0.01, 4), draws.random()
    if gram == ("<s>",):
        log_prob = ["-99", "0", "-inf", form % -1.25, "-0.0"][draws.integers(5)]
    elif odd < 0.04:
        log_prob = ["-99", "-inf", "0", "-98.972"][draws.integers(4)]
    words = " ".join(gram) if draws.random() < 0.5 else between.join(gram)
    row = f"{log_prob}{between}{words}"
    model.log_probs[gram] = max(float(log_prob), NEVER)
    if (draws.random() < 0.7 and not last) or draws.random() < 0.05:
        weight = ["-99", "0", "-inf"][draws.integers(3)] if odd > 0.96 else ""
        weight = weight or form % draws.uniform(-2, 0.7)
        model.weights[gram] = max(float(weight), NEVER)
        row += between + weight
    return row


def fault(folder: Path, model: Model) -> str | None:
    """Return what is wrong with how a model is read, in words; None where all is right."""
    from recurra.language.models.base import LanguageModel

    path = folder / model.name
    path.write_bytes(model.file)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        lm: Any = LanguageModel.from_pretrained(path)
    said = " ".join(str(each.message) for each in noted)
    if ("wrong head" in model.kinds) != ("other numbers of n-grams" in said):
        return f"of the head is said: {said}"
    expected = [model.line(words) for words in model.lines]
    tokens = [[*words, "<eos>"] for words in model.lines]
    ids = [lm.vocabulary.encode(line) for line in tokens]
    for way, found in _ways(lm, ids, folder):
        for words, ours, theirs in zip(model.lines, found, expected, strict=True):
            most = float(np.abs(np.asarray(ours) / math.log(10) - theirs).max())
            if not most <= CLOSE:
                return f"{way} of {words}: {most:.3g} apart"
    alone, order = lm.log_probs_of_lines(ids), np.random.default_rng(1).permutation(len(ids))
    mixed = lm.log_probs_of_lines([ids[n] for n in order])
    if not all(np.array_equal(alone[n], mixed[place]) for place, n in enumerate(order)):
        return "a line's score depends on its neighbours"
    return None


def _ways(lm: Any, ids: list[Any], folder: Path) -> Iterator[tuple[str, list[Any]]]:
    """Yield each way to ask a model of lines, and what it says in nats."""
    from recurra.language.models.ngram import NgramModel

    ends = np.cumsum([len(line) for line in ids])[:-1]
    yield "lines", lm.log_probs_of_lines(ids)
    yield "a document", np.split(lm.log_probs_of(np.concatenate(ids)), ends)
    log_probs, state, stepped = *lm.step(lm.vocabulary.eos, lm.initial_state()), []
    for token in np.concatenate(ids).tolist():
        stepped.append(float(log_probs[token]))
        log_probs, state = lm.step(token, state)
    yield "steps", np.split(np.array(stepped), ends)
    if any((level.log_probs > 0).any() for level in lm.ngrams.levels):
        return  # no file can say that backing off gives more than one
    lm.to_arpa(folder / "again.arpa")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = NgramModel.from_arpa(folder / "again.arpa", vocabulary=lm.vocabulary)
    yield "what is written again", again.log_probs_of_lines(ids)
