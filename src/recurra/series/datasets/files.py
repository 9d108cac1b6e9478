"""Series of one's own: a file, or something in memory."""

from __future__ import annotations

from pathlib import Path

from recurra.errors import DataError
from recurra.series.calendar.frequency import Frequency
from recurra.series.datasets.base import SeriesSource
from recurra.series.panel import Panel
from recurra.series.reading import read_file

__all__ = ["FileSource"]


class FileSource(SeriesSource):
    """A CSV file, plain or `.gz`, a Parquet file or a workbook: long, wide, or of one column.

    Args:
        options: `dataset` is the file; columns and the filling of gaps are theirs.

    Example:
        >>> import tempfile
        >>> from recurra.series.options import SeriesOptions
        >>> path = Path(tempfile.mkdtemp()) / "numbers.csv"
        >>> _ = path.write_text("1\\n2\\n4\\n")
        >>> FileSource(SeriesOptions(dataset=str(path))).open().series[0].values[:, 0].tolist()
        [1.0, 2.0, 4.0]
    """

    def open(self, calendar: Frequency | None = None) -> Panel:
        """Read the file.

        Args:
            calendar: that stamps are laid on; found from them by default.
        """
        path = Path(self.options.dataset)
        if path.is_dir():
            raise DataError(f"{path} is a directory; give a CSV or Parquet file of series")
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a regular file; give a CSV or Parquet file of series")
        return read_file(path, self.options, calendar)

    def found(self) -> str | None:
        """Return the file's path."""
        return self.options.dataset
