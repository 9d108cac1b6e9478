"""Pictures as files: what belongs in each is there, and the same numbers give the same bytes."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from recurra.run.plot import curves

RECORDS = [
    *(
        {"step": step, "epoch": step / 500, "loss": 5 + 4 * math.exp(-step / 200)}
        for step in range(1, 1001)
    ),
    {"step": 500, "epoch": 1.0, "valid": {"perplexity": 240.0}, "best": True},
    {"step": 1000, "epoch": 2.0, "valid": {"perplexity": 170.0}, "best": True},
]
TRAIN, VALID, BASELINE = (0x9A, 0xB7, 0xD3), (0x1F, 0x5A, 0x96), (0xC2, 0x57, 0x1A)


def picture(path) -> np.ndarray:
    from matplotlib.image import imread

    return np.round(imread(path)[:, :, :3] * 255).astype(int)


def pixels(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((image == color).all(axis=2).sum())


def test_all_three_lines_are_drawn(tmp_path):
    curves(RECORDS, tmp_path / "curves.png", title="mine", baseline=("kn5", 148.0))
    image = picture(tmp_path / "curves.png")
    assert image.shape == (720, 1200, 3)
    for color in (TRAIN, VALID, BASELINE):
        assert pixels(image, color) > 300


def test_without_validation_or_baseline_there_is_one_line(tmp_path):
    curves(RECORDS[:1000], tmp_path / "curves.png", title="mine")
    image = picture(tmp_path / "curves.png")
    assert pixels(image, TRAIN) > 300
    assert pixels(image, VALID) == pixels(image, BASELINE) == 0


def test_the_validation_falls_from_left_to_right(tmp_path):
    curves(RECORDS, tmp_path / "curves.png", title="mine")
    rows, columns = np.nonzero((picture(tmp_path / "curves.png") == VALID).all(axis=2))
    below_legend = rows > 200
    left = rows[below_legend & (columns < np.median(columns[below_legend]))].mean()
    right = rows[below_legend & (columns > np.median(columns[below_legend]))].mean()
    assert right > left  # rows count downwards


@pytest.mark.parametrize(
    "records",
    [
        [],
        RECORDS[:1],
        [{"step": 1, "epoch": 0.1, "loss": None}],
        [{"step": 1, "epoch": 0.1, "loss": 2000.0}],
        [{"step": 1, "epoch": 1.0, "valid": {"perplexity": None}, "best": False}],
    ],
    ids=["nothing", "one step", "not finite", "overflow", "validation overflow"],
)
def test_odd_runs_are_drawn_too(tmp_path, records):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curves(records, tmp_path / "curves.png", title="odd")
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        curves(RECORDS, tmp_path / name, title="mine", baseline=("kn5", 148.0))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_last_digits_of_a_layout_are_not_seen(tmp_path, monkeypatch):
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    def inexact(engine, figure):
        execute(engine, figure)
        for axes in figure.axes:
            x, y, width, height = axes.get_position(original=True).bounds
            axes.set_position((x + 1e-13, y - 1e-13, width, height + 1e-14))

    curves(RECORDS, tmp_path / "a.svg", title="mine")
    execute = ConstrainedLayoutEngine.execute
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", inexact)
    curves(RECORDS, tmp_path / "b.svg", title="mine")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_our_style_is_left_to_our_pictures(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    curves(RECORDS, tmp_path / "a.png", title="mine")
    assert dict(matplotlib.rcParams) == before
