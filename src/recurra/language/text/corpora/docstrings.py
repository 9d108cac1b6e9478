"""The English docstrings of the Python standard library on this machine."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from recurra.errors import DataError
from recurra.language.text.corpora.base import SPLITS, Corpus, digest
from recurra.language.text.tokenization import read_text
from recurra.storage.files import Content
from recurra.storage.folders import cached

__all__ = ["DocstringsCorpus"]

VERSION = 1  # of what is taken from a docstring; any change to that raises it

# Not the library itself, or, as the encodings, near copies of one another.
LEFT_OUT = {"test", "tests", "encodings", "idlelib", "lib2to3", "turtledemo"}
PROSE = re.compile(r"[(\"'`*]*[A-Za-z]+(?:['\u2019-][A-Za-z]+)*[)\"'`*]*[.,:;!?]*")


class DocstringsCorpus(Corpus):
    """Real text that every machine has: one paragraph of a docstring to a line.

    The splits are by module: a hash of its dotted name puts it into train (90%), valid (5%) or
    test (5%). A paragraph whose words were seen before is left out, so that no text is in two
    splits; so are code, tables and whatever else is not mostly English words. The text depends
    on the Python version alone, and is built once for each.

    Rare words are many: with `min_count=2` they teach a model what `<unk>` is.

    Args:
        options: nothing in them changes the text.

    Raises:
        DataError: this Python has no source files of its library.

    Example:
        >>> from recurra.language.options import TextOptions
        >>> DocstringsCorpus(TextOptions()).rule
        'words'
    """

    def splits(self) -> tuple[str, ...]:
        """Return all three."""
        return SPLITS

    def chunks(self, split: str) -> Iterator[str]:
        """Yield the text of a split."""
        return read_text(self._paths[f"{split}.txt"])

    def fingerprint(self) -> str:
        """Return a digest of the Python version and of the library's file sizes."""
        return self._digest

    def verify(self) -> None:
        """Build the text, if it was not before."""
        _ = self._paths

    @cached_property
    def _sources(self) -> dict[str, Path]:
        library = Path(sysconfig.get_path("stdlib"))
        try:
            paths = {_module(path.relative_to(library)): path for path in _walk(library)}
        except OSError as error:
            raise DataError(f"{library} cannot be read: {error.strerror or error}") from error
        if not paths:
            raise DataError(f"{library} holds no source files; choose another corpus with --data")
        return dict(sorted(paths.items()))

    @cached_property
    def _digest(self) -> str:
        sizes = {name: path.stat().st_size for name, path in self._sources.items()}
        return digest("docstrings", VERSION, sys.version, sizes)

    @cached_property
    def _paths(self) -> dict[str, Path]:
        return cached(self._digest, "docstrings", VERSION, lambda: _build(self._sources))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.suffix == ".py":
            yield path
        elif path.name.isidentifier() and path.name not in LEFT_OUT and path.is_dir():
            yield from _walk(path)


def _module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def _build(sources: dict[str, Path]) -> dict[str, Content]:
    """Return the three files; modules are read in alphabetical order."""
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for module, path in sources.items():
        for paragraph in _paragraphs(path):
            words = " ".join(re.findall(r"\w+", paragraph.lower()))
            if words not in seen:
                seen.add(words)
                lines[_split(module)].append(paragraph + "\n")
    return {f"{split}.txt": "".join(text).encode() for split, text in lines.items()}


def _split(module: str) -> str:
    place = hashlib.sha256(module.encode()).digest()[0] / 256
    return "train" if place < 0.90 else "valid" if place < 0.95 else "test"


def _paragraphs(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old code's odd escapes are not our user's concern
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for docstring in _docstrings(tree):
        for paragraph in re.split(r"\n\s*\n", docstring):
            if _is_prose(paragraph):
                yield " ".join(paragraph.split())


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Yield a module's docstrings in the order of its text."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node, clean=False)
        if docstring:
            yield inspect.cleandoc(docstring)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield from _docstrings(child)


def _is_prose(paragraph: str) -> bool:
    """Return whether a paragraph is English: at least four words, and mostly words."""
    marks = paragraph.split()
    words = sum(1 for mark in marks if PROSE.fullmatch(mark))
    return words >= 4 and words >= 0.75 * len(marks) and ">>>" not in marks
