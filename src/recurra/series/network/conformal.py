"""Split-conformal calibration: quantiles moved until they hold on windows kept out of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import ConfigError, ShapeError

__all__ = ["corrected", "fitted_corrections"]

Floats = NDArray[np.float64]

# Shape legend: N windows kept out, W windows to correct, H steps ahead, Q quantile levels.

ENOUGH = 200  # points of a step ahead: with fewer, those of the steps beside it count too


def fitted_corrections(
    actual: Floats, quantiles: Floats, levels: Sequence[float], scale: Floats
) -> Floats:
    """Return how far each quantile of each step ahead is to be moved, `(H, Q)`, in units of scale.

    Two quantiles `l` and `u` as far from the median make an interval that says it holds with a
    probability `p`. By how much it misses a point kept out, `max(l - y, y - u) / scale`, negative
    inside, has n values; the `ceil((n + 1) p)`-th smallest of them is how far both are moved out.
    Then it holds a new exchangeable point with a probability of at least `p`, whatever the model
    was. Where n is too small for that rank, as for any `p` above `n / (n + 1)`, nothing is
    promised: it is moved out by the largest, and no less than the interval within it, so that it
    stays wider than that. The median stays.

    A step ahead with fewer than 200 points takes those of its nearest steps too. Gaps, what is
    not finite or has a scale that is not positive are left out; a step without any point stays.

    Args:
        actual: what came, NaN where nothing was observed.
        quantiles: what was forecast.
        levels: the quantiles' levels, increasing, each with its opposite, 1/2 among them.
        scale: of each window, or of each of its steps: the unit in which corrections are
            shared. The width of the widest interval keeps what the model knows of its doubt.

    Raises:
        ShapeError: the arrays do not go together.
        ConfigError: the levels are not such.

    Shapes:
        actual (N, H), quantiles (N, H, Q), levels (Q,), scale (N,) or (N, H).

    Source:
        Romano, Patterson and Candes, Conformalized quantile regression (2019), theorem 1; with
        widths as scale the CQR-r of Sesia and Candes, A comparison of some conformal quantile
        regression methods (2020). Moving each side by itself would hold each side, but take the
        bias of the few windows kept out for the model's.

    Example:
        >>> levels, too_narrow = (0.1, 0.5, 0.9), np.array([[[-0.1, 0.0, 0.1]]])
        >>> actual, forecast = np.linspace(-1, 1, 199)[:, None], np.repeat(too_narrow, 199, axis=0)
        >>> fitted_corrections(actual, forecast, levels, np.ones(199)).round(2).tolist()
        [[-0.71, 0.0, 0.71]]
    """
    _require_match(actual, quantiles, levels)
    unit = _by_step(scale, actual.shape)
    corrections = np.zeros((actual.shape[1], len(levels)))
    there = np.isfinite(actual) & (unit > 0) & np.isfinite(quantiles).all(-1)
    counts = there.sum(axis=0)
    for step in range(actual.shape[1]):
        at = np.nonzero(there & _near(counts, step))
        y, q, one = actual[at], quantiles[at], unit[at]
        out = -math.inf
        for low in reversed(range(len(levels) // 2 if len(y) else 0)):
            high = len(levels) - 1 - low
            missed = np.maximum(q[:, low] - y, y - q[:, high]) / one
            out = _ranked(missed, levels[high] - levels[low], out)
            corrections[step, [low, high]] = -out, out
    return corrections


def corrected(quantiles: Tensor, corrections: Tensor) -> Tensor:
    """Return quantiles `(W, H, Q)` moved, none left on the wrong side of the median.

    The median stays, and no quantile crosses one nearer to it.

    Args:
        quantiles: as forecast, the median in their middle.
        corrections: by how much each is moved, in the quantiles' own units.

    Example:
        >>> corrected(torch.tensor([[[-1.0, 0.0, 1.0]]]), torch.tensor([-1.0, 0.0, -2.0])).tolist()
        [[[-2.0, 0.0, 0.0]]]
    """
    moved, middle = quantiles + corrections, quantiles.shape[-1] // 2
    above = moved[..., middle:].cummax(-1).values
    below = moved[..., : middle + 1].flip(-1).cummin(-1).values.flip(-1)
    return torch.cat([below, above[..., 1:]], -1)


def _require_match(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> None:
    if actual.ndim != 2 or quantiles.shape != (*actual.shape, len(levels)):
        raise ShapeError(
            f"actual {actual.shape}, quantiles {quantiles.shape} and {len(levels)} levels do "
            "not go together; give (N, H), (N, H, Q) and (Q,)"
        )
    opposite = all(math.isclose(a + b, 1, abs_tol=1e-9) for a, b in zip(levels, reversed(levels)))
    increasing = all(a < b for a, b in pairwise(levels))
    if not (opposite and increasing and len(levels) % 2):
        raise ConfigError(
            f"quantile levels are {levels}; give them increasing, 0.5 among them, each "
            "with its opposite, as 0.1 with 0.9"
        )


def _near(counts: NDArray[np.int64], step: int) -> NDArray[np.bool_]:
    """Which steps (H,) count for one: itself, and those beside it until there are ENOUGH."""
    distance = np.abs(np.arange(len(counts)) - step)
    reach = 0
    while counts[distance <= reach].sum() < ENOUGH and reach < len(counts):
        reach += 1
    near: NDArray[np.bool_] = distance <= reach
    return near


def _ranked(missed: Floats, share: float, within: float) -> float:
    """How far out an interval is moved; where its rank is past the last, no less than within it."""
    exact = round((len(missed) + 1) * share, 9)  # (n + 1) * 0.8 must not be 80.00000000000001
    rank = max(math.ceil(exact), 1)
    if rank > len(missed):
        return max(float(missed.max()), within)
    return float(np.partition(missed, rank - 1)[rank - 1])


def _by_step(scale: Floats, shape: tuple[int, ...]) -> Floats:
    """The scale (N, H), from one of windows or of their steps."""
    if scale.shape not in (shape, shape[:1]):
        raise ShapeError(
            f"scale {scale.shape} came for windows {shape}; give (N,) or (N, H) of them"
        )
    return np.broadcast_to(scale if scale.ndim == 2 else scale[:, None], shape)
