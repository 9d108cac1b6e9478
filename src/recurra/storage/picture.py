"""Pictures on disk: one style, and for the same picture the same bytes.

Pictures name colours by their place in the cycle: C0 is ours, C1 a rival, C2 ours in training,
C3 what was really so.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.errors import ConfigError
from recurra.storage.files import write_bytes
from recurra.storage.folders import cache_folder
from recurra.storage.outputs import require_file
from recurra.work import working

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "canvas", "families", "require_picture"]

_LATIN = "DejaVu Sans"
_OTHERS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "IPAexGothic",
    "IPAGothic",
    "TakaoGothic",
    "Unifont",
    "UnDotum",
    "NanumGothic",
    "Baekmuk Gulim",
    "Hiragino Sans",
    "PingFang SC",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "SimHei",
    "Yu Gothic",
    "MS Gothic",
    "Malgun Gothic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans",
)
"""Families with characters that the first lacks, as they are called where they are installed."""

_COLORS = ["1f5a96", "c2571a", "9ab7d3", "333333", "4f8a5b", "8a6fb0", "b0903a", "808080"]
_INK = "#333333"
_OURS = "Recurra"
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": _OURS},
    ".svg": {"Creator": _OURS, "Date": None},
}
"""Suffix -> whose it is; no version or date, for the same picture to be the same bytes."""
_STYLE: dict[str, Any] = {
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.titlesize": 12,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "recurra",
    "legend.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """Something to see of a result.

    Args:
        name: of its file, as `"errors.png"`.
        size: inches, wide and high.
        draw: draws it into an empty figure, under a title.
    """

    name: str
    size: tuple[float, float]
    draw: Callable[[Figure, str], None]


def require_picture(path: Path, option: str = "--plot", makes_folder: bool = False) -> None:
    """Refuse, before there is anything to draw, a file that could not be drawn into.

    Args:
        path: the file; one that is there is replaced if it is a picture of ours.
        option: which named it.
        makes_folder: whether its folder is made then, where it is not there.

    Raises:
        ConfigError: it is neither a `.png` nor an `.svg`, or is there and someone else's.
        RunError: it cannot be written there.
        ResourceError: the disk is full.
    """
    _require_suffix(path)
    require_file(path, option, lambda head: _OURS.encode() in head, makes_folder)


def _require_suffix(path: Path) -> None:
    if path.suffix.lower() not in _METADATA:
        raise ConfigError(f"a picture is written as .png or .svg, got {path}")


@contextmanager
def canvas(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure in our style; save it at the end, whole or not at all.

    Args:
        path: the file, a `.png` or an `.svg`.
        width: of the figure, in inches.
        height: of the figure, in inches.

    Raises:
        ConfigError: for another kind of file.
        OSError: when the disk refuses.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "line.png"
        >>> with canvas(path, 4, 3) as figure:
        ...     line = figure.subplots().plot([1, 2])
        >>> path.read_bytes()[1:4]
        b'PNG'
    """
    _require_suffix(path)
    # matplotlib keeps a font cache; it goes where all our caches go
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    import matplotlib
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        **_STYLE,
        "font.family": list(families()),
        "axes.prop_cycle": cycler(color=[f"#{color}" for color in _COLORS]),
    }
    with (
        working(f"drawing {path.name}"),
        matplotlib.rc_context(style),
        warnings.catch_warnings(),
    ):
        # a character that no font has is a box, which says it all
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        _lay_out(figure)
        suffix = path.suffix.lower()
        drawn = io.BytesIO()
        figure.savefig(drawn, format=suffix[1:], metadata=_METADATA[suffix])
        write_bytes(path, drawn.getvalue())


@cache
def families() -> tuple[str, ...]:
    """Return the families of letters to draw with: the first that has a character draws it.

    Example:
        >>> families()[0]
        'DejaVu Sans'
    """
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return (_LATIN, *(name for name in _OTHERS if name in installed))


def _lay_out(figure: Figure) -> None:
    """Lay out once, to nine digits: what the layout solves, it adds up in the order of addresses,
    and an SVG names its parts by all digits of where they are.
    """
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = (round(n, 9) for n in axes.get_position(original=True).bounds)
        axes.set_position((x, y, width, height))
