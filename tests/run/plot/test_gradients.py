"""Vanishing gradients as a picture."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.demo.gradients import CASES, GradientNorms
from recurra.errors import ConfigError
from recurra.run.plot import gradient_norms, gradients

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
)


def test_each_kind_is_a_line_with_its_band_and_its_rate(figure):
    gradients.draw(figure, FOUND, "mine")
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


def test_what_float32_loses_is_a_line(figure):
    gradients.draw(figure, FOUND, "mine")
    level = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert [line.get_ydata()[0] for line in level] == [2.0**-24]
    assert np.float32(1) + np.float32(2.0**-24) == np.float32(1)
    assert np.float32(1) + np.float32(2.0**-23) > np.float32(1)


def test_every_kind_that_is_measured_has_a_name_to_read():
    assert list(gradients.NAMES) == list(CASES)


@pytest.mark.parametrize("name", ["norms.png", "norms.svg"])
def test_the_same_numbers_give_the_same_bytes(tmp_path, name):
    for again in ("", "again-"):
        gradient_norms(FOUND, tmp_path / (again + name), title="mine")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()
    begins = b"\x89PNG" if name.endswith("png") else b"<?xml"
    assert (tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.parametrize("name", ["norms.jpg", "norms"])
def test_another_suffix_is_refused_before_anything_is_drawn(tmp_path, name):
    with pytest.raises(ConfigError, match=r"written as \.png or \.svg, got .*norms"):
        gradient_norms(FOUND, tmp_path / name, title="mine")
    assert not (tmp_path / name).exists()
