"""The task of labels, as everything else finds it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recurra.labels.options import LabelNetworkOptions, LabelOptions
from recurra.learning.config import RunConfig
from recurra.learning.metric import Metric
from recurra.learning.options import TrainOptions
from recurra.learning.task import TaskEntry, presets_in
from recurra.storage.format import Format

__all__ = ["FORMAT", "LABELS", "LabelRun"]


class LabelRun(RunConfig):
    """A network learns which class a sequence belongs to."""

    sketch = "recurra.labels.sketch:sketcher"

    task: Literal["labels"] = Field("labels", description="what is learned")
    data: LabelOptions = LabelOptions()
    network: LabelNetworkOptions = LabelNetworkOptions()
    train: TrainOptions = TrainOptions()


FORMAT = Format("recurra-classifier")

LABELS = TaskEntry(
    config=LabelRun,
    data="recurra.labels.described:DATA",
    task="recurra.labels.task:LabelTask",
    model="recurra.labels.classifier:Classifier",
    format=FORMAT,
    metrics=(
        Metric(name="accuracy", better="higher", column=8, share=True),
        Metric(name="log_loss", column=8, places=4),
        Metric(name="examples", better="higher", column=8),
    ),
    presets=presets_in("recurra.labels.presets", "labels iris vowels"),
    pictures=("confusion.png",),
)
