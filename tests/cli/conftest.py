"""The command line as one uses it, in this process."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from recurra.cli import main, working


@dataclass
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)


Ask = Callable[..., Answer]


@pytest.fixture
def recurra(capsys, monkeypatch, tmp_path) -> Ask:
    """A function of the words after `recurra`; runs in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(working, "LATER", math.inf)  # how long things take is no matter here

    def ask(*words: str) -> Answer:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Answer(code, *capsys.readouterr())

    return ask
