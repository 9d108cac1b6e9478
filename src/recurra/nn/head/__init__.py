"""Output heads: one family a file."""

from recurra.nn.head.adaptive import AdaptiveHead
from recurra.nn.head.mean import MeanHead
from recurra.nn.head.mixture_of_softmaxes import MixtureOfSoftmaxesHead
from recurra.nn.head.quantile import QuantileHead, pinball
from recurra.nn.head.softmax import SoftmaxHead
from recurra.nn.head.student_t import StudentTHead

__all__ = [
    "AdaptiveHead",
    "MeanHead",
    "MixtureOfSoftmaxesHead",
    "QuantileHead",
    "SoftmaxHead",
    "StudentTHead",
    "pinball",
]
