"""`recurra score`: how likely a language model finds each line."""

from __future__ import annotations

import codecs
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recurra.cli.console import (
    AllowChangedSource,
    AllowImport,
    Lines,
    Run,
    existing,
    print_json,
    print_text,
    printable,
    say,
)
from recurra.cli.text.unknown import say_unknown
from recurra.errors import DataError
from recurra.work import worked_on

if TYPE_CHECKING:
    from recurra.language.models.base import LanguageModel
    from recurra.language.use.nbest import NBest
    from recurra.language.use.rescoring import Learned
    from recurra.language.use.scoring import Score

__all__ = ["score"]

STDIN = "-"
OFTEN_UNKNOWN = 0.2
"""Fraction of tokens outside the vocabulary from which one is warned."""


def _existing_file(given: str) -> str:
    if given != STDIN:
        existing(Path(given))
    return given


File = Annotated[
    str,
    typer.Argument(
        metavar="FILE|-", callback=_existing_file, help="Lines of text; - is standard input."
    ),
]
NBestLists = Annotated[
    bool,
    typer.Option(
        "--nbest",
        help="FILE has hypotheses: 'id ||| text ||| score' (Moses), JSON, fairseq's or Kaldi's.",
    ),
]
Costs = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", callback=existing, help="Costs of Kaldi's hypotheses; may be repeated."
    ),
]
Development = Annotated[
    Path | None,
    typer.Option(
        metavar="DEV", callback=existing, help="Learn both from hypotheses with a reference."
    ),
]


def score(
    run: Run,
    file: File,
    context: Annotated[
        Literal["independent", "document"],
        typer.Option(help="Every line alone, or all as one text."),
    ] = "independent",
    given: Annotated[
        str, typer.Option(metavar="TEXT", help="Text that is read before, and not scored.")
    ] = "",
    open_vocabulary: Annotated[
        bool, typer.Option("--open-vocabulary", help="Spell out words the model does not know.")
    ] = False,
    nbest: NBestLists = False,
    weight: Annotated[
        float | None,
        typer.Option(metavar="W", help="Of the model beside the hypotheses' scores; 0.5."),
    ] = None,
    word_penalty: Annotated[
        float | None, typer.Option(metavar="P", help="Added for each word of a hypothesis; 0.")
    ] = None,
    costs: Costs = None,
    learn: Development = None,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Lines = False,
) -> None:
    """Print how likely each line is, one record a line.

    Unknown words are scored as <unk> and shown in brackets. With --nbest, prints the hypotheses
    of each id as JSON lines, the best first.
    """
    from recurra.language.use import scoring
    from recurra.run.tasks import load_model

    weights = (weight, word_penalty, learn)
    if not nbest and (costs or weights != (None, None, None)):
        raise typer.BadParameter("--weight, --word-penalty, --costs and --learn need --nbest")
    if nbest and context != "independent":
        raise typer.BadParameter("hypotheses are independent: --nbest takes no --context document")
    if learn and weights != (None, None, learn):
        raise typer.BadParameter("--learn finds what --weight and --word-penalty would set")
    model: LanguageModel = load_model(run, "score", allow_import=allow_import or ())
    say_unknown(model, given, "what is given")
    texts = _not_empty(_lines(file, scoring.LONGEST_LINE * (1 + nbest)), file)
    if nbest:  # of which a longer line is refused, not cut
        lm = _Rescorer(model, given, open_vocabulary, _costs(costs or []))
        lm.rescore(texts, _name(file), weights)
        return
    found = scoring.score(
        model,
        texts,
        context=context,
        given=given,
        open_vocabulary=open_vocabulary,
        window=1 if file == STDIN and sys.stdin.isatty() else scoring.WINDOW,
    )
    _tell(found, model.rule, json)


def _tell(scores: Iterable[Score], rule: str, json: bool) -> None:
    """Print scores as they come, and on stderr what they come to."""
    from recurra.language.metrics import format_perplexity

    lines = tokens = oov = 0
    nats = 0.0
    if not json:
        print_text("perplexity    log prob  text")
    # a terminal shows the lines themselves
    seen = scores if sys.stdout.isatty() else worked_on(scores, "scoring", "lines")
    for each in seen:
        lines += 1
        tokens += len(each.tokens)
        oov += sum(token.oov for token in each.tokens)
        nats -= each.log_prob
        if json:
            print_json(each.as_dict(), line=True)
        else:
            perplexity = format_perplexity(-each.log_prob / len(each.tokens))
            print_text(f"{perplexity:>10}  {each.log_prob:>10.3f}  {_shown(each, rule)}")
    if not json:
        say(f"{lines:,} lines, {tokens:,} tokens: perplexity {format_perplexity(nats / tokens)}")
    if oov > OFTEN_UNKNOWN * (tokens - lines):
        say(
            f"warning: {oov:,} of {tokens - lines:,} tokens are outside the model's vocabulary, "
            f"{oov / (tokens - lines):.0%}, and scored as <unk>"
        )


