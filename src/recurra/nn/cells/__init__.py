"""The cells: one family a file, each found by name in CELLS."""

from __future__ import annotations

from recurra.table import Table

__all__ = ["CELLS"]

CELLS = Table(
    "cell",
    {
        "rnn": "recurra.nn.cells.rnn:RNNCell",
        "lstm": "recurra.nn.cells.lstm:LSTMCell",
        "gru": "recurra.nn.cells.gru:GRUCell",
    },
)
"""Name -> cell class; `CELLS["mypkg.cells:Mine"]` imports anyone's own."""
