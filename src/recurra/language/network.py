"""The recurrent language network: embedding, layers of one cell, softmax.

B rows, T steps, V words; E units of an embedding, H of the last layer.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.language.options import NetworkOptions
from recurra.learning.own.terms import Criterion
from recurra.machine import native_bfloat16
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell
from recurra.nn.cells.biases import ForgetGate, TwoBiases
from recurra.nn.head import AdaptiveHead, MixtureOfSoftmaxesHead, SoftmaxHead
from recurra.nn.make import keeps_own_start, make_cell, recipes_of, start_in_words, written
from recurra.nn.state import State
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.masks import Masks
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.weight_drop import WeightDrop

__all__ = ["LanguageNetwork", "LossParts", "Outputs", "start_of_layers"]

Head = SoftmaxHead | MixtureOfSoftmaxesHead | AdaptiveHead


def start_of_layers(options: NetworkOptions) -> str:
    """Return in words how the cells of a network begin.

    Args:
        options: of the network.

    Example:
        >>> start_of_layers(NetworkOptions()), start_of_layers(NetworkOptions(cell="slstm"))
        ('weights within 0.1, biases 0, forget bias 1', "slstm's own")
    """
    recipes, said = recipes_of(options.cell), []
    if "weights" in recipes:
        scale = f"{options.init_scale:g}" if options.init == "scale" else "1/sqrt(units)"
        said.append(f"weights within {scale}")
    else:
        said.append(start_in_words(options.cell))
    if "biases" in recipes:
        said += ["biases 0"] if options.zero_bias else []
        kind = CELLS[written(options.cell)[0]]
        forgets = issubclass(kind, ForgetGate)
        said += [f"forget bias {options.forget_bias:g}"] if forgets else []
    return ", ".join(said)


class Outputs(NamedTuple):
    """What the layers gave: `raw (B, T, H)`, `hidden (B, T, H)` after dropout, and the state."""

    raw: Tensor
    hidden: Tensor
    state: State


class LossParts(NamedTuple):
    """Mean surprise of the targets in nats, what is added to it in training, and the state.

    `hidden (B, T, H)` is what the last layer put out, before dropout.
    """

    nats: Tensor
    penalty: Tensor
    state: State
    hidden: Tensor


class LanguageNetwork(nn.Module):
    """Words in, at every step a hidden vector whose softmax is the next word's distribution.

    In training mode, where the options ask for it, words lose their whole embedding, dropout acts
    on the embeddings and on every layer's outputs, and recurrent weights are dropped; all of it
    anew for each call. Masks are drawn in this order: words, recurrent weights, embeddings, the
    outputs of each layer, the mixture's units. `weight_dropout` changes no parameter's name.

    Shapes: ids `(B, T)`; hidden `(B, T, H)`; `embedding (V, E)`.

    Args:
        options: cell, width, depth and regularisation.
        vocabulary_size: V.
        generator: where the initial weights come from; torch's own by default.
        sparse: whether the embedding's gradient holds the rows of the batch alone, which
            spares plain SGD a matrix of V rows; a tied one only where its softmax is sampled.

    Raises:
        ConfigError: for sizes that tied weights do not allow, or cutoffs beyond the vocabulary.

    Source: Zaremba, Sutskever & Vinyals 2014, "Recurrent neural network regularization"; Gal &
        Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural
        networks", for variational masks and words; Merity et al. 2018, "Regularizing and
        optimizing LSTM language models", for the rest.

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
        _require_sizes(options)
        self.options = options
        self.sparse = sparse and (not options.tied or options.sampled is not None)
        widths = (options.embedding_width, *options.widths)
        self.embedding = nn.Parameter(torch.empty(vocabulary_size, widths[0]))
        how = options.cell_options, generator
        layers = [make_cell(options.cell, *sizes, *how) for sizes in pairwise(widths)]
        self.recurrence = Stack(_around(layers, options))
        self.output_dropout = _or(options.output_dropout, options.dropout)
        self.head: Head = _head(options, widths[-1], self.embedding, self.sparse)
        self._initialize(layers, generator)

    def _initialize(self, layers: list[Cell], generator: torch.Generator | None) -> None:
        options = self.options

        def draw(parameter: Tensor, bound: float) -> None:
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

        own = keeps_own_start(options.cell)
        kept = {id(p) for layer in layers for p in layer.parameters()} if own else set()
        for parameter in self.parameters():
            if id(parameter) not in kept:
                draw(parameter, options.init_scale)
        if options.init == "width":
            for name, parameter in self.head.named_parameters():
                if parameter.dim() == 1:
                    nn.init.zeros_(parameter)
                elif name != "weight":
                    draw(parameter, parameter.shape[1] ** -0.5)
        recipes = recipes_of(options.cell)
        for layer in [] if own else layers:
            if "weights" not in recipes:
                layer.reset_parameters(generator)
            elif options.init == "width":
                for parameter in layer.parameters():
                    draw(parameter, layer.output_size**-0.5)
            if "biases" in recipes:
                self._start_biases(layer)

    def _start_biases(self, layer: Cell) -> None:
        if self.options.zero_bias:
            for name, parameter in layer.named_parameters():
                if "bias" in name:
                    nn.init.zeros_(parameter)
        if isinstance(layer, TwoBiases):
            layer.hold_bias_hh()
        if isinstance(layer, ForgetGate):
            layer.add_forget_bias(self.options.forget_bias)

    @torch.no_grad()
    def start_at_frequencies(self, counts: Tensor) -> None:
        """Let the softmax's bias be the words' log-frequencies, which training need not find.

        Args:
            counts: `(V,)`, how often each word occurs; half an occurrence is added.
        """
        if isinstance(self.head, AdaptiveHead):
            raise ConfigError("network.unigram_bias: an adaptive softmax has no bias of each word")
        smoothed = counts + 0.5
        self.head.bias.copy_((smoothed / smoothed.sum()).log())

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the state before the first word.

        Args:
            batch_size: B, rows.
        """
        return self.recurrence.initial_state(batch_size)

    def forward(
        self,
        ids: Tensor,
        state: State = None,
        generator: torch.Generator | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return the hidden vectors after each word, and the state after the last.

        Args:
            ids: `(B, T)` int64.
            state: as `initial_state` or an earlier call returned it; the initial one by default.
            generator: where dropout masks come from, needed in training mode.
            lengths: `(B,)` words of each row; all of them.
        """
        _, hidden, state = self.outputs(ids, state, generator, lengths)
        return hidden, state

    def outputs(
        self,
        ids: Tensor,
        state: State = None,
        generator: torch.Generator | None = None,
        lengths: Tensor | None = None,
    ) -> Outputs:
        """Return the last layer's outputs before and after dropout, and the state.

        Args:
            ids: `(B, T)` int64.
            state: as `initial_state` or an earlier call returned it; the initial one by default.
            generator: where dropout masks come from, needed in training mode.
            lengths: `(B,)` words of each row; all of them.
        """
        options, masks = self.options, Masks(generator, ids.shape[1])
        x = F.embedding(ids, self.embedding, sparse=self.sparse)
        recurrence: Recurrence = self.recurrence
        if self.training and options.embedding_dropout:
            words = masks.draw((len(self.embedding), 1), options.embedding_dropout, x)
            x = x * F.embedding(ids, words)
        if self.training and options.weight_dropout:
            recurrence = WeightDrop(recurrence, options.weight_dropout)
        raw, state = unroll(recurrence, x, state, lengths=lengths, generator=generator)
        hidden = raw
        if self.training and self.output_dropout:
            steps = 1 if options.variational else raw.shape[1]
            shape = (len(raw), steps, raw.shape[2])
            hidden = raw * masks.draw(shape, self.output_dropout, raw)
        return Outputs(raw, hidden, state)

    def loss(
        self,
        ids: Tensor,
        targets: Tensor,
        state: State,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """Return the mean surprise of the targets in nats, to be learned from, and the state.

        The penalties that the options name are in it, in training mode.

        Args:
            ids: `(B, T)` int64.
            targets: `(B, T)` int64, the word after each.
            state: as `initial_state` or an earlier call returned it.
            generator: where dropout masks come from, needed in training mode.
        """
        parts = self.loss_parts(ids, targets, state, generator)
        return parts.nats + parts.penalty, parts.state

    def loss_parts(
        self,
        ids: Tensor,
        targets: Tensor,
        state: State,
        generator: torch.Generator | None = None,
        criterion: Criterion | None = None,
    ) -> LossParts:
        """Return the two summands of `loss`, and the state.

        Matrix products are of the precision that the options name; the weights, their gradients
        and the state between chunks stay in float32.

        Args:
            ids: `(B, T)` int64.
            targets: `(B, T)` int64, the word after each.
            state: as `initial_state` or an earlier call returned it.
            generator: where dropout masks come from, needed in training mode.
            criterion: what is taken in place of the surprise: a function of the log-probabilities
                of all words `(B T, V)` and the targets `(B T,)`.
        """
        precision = self.options.precision
        narrow = precision == "bfloat16" or (precision == "auto" and native_bfloat16(ids.device))
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=narrow):
            raw, hidden, state = self.outputs(ids, state, generator)
            if criterion is None:
                nats = self.head.loss(hidden, targets, generator)
            else:
                log_probs = self.head.log_probs(hidden.flatten(0, 1)).float()
        if criterion is not None:
            nats = criterion(log_probs, targets.flatten())
        return LossParts(nats, self._penalty(raw, hidden), state, raw)

    def _penalty(self, raw: Tensor, hidden: Tensor) -> Tensor:
        """Return what keeps the last layer's outputs small, and what keeps them from changing."""
        alpha, beta = self.options.activation_penalty, self.options.temporal_penalty
        penalty = raw.new_zeros(())
        if self.training and alpha:
            penalty = penalty + alpha * hidden.square().mean()
        if self.training and beta and raw.shape[1] > 1:
            penalty = penalty + beta * (raw[:, 1:] - raw[:, :-1]).square().mean()
        return penalty


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _around(layers: list[Cell], options: NetworkOptions) -> list[Recurrence]:
    """Return the layers with what acts on them; the last one's outputs the network drops itself."""
    hidden = _or(options.hidden_dropout, options.dropout)
    wrapped: list[Recurrence] = []
    for n, layer in enumerate(layers):
        adds = options.residual and n > 0 and layer.input_size == layer.output_size
        wrapped.append(
            Dropout(
                Residual(layer) if adds else layer,
                input=0.0 if n else _or(options.input_dropout, options.dropout),
                output=hidden if n < len(layers) - 1 else 0.0,
                variational=options.variational,
            )
        )
    return wrapped


