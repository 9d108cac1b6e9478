"""Pictures as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Draw = Callable[..., Figure]


@pytest.fixture
def figure() -> Iterator[Figure]:
    """An empty figure that is laid out when the test is done, as saving would."""
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
