"""The network of labels of a config as shapes without memory, so that sizes are tried first."""

from __future__ import annotations

from collections.abc import Callable

from recurra.labels.datasets import open_labels
from recurra.labels.entry import LabelRun
from recurra.labels.network import SequenceNetwork
from recurra.labels.options import LabelNetworkOptions
from recurra.learning.weights import sketched

__all__ = ["sketcher"]


def sketcher(config: LabelRun) -> Callable[[LabelNetworkOptions], SequenceNetwork]:
    """Return what draws the networks of other options for the sequences of a config.

    Args:
        config: whose data are opened.

    Raises:
        DataError: the data cannot be used.

    Example:
        >>> import recurra as rc
        >>> sketch = sketcher(rc.preset("iris"))
        >>> sum(each.numel() for each in sketch(LabelNetworkOptions(kind="softmax")).parameters())
        15
    """
    data = open_labels(config.data)
    sizes = data.split("train").num_features, len(data.classes)

    def sketch(options: LabelNetworkOptions) -> SequenceNetwork:
        set_ = options.model_copy(update={"noise": options.noise or 0.0})  # it has no shape
        return sketched(lambda: SequenceNetwork(set_, *sizes, steps=data.steps))

    return sketch
