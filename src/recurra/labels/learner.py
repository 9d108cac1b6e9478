"""A network over labelled sequences, as the gradient loop wants it.

n sequences, B rows, F features, O outputs, M members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from recurra.labels.metrics import score
from recurra.labels.network import SequenceNetwork
from recurra.labels.sequences import Ragged, digest_arrays
from recurra.learning.epochs import Shuffled
from recurra.learning.loop import Learner
from recurra.learning.options import TrainOptions
from recurra.learning.own.terms import Criterion

__all__ = ["Examples", "SequenceLearner"]

Examples = tuple[Sequence[NDArray[np.floating]], NDArray[np.generic], NDArray[np.floating] | None]
"""Sequences, their targets, and what each counts."""
Batch = tuple[Tensor, Tensor | None, Tensor, Tensor]


class SequenceLearner(Learner):
    """A SequenceNetwork learns targets from sequences.

    An epoch is a permutation of the examples that derives from the seed and the epoch alone; where
    all the examples fit one batch, they stay in their order. Weights are brought to a mean of 1,
    so that a full batch learns from their weighted mean.

    Args:
        network: learns in place, where it is, in its own dtype.
        sequences: n arrays `(T_i, F)`.
        targets: `(n,)` classes for `"cross_entropy"`, `(n, O)` numbers for `"squared_error"`.
        weights: `(n,)`, at least 0 and not all 0, what each example counts; all the same.
        options: the size of a batch is taken from them.
        seed: of the order.
        valid: what is judged on the way: sequences, targets and weights (or None).
        loss: which.

    Example:
        >>> from recurra.labels.options import LabelNetworkOptions
        >>> from recurra.learning.loop import learn
        >>> from recurra.randomness import generator
        >>> small = LabelNetworkOptions(hidden_size=4)
        >>> network = SequenceNetwork(small, 1, 2, generator(1, "init"))
        >>> data = [np.zeros((3, 1)), np.ones((5, 1))]
        >>> options = TrainOptions(steps=30, optimizer="adam", learning_rate=0.1)
        >>> learner = SequenceLearner(network, data, np.array([0, 1]), None, options, seed=1)
        >>> events = list(learn(learner, options, 1, checkpoints=None))
        >>> network.predict(data).argmax(dim=1)
        tensor([0, 1])
    """

    criterion: Criterion | None = None

    def __init__(
        self,
        network: SequenceNetwork,
        sequences: Sequence[NDArray[np.floating]],
        targets: NDArray[np.generic],
        weights: NDArray[np.floating] | None,
        options: TrainOptions,
        seed: int,
        valid: Examples | None = None,
        loss: Literal["cross_entropy", "squared_error"] = "cross_entropy",
    ) -> None:
        self.model = self.network = network.train()
        self.seed = seed
        self.classes = loss == "cross_entropy"
        parts = {"examples": (sequences, targets, weights)}
        self.data, self.targets, self.weights = self._ready(parts["examples"])
        self.batch_size = options.batch_size
        self.steps_per_epoch = max(1, math.ceil(len(sequences) / options.batch_size))
        self.valid = None if valid is None else self._ready(valid)
        if valid is not None:
            parts["validation examples"] = valid
        self.fingerprint = {name: _digest(part) for name, part in parts.items()}
        self.order = Shuffled(len(sequences), options.batch_size, seed)
        self._whole: Batch | None = None

    def _ready(self, examples: Examples) -> tuple[Ragged, Tensor, Tensor]:
        """Return sequences, targets and weights where the network is, the weights' mean 1."""
        sequences, targets, weights = examples
        like = self.network.mean
        each = np.ones(len(sequences)) if weights is None else np.asarray(weights, np.float64)
        return (
            self.network.ragged(sequences),
            torch.tensor(
                np.ascontiguousarray(targets),
                dtype=torch.int64 if self.classes else like.dtype,
                device=like.device,
            ),
            torch.as_tensor(each / each.mean(), dtype=like.dtype, device=like.device),
        )

    def batch(self, epoch: int, step: int) -> Batch:
        """Return inputs, lengths, targets and weights of a batch, a pure function of its place."""
        if self.steps_per_epoch == 1:
            if self._whole is None:
                everything = self.data.batch(torch.arange(len(self.data)))
                self._whole = (*everything, self.targets, self.weights)
            return self._whole
        rows = self.order.rows(epoch, step)
        there = rows.to(self.targets.device)
        return (*self.data.batch(rows), self.targets[there], self.weights[there])

    def loss(
        self, batch: Batch, carry: None, generator: torch.Generator
    ) -> tuple[Tensor, None, int]:
        """Return the members' mean loss, nothing to carry, and how many examples there were.

        Its gradient is that of the members' summed losses, so that each learns as if alone.
        """
        x, lengths, targets, weights = batch
        outputs = self.network.outputs(x, lengths, generator)
        members = len(outputs)
        if self.criterion is not None:
            each = torch.stack([self.criterion(one, targets).expand(1) for one in outputs])
            weights = weights.new_ones(1)
        elif self.classes:
            same = targets.expand(members, -1).flatten()
            each = F.cross_entropy(outputs.flatten(0, 1), same, reduction="none").view(members, -1)
        else:
            each = (outputs - targets).square().mean(dim=2)
        total = (each * weights).mean(dim=1).sum()
        return total - total.detach() * (1 - 1 / members), None, len(targets)

    def validate(self) -> dict[str, float | int | None] | None:
        """Return the validation metrics; None where there is no such split."""
        if self.valid is None:
            return None
        data, targets, weights = self.valid
        outputs = self.network.predict(data)
        counts = weights.cpu().double().numpy()
        if self.classes:
            log_probs = torch.log_softmax(outputs.double(), dim=1).cpu().numpy()
            metrics = score(log_probs, targets.cpu().numpy(), counts).as_dict()
            return {"loss": metrics["log_loss"], **metrics}
        errors = (outputs - targets).double().square().mean(dim=1).cpu().numpy()
        mse = float(np.average(errors, weights=counts))
        return {"loss": mse, "examples": len(targets), "rmse": math.sqrt(mse)}


def _digest(examples: Examples) -> str:
    sequences, targets, weights = examples
    arrays: list[NDArray[np.generic]] = [*sequences, np.asarray(targets)]
    return digest_arrays(arrays if weights is None else [*arrays, np.asarray(weights)])
