"""A language model made more or less sure of itself, as much as validation asks for.

B rows, V tokens in the vocabulary, N tokens in a text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.network import NetworkModel
from recurra.nn.state import State
from recurra.work import worked_on

__all__ = ["TemperatureModel", "calibrated"]

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]

HELD = 2**22
"""Most log-probabilities held at once: 32 MB."""

RANGE = (0.05, 20.0)
"""Temperatures that calibration chooses from."""


class TemperatureModel(LanguageModel):
    """What a model says, sharpened or softened, and made to sum to one again.

        p(token | context) = p_inner(token | context)^(1 / T) / sum_v p_inner(v | context)^(1 / T)

    Args:
        model: the model whose distributions are changed.
        temperature: T above 0; below 1 prefers what is likely.

    Source: Guo et al., 2017, section 4.2 (temperature scaling).

    Example:
        >>> from recurra.ngram import KneserNey
        >>> from recurra.language.models.ngram import NgramModel
        >>> from recurra.language.text.vocabulary import Vocabulary
        >>> words = Vocabulary(["the", "cat", "<eos>", "<unk>"])
        >>> counted = NgramModel(KneserNey.fit([0, 1, 2, 0, 1, 2], 2, 4, 2), words, "split")
        >>> flat = TemperatureModel(counted, 1e6)
        >>> log_probs, _ = flat.step(words.eos, flat.initial_state())
        >>> log_probs.exp().numpy().round(4)
        array([0.25, 0.25, 0.25, 0.25])
    """

    kind = "temperature"

    def __init__(self, model: LanguageModel, temperature: float) -> None:
        super().__init__(model.vocabulary, model.rule, model)
        if not (math.isfinite(temperature) and temperature > 0):
            raise ConfigError(f"a temperature is a number above 0, got {temperature}")
        self.temperature = float(temperature)

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the model's initial state."""
        return self.inner[0].initial_state(batch_size)

    def step(self, token: int | Tensor, state: State) -> tuple[Tensor, State]:
        """Read a token; return the next one's log-probabilities in nats, and the state."""
        log_probs, after = self.inner[0].step(token, state)
        return torch.log_softmax(log_probs.double() / self.temperature, dim=-1), after

    def log_probs_of(self, ids: Integers) -> Floats:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it."""
        found = [np.zeros(0)]
        for rows, targets in worked_on(_distributions(self.inner[0], ids), "reading", "stretches"):
            log_probs = torch.log_softmax(rows.div_(self.temperature), dim=-1)
            found.append(log_probs.gather(1, targets.unsqueeze(1))[:, 0].numpy())
        return np.concatenate(found)

    def facts(self) -> dict[str, Any]:
        """Return the temperature."""
        return {"temperature": self.temperature}

    @classmethod
    def restore(cls, saved: Saved) -> TemperatureModel:
        """Return the model that `facts` and `inner` describe.

        Raises:
            CheckpointError: there is no such temperature, or not one model.
        """
        temperature = saved.facts.get("temperature")
        if len(saved.inner) != 1 or saved.tensors or saved.facts.keys() != {"temperature"}:
            raise CheckpointError("a temperature model is one model and a temperature, no more")
        if type(temperature) is not float or not (0 < temperature < math.inf):
            raise CheckpointError(f"a temperature is a number above 0, got {temperature!r:.80}")
        return cls(saved.inner[0], temperature)


def calibrated(model: LanguageModel, ids: Integers) -> TemperatureModel:
    """Return the model at the temperature under which a text is likeliest.

    With z the log-probabilities and b = 1 / T, the nats a token, mean(logsumexp(b z) - b z_target),
    are convex in b; Newton's steps find their minimum within T from 0.05 to 20.

    Args:
        model: any.
        ids: `(N,)`, a text that it has not learned from.

    Raises:
        DataError: the text has no tokens.

    Source: Guo et al., 2017, section 4.2.

    Example:
        >>> calibrated(lm, dataset.ids("valid")).temperature  # doctest: +SKIP
        1.07
    """
    if not len(ids):
        raise DataError("no tokens: a temperature is calibrated on at least one")
    low, high = 1 / RANGE[1], 1 / RANGE[0]
    sharpness = 1.0
    for _ in range(50):
        slope, curvature = _slopes(model, ids, sharpness)
        low, high = (sharpness, high) if slope < 0 else (low, sharpness)
        ahead = sharpness - slope / curvature if curvature > 0 else math.inf
        # A step that leaves what is known to hold the minimum is halved into it.
        step = (ahead if low < ahead < high else math.sqrt(low * high)) - sharpness
        sharpness += step
        if abs(step) < 1e-5 * sharpness:
            break
    return TemperatureModel(model, 1 / sharpness)


def _slopes(model: LanguageModel, ids: Integers, sharpness: float) -> tuple[float, float]:
    """Return the first and the second derivative of the nats a token by 1 / T."""
    slope = curvature = 0.0
    for rows, targets in _distributions(model, ids):
        # What is impossible stays so at every temperature, and adds 0 to every mean.
        scores = rows.masked_fill(rows == -math.inf, 0.0)
        weights = torch.softmax(rows * sharpness, dim=-1)
        means = (weights * scores).sum(1)
        slope += float((means - scores.gather(1, targets.unsqueeze(1))[:, 0]).sum())
        curvature += float(((weights * scores**2).sum(1) - means**2).sum())
    return slope / len(ids), curvature / len(ids)


def _distributions(model: LanguageModel, ids: Integers) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `(n, V)` float64 log-probabilities and `(n,)` targets through a text, in order."""
    most = max(1, HELD // len(model.vocabulary))
    if isinstance(model, NetworkModel):
        start = 0
        for span in model.spans(ids):
            targets = torch.from_numpy(np.asarray(ids[start : start + len(span.hidden)], np.int64))
            for hidden, wanted in zip(torch.split(span.hidden, most), torch.split(targets, most)):
                with torch.no_grad():
                    rows = model.network.head.log_probs(hidden).double().cpu()
                yield rows, wanted
            start += len(targets)
        return
    state, before = model.initial_state(), model.vocabulary.eos
    for start in range(0, len(ids), most):
        part = [int(index) for index in ids[start : start + most]]
        rows = torch.empty(len(part), len(model.vocabulary), dtype=torch.float64)
        for n, token in enumerate(part):
            rows[n], state = model.step(before, state)
            before = token
        yield rows, torch.tensor(part)