def _head(options: NetworkOptions, hidden_size: int, embedding: nn.Parameter, sparse: bool) -> Head:
    V = len(embedding)
    shared = embedding if options.tied else None
    if options.softmax == "adaptive":
        cutoffs = [int(cutoff) for cutoff in (options.cutoffs or "").split("/") if cutoff]
        return AdaptiveHead(hidden_size, V, cutoffs or None)
    if options.softmax == "mixture":
        return MixtureOfSoftmaxesHead(
            hidden_size,
            V,
            options.experts,
            options.latent_size or options.embedding_width,
            shared,
            options.latent_dropout,
            options.variational,
        )
    return SoftmaxHead(hidden_size, V, shared, options.sampled, sparse)


def _require_sizes(options: NetworkOptions) -> None:
    if options.sampled is not None and options.softmax != "full":
        raise ConfigError(
            f"network.sampled samples the words of a full softmax; this one is {options.softmax}"
        )
    if not options.tied:
        return
    E = options.embedding_width
    if options.softmax == "adaptive":
        raise ConfigError(
            "network.softmax=adaptive has no matrix that network.tied could share with the "
            "embedding; set network.tied=false"
        )
    named, size = "network.latent_size", options.latent_size or E
    if options.softmax == "full":
        named, size = "the last of network.layer_sizes", options.widths[-1]
    if size != E:
        raise ConfigError(
            f"network.tied shares one matrix: {named} is {size}, network.embedding_size {E}; "
            "make them equal, or set network.tied=false"
        )
