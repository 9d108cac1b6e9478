"""A forecasting network over the windows of a dataset, as the gradient loop wants it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import DataError
from recurra.learning.epochs import Shuffled
from recurra.learning.loop import Learner
from recurra.learning.own.terms import Criterion
from recurra.nn.head import pinball
from recurra.series.data.dataset import SeriesDataset
from recurra.series.data.windows import Scaled, Window, Windows
from recurra.series.judging.metrics import LEVELS
from recurra.series.judging.trial import Trial
from recurra.series.network.conformal import fitted_corrections
from recurra.series.network.model import ForecastNetwork, tells, unit
from recurra.work import worked_on, working

__all__ = ["SeriesLearner"]

MOST_VALIDATED = 4096
"""Windows that a validation looks at; of more, so many evenly spaced ones."""

CALIBRATED = 32_768
"""Windows that the calibration looks at."""

BATCH = 2048


class SeriesLearner(Learner):
    """Windows of the training parts in the order of chance; members learn in turn.

    Args:
        network: what learns.
        dataset: the series.
        windows: their channels.
        batch_size: B, windows in a step.
        seed: of the order.
        device: where tensors live.

    Raises:
        DataError: no window fits into a training part.
    """

    criterion: Criterion | None = None

    def __init__(
        self,
        network: ForecastNetwork,
        dataset: SeriesDataset,
        windows: Windows,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model = self.network = network.to(device).train()
        self.dataset, self.windows = dataset, windows
        self.device, self.seed = device, seed
        self.fingerprint = {"series": dataset.panel.fingerprint}
        self.rows, self.origins = self._training_windows()
        self.batch_size = min(batch_size, len(self.rows))
        self.steps_per_epoch = -(-len(self.rows) // self.batch_size)
        self.order = Shuffled(len(self.rows), self.batch_size, seed)
        self.trial = Trial.of(dataset, "valid", MOST_VALIDATED)
        self.levels = torch.tensor(LEVELS, dtype=torch.float64, device=device)

    def _training_windows(self) -> tuple[Tensor, Tensor]:
        """Return the channel and the origin of every window whose horizon is learned from."""
        least = self.network.least
        last = self.dataset.end("train") - self.dataset.horizon
        counts = np.maximum(0, last - least + 1)
        if not counts.any():
            dataset, longest = self.dataset, int(self.dataset.end("train").max())
            said = (
                f"no series has {least + dataset.horizon} observations to learn from, beside the "
                f"{dataset.valid} + {dataset.test} kept for validation and test"
            )
            if dataset.season > 1 and longest <= dataset.season + dataset.horizon:
                said = f"a season is of {dataset.season} steps, but {said}, {longest} at most"
                raise DataError(f"{said}; give a smaller data.season, or 1 for none")
            raise DataError(f"{said}; give a smaller data.horizon")
        rows = np.repeat(np.arange(len(counts)), counts)
        origins = np.concatenate([np.arange(least, least + count) for count in counts])
        return self._channels(rows, origins)

    def _channels(
        self, series: NDArray[np.int64], origins: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Return windows of every variable of some series, variables side by side."""
        count = len(self.dataset.panel.targets)
        rows = series[:, None] * count + np.arange(count)
        return torch.from_numpy(rows.flatten()), torch.from_numpy(np.repeat(origins, count))

    def batch(self, epoch: int, step: int) -> tuple[int, Window, Tensor, Tensor]:
        """Return a member's number, what it sees, what followed, and which of it is observed."""
        chosen = self.order.rows(epoch, step)
        member = (epoch * self.steps_per_epoch + step) % len(self.network.members)
        return member, *self._look(self.rows[chosen], self.origins[chosen])

    def _look(self, rows: Tensor, origins: Tensor) -> tuple[Window, Tensor, Tensor]:
        window = self.windows.before(rows, origins)
        targets, observed = self.windows.after(rows, origins)
        window = Window(*(tensor.to(self.device) for tensor in window))
        return window, targets.to(self.device), observed.to(self.device)

    def loss(
        self,
        batch: tuple[int, Window, Tensor, Tensor],
        carry: None,
        generator: torch.Generator,
    ) -> tuple[Tensor, None, int]:
        """Return the loss of the batch's member, and how many windows there were."""
        member, window, targets, observed = batch
        loss = self.network.loss(window, targets, observed, member, generator, self.criterion)
        return loss, None, len(targets)

    @torch.no_grad()
    def validate(self) -> dict[str, float | int | None] | None:
        """Return the metrics of the validation windows; their loss is in what is learned in."""
        if not len(self.trial):
            return None
        losses, quantiles = [], []
        told_of = worked_on(self._forecast(self.trial), "forecasting", "batches")
        for window, ahead, scaled, wanted, told in told_of:
            yardstick = self.network.yardstick(window, scaled)
            loss = pinball(ahead, wanted, self.levels).mean(-1) / yardstick
            losses.append(loss[told])
            values = self.network.scaling.backward(ahead, scaled)
            quantiles.append(self.network.scaling.bounded(values, window).cpu().numpy())
        scored = self.trial.score(np.concatenate(quantiles)).as_dict()
        return {"loss": float(torch.cat(losses).mean()), **scored}

    def _forecast(self, trial: Trial) -> Iterator[tuple[Window, Tensor, Scaled, Tensor, Tensor]]:
        """Yield windows, their quantiles, scaling and targets in units, and which of these tell."""
        channels, origins = map(torch.from_numpy, (trial.channels, trial.origins))
        for rows, starts in zip(torch.split(channels, BATCH), torch.split(origins, BATCH)):
            window, targets, observed = self._look(rows, starts)
            ahead, scaled = self.network.in_units(window)
            wanted = self.network.scaling.forward(targets, scaled)
            told = tells(self.network.scaling, wanted, observed)
            yield window, ahead, scaled, wanted, told

    @torch.no_grad()
    def calibrate(self) -> int:
        """Move the network's quantiles so that they hold on the validation windows.

        Returns how many points these have.
        """
        trial = Trial.of(self.dataset, "valid", CALIBRATED)
        if not len(trial):
            return 0
        self.network.eval()
        found: list[list[Tensor]] = []
        with working("calibrating the intervals"):
            for _, ahead, scaled, wanted, told in self._forecast(trial):
                wanted = wanted.where(told, torch.nan)
                found.append([ahead.double(), wanted.double(), unit(scaled)[:, 0].double()])
            quantiles, actual, units = (torch.cat(each).cpu().numpy() for each in zip(*found))
            corrections = fitted_corrections(actual, quantiles, LEVELS, units)
        self.network.correction.copy_(torch.from_numpy(corrections))
        return int(np.isfinite(actual).sum())
