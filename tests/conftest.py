"""Fixtures that every test may use."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

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
    # Two workers share the cores: threads that wait for each other leave them, as the command's do.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(config.rootpath / ".pytest_cache" / "compiled"))
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
        if signal.getsignal(number) == signal.SIG_IGN:  # as under nohup, and processes inherit it
            signal.signal(number, signal.SIG_DFL)


PARTS = {
    "tests/nn/test_contract.py": (3, "bare-"),
    "tests/nn/contract/test_suite.py": (5, "must-"),
    "tests/learning/own/test_own_training.py": (6, "language"),
}
"""A file whose tests run over a product of tables -> one in how many of its entries is run, beside
those that have this in their name."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hold a part of the large products, and draw ten times as many examples in a campaign."""
    if not any(".py" in each for each in config.args):  # who names a file gets all of it
        several: dict[tuple[str, str], list[pytest.Item]] = {}
        for item in items:
            place = item.path.relative_to(config.rootpath).as_posix()
            if place in PARTS and hasattr(item, "callspec"):
                several.setdefault((place, item.originalname), []).append(item)
        left = {
            id(item)
            for (place, _), all_of in several.items()
            for item in rest(all_of, *PARTS[place])
        }
        config.hook.pytest_deselected(items=[item for item in items if id(item) in left])
        items[:] = [item for item in items if id(item) not in left]
    if config.getoption("--hypothesis-profile") != "campaign":
        return
    for item in items:
        test = getattr(item, "obj", None)
        if kept := getattr(test, "_hypothesis_internal_use_settings", None):
            more = settings(kept, max_examples=10 * kept.max_examples)
            test._hypothesis_internal_use_settings = more


def rest(items: list[pytest.Item], part: int, always: str) -> Iterator[pytest.Item]:
    """Yield what may be left out of a test's product: one in `part` stays, those with `always` in
    their name, and of each table every entry at least once. Which is fixed, by a hash of the names.
    """
    items = sorted(items, key=lambda item: (always not in item.name, crc32(item.name.encode())))
    seen: set[tuple[str, int]] = set()
    for number, item in enumerate(items):
        entries = {(name, id(value)) for name, value in item.callspec.params.items()}
        if number * part >= len(items) and entries <= seen and always not in item.name:
            yield item
        seen |= entries


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RECURRA_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the grammar's text counted and encoded, which takes over a second."""
    from recurra.language.options import TextOptions
    from recurra.language.text.dataset import TextDataset

    folder = tmp_path_factory.mktemp("encoded") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECURRA_CACHE", str(folder))
        for options in (TextOptions(), TextOptions(min_count=2, vocabulary_size=20_000)):
            TextDataset.open(options.model_copy(update={"corpus": "grammar"}))
    return folder


@pytest.fixture
def knows_grammar(
    cache: Path,
    encoded: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cache folder of this test alone has the grammar's text from the start."""
    folder = tmp_path_factory.mktemp("knows") / "cache"
    shutil.copytree(encoded, folder)
    monkeypatch.setenv("RECURRA_CACHE", str(folder))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sweep's runs be carried out one after another here, as starting a process is slow."""
    from recurra.tune import sweep, worker

    class Here:
        def __init__(self, count: int) -> None:
            self.count = count

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def answers(self, jobs: list[Any], should_stop: Callable[[], bool]) -> Iterator[Any]:
            for job in jobs:
                if not should_stop():
                    given = json.loads(json.dumps(asdict(job)))
                    for answer in worker.answers(given, should_stop):
                        yield job, json.loads(json.dumps(answer))

    monkeypatch.setattr(sweep, "Workers", Here)


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
