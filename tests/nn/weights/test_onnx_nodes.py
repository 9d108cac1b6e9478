"""Our cells beside the 18 node tests that every backend of ONNX must pass, its weights in them.

Data: `data/onnx_nodes.npz`, whose `about` names its source and licence (Apache-2.0). Most of
those tests have all weights alike; the cases `drawn_*` tell the gates from each other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional

with np.load(Path(__file__).parent / "data" / "onnx_nodes.npz") as data:
    ARRAYS = {name: data[name] for name in data.files if name != "about"}
    ABOUT: dict[str, Any] = json.loads(str(data["about"]))

ORDER = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2], "RNN": [0]}
"""Where torch's gates i, f, g, o stand in ONNX' i, o, f, c, and r, z, n in z, r, h."""


def given(case: str, place: str) -> dict[str, Tensor]:
    start = f"{case}/{place}/"
    return {
        name.removeprefix(start): torch.from_numpy(array)
        for name, array in ARRAYS.items()
        if name.startswith(start)
    }


def turned(op: str, rows: Tensor) -> Tensor:
    """Rows in torch's order."""
    parts = rows.chunk(len(ORDER[op]))
    return torch.cat([parts[n] for n in ORDER[op]])


@torch.no_grad()
def cell_of(case: str, direction: int) -> Cell:
    op, attributes = ABOUT["cases"][case]["op"], ABOUT["cases"][case]["attributes"]
    inputs = given(case, "in")
    W, R = inputs["W"][direction], inputs["R"][direction]
    I, H = W.shape[1], R.shape[1]  # noqa: E741
    cell: Any = {
        "LSTM": lambda: PeepholeLSTMCell(I, H) if "P" in inputs else LSTMCell(I, H),
        "GRU": lambda: GRUCell(I, H, reset_after=attributes.get("linear_before_reset") == 1),
        "RNN": lambda: RNNCell(I, H),
    }[op]()
    biases = inputs["B"][direction] if "B" in inputs else torch.zeros(2 * len(W))
    for name, rows in zip(
        ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (W, R, *biases.chunk(2))
    ):
        getattr(cell, name).copy_(turned(op, rows))
    if "P" in inputs:
        for name, part in zip("iof", inputs["P"][direction].chunk(3)):
            getattr(cell, f"peephole_{name}").copy_(part)
    return cell


def test_there_are_all_18() -> None:
    assert sum(not case.startswith("drawn_") for case in ABOUT["cases"]) == 18
    assert ABOUT["licence"].startswith("Apache-2.0")


@pytest.mark.parametrize("case", ABOUT["cases"])
def test_the_node(case: str) -> None:
    attributes, inputs = ABOUT["cases"][case]["attributes"], given(case, "in")
    direction, batch_first = attributes.get("direction", "forward"), attributes.get("layout") == 1
    x = inputs["X"] if batch_first else inputs["X"].transpose(0, 1)
    cell: Recurrence = cell_of(case, 0)
    if direction == "bidirectional":
        cell = Bidirectional(cell, cell_of(case, 1))
    elif direction == "reverse":  # outputs where their inputs stand: half of a Bidirectional
        cell = Bidirectional(cell_of(case, 0), cell)
    start: Any = None
    if "initial_h" in inputs:
        start = tuple(inputs[name][0] for name in ("initial_h", "initial_c") if name in inputs)
        if isinstance(cell, LSTMCell) and len(start) == 1:
            start = (*start, torch.zeros_like(start[0]))
    y, state = unroll(cell, x, start, lengths=inputs.get("sequence_lens"))
    H = attributes["hidden_size"]
    y = y[..., H:] if direction == "reverse" else y
    ends = (
        [*state]
        if direction == "bidirectional"
        else [state[1] if direction == "reverse" else state]
    )
    outputs = {
        "Y": torch.stack(y.chunk(len(ends), dim=2), dim=2),  # (B, T, directions, H)
        "Y_h": torch.stack([end.h for end in ends], dim=1),
        **({"Y_c": torch.stack([end.c for end in ends], dim=1)} if hasattr(ends[0], "c") else {}),
    }
    for name, expected in given(case, "out").items():
        found = outputs[name]
        if not batch_first:
            found = found.permute(1, 2, 0, 3) if name == "Y" else found.transpose(0, 1)
        torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=2e-6)
