"""How runs went as pictures: one by its steps, several by the minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recurra.run.plot import learning
from recurra.storage.picture import canvas

__all__ = ["curves"]


def curves(
    records: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
    metric: str = "perplexity",
    baseline: tuple[str, float] | None = None,
    loss: str | None = None,
) -> None:
    """Draw how training and validation went into a PNG file.

    Args:
        records: the run's metrics, in order.
        path: the file to write.
        title: what stands above.
        metric: what the run is judged by.
        baseline: a name and its value of that metric on validation, drawn as a line.
        loss: the name of one's own that was descended; the task's by default.
    """
    panels = learning.panels(records, metric, loss)
    with canvas(path, 8, 4.8 if panels == 1 else 6.4) as figure:
        learning.draw(figure, records, title, metric, baseline, loss)
