"""Vanishing gradients as a picture."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.demo import pictures
from recurra.demo.explosion import explosion
from recurra.demo.gates import EVENTS, Watched
from recurra.demo.gradients import CASES, GradientNorms
from recurra.demo.truncation import CHANCE, Truncated
from recurra.errors import ConfigError
from recurra.storage.picture import canvas

RATES = {"rnn": 0.5, "gru": 0.6, "lstm": 0.9, "lstm_forget_bias_3": 1.0}
NORMS = {kind: [rate**k for k in range(51)] for kind, rate in RATES.items()}
FOUND = GradientNorms(
    list(range(51)),
    NORMS,
    {kind: [norm / 3 for norm in norms] for kind, norms in NORMS.items()},
    {kind: [norm * 3 for norm in norms] for kind, norms in NORMS.items()},
    64,
    16,
    8,
    {},
)


def test_each_kind_is_a_line_with_its_band_and_its_rate(figure):
    pictures.draw_norms(figure, FOUND, "mine")
    (axes,) = figure.axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 51]
    assert [line.get_ydata().tolist() for line in lines] == list(NORMS.values())
    assert len({line.get_color() for line in lines}) == 4
    assert len(axes.collections) == 4
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((0.5**50 / 3, 3))
    assert axes.get_yscale() == "log"
    said = [text.get_text() for text in axes.texts]
    assert "RNN\n$\\times$ 0.50 a step" in said
    assert "LSTM, forget bias 3\n$\\times$ 1.00 a step" in said


def test_what_explodes_is_a_line_that_grows(figure):
    explodes = explosion(50)
    pictures.draw_norms(figure, FOUND, "mine", explodes)
    (axes,) = figure.axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 51]
    assert lines[-1].get_ydata().tolist() == explodes.norms and len(lines) == 5
    said = [text.get_text() for text in axes.texts]
    assert f"RNN, weights $\\times$ 4\n$\\times$ {explodes.rate:.2f} a step" in said


def test_chunks_are_drawn_by_distance_beside_chance(figure):
    rest = {"loss": 0.3, "accuracies": {}, "reached": {}}
    found = [
        Truncated(length, 10, 1.0, {"3": 0.1, "12": loss}, **rest)
        for length, loss in ((5, 0.69), (20, 0.2))
    ]
    pictures.draw_truncation(figure, found, "mine")
    (axes,) = figure.axes
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [
        [0.1, 0.1],
        [0.69, 0.2],
    ]
    (chance,) = axes.get_lines()
    assert chance.get_ydata()[0] == pytest.approx(CHANCE)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["chunks of 5", "chunks of 20"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["3 steps ago", "12 steps ago"]
    assert {"0.100", "0.690", "0.200"} < {text.get_text() for text in axes.texts}


def test_what_float32_loses_is_a_line(figure):
    pictures.draw_norms(figure, FOUND, "mine")
    level = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert [line.get_ydata()[0] for line in level] == [2.0**-24]
    assert np.float32(1) + np.float32(2.0**-24) == np.float32(1)
    assert np.float32(1) + np.float32(2.0**-23) > np.float32(1)


def test_every_kind_that_is_measured_has_a_name_to_read():
    assert list(pictures.NAMES) == list(CASES)


@pytest.mark.parametrize("name", ["norms.png", "norms.svg"])
def test_the_same_numbers_give_the_same_bytes(tmp_path, name):
    for again in ("", "again-"):
        with canvas(tmp_path / (again + name), 9, 5.4) as figure:
            pictures.draw_norms(figure, FOUND, "mine")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()
    begins = b"\x89PNG" if name.endswith("png") else b"<?xml"
    assert (tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.parametrize("name", ["norms.jpg", "norms"])
def test_another_suffix_is_refused_before_anything_is_drawn(tmp_path, name):
    with pytest.raises(ConfigError, match=r"written as \.png or \.svg, got .*norms"):
        with canvas(tmp_path / name, 9, 5.4) as figure:
            pictures.draw_norms(figure, FOUND, "mine")
    assert not (tmp_path / name).exists()


def watched() -> Watched:
    count = len(EVENTS)
    up = [float(event in "+-") for event in EVENTS]
    down = [float(event == "0") for event in EVENTS]
    value = [{"+": 1.0, "-": -1.0}.get(event, 0.25) for event in EVENTS]
    inputs = {"value": value, "write": up, "reset": down}
    opened = {name: [0.5 if name != "g" else -0.5] * count for name in "ifgo"}
    states = {"c": [0.125] * count, "h": [-0.125] * count}
    return Watched(inputs, opened, states, [0.9] * count, [1.0] * count, {}, 1.0, [0.1])


def test_the_unit_is_drawn_with_its_numbers(figure):
    pictures.draw_latch(figure, watched(), "mine")
    into, middle, lower, out = figure.axes[:4]
    rows = [[label.get_text() for label in axes.get_yticklabels()] for axes in (middle, lower)]
    assert rows == [
        ["input gate  i", "forget gate  f", "output gate  o"],
        ["candidate  g", "cell state  c", "hidden state  h"],
    ]
    assert middle.get_images()[0].get_clim() == (0, 1)
    assert lower.get_images()[0].get_clim() == (-1, 1)
    assert middle.get_images()[0].get_array().shape == (3, len(EVENTS))
    assert {text.get_text() for text in middle.texts} == {".50"}
    minus = "\N{MINUS SIGN}"
    assert {text.get_text() for text in lower.texts} == {f"{minus}.50", ".12", f"{minus}.12"}
    said = {text.xy[0]: text.get_text() for text in into.texts[len(EVENTS) :]}
    signs = {"+": "write +1", "-": f"write {minus}1", "0": "reset"}
    assert said == {t: signs[e] for t, e in enumerate(EVENTS) if e in signs}
    target, output = out.get_lines()
    assert set(target.get_ydata()) == {1.0} and set(output.get_ydata()) == {0.9}


def test_the_unit_is_written_as_a_file(tmp_path):
    with canvas(tmp_path / "unit.svg", 11, 5.2) as figure:
        pictures.draw_latch(figure, watched(), "mine")
    assert b"write" in (tmp_path / "unit.svg").read_bytes()


def test_the_words_of_a_sentence_are_drawn_in_the_place_of_numbers(figure):
    words = ["a", "$x$", *["word"] * (len(EVENTS) - 2)]
    pictures.draw_latch(figure, watched(), "mine", words)
    _, middle, lower, out = figure.axes[:4]
    assert [label.get_text() for label in out.get_xticklabels()] == words
    assert not list(middle.texts) and not list(lower.texts) and not out.get_xlabel()
