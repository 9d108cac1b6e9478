"""Cells of TensorFlow 1, as `tf.compat.v1` still has them, run beside ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.nn.unroll import unroll
from recurra.nn.weights import from_tensorflow

pytestmark = pytest.mark.filterwarnings("ignore")

H = 4
CELLS: dict[str, Any] = {
    "basic lstm": ("lstm", lambda c: c.BasicLSTMCell(H), {}),
    "lstm that forgets": ("lstm", lambda c: c.LSTMCell(H, forget_bias=0.0), {"forget_bias": 0.0}),
    "peepholes": ("lstm", lambda c: c.LSTMCell(H, use_peepholes=True), {}),
    "projection": ("lstm", lambda c: c.LSTMCell(H, num_proj=2), {}),
    "gru": ("gru", lambda c: c.GRUCell(H), {}),
    "rnn": ("rnn", lambda c: c.BasicRNNCell(H), {}),
    "deep": ("lstm", lambda c: c.MultiRNNCell([c.BasicLSTMCell(H), c.BasicLSTMCell(3)]), {}),
    "both ways": ("gru", lambda c: [c.GRUCell(H), c.GRUCell(H)], {}),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell(name: str, peer: Any) -> None:
    tf1 = peer("tensorflow").compat.v1
    kind, make, options = CELLS[name]
    x = np.random.default_rng(5).normal(size=(2, 6, 3)).astype(np.float32)
    with tf1.Graph().as_default(), tf1.Session() as session:
        cell, inputs = make(tf1.nn.rnn_cell), tf1.constant(x)
        if isinstance(cell, list):
            both, _ = tf1.nn.bidirectional_dynamic_rnn(*cell, inputs, dtype=tf1.float32)
            y = tf1.concat(both, axis=2)
        else:
            y, _ = tf1.nn.dynamic_rnn(cell, inputs, dtype=tf1.float32)
        session.run(tf1.global_variables_initializer())
        draw = np.random.default_rng(6)
        variables = tf1.global_variables()
        for variable in variables:
            variable.load(draw.normal(size=variable.shape).astype(np.float32) * 0.5, session)
        weights = {variable.name: session.run(variable) for variable in variables}
        expected = session.run(y)
    ours = from_tensorflow(weights, kind, **options)
    found = unroll(ours, torch.from_numpy(x))[0].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
