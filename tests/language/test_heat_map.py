"""Heat maps of gates: what is drawn where, in which colours, and which units are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recurra.language import heat_map
from recurra.language.explanation import Explanation, Layer

DRAWS = np.random.default_rng(1)


def layer(tokens: int, units: int, gated: str, states: str, cell: str = "Cell") -> Layer:
    """Gates in (0, 1), candidates and states in (-1, 1); the later units vary more."""

    def values(name: str) -> np.ndarray:
        low = -1 if name in "gnch" else 0
        drawn = DRAWS.uniform(low, 1, (tokens, units))
        middle = (low + 1) / 2
        return middle + (drawn - middle) * np.linspace(0.1, 1, units)

    return Layer(cell, {n: values(n) for n in gated}, {n: values(n) for n in states})


def explanation(tokens: list[str], *layers: Layer) -> Explanation:
    count = len(tokens)
    return Explanation(
        tokens,
        np.zeros(count, dtype=bool),
        -np.arange(1.0, count + 1),
        np.ones(count, dtype=np.int64),
        np.full(count, 2.5),
        [[] for _ in tokens],
        list(layers),
    )


WORDS = ["the", "cat", "sat", "on", "a", "mat", "<eos>"]


def heat_maps(figure) -> dict[str, np.ndarray]:
    """Title -> what is drawn there, colour bars left out."""
    return {
        axes.get_title(): axes.get_images()[0].get_array().data
        for axes in figure.axes
        if axes.get_images() and axes.get_title()
    }


# Which units


def test_the_most_varying_units_are_kept_and_those_that_agree_stand_together():
    time = np.linspace(0, 6, 50)
    wave, still = np.sin(time), 0.01 * np.cos(time)
    values = np.stack([wave, -wave, still, 0.9 * wave, -0.8 * wave], axis=1)
    found = heat_map.order(values, most=4).tolist()
    assert sorted(found) == [0, 1, 3, 4]
    assert {*found[:2]} in ({0, 3}, {1, 4})


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(1, 9)),
        elements=st.floats(-5, 5, width=32),
    ),
    st.integers(1, 9),
)
def test_any_values_have_an_order_of_different_units(values, most):
    found = heat_map.order(values, most)
    assert len(set(found.tolist())) == len(found) == min(most, values.shape[1])
    spread = values.std(axis=0)
    left_out = np.delete(spread, found)
    assert not len(left_out) or left_out.max() <= spread[found].min()


def test_the_order_does_not_depend_on_the_sign_of_a_component():
    values = DRAWS.normal(size=(20, 8))
    assert heat_map.order(values).tolist() == heat_map.order(values.copy(order="F")).tolist()


# A text


def test_an_lstm_is_drawn_from_memory_to_output(figure):
    shown = layer(7, 5, "ifgo", "hc")
    heat_map.draw(figure, explanation(WORDS, shown), 1, "mine")
    maps = heat_maps(figure)
    assert [title[0] for title in maps] == ["c", "f", "i", "o"]
    units = heat_map.order(shown.states["c"])
    for title, drawn in maps.items():
        values = {**shown.gates, **shown.states}[title[0]]
        assert np.array_equal(drawn, values[:, units].T)
    assert figure.get_suptitle() == "mine"


def test_gates_are_drawn_from_0_to_1_and_signed_values_evenly_to_both_sides(figure):
    heat_map.draw(figure, explanation(WORDS, layer(7, 5, "rzn", "h")), 1, "mine")
    images = [axes.get_images()[0] for axes in figure.axes if axes.get_images()]
    limits = [image.get_clim() for image in images]
    (low, high), closed, reset = limits
    assert closed == reset == (0, 1)
    assert -low == high > 0.5
    white, blue, orange = (1, 1, 1), (0x12 / 255, 0x36 / 255, 0x58 / 255), (0x6B, 0x2C, 0x0B)
    assert images[1].get_cmap()(0.0)[:3] == white
    assert images[1].get_cmap()(1.0)[:3] == pytest.approx(blue)
    assert images[0].get_cmap()(0.5)[:3] == pytest.approx(white, abs=0.02)
    assert images[0].get_cmap()(0.0)[:3] == pytest.approx(np.array(orange) / 255)


def test_tokens_stand_below_and_surprise_above(figure):
    heat_map.draw(figure, explanation(WORDS, layer(7, 5, "", "h")), 1, "mine")
    surprise, below = figure.axes[0], figure.axes[1]
    assert [bar.get_height() for bar in surprise.patches] == [1, 2, 3, 4, 5, 6, 7]
    assert surprise.get_lines()[0].get_ydata().tolist() == [2.5] * 7
    assert surprise.get_ylabel() == "nats"
    assert [label.get_text() for label in below.get_xticklabels()] == WORDS
    assert [label.get_text() for label in surprise.get_xticklabels()] == WORDS
    assert {label.get_rotation() for label in below.get_xticklabels()} == {90}
    assert below.get_ylabel() == "unit"


def test_ten_units_are_drawn_and_each_is_named(figure):
    shown = layer(7, 90, "", "h")
    heat_map.draw(figure, explanation(WORDS, shown), 1, "mine")
    ((title, drawn),) = heat_maps(figure).items()
    assert title == "h, the hidden state; the 10 most varying of 90 units"
    assert drawn.shape == (10, 7)
    labels = [int(label.get_text()) for label in figure.axes[1].get_yticklabels()]
    assert labels == heat_map.order(shown.states["h"]).tolist()


def test_characters_stand_upright_with_marks_for_the_invisible(figure):
    heat_map.draw(figure, explanation([*"a b", "<eos>"], layer(4, 5, "", "h")), 1, "mine")
    labels = figure.axes[1].get_xticklabels()
    assert [label.get_text() for label in labels] == ["a", "␣", "b", "⏎"]
    assert {label.get_rotation() for label in labels} == {0}


def test_the_first_120_tokens_of_a_long_text_are_drawn(figure):
    long = explanation(["word"] * 300, layer(300, 5, "", "h"))
    heat_map.draw(figure, long, 1, "mine")
    assert figure.get_suptitle() == "mine, its first 120 tokens"
    ((_, drawn),) = heat_maps(figure).items()
    assert drawn.shape == (5, 120)
    assert heat_map.size(long.tokens, long.layers[0])[0] == 20


def test_mathematics_and_long_words_in_a_text_are_only_text(figure):
    odd = ["$x$", "$", "\\frac{", "a" * 40, "_^", "<b>", "\x00"]
    heat_map.draw(figure, explanation(odd, layer(7, 5, "", "h")), 1, "mine $x$")
    labels = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert labels[:3] == odd[:3]
    assert labels[3] == "a" * 15 + "…"
    assert labels[6] == "□"
    assert figure.get_suptitle() == "mine $x$"


def test_a_title_longer_than_the_picture_is_folded(figure):
    title = "\u201cthe company said it expects a loss " * 5
    heat_map.draw(figure, explanation(WORDS), None, title)
    lines = figure.get_suptitle().splitlines()
    assert " ".join(lines) == title.strip()
    assert max(map(len, lines)) <= 9.5 * figure.get_figwidth()


def test_a_character_that_another_installed_font_has_is_drawn(monkeypatch):
    monkeypatch.setattr(heat_map, "_fonts", lambda: ())
    assert heat_map._printable("\u6771") == "\u25a1"

    class Has:
        def get_char_index(self, char):
            return int(char == 0x6771)

    monkeypatch.setattr(heat_map, "_fonts", lambda: (Has(),))
    assert heat_map._printable("\u6771") == "\u6771"


def test_without_a_layer_there_is_surprise_alone(figure):
    heat_map.draw(figure, explanation(WORDS), None, "mine")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == WORDS
    assert heat_map.size(WORDS, None)[1] < 3.2


def test_a_cell_that_stands_still_is_drawn(figure):
    still = Layer("Cell", {"f": np.ones((7, 3))}, {"h": np.zeros((7, 3))})
    heat_map.draw(figure, explanation(WORDS, still), 1, "mine")
    assert [drawn.max() for drawn in heat_maps(figure).values()] == [0, 1]


def test_states_of_different_widths_have_units_of_their_own(figure):
    odd = Layer("Cell", {}, {"h": DRAWS.normal(size=(7, 3)), "memory": DRAWS.normal(size=(7, 60))})
    heat_map.draw(figure, explanation(WORDS, odd), 1, "mine")
    assert [drawn.shape for drawn in heat_maps(figure).values()] == [(3, 7), (10, 7)]


@pytest.mark.parametrize("name", ["text.png", "text.svg"])
def test_the_same_text_gives_the_same_bytes(tmp_path, name):
    shown = explanation(WORDS, layer(7, 9, "z", "h"))
    for again in ("", "again-"):
        heat_map.save(shown, tmp_path / (again + name), layer=1, title="mine")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()


# The demonstration
