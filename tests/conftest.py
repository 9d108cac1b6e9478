"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Shared machines are slow at times, and a failure must be seen again: no deadline, fixed draws.
settings.register_profile("recurra", deadline=None, derandomize=True)
settings.register_profile("campaign", deadline=None, print_blob=True)
settings.load_profile("recurra")


def pytest_configure(config: pytest.Config) -> None:
    """Compile each kernel once for all tests and workers, and for the processes they start."""
    os.environ.pop("COLUMNS", None)  # workers are given the terminal's, which tables would fit into
    os.environ.setdefault("NUMBA_CACHE_DIR", str(config.rootpath / ".pytest_cache" / "compiled"))
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
        if signal.getsignal(number) == signal.SIG_IGN:  # as under nohup, and processes inherit it
            signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Draw ten times as many examples in a campaign, also where a test says how many."""
    if config.getoption("--hypothesis-profile") != "campaign":
        return
    for item in items:
        test = getattr(item, "obj", None)
        if kept := getattr(test, "_hypothesis_internal_use_settings", None):
            more = settings(kept, max_examples=10 * kept.max_examples)
            test._hypothesis_internal_use_settings = more


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RECURRA_CACHE", str(folder))
    return folder


@pytest.fixture
def small_text(tmp_path: Path) -> Path:
    """A file of two sentences, time and again."""
    path = tmp_path / "small.txt"
    path.write_text("the cat sat on the mat .\na dog barked at the cat .\n" * 60)
    return path


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data, `ptb/ptb.train.txt` and so on; without it the test is skipped."""
    given = os.environ.get("RECURRA_DATA")
    if not given or not Path(given).is_dir():
        pytest.skip("real data is not here: set RECURRA_DATA to its folder")
    return Path(given)


@pytest.fixture
def figure() -> Iterator[Figure]:
    """An empty figure that is laid out when the test is done, as saving would."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(made)
    yield made
    made.canvas.draw()


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[str], np.ndarray]:
    """A function of a file's name that returns its pixels, 0 to 255."""
    from matplotlib.image import imread

    def read(name: str) -> np.ndarray:
        return np.round(imread(tmp_path / name)[:, :, :3] * 255).astype(int)

    return read
