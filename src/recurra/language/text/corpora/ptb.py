"""The Penn Treebank text: found on this machine, else downloaded, and always verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from recurra.errors import DataError, ResourceError
from recurra.language.text.corpora.base import Corpus, digest
from recurra.language.text.tokenization import read_text
from recurra.storage.files import sha256, write_bytes
from recurra.storage.folders import data_folder, is_full
from recurra.storage.remote.download import download, gathering, unpack

__all__ = ["PtbCorpus"]

URL = "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz"
LARGEST_ARCHIVE = 64 << 20  # bytes; it has 34.9 million
LARGEST_CONTENT = 512 << 20  # bytes, of all its files

SIZES = {"train": 5_101_618, "valid": 399_782, "test": 449_945}
SHA256 = {
    "train": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "valid": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "test": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}


class PtbCorpus(Corpus):
    """Wall Street Journal text, lower-cased, 10,000 different words, the rest `<unk>`.

    929,589 / 73,760 / 82,430 tokens. The files are `ptb/ptb.train.txt` and so on in the data
    folder, or `simple-examples/data/ptb.train.txt` as the archive unpacks; where they are not,
    the archive is downloaded there once.

    Args:
        options: nothing in them changes the text.

    Source: Mikolov et al. 2010, "Recurrent neural network based language model"; the text is
        Marcus, Santorini & Marcinkiewicz 1993.

    Example:
        >>> from recurra.language.options import TextOptions
        >>> PtbCorpus(TextOptions(corpus="ptb")).rule
        'split'
    """

    rule = "split"

    def splits(self) -> tuple[str, ...]:
        """Return all three."""
        return tuple(SIZES)

    def chunks(self, split: str) -> Iterator[str]:
        """Yield the text of a split."""
        return read_text(self._paths[split])

    def fingerprint(self) -> str:
        """Return the SHA-256 of the three files' own, once they are verified."""
        self.verify()
        return digest("ptb", SHA256)

    def found(self) -> str | None:
        """Return the folder of the three files; None where they are to be downloaded."""
        for folder in _folders():
            if all(os.path.lexists(folder / _name(split)) for split in SIZES):
                return str(folder)
        return None

    def place(self, split: str) -> str:
        """Return the path of a split's file."""
        return str(self._paths[split])

    def verify(self) -> None:
        """Find or download the three files, and compare them with the published ones.

        Raises:
            DataError: a file differs, or cannot be downloaded.
        """
        _ = self._paths

    @cached_property
    def _paths(self) -> dict[str, Path]:
        if (found := self.found()) is not None:
            return _verified({split: Path(found) / _name(split) for split in SIZES})
        return _fetched(_folders()[0])


def _folders() -> tuple[Path, Path]:
    data = data_folder()
    return data / "ptb", data / "simple-examples" / "data"


def _name(split: str) -> str:
    return f"ptb.{split}.txt"


def _verified(paths: dict[str, Path]) -> dict[str, Path]:
    for split, path in paths.items():
        try:
            got = sha256(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if got != SHA256[split]:
            raise DataError(
                f"{path} is not the published file: its SHA-256 is {got}, not {SHA256[split]}; "
                "remove it to download it anew, or give its directory as --data"
            )
    return paths


def _fetched(folder: Path) -> dict[str, Path]:
    places = {split: folder / _name(split) for split in SIZES}
    there = _verified({split: path for split, path in places.items() if os.path.lexists(path)})
    try:
        part = folder / "ptb.tgz.part"
        with gathering(part, folder / "download.lock"):
            contents = download(URL, part, LARGEST_ARCHIVE, _accept)
            for split in places.keys() - there.keys():
                write_bytes(places[split], contents[split])
    except DataError as error:
        raise DataError(f"{error}; or put {', '.join(map(_name, SIZES))} in {folder}") from error
    except OSError as error:
        if is_full(error):
            raise ResourceError(f"no space is left for {folder}") from error
        raise DataError(
            f"PTB is not in {folder}, which cannot be written either: {error.strerror or error}; "
            "set RECURRA_DATA to a folder that can"
        ) from error
    return places


def _accept(archive: Path) -> dict[str, bytes]:
    members = {split: f"simple-examples/data/{_name(split)}" for split in SIZES}
    expected = {members[split]: size for split, size in SIZES.items()}
    contents = unpack(archive, expected, LARGEST_CONTENT)
    for split, member in members.items():
        if hashlib.sha256(contents[member]).hexdigest() != SHA256[split]:
            raise DataError(f"{member} of the archive is not the published file")
    return {split: contents[member] for split, member in members.items()}
