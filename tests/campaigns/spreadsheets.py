"""Random spreadsheets as people save them: the same numbers and stamps, or a line that says why.

The separator, the decimal mark, groups of thousands, quotes, encoding, header, cells at the end,
the way of dates and the mark of what is missing are drawn; written here, read by the package.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from recurra.errors import DataError
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel
from recurra.series.reading import read_content

COUNT = 500
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-16-le")
MARKS = ("", ".", "-", "#N/A", "NA", "NaN", "NULL", "n/a", "?")
WAYS = {
    "iso": "%Y-%m-%d", "german": "%d.%m.%Y", "american": "%m/%d/%Y", "british": "%d/%m/%Y",
    "two digits": "%m/%d/%y", "german short": "%d.%m.%y", "named": "%d-%b-%Y", "compact": "%Y%m%d",
    "slashes": "%Y/%m/%d", "serial": "", "time": "%Y-%m-%d %H:%M", "noon": "%m/%d/%Y %I:%M:%S %p",
}  # fmt: skip
HEADERS = {"ds": "y", "Datum": "Umsatz", "date": "sales", "Date": "Värde", "observation_date": "x"}
HOURLY = ("time", "noon")


class Sheet(NamedTuple):
    """How a sheet is written."""

    separator: str
    decimal: str
    thousands: str
    places: int
    large: bool
    quoted: bool
    encoding: str
    header: bool
    said: bool
    """Whether the first line says the separator."""
    ends: int
    """Separators at the end of each line."""
    index: bool
    way: str
    mark: str
    line_end: str
    seed: int


def run(seed: int) -> dict[str, Any]:
    """Draw sheets, and look at what is read of each."""
    told: Counter[str] = Counter()
    wrong = []
    for sheet in sheets(seed, COUNT):
        kind, words = outcome(sheet)
        told[kind] += 1
        if kind == "wrong":
            wrong.append({"sheet": sheet._asdict(), "said": words})
            print(json.dumps(wrong[-1]), flush=True)
    return {"sheets": COUNT, **told, "failures": wrong, "failed": len(wrong)}


def sheets(seed: int, count: int) -> list[Sheet]:
    """Return what is drawn by a seed."""
    draws = np.random.default_rng(seed)

    def one(*several: Any) -> Any:
        return several[int(draws.integers(len(several)))]

    found = []
    for _ in range(count):
        separator = one(",", ";", ";", "\t", "|")
        decimal = one(".", ",") if separator != "," else one(".", ".", ",")
        thousands = one("", "", {".": ",", ",": "."}[decimal], " ", "'")
        header = bool(draws.random() < 0.85)
        found.append(
            Sheet(
                separator,
                decimal,
                thousands,
                places=one(0, 1, 2, 3, 4),
                large=bool(draws.random() < 0.6),
                quoted=bool(draws.random() < 0.3),
                encoding=ENCODINGS[int(draws.choice(5, p=[0.4, 0.25, 0.2, 0.1, 0.05]))],
                header=header,
                said=bool(draws.random() < 0.2),
                ends=one(0, 0, 1, 2),
                index=header and bool(draws.random() < 0.15),
                way=one(*WAYS),
                mark=one(*MARKS),
                line_end=one("\n", "\r\n"),
                seed=int(draws.integers(2**31)),
            )
        )
    return found


def written(sheet: Sheet) -> tuple[bytes, list[datetime], list[float]]:
    """Return a sheet, and the stamps and numbers that it says."""
    draws = np.random.default_rng(sheet.seed)
    size = int(draws.integers(40, 120))
    step = timedelta(hours=1) if sheet.way in HOURLY else timedelta(days=1)
    begin = datetime(2015, 1, 1) + timedelta(days=int(draws.integers(0, 2000)))
    stamps = [begin + n * step for n in range(size)]
    numbers = draws.normal(5_000 if sheet.large else 50, 2_000 if sheet.large else 30, size)
    numbers = [float(round(number, sheet.places)) for number in numbers]
    for place in draws.choice(np.arange(2, size - 1), 3, replace=False):
        numbers[place] = float("nan")
    rows = [[_date(s, sheet), _number(n, sheet)] for s, n in zip(stamps, numbers)]
    if sheet.index:
        rows = [[str(n), *row] for n, row in enumerate(rows)]
    name = list(HEADERS)[sheet.seed % len(HEADERS)]
    if sheet.header:
        rows.insert(0, ["", name, HEADERS[name]] if sheet.index else [name, HEADERS[name]])
    lines = [sheet.separator.join(_cell(each, sheet) for each in row) for row in rows]
    lines = [line + sheet.separator * sheet.ends for line in lines]
    if sheet.said:
        lines.insert(0, f"sep={sheet.separator}")
    return sheet.line_end.join([*lines, ""]).encode(sheet.encoding), stamps, numbers


def _date(stamp: datetime, sheet: Sheet) -> str:
    if sheet.way == "serial":
        return str((stamp.date() - date(1899, 12, 30)).days)
    return stamp.strftime(WAYS[sheet.way])


def _number(number: float, sheet: Sheet) -> str:
    if number != number:
        return sheet.mark
    text = f"{number:,.{sheet.places}f}"
    return text.translate({ord(","): sheet.thousands, ord("."): sheet.decimal})


def _cell(text: str, sheet: Sheet) -> str:
    return f'"{text}"' if sheet.quoted or sheet.separator in text else text


def outcome(sheet: Sheet) -> tuple[str, str]:
    """Return whether a sheet was read rightly, refused in a line, told and other, or wrong."""
    content, stamps, numbers = written(sheet)
    try:
        panel = read_content(content, "data.csv", SeriesOptions())
    except DataError as error:
        return "refused", str(error)
    return _judged(sheet, panel, stamps, numbers)


def _judged(
    sheet: Sheet, panel: Panel, stamps: list[datetime], numbers: list[float]
) -> tuple[str, str]:
    one = panel.series[0]
    same = np.array_equal(one.values[:, 0], numbers, equal_nan=True)
    wanted = np.array(stamps, "datetime64[ns]")
    dated = one.stamps is not None and np.array_equal(one.stamps, wanted)
    if same and dated:
        return "read", ""
    notes = "; ".join(panel.notes)
    if not dated:
        return "wrong", f"stamps are {None if one.stamps is None else one.stamps[:3]}: {notes}"
    told = "numbers of column" in notes
    said = f"numbers are {one.values[:3, 0].tolist()}, expected {numbers[:3]}: {notes}"
    return ("told, but other", said) if told else ("wrong", said)
