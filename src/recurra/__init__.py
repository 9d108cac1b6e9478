"""Recurra: recurrent networks end to end, on PyTorch.

Names are imported when first used, so `import recurra` itself is quick.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurra import errors
    from recurra.estimators.forecaster import SeriesForecaster
    from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor
    from recurra.estimators.softmax import SoftmaxClassifier
    from recurra.labels.classifier import Classifier
    from recurra.language.adaptation import gradient_statistics
    from recurra.language.cache_model import cache
    from recurra.language.dynamic_model import dynamic
    from recurra.language.explanation import explain
    from recurra.language.mixture_model import fit_weights, mixture
    from recurra.language.model import LanguageModel
    from recurra.language.temperature_model import calibrated
    from recurra.language.unigram_cache_model import unigram_cache
    from recurra.nn.cells import CELLS
    from recurra.nn.cells.gru import GRUCell
    from recurra.nn.cells.lstm import LSTMCell
    from recurra.nn.cells.rnn import RNNCell
    from recurra.nn.unroll import plan, unroll
    from recurra.nn.wrappers.bidirectional import Bidirectional
    from recurra.nn.wrappers.dropout import Dropout
    from recurra.nn.wrappers.residual import Residual
    from recurra.nn.wrappers.stack import Stack
    from recurra.nn.wrappers.weight_drop import WeightDrop
    from recurra.run.config import RunConfig
    from recurra.run.preset import PRESETS, preset
    from recurra.run.session import evaluate, train
    from recurra.series.backtest import backtest
    from recurra.series.forecaster import Forecaster

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "PRESETS",
    "Bidirectional",
    "Classifier",
    "Dropout",
    "Forecaster",
    "GRUCell",
    "LSTMCell",
    "LanguageModel",
    "RNNCell",
    "Residual",
    "RunConfig",
    "SequenceClassifier",
    "SequenceRegressor",
    "SeriesForecaster",
    "SoftmaxClassifier",
    "Stack",
    "WeightDrop",
    "__version__",
    "backtest",
    "cache",
    "calibrated",
    "dynamic",
    "errors",
    "evaluate",
    "explain",
    "fit_weights",
    "gradient_statistics",
    "mixture",
    "plan",
    "preset",
    "train",
    "unigram_cache",
    "unroll",
]

_MODULES = {
    "CELLS": "recurra.nn.cells",
    "RNNCell": "recurra.nn.cells.rnn",
    "LSTMCell": "recurra.nn.cells.lstm",
    "GRUCell": "recurra.nn.cells.gru",
    "Stack": "recurra.nn.wrappers.stack",
    "Bidirectional": "recurra.nn.wrappers.bidirectional",
    "Dropout": "recurra.nn.wrappers.dropout",
    "Residual": "recurra.nn.wrappers.residual",
    "unroll": "recurra.nn.unroll",
    "plan": "recurra.nn.unroll",
    "WeightDrop": "recurra.nn.wrappers.weight_drop",
    "LanguageModel": "recurra.language.model",
    "cache": "recurra.language.cache_model",
    "unigram_cache": "recurra.language.unigram_cache_model",
    "dynamic": "recurra.language.dynamic_model",
    "gradient_statistics": "recurra.language.adaptation",
    "mixture": "recurra.language.mixture_model",
    "fit_weights": "recurra.language.mixture_model",
    "calibrated": "recurra.language.temperature_model",
    "explain": "recurra.language.explanation",
    "Forecaster": "recurra.series.forecaster",
    "backtest": "recurra.series.backtest",
    "Classifier": "recurra.labels.classifier",
    "SoftmaxClassifier": "recurra.estimators.softmax",
    "SequenceClassifier": "recurra.estimators.sequence",
    "SequenceRegressor": "recurra.estimators.sequence",
    "SeriesForecaster": "recurra.estimators.forecaster",
    "PRESETS": "recurra.run.preset",
    "preset": "recurra.run.preset",
    "RunConfig": "recurra.run.config",
    "evaluate": "recurra.run.session",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("recurra.errors")
    if name not in _MODULES:
        raise AttributeError(f"module 'recurra' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Root(ModuleType):
    """Keeps `recurra.train` the function when Python imports the package of that name."""

    @property
    def train(self) -> Any:
        return importlib.import_module("recurra.run.session").train

    @train.setter
    def train(self, package: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Root
