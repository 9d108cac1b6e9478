"""What stays in doubt about a stream of which too little was seen to tell its scale.

B streams, L observations seen, H steps ahead, Q quantile levels, N channels, V targets.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.series.baselines.base import normal_quantiles
from recurra.series.data.windows import Scaling, Window
from recurra.series.judging.metrics import LEVELS
from recurra.series.network.model import MIDDLE

__all__ = ["doubted", "usual_deviations"]

Floats = NDArray[np.float64]

NORMAL = normal_quantiles(LEVELS).tolist()


def usual_deviations(deviations: Floats, variables: int) -> Tensor:
    """Return `(V,)`: the root mean square of each target's deviations, 0 where none is known.

    Args:
        deviations: of each channel's training part, `(N,)`, NaN where it is not known.
        variables: V; channels of one series stand side by side.

    Example:
        >>> usual_deviations(np.array([3.0, 1.0, 4.0, np.nan]), 2) ** 2
        tensor([12.5000,  1.0000], dtype=torch.float64)
    """
    squares = torch.from_numpy(np.square(deviations)).reshape(-1, variables)
    return squares.nanmean(0).nan_to_num(0.0).sqrt()


def doubted(
    quantiles: Tensor, window: Window, least: int, usual: Tensor, scaling: Scaling
) -> Tensor:
    """Return quantiles `(B, H, Q)` that are no surer than what was seen of each stream allows.

    Where fewer than `least` steps lie between the first and the last observation that are seen,
    their own scale says nothing: bounds are then no nearer to the median than those of a normal
    distribution with `sqrt(2)` of the series' deviation, as the difference of two observations has.
    So where all that is seen is one number, but the series has changed before; of such a window
    that number is the median.

    Args:
        quantiles: as the network tells them.
        window: what is seen.
        least: the steps that the network learned from at least.
        usual: deviations of each target, `(V,)`, taken where the window's own is not known.
        scaling: whether deviations are those of logarithms.

    Example:
        >>> empty = torch.zeros(1, 4, 0)
        >>> one = torch.tensor([[False, False, False, True]])
        >>> seen = Window(one * 5.0, one, empty, empty, empty[0], torch.tensor([torch.nan]),
        ...     torch.tensor([0]))
        >>> sure = torch.full((1, 1, 11), 5.0)
        >>> doubted(sure, seen, 2, torch.ones(1), Scaling(1, "last"))[0, 0, [1, 5, 9]]
        tensor([3.1876, 5.0000, 6.8124])
    """
    low = torch.where(window.observed, window.values, torch.inf).amin(1)
    still = low == torch.where(window.observed, window.values, -torch.inf).amax(1)
    if bool(window.observed.all()) and not bool(still.any()):
        return quantiles
    places = torch.arange(1, window.observed.shape[1] + 1, device=quantiles.device)
    last = (window.observed * places).amax(1)
    first = (window.observed * places.flip(0)).amax(1)
    short = last + first - len(places) < least
    still &= ~short
    usual = usual.to(quantiles.device)[window.variable]
    known = ~window.deviation.isnan()
    deviation = torch.where(known, window.deviation, usual * short)[:, None, None]
    about = quantiles - quantiles[..., MIDDLE, None]
    of_still = low[:, None, None] + torch.where(known[:, None, None], 0.0, about)
    told = torch.where(still[:, None, None], of_still, quantiles)
    middle = told[..., MIDDLE, None]
    normal = torch.tensor(NORMAL, dtype=told.dtype, device=told.device)
    off = 2**0.5 * deviation * normal
    bounds = middle * off.exp() if scaling.logarithm else middle + off
    wider = torch.where(normal < 0, torch.minimum(told, bounds), torch.maximum(told, bounds))
    return torch.where((short | still)[:, None, None], wider, quantiles)
