"""The transformer temperatures ETTh1, by the protocol that papers share."""

from __future__ import annotations

from dataclasses import replace

from recurra.series.datasets.base import SeriesSource, Split
from recurra.series.panel import Panel
from recurra.series.reading import read_content
from recurra.storage.remote.published import PublishedFile

__all__ = ["Etth1Source"]

FILE = PublishedFile(
    "ett/ETTh1.csv",
    2_589_657,
    "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv",
)
TRAIN, VALID, TEST = 8_640, 2_880, 2_880  # hours: 12, 4 and 4 months of 30 days
TARGETS = "HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"


class Etth1Source(SeriesSource):
    """Loads and oil temperature of an electricity transformer, hourly: 7 variables, 14,400 hours.

    8,640 / 2,880 / 2,880 hours for training, validation and test; the rest of the file is dropped.
    Values are scaled by mean and standard deviation of the training part, every window is scored,
    and figures are of scaled values.

    Args:
        options: `target` and covariates choose among the columns; all seven are targets by
            default.

    Source: Zhou et al. 2021, "Informer: beyond efficient transformer for long sequence time-series
        forecasting".
    """

    file = FILE
    split = Split(horizon=96, valid=VALID, test=TEST, stride=1, standardize=True)

    def open(self) -> Panel:
        """Return the one series, by hours."""
        content = FILE.read()
        kept = content[: _end_of_line(content, 1 + TRAIN + VALID + TEST)]
        options = self.options.model_copy(update={"target": self.options.target or TARGETS})
        panel = read_content(kept, FILE.path, options)
        return replace(panel, series=(replace(panel.series[0], unique_id="etth1"),))


def _end_of_line(content: bytes, number: int) -> int:
    """The offset after the newline that ends a line, counted from 1."""
    offset = 0
    for _ in range(number):
        offset = content.index(b"\n", offset) + 1
    return offset
