"""Handwritten digits, read pixel by pixel in a fixed random order. B rows."""

from __future__ import annotations

import warnings
from functools import cached_property

import torch
from torch import Tensor

from recurra.bench.tasks.base import Batch, Metrics, Task
from recurra.randomness import generator

__all__ = ["PermutedDigits"]

TRAIN, VALID = 1200, 297  # of 1,797; 300 are left for the test


class PermutedDigits(Task):
    """Name the digit after its 64 pixels, which came in one random order that never changes.

    The images are scikit-learn's, 8 x 8 with 17 shades; 1,200 are learned from, 297 are for
    validation, 300 for the test, drawn at random once, so that a writer may be in all three.

    Source: Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent networks of rectified
        linear units", section 4.2, with MNIST; the images: Alpaydin & Kaynak 1998, "Optical
        recognition of handwritten digits", through `sklearn.datasets.load_digits`.

    Example:
        >>> x, target = PermutedDigits().batch(1, 0, 0)
        >>> x.shape, target.shape
        (torch.Size([32, 64, 1]), torch.Size([32, 1]))
    """

    title = "permuted digits: 8 x 8 pixels one by one, 1,200 images to learn from"
    right = "digits named"
    features = 1
    outputs = 10
    read = 1
    length = 64
    steps_per_epoch = TRAIN // Task.batch_size

    def __init__(self) -> None:
        self._order: tuple[tuple[int, int], Tensor] = ((0, -1), torch.empty(0))

    @cached_property
    def images(self) -> tuple[Tensor, Tensor]:
        """Pixels `(1797, 64)` from 0 to 1, in the order they are read, and digits `(1797,)`."""
        from sklearn.datasets import load_digits

        pixels, digits = load_digits(return_X_y=True)
        order = torch.randperm(64, generator=generator(0, "permuted digits"))
        shuffled = torch.randperm(len(digits), generator=generator(0, "permuted digits split"))
        x = torch.tensor(pixels, dtype=torch.float32)[shuffled][:, order] / 16
        return x, torch.tensor(digits, dtype=torch.int64)[shuffled]

    def part(self, split: str) -> tuple[Tensor, Tensor]:
        """Return pixels `(n, 64)` and digits `(n,)` of a split.

        Args:
            split: `"train"`, `"valid"` or `"test"`.
        """
        bounds = {"train": (0, TRAIN), "valid": (TRAIN, TRAIN + VALID), "test": (TRAIN + VALID,)}
        rows = slice(*bounds[split], *([None] if split == "test" else []))
        return self.images[0][rows], self.images[1][rows]

    def batch(self, seed: int, epoch: int, step: int) -> Batch:
        """Return the next images of the pass, which has an order of its own."""
        if self._order[0] != (seed, epoch):
            stream = generator(seed, "permuted digits order", epoch)
            self._order = ((seed, epoch), torch.randperm(TRAIN, generator=stream))
        rows = self._order[1][step * self.batch_size : (step + 1) * self.batch_size]
        x, digits = self.part("train")
        return Batch(x[rows].unsqueeze(2), digits[rows].unsqueeze(1))

    def held_out(self, split: str) -> list[Batch]:
        """Return all its images."""
        x, digits = self.part(split)
        return [Batch(x.unsqueeze(2), digits.unsqueeze(1))]

    def baselines(self) -> dict[str, Metrics]:
        """Return the most frequent digit, and a linear model of all pixels at once."""
        from sklearn.linear_model import LogisticRegression

        (x, digits), (fresh, truth) = self.part("train"), self.part("test")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not quite converged is good enough here
            linear = LogisticRegression(max_iter=1000).fit(x.numpy(), digits.numpy())
        most = digits.bincount().argmax()
        return {
            "majority": {"accuracy": float((truth == most).double().mean())},
            "linear": {"accuracy": float(linear.score(fresh.numpy(), truth.numpy()))},
        }
