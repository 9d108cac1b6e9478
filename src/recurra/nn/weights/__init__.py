"""Weights to and from other libraries: one library a file."""

from recurra.nn.weights.of_flax import from_flax
from recurra.nn.weights.of_keras import from_keras, to_keras
from recurra.nn.weights.of_tensorflow import from_tensorflow
from recurra.nn.weights.of_torch import from_torch, to_torch

__all__ = ["from_flax", "from_keras", "from_tensorflow", "from_torch", "to_keras", "to_torch"]
