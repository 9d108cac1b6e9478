"""Japanese vowels: who is speaking, of nine men, from the sound of "ae"."""

from __future__ import annotations

import hashlib
from pathlib import Path

from recurra.errors import DataError
from recurra.labels.datasets.base import LabelSource
from recurra.labels.reading.examples import NamedExamples, read_bytes
from recurra.labels.reading.ts_file import read_ts
from recurra.storage.folders import data_folder

__all__ = ["Vowels"]

ADDRESS = "https://www.timeseriesclassification.com/description.php?Dataset=JapaneseVowels"
SHA256 = {
    "train": "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
    "test": "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
}
"""Of the files as they are unpacked."""


class Vowels(LabelSource):
    """270 utterances to learn from and 370 to be judged by, 12 features, 7 to 29 steps.

    The files are `ucr/JapaneseVowels_TRAIN.ts.gz` and `ucr/JapaneseVowels_TEST.ts.gz` in the
    data folder, packed or not.

    Args:
        options: nothing in them changes the utterances.

    Source: Kudo, Toyama & Shimbo 1999, "Multidimensional curve classification using
        passing-through regions"; the files are the UEA archive's.

    Example:
        >>> from recurra.labels.options import LabelOptions
        >>> Vowels(LabelOptions()).parts()  # doctest: +SKIP
    """

    def parts(self) -> dict[str, NamedExamples]:
        """Return the published `train` and `test`, verified."""
        return {split: read_ts(_verified(split)) for split in SHA256}

    def found(self) -> str | None:
        """Return the folder; None where a file is not in it."""
        return str(data_folder() / "ucr") if all(map(_place, SHA256)) else None


def _name(split: str) -> str:
    return f"JapaneseVowels_{split.upper()}.ts"


def _place(split: str) -> Path | None:
    """Return where a part is; None where it is not."""
    places = [data_folder() / "ucr" / (_name(split) + suffix) for suffix in (".gz", "")]
    return next((place for place in places if place.is_file()), None)


def _verified(split: str) -> Path:
    path, name = _place(split), _name(split)
    if path is None:
        raise DataError(
            f"{data_folder() / 'ucr' / name}.gz is not there: get the dataset JapaneseVowels from "
            f"{ADDRESS} and put {name} (or {name}.gz) there"
        )
    digest = hashlib.sha256(read_bytes(path)).hexdigest()
    if digest != SHA256[split]:
        raise DataError(
            f"{path} is not the published file: expected SHA-256 {SHA256[split]} (unpacked), "
            f"found {digest}; get it again from {ADDRESS}"
        )
    return path
