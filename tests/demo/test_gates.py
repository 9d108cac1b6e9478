"""The unit that remembers a bit: what it is taught, and that its gates do it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.demo.gates import EVENTS, Watched, gates, sequences
from recurra.errors import ConfigError


@pytest.fixture(scope="module")
def watched() -> Watched:
    return gates()


def test_the_targets_are_the_bit_that_was_last_written() -> None:
    x, target = sequences(20, 50, torch.Generator().manual_seed(1))
    assert not (x[:, :, 1] * x[:, :, 2]).any()
    for row, said in zip(x.tolist(), target.tolist()):
        held = 0.0
        for (value, write, reset), expected in zip(row, said):
            held = value if write else 0.0 if reset else held
            assert expected == held
            assert abs(value) == 1 if write else abs(value) <= 1
    assert x[:, :, 1].mean() == pytest.approx(1 / 8, abs=0.03)
    assert x[:, :, 2].mean() == pytest.approx(1 / 12, abs=0.03)


def test_it_learns_to_remember(watched: Watched) -> None:
    assert watched.accuracy > 0.99
    assert np.mean(watched.losses[-20:]) < 0.01 < 0.2 < np.mean(watched.losses[:20])
    assert np.round(watched.output).tolist() == watched.target


def test_its_gates_open_and_close_where_they_must(watched: Watched) -> None:
    write, hold, reset = (watched.means[kind] for kind in ("write", "hold", "reset"))
    assert write["i"] > 0.4 > 0.1 > hold["i"]
    assert hold["f"] > 0.95
    assert write["f"] < 0.2 and reset["f"] < 0.2
    assert reset["i"] < 0.1


def test_what_is_shown_is_the_pass_of_an_lstm(watched: Watched) -> None:
    i, f, g, o = (np.array(watched.gates[name]) for name in "ifgo")
    c, h = (np.array(watched.states[name]) for name in "ch")
    before = np.concatenate([[0], c[:-1]])
    np.testing.assert_allclose(c, f * before + i * g, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(h, o * np.tanh(c), rtol=1e-5, atol=1e-7)
    slope, offset = np.polyfit(h, watched.output, 1)
    np.testing.assert_allclose(watched.output, slope * h + offset, atol=1e-5)
    # the sign of the cell state is that of the bit
    assert all(np.sign(c[t]) == bit for t, bit in enumerate(watched.target) if bit)


def test_what_is_shown_is_what_the_events_say(watched: Watched) -> None:
    for t, event in enumerate(EVENTS):
        assert watched.inputs["write"][t] == (event in "+-")
        assert watched.inputs["reset"][t] == (event == "0")
    assert [watched.inputs["value"][EVENTS.index(sign)] for sign in "+-"] == [1, -1]


def test_it_is_a_function_of_its_seed() -> None:
    torch.manual_seed(1)
    one = gates(3)
    torch.manual_seed(2)
    assert gates(3) == one
    assert gates(3, seed=2).losses != one.losses


def test_a_sentence_is_shown_word_by_word() -> None:
    watched = gates(2, text="one ( two three ) four")
    assert watched.inputs["write"] == [0, 1, 0, 0, 0, 0]
    assert watched.inputs["reset"] == [0, 0, 0, 0, 1, 0]
    assert watched.target == [0, 1, 1, 1, 0, 0]
    assert watched.losses == gates(2).losses  # what is shown changes nothing of the training
    with pytest.raises(ConfigError, match="word by word, and this one has none"):
        gates(2, text=" \n")
