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
        "peephole_lstm": "recurra.nn.cells.peephole_lstm:PeepholeLSTMCell",
        "coupled_lstm": "recurra.nn.cells.coupled_lstm:CoupledLSTMCell",
        "projected_lstm": "recurra.nn.cells.projected_lstm:ProjectedLSTMCell",
        "layer_norm_lstm": "recurra.nn.cells.layer_norm_lstm:LayerNormLSTMCell",
        "layer_norm_gru": "recurra.nn.cells.layer_norm_gru:LayerNormGRUCell",
        "min_gru": "recurra.nn.cells.min_gru:MinGRUCell",
        "min_lstm": "recurra.nn.cells.min_lstm:MinLSTMCell",
        "lru": "recurra.nn.cells.lru:LRUCell",
        "sru": "recurra.nn.cells.sru:SRUCell",
        "qrnn": "recurra.nn.cells.qrnn:QRNNCell",
        "ind_rnn": "recurra.nn.cells.ind_rnn:IndRNNCell",
        "mgu": "recurra.nn.cells.mgu:MGUCell",
        "slstm": "recurra.nn.cells.slstm:SLSTMCell",
        "mlstm": "recurra.nn.cells.mlstm:MLSTMCell",
        "rwkv": "recurra.nn.cells.rwkv:RWKVCell",
        "clockwork_rnn": "recurra.nn.cells.clockwork_rnn:ClockworkRNNCell",
        "recurrent_highway": "recurra.nn.cells.recurrent_highway:RecurrentHighwayCell",
    },
    base="recurra.nn.cells.base:Cell types:FunctionType",
)
"""Name -> cell class; `CELLS["mypkg.cells:Mine"]` imports anyone's own, a class or a function that
makes a cell."""
