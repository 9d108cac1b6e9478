"""The language network of a config as shapes without memory, so that sizes are tried first."""

from __future__ import annotations

from collections.abc import Callable

from recurra.language.entry import LanguageRun
from recurra.language.models.base import LanguageModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.dataset import TextDataset
from recurra.learning.weights import sketched

__all__ = ["sketcher"]


def sketcher(config: LanguageRun) -> Callable[[NetworkOptions], LanguageNetwork]:
    """Return what draws the networks of other options for the text of a config.

    Args:
        config: whose text is opened, or whose start's vocabulary is.

    Raises:
        DataError: the text cannot be used.

    Example:
        >>> import recurra as rc
        >>> sketch = sketcher(rc.preset("words", data="grammar"))
        >>> sketch(NetworkOptions(hidden_size=8)).embedding.shape
        torch.Size([141, 8])
    """
    start = config.start_from
    known = LanguageModel.from_pretrained(start) if start else TextDataset.open(config.data)
    size = len(known.vocabulary)
    return lambda options: sketched(lambda: LanguageNetwork(options, size, None))
