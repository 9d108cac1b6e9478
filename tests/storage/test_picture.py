"""Pictures: which letters they are drawn with."""

from __future__ import annotations

import warnings
from pathlib import Path

from matplotlib.font_manager import fontManager

from recurra.storage import picture
from recurra.storage.picture import canvas, families


def test_installed_families_stand_behind_the_first_and_no_other(monkeypatch) -> None:
    families.cache_clear()
    monkeypatch.setattr(picture, "_OTHERS", ("Nowhere Sans", "DejaVu Serif"))
    assert families() == ("DejaVu Sans", "DejaVu Serif")
    families.cache_clear()
    installed = {font.name for font in fontManager.ttflist}
    assert set(families()) <= installed


def test_a_name_that_no_font_has_is_drawn_without_a_word(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with canvas(tmp_path / "tokyo.png", 3, 2) as figure:
            figure.subplots().set_title("\u6771\u4eac \U0001f600 \u0e01")
    assert (tmp_path / "tokyo.png").read_bytes()[1:4] == b"PNG"
