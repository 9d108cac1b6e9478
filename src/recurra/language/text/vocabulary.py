"""The tokens a model knows, and their ids."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat

import numpy as np
from numpy.typing import NDArray

from recurra.errors import CheckpointError, DataError
from recurra.language.text.byte_pairs import BYTES, Merges
from recurra.language.text.tokenization import EOS, UNK
from recurra.storage.limits import SETTING, most_bytes
from recurra.storage.sealed import parsed

__all__ = ["Vocabulary"]

LARGEST = 10_000_000  # tokens
LARGEST_COUNTED = 48 << 20  # characters of all the different tokens of a text
LARGEST_FILE = 64 * 2**20  # bytes

# The only JSON that is a vocabulary: lists of anything else would take a hundred times their bytes.
# Possessive quantifiers keep no way back, so that a hostile file costs neither time nor memory.
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_PAIR = rb"\[\s*+%s\s*+,\s*+%s\s*+\]" % (_STRING, _STRING)
_LIST = rb"\s*+\[\s*+(?:%s\s*+(?:,\s*+)?+)*+\]\s*+"
LAYOUT = re.compile(
    rb'\s*+\{\s*+"tokens"\s*+:%s(?:,\s*+"merges"\s*+:%s)?+\}\s*+'
    % (_LIST % _STRING, _LIST % _PAIR),
    re.DOTALL,
)


@dataclass(frozen=True)
class Vocabulary:
    """An ordered set of tokens; a token's id is its place. `<eos>` and `<unk>` are always in.

    Args:
        tokens: each once; at most ten million.
        merges: of the rule `bpe`, the byte pairs in the order they are merged. With them, the
            tokens are the bytes, what the merges make, and the two special ones.

    Raises:
        DataError: a token occurs twice, a special one is missing, there are too many, or the
            tokens are not those that the merges make.

    Example:
        >>> vocabulary = Vocabulary(["the", "<eos>", "<unk>"])
        >>> vocabulary.encode(["the", "end", "<eos>"])
        array([0, 2, 1], dtype=int32)
        >>> vocabulary.decode([0, 1])
        ['the', '<eos>']
    """

    tokens: Sequence[str]
    merges: Merges = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        if len(self.tokens) > LARGEST:
            raise DataError(f"{len(self.tokens):,} tokens are more than a vocabulary's {LARGEST:,}")
        if len(self.ids) < len(self.tokens):
            twice, _ = Counter(self.tokens).most_common(1)[0]
            raise DataError(f"the token {twice!r} is in the vocabulary twice")
        for special in (EOS, UNK):
            if special not in self.ids:
                raise DataError(f"the vocabulary has no {special}")
        if self.merges:
            self._check_merges()

    def _check_merges(self) -> None:
        made = {EOS, UNK, *BYTES}
        for left, right in self.merges:
            if not {left, right} <= made or {EOS, UNK} & {left, right, left + right}:
                raise DataError(f"the merge of {left!r:.80} and {right!r:.80} cannot be")
            made.add(left + right)
        if len(set(self.merges)) < len(self.merges):
            raise DataError("a merge is in the vocabulary twice")
        if odd := made.symmetric_difference(self.ids):
            raise DataError(
                f"{len(odd):,} tokens differ from those that the vocabulary's merges make, as "
                f"{min(odd)!r:.80}"
            )

    @classmethod
    def count(
        cls,
        stream: Iterable[list[str]],
        max_size: int | None = None,
        min_count: int = 1,
        merges: Merges | None = None,
    ) -> Vocabulary:
        """Return the tokens of a text, the most frequent first, equal counts in code point order.

        `<eos>` and `<unk>` are in, at the place of their own counts; the occurrences of tokens
        that are left out count as those of `<unk>`.

        Args:
            stream: the text as lists of tokens.
            max_size: most tokens in the vocabulary, the two special ones included; no bound.
            min_count: occurrences a token needs to be in.
            merges: of the rule `bpe`; all bytes are in then, and all that the merges make.

        Raises:
            DataError: the text has more than ten million different tokens, or they have more than
                50 million characters.

        Example:
            >>> Vocabulary.count([["b", "a", "b", "<eos>"]]).tokens
            ('b', '<eos>', 'a', '<unk>')
        """
        counts: Counter[str] = Counter()
        known = characters = 0
        for tokens in stream:
            counts.update(tokens)
            characters += sum(map(len, islice(reversed(counts), len(counts) - known)))
            known = len(counts)
            if known > LARGEST or characters > LARGEST_COUNTED:
                raise DataError(
                    f"the text has more than {LARGEST:,} different tokens, or they have more than "
                    f"{LARGEST_COUNTED:,} characters, too many for a vocabulary; try --set "
                    "data.rule=characters"
                )
        if merges is not None:
            made = [*BYTES, *(left + right for left, right in merges)]
            counts.update(dict.fromkeys(made, 0))
            min_count = 0
        special = {EOS: counts.pop(EOS, 0), UNK: counts.pop(UNK, 0)}
        frequent = [item for item in counts.items() if item[1] >= min_count]
        frequent.sort(key=lambda item: (-item[1], item[0]))
        if max_size is not None:
            frequent = frequent[: max(0, max_size - len(special))]
        special[UNK] += counts.total() - sum(count for _, count in frequent)
        kept = sorted([*frequent, *special.items()], key=lambda item: (-item[1], item[0]))
        return cls([token for token, _ in kept], merges or ())

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token -> id."""
        return {token: index for index, token in enumerate(self.tokens)}

    @property
    def eos(self) -> int:
        """The id of `<eos>`."""
        return self.ids[EOS]

    @property
    def unk(self) -> int:
        """The id of `<unk>`."""
        return self.ids[UNK]

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of tokens; those not in the vocabulary become `<unk>`.

        Args:
            tokens: any strings.
        """
        found = map(self.ids.get, tokens, repeat(self.unk))
        return np.fromiter(found, np.int32, len(tokens))

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids.

        Args:
            ids: each in 0 ... len - 1.
        """
        return [self.tokens[index] for index in ids]

    def to_json(self) -> bytes:
        """Return the vocabulary as JSON in ASCII, so that any string survives."""
        merges = {"merges": self.merges} if self.merges else {}
        return json.dumps({"tokens": self.tokens, **merges}).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> Vocabulary:
        """Return the vocabulary that `to_json` wrote.

        Args:
            data: at most 64 MiB, or as `RECURRA_MOST_MB` says.

        Raises:
            CheckpointError: it is not such a vocabulary.
        """
        if (most := most_bytes(LARGEST_FILE)) < len(data):
            raise CheckpointError(
                f"a vocabulary of {len(data):,} bytes is over {most:,}: if you trust it, set "
                f"{SETTING}={-(-len(data) // 1_000_000)}"
            )
        if LAYOUT.fullmatch(data) is None:  # before anything is made of it
            raise CheckpointError(
                'the vocabulary is not of the form {"tokens": [strings], "merges": [pairs]}'
            )
        try:
            said = parsed(data)
            return cls(
                said["tokens"], tuple((left, right) for left, right in said.get("merges", ()))
            )
        except ValueError as error:
            raise CheckpointError(f"the vocabulary cannot be read: {error}") from error

    def fingerprint(self) -> str:
        """Return the SHA-256 of tokens and merges in their order, as hexadecimal digits."""
        return hashlib.sha256(self.to_json()).hexdigest()
