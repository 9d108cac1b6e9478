"""The arrays n-grams are kept in: how they are searched, and checked when they are loaded.

Shapes: V words of the vocabulary, T tokens of a text, M_n distinct n-grams of length n.
An n-gram is known by its rank among the n-grams of its length, and found by its key
`rank of its first n - 1 words * V + last word`. A word is its own rank; -1 is unseen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recurra.errors import CheckpointError, DataError

__all__ = [
    "LAST_KEY",
    "Floats",
    "Integers",
    "check_sizes",
    "find",
    "named",
    "opened",
    "read",
]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

LAST_KEY = np.iinfo(np.int64).max  # sorts after every n-gram, so a search never runs off the end


def find(keys: Integers, vocabulary_size: int, contexts: Integers, words: Integers) -> Integers:
    """Return the ranks of n-grams of one length, -1 where unseen.

    Args:
        keys: `(M_n + 1,)` of that length, increasing, the last one `LAST_KEY`.
        vocabulary_size: V, in words.
        contexts: `(T,)` ranks of their first n - 1 words, -1 where unseen.
        words: `(T,)` ids of their last words.

    Example:
        >>> keys = np.array([0 * 3 + 2, 1 * 3 + 0, LAST_KEY])
        >>> find(keys, 3, np.array([0, 0, 1, -1]), np.array([1, 2, 0, 2]))
        array([-1,  0,  1, -1])
    """
    wanted = contexts * vocabulary_size + words
    ranks = np.searchsorted(keys, wanted)
    return np.where(keys[ranks] == wanted, ranks, -1)


def opened(ids: ArrayLike, vocabulary_size: int, eos: int) -> Integers:
    """Return the `(T + 1,)` text with the `<eos>` that stands before its first token.

    Args:
        ids: `(T,)`.
        vocabulary_size: V.
        eos: id of `<eos>`.

    Raises:
        DataError: an id is outside the vocabulary.

    Example:
        >>> opened([2, 1], vocabulary_size=3, eos=0)
        array([0, 2, 1])
    """
    text = np.concatenate(([eos], np.asarray(ids, dtype=np.int64)))
    if text.min() < 0 or text.max() >= vocabulary_size:
        raise DataError(
            f"token ids from {text.min()} to {text.max()}; "
            f"the model's vocabulary has 0 to {vocabulary_size - 1}"
        )
    return text


def named(
    eos: int, words: Mapping[str, Floats], levels: Sequence[Any], fields: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return all arrays of a model by name, as `read` finds them again.

    Args:
        eos: id of `<eos>`.
        words: the table of the words alone, by its name.
        levels: the n-grams of lengths from 2 on.
        fields: the arrays of each length.

    Example:
        >>> list(named(0, {"words": np.ones(2)}, [], ["keys"]))
        ['eos', 'words']
    """
    lengths = {
        f"{n}.{field}": getattr(level, field)
        for n, level in enumerate(levels, start=2)
        for field in fields
    }
    return {"eos": np.array([eos], np.int64), **words, **lengths}


def read(
    tensors: Mapping[str, NDArray[Any]], words: str, fields: Sequence[str]
) -> tuple[int, Floats, list[tuple[Integers, Floats, Floats]]]:
    """Return the id of `<eos>`, the table of the words alone, and the arrays of each length.

    Args:
        tensors: name -> array, as `named` gives them.
        words: what the table of the words alone is called.
        fields: the arrays of each length: its keys, a number for each n-gram of it, and one for
            each context, all and the unseen.

    Raises:
        CheckpointError: a name is missing or unexpected, or an array does not fit.

    Example:
        >>> read(named(0, {"words": np.ones(2)}, [], ["keys"]), "words", ["keys"])
        (0, array([1., 1.]), [])
    """
    order = _order(tensors, words, fields)
    vocabulary_size = shorter = tensors[words].size
    table = _expect(tensors, words, np.float64, vocabulary_size)
    eos = int(_expect(tensors, "eos", np.int64, 1)[0])
    if not 0 <= eos < vocabulary_size:
        raise CheckpointError(f"n-gram model: eos is {eos} in a vocabulary of {vocabulary_size}")
    levels = []
    for n in range(2, order + 1):
        of_keys, of_ngrams, of_contexts = (f"{n}.{field}" for field in fields)
        keys = _keys(tensors, of_keys, shorter * vocabulary_size)
        numbers = _expect(tensors, of_ngrams, np.float64, len(keys))
        levels.append((keys, numbers, _expect(tensors, of_contexts, np.float64, shorter + 1)))
        shorter = len(keys) - 1
    return eos, table, levels


def check_sizes(
    sizes: Mapping[str, tuple[int, ...]], words: str, fields: Sequence[str], vocabulary_size: int
) -> None:
    """Raise unless arrays of these sizes make a model, as seen before they are read.

    Args:
        sizes: name -> shape.
        words: what the table of the words alone is called.
        fields: the arrays of each length, as `read` takes them.
        vocabulary_size: V.

    Raises:
        CheckpointError: a name is missing or unexpected, or an array is of another size.

    Example:
        >>> check_sizes({"eos": (1,), "words": (3,)}, "words", ["keys"], 3)
    """
    expected: dict[str, tuple[int, ...]] = {"eos": (1,), words: (vocabulary_size,)}
    contexts = vocabulary_size + 1
    for n in range(2, _order(sizes, words, fields) + 1):
        of_keys, of_ngrams, of_contexts = (f"{n}.{field}" for field in fields)
        count = math.prod(sizes[of_keys])
        expected |= {of_keys: (count,), of_ngrams: (count,), of_contexts: (contexts,)}
        contexts = count
    for name, shape in expected.items():
        if sizes[name] != shape:
            raise CheckpointError(f"n-gram model: {name} is {sizes[name]}, expected {shape}")


def _order(tensors: Mapping[str, Any], words: str, fields: Sequence[str]) -> int:
    """Return the order of the model that has these tensors, all by their names."""
    order = 1 + len({name.split(".")[0] for name in tensors if "." in name})
    names = {f"{n}.{field}" for n in range(2, order + 1) for field in fields} | {"eos", words}
    if names != set(tensors):
        raise CheckpointError(
            f"n-gram model: arrays missing: {sorted(names - set(tensors))}, "
            f"unexpected: {sorted(set(tensors) - names)}"
        )
    return order


def _keys(tensors: Mapping[str, NDArray[Any]], name: str, bound: int) -> Integers:
    """Return the keys of one length, every one but the last below `bound`."""
    keys = _expect(tensors, name, np.int64, tensors[name].size)
    if keys[-1:].tolist() != [LAST_KEY] or (keys[1:] <= keys[:-1]).any():
        raise CheckpointError(f"n-gram model: {name} are not in order")
    if len(keys) > 1 and (keys[0] < 0 or keys[-2] >= bound):
        raise CheckpointError(f"n-gram model: {name} are not from 0 to {bound - 1}")
    return keys


def _expect(
    tensors: Mapping[str, NDArray[Any]], name: str, kind: type[np.generic], length: int
) -> NDArray[Any]:
    """Return the array of that name, refused if it does not have this type and length."""
    array = tensors[name]
    if array.dtype != kind or array.shape != (length,):
        raise CheckpointError(
            f"n-gram model: {name} is {array.dtype} {array.shape}, "
            f"expected {kind.__name__} ({length},)"
        )
    return array