def _shown(scored: Score, rule: str) -> str:
    """Return a line's text, what the model does not know in brackets, safe for a terminal."""
    from recurra.language.text.tokenization import detokenize

    text = scored.text
    if any(token.oov for token in scored.tokens):
        tokens = [f"[{each.token}]" if each.oov else each.token for each in scored.tokens]
        text = detokenize(tokens, rule).removesuffix("\n")
    return printable(text)


class _Rescorer:
    """Puts n-best lists in the order that a language model says."""

    def __init__(
        self,
        model: LanguageModel,
        given: str,
        open_vocabulary: bool,
        costs: Sequence[Mapping[str, float]],
    ) -> None:
        self.costs = costs
        self.model = model
        self.given = given
        self.open_vocabulary = open_vocabulary

    def rescore(
        self, lines: Iterable[str], name: str, weights: tuple[float | None, float | None, Any]
    ) -> None:
        from recurra.language.use.rescoring import rescore

        weight, penalty, development = weights
        if development:
            learned = self._learn(development)
            weight, penalty = learned.weight, learned.word_penalty
        weight, penalty = 0.5 if weight is None else weight, penalty or 0.0
        for each in self._read(lines, name):
            for candidate in rescore(each, weight, penalty):
                print_json(candidate._asdict(), line=True)

    def _learn(self, file: Path) -> Learned:
        from recurra.language.use.nbest import LONGEST_LINE
        from recurra.language.use.rescoring import learn

        lines = _not_empty(_lines(str(file), 2 * LONGEST_LINE), str(file))
        learned = learn(self._read(lines, str(file)))
        before, after, least = (
            f"{learned.rate(errors):.2%}"
            for errors in (learned.errors_before, learned.errors, learned.errors_least)
        )
        say(
            f"learnt from {file}: --weight {learned.weight:.4g} --word-penalty "
            f"{learned.word_penalty:.4g}; word error rate {before} before, {after} with them, "
            f"{least} at the least"
        )
        return learned

    def _read(self, lines: Iterable[str], name: str) -> Iterator[NBest]:
        from recurra.language.use.nbest import read_nbest
        from recurra.language.use.rescoring import with_log_probs

        return with_log_probs(
            self.model,
            read_nbest(lines, name, self.costs),
            given=self.given,
            open_vocabulary=self.open_vocabulary,
        )


def _costs(files: Sequence[Path]) -> list[dict[str, float]]:
    from recurra.language.use.nbest import LONGEST_LINE, read_costs

    return [read_costs(_lines(str(file), LONGEST_LINE), str(file)) for file in files]


def _name(file: str) -> str:
    return "standard input" if file == STDIN else file


def _not_empty(lines: Iterator[str], file: str) -> Iterator[str]:
    first = next(lines, None)
    if first is None:
        raise DataError(f"{_name(file)} is empty: no tokens to score")
    return itertools.chain([first], lines)


def _lines(file: str, longest: int) -> Iterator[str]:
    """Yield the lines of a file, or of standard input as they come; longer ones are cut."""
    from recurra.language.text.tokenization import read_text
    from recurra.language.use.scoring import lines

    if file == STDIN:
        return (line.removesuffix("\r") for line in lines(_standard_input(), longest))
    return lines(read_text(Path(file)), longest)


def _standard_input() -> Iterator[str]:
    stream: Any = sys.stdin.buffer
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, line, begun = 0, 1, False
    while True:
        block = stream.read1(1 << 16)
        if not (begun or offset) and (told := _no_text(block)):
            raise DataError(f"standard input {told}")
        held = len(decoder.getstate()[0])  # bytes of a character that was cut
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += error.object[held : error.start].count(b"\n")
            raise DataError(
                f"standard input is not UTF-8: byte 0x{error.object[error.start]:02x} at offset "
                f"{offset - held + error.start}, line {line}; convert it first"
            ) from error
        yield text if begun else text.removeprefix("\ufeff")
        if not block:
            return
        begun = begun or bool(text)
        offset += len(block)
        line += block.count(b"\n")


def _no_text(head: bytes) -> str | None:
    """Return what a stream is and what to do with it, where it is clearly no UTF-8."""
    from recurra.storage.packed.unpacked import packing_of
    from recurra.storage.packed.utf8 import marked_encoding, no_text

    if packing := packing_of(head):
        return f"is packed by {packing}; unpack it first, or give the file itself"
    if encoding := marked_encoding(head):
        return f"is {encoding}; convert it first: iconv -f {encoding} -t UTF-8"
    return no_text(head)
