"""Recurra: recurrent networks end to end, on PyTorch.

Names are imported when first used, so `import recurra` itself is quick. A cell's states are found
by its name too, as `recurra.LSTMState`, but not listed: plain tuples do as well.
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
    from recurra.language.explanation import explain
    from recurra.language.models.adaptation import gradient_statistics
    from recurra.language.models.base import LanguageModel
    from recurra.language.models.cache import cache
    from recurra.language.models.dynamic import dynamic
    from recurra.language.models.mixture import fit_weights, mixture
    from recurra.language.models.prepacked import prepacked
    from recurra.language.models.temperature import calibrated
    from recurra.language.models.unigram_cache import unigram_cache
    from recurra.nn.cells import CELLS
    from recurra.nn.cells.clockwork_rnn import ClockworkRNNCell
    from recurra.nn.cells.coupled_lstm import CoupledLSTMCell
    from recurra.nn.cells.gru import GRUCell
    from recurra.nn.cells.ind_rnn import IndRNNCell
    from recurra.nn.cells.layer_norm_gru import LayerNormGRUCell
    from recurra.nn.cells.layer_norm_lstm import LayerNormLSTMCell
    from recurra.nn.cells.lru import LRUCell
    from recurra.nn.cells.lstm import LSTMCell
    from recurra.nn.cells.mgu import MGUCell
    from recurra.nn.cells.min_gru import MinGRUCell
    from recurra.nn.cells.min_lstm import MinLSTMCell
    from recurra.nn.cells.mlstm import MLSTMCell
    from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
    from recurra.nn.cells.projected_lstm import ProjectedLSTMCell
    from recurra.nn.cells.qrnn import QRNNCell
    from recurra.nn.cells.recurrent_highway import RecurrentHighwayCell
    from recurra.nn.cells.rnn import RNNCell
    from recurra.nn.cells.rwkv import RWKVCell
    from recurra.nn.cells.slstm import SLSTMCell
    from recurra.nn.cells.sru import SRUCell
    from recurra.nn.prepacked import prepack
    from recurra.nn.unroll import plan, unroll
    from recurra.nn.weights import from_keras, from_torch, to_keras, to_torch
    from recurra.nn.wrappers.attention import Attention
    from recurra.nn.wrappers.bidirectional import Bidirectional
    from recurra.nn.wrappers.dilated import Dilated
    from recurra.nn.wrappers.dropout import Dropout
    from recurra.nn.wrappers.highway import Highway
    from recurra.nn.wrappers.mogrifier import Mogrifier
    from recurra.nn.wrappers.projection import Projection
    from recurra.nn.wrappers.reset import Reset
    from recurra.nn.wrappers.residual import Residual
    from recurra.nn.wrappers.stack import Stack
    from recurra.nn.wrappers.trainable_state import TrainableState
    from recurra.nn.wrappers.weight_drop import WeightDrop
    from recurra.nn.wrappers.zoneout import Zoneout
    from recurra.run.config import RunConfig
    from recurra.run.preset import PRESETS, preset
    from recurra.run.session import evaluate, train
    from recurra.series.use.backtest import backtest
    from recurra.series.use.forecaster import Forecaster

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "PRESETS",
    "Attention",
    "Bidirectional",
    "Classifier",
    "ClockworkRNNCell",
    "CoupledLSTMCell",
    "Dilated",
    "Dropout",
    "Forecaster",
    "GRUCell",
    "Highway",
    "IndRNNCell",
    "LRUCell",
    "LSTMCell",
    "LanguageModel",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "MGUCell",
    "MLSTMCell",
    "MinGRUCell",
    "MinLSTMCell",
    "Mogrifier",
    "PeepholeLSTMCell",
    "ProjectedLSTMCell",
    "Projection",
    "QRNNCell",
    "RNNCell",
    "RWKVCell",
    "RecurrentHighwayCell",
    "Reset",
    "Residual",
    "RunConfig",
    "SLSTMCell",
    "SRUCell",
    "SequenceClassifier",
    "SequenceRegressor",
    "SeriesForecaster",
    "SoftmaxClassifier",
    "Stack",
    "TrainableState",
    "WeightDrop",
    "Zoneout",
    "__version__",
    "backtest",
    "cache",
    "calibrated",
    "dynamic",
    "errors",
    "evaluate",
    "explain",
    "fit_weights",
    "from_keras",
    "from_torch",
    "gradient_statistics",
    "mixture",
    "plan",
    "prepack",
    "prepacked",
    "preset",
    "to_keras",
    "to_torch",
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
    "LanguageModel": "recurra.language.models.base",
    "cache": "recurra.language.models.cache",
    "unigram_cache": "recurra.language.models.unigram_cache",
    "dynamic": "recurra.language.models.dynamic",
    "gradient_statistics": "recurra.language.models.adaptation",
    "mixture": "recurra.language.models.mixture",
    "fit_weights": "recurra.language.models.mixture",
    "calibrated": "recurra.language.models.temperature",
    "explain": "recurra.language.explanation",
    "Forecaster": "recurra.series.use.forecaster",
    "backtest": "recurra.series.use.backtest",
    "Classifier": "recurra.labels.classifier",
    "SoftmaxClassifier": "recurra.estimators.softmax",
    "SequenceClassifier": "recurra.estimators.sequence",
    "SequenceRegressor": "recurra.estimators.sequence",
    "SeriesForecaster": "recurra.estimators.forecaster",
    "PRESETS": "recurra.run.preset",
    "preset": "recurra.run.preset",
    "RunConfig": "recurra.run.config",
    "evaluate": "recurra.run.session",
    "PeepholeLSTMCell": "recurra.nn.cells.peephole_lstm",
    "CoupledLSTMCell": "recurra.nn.cells.coupled_lstm",
    "ProjectedLSTMCell": "recurra.nn.cells.projected_lstm",
    "LayerNormLSTMCell": "recurra.nn.cells.layer_norm_lstm",
    "LayerNormGRUCell": "recurra.nn.cells.layer_norm_gru",
    "MinGRUCell": "recurra.nn.cells.min_gru",
    "MinLSTMCell": "recurra.nn.cells.min_lstm",
    "LRUCell": "recurra.nn.cells.lru",
    "SRUCell": "recurra.nn.cells.sru",
    "QRNNCell": "recurra.nn.cells.qrnn",
    "IndRNNCell": "recurra.nn.cells.ind_rnn",
    "MGUCell": "recurra.nn.cells.mgu",
    "SLSTMCell": "recurra.nn.cells.slstm",
    "MLSTMCell": "recurra.nn.cells.mlstm",
    "RWKVCell": "recurra.nn.cells.rwkv",
    "ClockworkRNNCell": "recurra.nn.cells.clockwork_rnn",
    "RecurrentHighwayCell": "recurra.nn.cells.recurrent_highway",
    "Projection": "recurra.nn.wrappers.projection",
    "Highway": "recurra.nn.wrappers.highway",
    "Reset": "recurra.nn.wrappers.reset",
    "TrainableState": "recurra.nn.wrappers.trainable_state",
    "Attention": "recurra.nn.wrappers.attention",
    "Mogrifier": "recurra.nn.wrappers.mogrifier",
    "Zoneout": "recurra.nn.wrappers.zoneout",
    "Dilated": "recurra.nn.wrappers.dilated",
    "from_torch": "recurra.nn.weights",
    "to_torch": "recurra.nn.weights",
    "from_keras": "recurra.nn.weights",
    "to_keras": "recurra.nn.weights",
    "prepack": "recurra.nn.prepacked",
    "prepacked": "recurra.language.models.prepacked",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("recurra.errors")
    owner = name.removesuffix("State")
    places = [_MODULES[each] for each in (name, f"{owner}Cell", owner) if each in _MODULES]
    module = importlib.import_module(places[0]) if places else None
    if not hasattr(module, name):
        raise AttributeError(f"module 'recurra' has no attribute {name!r}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Root(ModuleType):
    """Keeps `recurra.learning` the function when Python imports the package of that name."""

    @property
    def train(self) -> Any:
        return importlib.import_module("recurra.run.session").train

    @train.setter
    def train(self, package: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Root
