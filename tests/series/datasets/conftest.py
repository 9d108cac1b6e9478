"""No test of a dataset asks the network."""

from __future__ import annotations

import pytest

from recurra.errors import DataError


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(url, *_):
        raise DataError(f"{url} could not be downloaded")

    monkeypatch.setattr("recurra.storage.remote.published.download", refuse)
