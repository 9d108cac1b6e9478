"""Published files that are known by their SHA-256: found in the data folder, else fetched there."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from recurra.errors import DataError, ResourceError
from recurra.storage.files import write_bytes
from recurra.storage.folders import data_folder, is_full
from recurra.storage.remote.download import download, gathering

__all__ = ["PublishedFile"]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of the data folder, plain or with `.gz` at its name's end, known by its SHA-256.

    Args:
        path: within the data folder, without `.gz`.
        size: of the content, in bytes.
        sha256: of the content.
        url: where it is published.
    """

    path: str
    size: int
    sha256: str
    url: str

    def found(self) -> Path | None:
        """Return where it is, unread; None where it is not."""
        plain = data_folder() / self.path
        packed = plain.with_name(f"{plain.name}.gz")
        return next((path for path in (plain, packed) if path.is_file()), None)

    def read(self) -> bytes:
        """Return the content, fetched first where it is not here.

        Raises:
            DataError: it cannot be had or read, or is not the published one.
            ResourceError: the disk is full.
        """
        path = self.found() or self._fetch()
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                content = file.read(self.size + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        if (got := hashlib.sha256(content).hexdigest()) != self.sha256:
            raise DataError(
                f"{path} is not the published file: the SHA-256 of its content is {got}, "
                f"not {self.sha256}; remove it to fetch {self.url} anew, or give a path as --data"
            )
        return content

    def _fetch(self) -> Path:
        """Download the file to its place."""
        place = data_folder() / self.path
        try:
            if os.path.lexists(place):
                raise DataError(f"{place} is there already and is no file; move it away")
            part = place.with_name(f"{place.name}.part")
            with gathering(part, place.with_name(f"{place.name}.lock")):
                write_bytes(place, download(self.url, part, self.size, self._accept))
        except DataError as error:
            raise DataError(f"{error}; or put the file at {place}, plain or as .gz") from error
        except OSError as error:
            if is_full(error):
                raise ResourceError(f"no space is left for {place}") from error
            raise DataError(
                f"{place} is not there, and cannot be written: {error.strerror or error}; set "
                "RECURRA_DATA to a folder that can, or to one that holds the file"
            ) from error
        return place

    def _accept(self, part: Path) -> bytes:
        content = part.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DataError(f"what {self.url} sent is not the published file")
        return content
