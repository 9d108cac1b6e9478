"""Confusion matrices."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.labels import confusion

COUNTS = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])


def test_rows_are_shares_of_the_truth_and_cells_show_counts(figure):
    confusion.draw(figure, "mine", ("a", "b", "c"), COUNTS)
    (axes,) = figure.axes
    (image,) = axes.get_images()
    assert image.get_array().tolist() == [[0.8, 0.2, 0], [0, 1, 0], [0, 0, 0]]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "8", (1, 0): "2", (1, 1): "5"}
    assert axes.get_title(loc="center") == "mine, test: 13 of 15 right"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


def test_long_names_are_cut_and_stand_upright(figure):
    names = tuple(f"a very long name of class {n}" for n in range(9))
    confusion.draw(figure, "mine", names, np.eye(9, dtype=np.int64))
    labels = figure.axes[0].get_xticklabels()
    assert all(len(label.get_text()) == 16 and label.get_rotation() == 90 for label in labels)


def test_many_classes_have_no_room_for_counts(figure):
    names = tuple(str(n) for n in range(30))
    confusion.draw(figure, "mine", names, np.eye(30, dtype=np.int64))
    assert len(figure.axes[0].texts) == 0


@pytest.mark.parametrize("classes", [2, 9, 100])
def test_the_size_grows_with_the_classes_within_reason(classes):
    wide, high = confusion.size(classes)
    assert 4 < high < wide < 13
    assert confusion.size(classes + 1)[1] >= high
