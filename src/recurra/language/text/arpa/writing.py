"""N-grams written as an ARPA file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recurra.errors import DataError
from recurra.language.text.arpa.words import CAPITAL_UNK, END, LN10, NEVER, START
from recurra.language.text.tokenization import EOS
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram.backoff import BackoffNgrams
from recurra.storage.files import Sink, write_bytes

__all__ = ["write_arpa"]

CHUNK = 65_536  # n-grams written at once


def write_arpa(
    path: Path | str, ngrams: BackoffNgrams, vocabulary: Vocabulary, digits: int = 15
) -> None:
    """Write n-grams as an ARPA file.

    Args:
        path: the file; compressed if its name ends in `.gz`. What is there is replaced.
        ngrams: what to write.
        vocabulary: their words.
        digits: of each logarithm, 1 to 17.

    Raises:
        DataError: a token cannot stand in such a file.
        OSError: the disk refuses.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "coin.arpa"
        >>> coin = BackoffNgrams(np.log([0.5, 0.5]), (), eos=0)
        >>> write_arpa(path, coin, Vocabulary(["<eos>", "<unk>"]), digits=4)
        >>> path.read_text().split()[4:8]
        ['-99', '<s>', '-0.301', '</s>']
    """
    words = [_written(token) for token in vocabulary.tokens]

    def content(sink: Sink) -> None:
        packed = zlib.compressobj(6, zlib.DEFLATED, 31) if Path(path).suffix == ".gz" else None
        for text in _sections(ngrams, words, f"%.{digits}g"):
            data = text.encode()
            sink.write(packed.compress(data) if packed else data)
        if packed:
            sink.write(packed.flush())

    write_bytes(Path(path), content)


def _written(token: str) -> str:
    if token == EOS:
        return END
    word = token.encode(errors="surrogatepass")
    surrogate = token.encode(errors="replace") != word
    if token in (START, END, CAPITAL_UNK) or surrogate or b"\0" in word or word.split() != [word]:
        raise DataError(
            f"the token {token[:40]!r} cannot stand in an ARPA file, whose words are UTF-8 without "
            f"white space, and where {START}, {END} and {CAPITAL_UNK} have a meaning of their own"
        )
    return token


def _sections(ngrams: BackoffNgrams, words: list[str], number: str) -> Iterator[str]:
    sizes = [ngrams.vocabulary_size + 1, *ngrams.sizes[1:]]  # <eos> is two words here
    yield "\\data\\\n" + "".join(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))
    first = words.copy()
    first[ngrams.eos] = START
    for n in range(1, ngrams.order + 1):
        yield f"\n\\{n}-grams:\n"
        log_probs = ngrams.levels[n - 2].log_probs if n > 1 else ngrams.log_unigrams
        longer = ngrams.levels[n - 1].log_backoffs if n < ngrams.order else np.zeros(sizes[n - 1])
        for start in range(0, ngrams.sizes[n - 1], CHUNK):
            stop = min(start + CHUNK, ngrams.sizes[n - 1])
            rows = ngrams.grams(n, start, stop).tolist()
            values = (np.minimum(log_probs[start:stop], 0) / LN10).tolist()
            weights = (longer[start:stop] / LN10).tolist()
            lines = []
            for row, value, weight in zip(rows, values, weights):
                after = f"\t{number % weight}\n" if weight else "\n"
                if row == [ngrams.eos]:
                    lines.append(f"{number % NEVER}\t{START}{after}{number % value}\t{END}\n")
                    continue
                gram = [(first if n > 1 else words)[row[0]], *[words[word] for word in row[1:]]]
                lines.append(f"{number % value}\t{' '.join(gram)}{after}")
            yield "".join(lines)
    yield "\n\\end\\\n"
