"""`recurra demo forward`, as text and as JSON."""

from __future__ import annotations

import pytest

from recurra.demo import gates, truncation


def test_forward_as_json(recurra):
    steps = recurra("demo", "forward", "--json").json["steps"]
    assert [list(step) for step in steps] == [["before_activation", "state", "output"]] * 2
    assert steps[0]["state"] == pytest.approx([0.537, 0.462], abs=5e-4)
    assert steps[0]["output"] == pytest.approx([1.561], abs=5e-4)
    assert steps[1]["before_activation"] == pytest.approx([1.292, 1.392], abs=5e-4)
    assert steps[1]["state"] == pytest.approx([0.860, 0.884], abs=5e-4)
    assert steps[1]["output"] == pytest.approx([2.727], abs=5e-4)


def test_forward_as_text(recurra):
    answer = recurra("demo", "forward")
    assert answer.code == 0
    assert answer.out.splitlines()[2:6] == [
        "x = 1",
        "  before activation  0.60000000  0.50000000",
        "  state              0.53704957  0.46211716",
        "  output             1.56128388",
    ]


def test_gradients_as_json(recurra):
    found = recurra("demo", "gradients", "--json").json
    assert found["distances"] == list(range(101))
    assert list(found["norms"]) == ["rnn", "gru", "lstm", "lstm_forget_bias_3"]
    assert all(len(norms) == 101 for norms in found["norms"].values())
    far = {kind: norms[100] / norms[0] for kind, norms in found["norms"].items()}
    assert far["rnn"] < 1e-23 < far["gru"] < 1e-15 < far["lstm"] < 1e-5
    assert far["lstm_forget_bias_3"] > 0.01
    assert (found["hidden_size"], found["networks"]) == (64, 8)
    exploding = found["exploding"]
    assert len(exploding["norms"]) == 101 and exploding["norms"][100] > 100 * exploding["norms"][0]
    step = exploding["training"]
    assert step["clipped"]["gradient_norm"] == pytest.approx(5)
    assert step["clipped"]["loss"] < step["loss"] < step["unclipped"]["loss"]


def test_gradients_of_named_cells_explode_only_where_they_do(recurra):
    assert "exploding" not in recurra("demo", "gradients", "rnn", "--json").json


def test_gradients_as_text_and_picture(recurra, tmp_path):
    answer = recurra("demo", "gradients", "--plot=norms.png")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    kinds = ["RNN", "GRU", "LSTM, forget bias 1", "LSTM, forget bias 3"]
    assert [line[:19].strip() for line in lines[3:7]] == kinds
    assert [len(line[19:].split()) for line in lines[3:7]] == [8 + 2] * 4
    (said,) = [line for line in lines if line.startswith("The norm falls below a thousandth")]
    assert "the RNN after 11 steps" in said and "forget bias 3 not within 100 steps" in said
    (row,) = [line for line in lines if line.startswith("RNN, weights x 4")]
    assert len(row[19:].split()) == 8 + 2
    assert any(line.startswith("Clipped to a norm of 5") for line in lines)
    assert (tmp_path / "norms.png").read_bytes().startswith(b"\x89PNG")


def test_gates_as_json(recurra, tmp_path):
    answer = recurra("demo", "gates", "--json", "--plot=gates.svg")
    assert answer.err == ""
    found = answer.json
    names = ["inputs", "gates", "states", "output", "target", "means", "accuracy", "training"]
    assert list(found) == names
    assert list(found["gates"]) == ["i", "f", "g", "o"]
    assert len({len(row) for row in [*found["gates"].values(), found["output"]]}) == 1
    assert found["accuracy"] > 0.99
    assert found["means"]["hold"]["f"] > 0.95 > 0.1 > found["means"]["write"]["f"]
    assert b"<svg" in (tmp_path / "gates.svg").read_bytes()


def test_gates_as_text(recurra, monkeypatch):
    untrained = gates.gates(2)
    monkeypatch.setattr(gates, "gates", lambda **_: untrained)
    lines = recurra("demo", "gates").out.splitlines()
    assert lines[0].split() == ["step", "value", *"ifgoch", "output", "target"]
    rows = [line.split() for line in lines[1 : lines.index("")]]
    written = [row for row in rows if row[2] == "write"]
    assert [row[-1] for row in written] == ["1", "-1", "-1", "1"]
    assert [row[-1] for row in rows if row[2] == "reset"] == ["0", "0"]
    assert float(rows[0][3]) == pytest.approx(untrained.gates["f"][0], abs=5e-3)
    means = untrained.means["hold"]
    said = f"To hold the input gate is at {means['i']:.2f} and the forget gate at {means['f']:.2f}."
    assert said in lines
    assert lines[-1].startswith("Trained 2 steps")


def few(found: dict[str, float], chunk_length: int, steps: int) -> truncation.Truncated:
    rest = {"accuracies": found, "reached": found}
    mean = sum(found.values()) / len(found)
    return truncation.Truncated(chunk_length, steps, 2.5, found, mean, **rest)


CHUNKS = [
    few({"3": 0.01, "10": 0.69, "20": 0.7}, 5, 7000),
    few({"3": 0.01, "10": 0.02, "20": 0.03}, 35, 1000),
]


def test_truncation_as_text_and_picture(recurra, monkeypatch, tmp_path):
    monkeypatch.setattr(truncation, "truncation", lambda: CHUNKS)
    answer = recurra("demo", "truncation", "--plot=chunks.png")
    assert (answer.code, answer.err) == (0, "")
    rows = [line.split() for line in answer.out.splitlines()]
    assert ["5", "0.010", "0.690", "0.700", "0.467", "7000", "2.5", "s"] in rows
    said = " ".join(answer.out.split())
    assert "by a chunk of 5 the bits of 3 steps ago; by a chunk of 35 the bits of 3, 10 and" in said
    assert (tmp_path / "chunks.png").read_bytes().startswith(b"\x89PNG")


def test_truncation_as_json(recurra, monkeypatch):
    monkeypatch.setattr(truncation, "truncation", lambda: CHUNKS)
    found = recurra("demo", "truncation", "--json").json["chunks"]
    assert [each["chunk_length"] for each in found] == [5, 35]
    assert list(found[0]) == [
        "chunk_length", "steps", "seconds", "losses", "loss", "accuracies", "reached",
    ]  # fmt: skip
    assert found[1]["losses"] == {"3": 0.01, "10": 0.02, "20": 0.03}


def test_gates_over_a_sentence(recurra, monkeypatch, tmp_path):
    untrained = gates.gates(2, text="[b] ( two ) .")
    monkeypatch.setattr(gates, "gates", lambda text: untrained)
    answer = recurra("demo", "gates", "[b] ( two ) .", "--plot=gates.png")
    lines = answer.out.splitlines()
    assert lines[0].split()[:2] == ["word", "value"]
    assert [line.split()[0] for line in lines[1:6]] == ["[b]", "(", "two", ")", "."]
    assert (lines[2].split()[2], lines[4].split()[2]) == ("write", "reset")
    assert (tmp_path / "gates.png").read_bytes().startswith(b"\x89PNG")
