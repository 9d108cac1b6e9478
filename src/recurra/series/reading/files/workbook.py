"""Excel's workbooks: the first sheet that holds anything, through openpyxl."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from importlib import import_module
from pathlib import Path
from typing import Any

from recurra.errors import ConfigError, DataError
from recurra.storage.reading import SETTING, most_unpacked, opened

__all__ = ["OTHERS", "WORKBOOKS", "rows_of_workbook"]

WORKBOOKS = {".xlsx", ".xlsm"}
OTHERS = {".xls", ".xlsb", ".ods", ".numbers", ".feather", ".arrow", ".json", ".jsonl", ".pkl"}
"""Ends of names of files of tables that are not read."""
LEAST = 64 << 20  # bytes that any workbook may unpack to
INSTALL = "pip install openpyxl"


def rows_of_workbook(path: Path) -> Iterator[list[str]]:
    """Yield the rows of the first sheet that holds anything, its cells as texts.

    Dates are in ISO. What a formula gave when the file was saved is its cell.

    Args:
        path: of the file.

    Raises:
        ConfigError: openpyxl is not installed.
        DataError: it cannot be read, or unpacks to too much.
    """
    try:
        openpyxl = import_module("openpyxl")
    except ImportError as error:
        raise ConfigError(
            f"to read {path}, a workbook, openpyxl is needed: {INSTALL}; or save it as CSV"
        ) from error
    with opened(path) as file:
        try:
            _require_bounded(path, zipfile.ZipFile(file))
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            for sheet in book.worksheets:
                begun = False
                for row in sheet.iter_rows(values_only=True):
                    cells = [_text(cell) for cell in row]
                    begun = begun or any(cells)
                    if begun:
                        yield cells
                if begun:
                    return
        except (DataError, MemoryError):
            raise
        except Exception as error:  # of whatever kind the library happens to meet
            told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise DataError(f"{path} cannot be read as a workbook: {told}") from error


def _require_bounded(path: Path, packed: zipfile.ZipFile) -> None:
    size = sum(each.file_size for each in packed.infolist())
    most = most_unpacked(path.stat().st_size, LEAST)
    if size > most:
        raise DataError(
            f"{path} unpacks to {size >> 20:,} MiB, more than {most >> 20:,}; if you trust it, set "
            f"{SETTING} to the megabytes that it may have"
        )


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.isoformat(" ") if cell.time() != time() else cell.date().isoformat()
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell)
