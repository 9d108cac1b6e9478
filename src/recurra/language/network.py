"""The recurrent language network: embedding, layers of one cell, softmax.

B rows, T steps, H units, V words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.language.options import NetworkOptions
from recurra.machine import native_bfloat16
from recurra.nn.cells import CELLS
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.head import SoftmaxHead
from recurra.nn.state import State
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.stack import Stack

__all__ = ["LanguageNetwork"]


class LanguageNetwork(nn.Module):
    """Words in, at every step a hidden vector whose softmax is the next word's distribution.

    Dropout acts on the embeddings and on every layer's outputs, as in the source.

    Shapes: ids `(B, T)`; hidden `(B, T, H)`; `embedding (V, H)`.

    Args:
        options: cell, width, depth and regularisation.
        vocabulary_size: V.
        generator: where the initial weights come from; torch's own by default.
        sparse: whether the embedding's gradient holds the rows of the batch alone, which
            spares plain SGD a matrix of V rows; a tied one is never sparse.

    Source: Zaremba, Sutskever & Vinyals 2014, "Recurrent neural network regularization".

    Example:
        >>> network = LanguageNetwork(NetworkOptions(hidden_size=8), 10, torch.Generator())
        >>> hidden, state = network(torch.tensor([[1, 2, 3]]), network.initial_state())
        >>> hidden.shape
        torch.Size([1, 3, 8])
    """

    def __init__(
        self,
        options: NetworkOptions,
        vocabulary_size: int,
        generator: torch.Generator | None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.sparse = sparse and not options.tied
        self.precision = options.precision
        H = options.hidden_size
        self.embedding = nn.Parameter(torch.empty(vocabulary_size, H))
        make = CELLS[options.cell]
        layers = [make(H, H) for _ in range(options.num_layers)]
        p = options.dropout
        self.recurrence = Stack(
            [
                Dropout(layer, p if n == 0 else 0.0, p, variational=options.variational)
                for n, layer in enumerate(layers)
            ]
        )
        shared = self.embedding if options.tied else None
        self.head = SoftmaxHead(H, vocabulary_size, shared)
        self._initialize(layers, options, generator)

    def _initialize(
        self, layers: list[nn.Module], options: NetworkOptions, generator: torch.Generator | None
    ) -> None:
        for parameter in self.parameters():
            nn.init.uniform_(
                parameter, -options.init_scale, options.init_scale, generator=generator
            )
        for layer in layers:
            if options.zero_bias:
                for name, parameter in layer.named_parameters():
                    if "bias" in name:
                        nn.init.zeros_(parameter)
            if isinstance(layer, LSTMCell | RNNCell):
                layer.hold_bias_hh()
            if isinstance(layer, LSTMCell):
                layer.add_forget_bias(options.forget_bias)

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the state before the first word.

        Args:
            batch_size: B, rows.
        """
        return self.recurrence.initial_state(batch_size)

    def forward(
        self, ids: Tensor, state: State, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """Return the hidden vectors after each word, and the state after the last.

        Args:
            ids: `(B, T)` int64.
            state: as `initial_state` or an earlier call returned it.
            generator: where dropout masks come from, needed in training mode.
        """
        x = F.embedding(ids, self.embedding, sparse=self.sparse)
        return unroll(self.recurrence, x, state, generator=generator)

    def loss(
        self,
        ids: Tensor,
        targets: Tensor,
        state: State,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """Return the mean surprise of the targets in nats, to be learned from, and the state.

        Matrix products are of the precision that the options name; the weights, their gradients
        and the state between chunks stay in float32.

        Args:
            ids: `(B, T)` int64.
            targets: `(B, T)` int64, the word after each.
            state: as `initial_state` or an earlier call returned it.
            generator: where dropout masks come from, needed in training mode.
        """
        narrow = self.precision == "bfloat16" or (
            self.precision == "auto" and native_bfloat16(ids.device)
        )
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=narrow):
            hidden, state = self(ids, state, generator)
            return self.head.loss(hidden, targets), state
