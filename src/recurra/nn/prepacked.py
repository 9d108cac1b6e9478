"""A recurrence packed for single steps: its weights as they are read, its layers in one call.

B rows, T steps, I inputs, O outputs, S numbers of a state, V words, N vectors before the softmax.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.nn.cells.base import require_recurrence, zeros
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.kernel import is_watched
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.head.softmax import SoftmaxHead
from recurra.nn.kernels import prepacked as kernels
from recurra.nn.kernels.compiler.compiled import Compiled, missing, view
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.products.packed import BLOCK, Precision, packed
from recurra.nn.state import State, flatten, map_tensors, unflatten
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.weight_drop import WeightDrop

__all__ = ["Packed", "PackedSoftmax", "Precision", "Prepacked", "Top", "prepack"]

LEAST, LEAST_BLOCKS = 8, 16
"""Fewest rows, or blocks of words, that are worth a thread."""

GROUP = 16
"""Vectors whose logits are held at once."""

Floats = NDArray[np.float32]


class Packed(NamedTuple):
    """Matrices as `packed_product` reads them.

    Args:
        matrices: `(M, 4)` int64: where the weights begin, and the biases; inputs; blocks.
        weights: of all of them, float32 or int8.
        scales: of every output where weights are int8; none.
        biases: of every output.
    """

    matrices: NDArray[np.int64]
    weights: NDArray[Any]
    scales: Floats | None
    biases: Floats


class Top(NamedTuple):
    """The likeliest words, best first: `ids (..., k)` and `log_probs (..., k)`, in nats."""

    ids: Tensor
    log_probs: Tensor


def prepack(recurrence: Recurrence, precision: Precision = "float32") -> Prepacked:
    """Return a recurrence packed for single steps of 1 to 16 rows, on the processor.

    This is for cells and wrappers; `recurra.prepacked` packs a whole language model.

    It steps as the recurrence does in evaluation mode, several times as fast: in float32 to
    rounding, in int8 with every row of the weights rounded to 255 steps. Its weights are copies:
    what is learned later it does not know. The first step ever on a machine compiles for some
    seconds; what is compiled is kept on disk, under `RECURRA_CACHE`.

    Args:
        recurrence: LSTMCell and GRUCell, in any nest of Stack, Residual, Dropout and WeightDrop.
        precision: of the weights: `"float32"`, or `"int8"` in a quarter of the room.

    Raises:
        ConfigError: for what is no recurrence, another precision, a part that cannot be packed, or
            without numba.

    Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient
        integer-arithmetic-only inference", equations 1-4.

    Differs: from the paper, in a scale for every output, zero always 0, and inputs of 16 bits,
        as vector instructions multiply pairs of those.

    Example:
        >>> fast = prepack(LSTMCell(3, 5))
        >>> y, state = fast(torch.zeros(2, 3), fast.initial_state(2))
        >>> y.shape, state.h.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """
    return Prepacked(recurrence, precision)


class Prepacked:
    """What `prepack` returns.

    Args:
        recurrence: which is packed.
        precision: of the weights.
    """

    def __init__(self, recurrence: Recurrence, precision: Precision = "float32") -> None:
        require_recurrence(recurrence, "prepack")
        self.precision = precision
        self.input_size = recurrence.input_size
        self.output_size = recurrence.output_size
        parts: list[tuple[Tensor, Tensor]] = []
        lines = [*_lines(recurrence, parts, 0)]
        self.program = np.array(lines, np.int64).reshape(-1, 4)
        self.packed = _packed(parts, precision)
        self._nesting = recurrence.initial_state(0)
        self._sizes = [tensor.shape[1] for tensor in flatten(self._nesting).values()]
        self.state_size = sum(self._sizes)

    def __repr__(self) -> str:
        sizes = f"{self.input_size} -> {self.output_size}"
        return f"Prepacked({sizes}): single steps in {self.precision}"

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the recurrence's initial state: zeros, of all that can be packed.

        Args:
            batch_size: B, rows.
        """
        return map_tensors(
            lambda none: zeros(batch_size, none.shape[1], device=none.device, dtype=none.dtype),
            self._nesting,
        )

    @torch.no_grad()
    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step, as the recurrence does.

        Shapes: `x (B, I)`; returns `(B, O)` and a state nested as the one given.

        Args:
            x: the inputs, float32.
            state: as `initial_state` or the step before returned it.

        Raises:
            ShapeError: for an input or a state of another shape.
        """
        is_tensor = isinstance(x, Tensor) and x.dtype == torch.float32
        if not is_tensor or x.dim() != 2 or x.shape[1] != self.input_size:
            got = f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(
                f"a packed step takes a float32 tensor x of shape (batch, {self.input_size}), got "
                f"{got}"
            )
        tensors = flatten(state)
        shapes = [tuple(tensor.shape) for tensor in tensors.values()]
        kinds = {tensor.dtype for tensor in tensors.values()}
        if shapes != [(len(x), size) for size in self._sizes] or kinds - {torch.float32}:
            raise ShapeError(
                f"a packed step of {len(x)} rows takes a float32 state of sizes {self._sizes}, got "
                f"{shapes} of {', '.join(map(str, kinds))}"
            )
        units = torch.cat([*tensors.values()], dim=1).numpy()
        places = np.arange(len(x)).reshape(-1, 1)
        y = self.read(view(x), places, units)[:, 0]
        after = dict(zip(tensors, torch.split(torch.from_numpy(units), self._sizes, dim=1)))
        return torch.from_numpy(y), unflatten(after, state)

    def read(self, embedding: Floats, ids: NDArray[np.int64], units: Floats) -> Floats:
        """Take a step for each word; returns the outputs `(B, T, O)`.

        Args:
            embedding: `(V, I)`.
            ids: `(B, T)`, each in 0 ... V - 1.
            units: `(B, S)`, the tensors of the state side by side; they become those after the
                last word.

        Raises:
            DataError: for another id.
            ShapeError: for other widths or rows, or other numbers than float32.
        """
        I, S = self.input_size, self.state_size  # noqa: E741
        if embedding.shape[1:] != (I,) or embedding.dtype != np.float32:
            raise ShapeError(
                f"packed weights read float32 embeddings (V, {I}), got {embedding.shape} "
                f"{embedding.dtype}"
            )
        if units.shape != (len(ids), S) or units.dtype != np.float32:
            raise ShapeError(
                f"a state of shape {units.shape} {units.dtype} for {len(ids)} rows, expected "
                f"{(len(ids), S)} float32, as initial_state returns"
            )
        if not units.flags.c_contiguous:
            raise ShapeError("a state to be written to lies in one piece: np.ascontiguousarray")
        _require_known(ids, len(embedding))
        hidden = np.empty((*ids.shape, self.output_size), np.float32)
        arrays = (self.program, *self.packed, embedding, ids, units, hidden)
        by_rows(kernels.read, arrays, len(ids), LEAST)
        return hidden


class PackedSoftmax:
    """A linear layer and softmax over V words, packed for few vectors.

    Args:
        head: which is packed.
        precision: of the weights.

    Raises:
        ConfigError: for another precision, another kind of head, or without numba.

    Example:
        >>> fast = PackedSoftmax(SoftmaxHead(4, 1000))
        >>> hidden = np.zeros((2, 4), np.float32)
        >>> fast.log_probs(hidden).shape, fast.top(hidden, 3).ids.shape
        ((2, 1000), torch.Size([2, 3]))
    """

    def __init__(self, head: nn.Module, precision: Precision = "float32") -> None:
        if type(head) is not SoftmaxHead:
            raise ConfigError(
                f"prepacked: {type(head).__name__} cannot be packed, only a plain softmax "
                "(network.softmax=full)"
            )
        _require_plain(head)
        self.size = len(head.bias)
        matrices, *rest = _packed([(head.weight, head.bias)], precision)
        self.packed = (matrices[0], *rest)

    def _checked(self, hidden: Floats) -> Floats:
        wanted = int(self.packed[0][2])
        if hidden.ndim != 2 or hidden.shape[1] != wanted:
            raise ShapeError(f"a packed softmax takes (N, {wanted}), got {hidden.shape}")
        return np.ascontiguousarray(hidden, np.float32)

    def log_probs(self, hidden: Floats) -> Floats:
        """Return `(N, V)`: the log-probabilities of all words, in nats.

        Args:
            hidden: `(N, H)`.
        """
        hidden = self._checked(hidden)
        found = np.empty((len(hidden), self.size), np.float32)
        self._run(kernels.log_probs, hidden, found)
        return found

    def log_probs_of(self, hidden: Floats, words: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return `(N,)`: the log-probability of one word for each vector, in nats.

        Args:
            hidden: `(N, H)`.
            words: `(N,)`, each in 0 ... V - 1.

        Raises:
            DataError: for another word.
            ShapeError: for vectors of another width, or another number of words.
        """
        hidden = self._checked(hidden)
        if words.shape != hidden.shape[:1]:
            raise ShapeError(f"a word for each of {len(hidden)} vectors, got {words.shape}")
        _require_known(words, self.size)
        found = np.empty(len(hidden))
        self._run(kernels.log_probs_of, hidden, words, found)
        return found

    def top(self, hidden: Floats, k: int) -> Top:
        """Return the `k` likeliest words of each vector, `(N, k)`, of equals the first.

        Args:
            hidden: `(N, H)`.
            k: at least 1; V where it is more.
        """
        hidden = self._checked(hidden)
        shape = (len(hidden), min(k, self.size))
        ids, found = np.empty(shape, np.int64), np.empty(shape, np.float32)
        self._run(kernels.top, hidden, ids, found)
        return Top(torch.from_numpy(ids), torch.from_numpy(found))

    def _run(self, kernel: Compiled[..., None], hidden: Floats, *arrays: NDArray[Any]) -> None:
        """Run a kernel on the logits of some vectors after others, and on their parts of arrays."""
        blocks = int(self.packed[0][3])
        shapes = [(min(len(hidden), GROUP), size) for size in (blocks * BLOCK, blocks, blocks)]
        room = [np.empty(shape, np.float32) for shape in shapes]
        for start in range(0, len(hidden), GROUP):
            part = slice(start, start + GROUP)
            made = [each[: len(hidden[part])] for each in room]
            by_rows(kernels.logits, (*self.packed, hidden[part], *made), blocks, LEAST_BLOCKS)
            own = [array[part] for array in arrays]
            by_rows(kernel, (*made, *own), len(own[0]), LEAST)


def _require_known(ids: NDArray[np.int64], size: int) -> None:
    # Compiled code would read what lies beside the weights.
    known = 0 <= ids.item() < size if ids.size == 1 else ((ids >= 0) & (ids < size)).all()
    if not known:
        raise DataError(f"ids lie in 0 ... {size - 1}, got {ids.min()} to {ids.max()}")


def _lines(
    part: Recurrence, parts: list[tuple[Tensor, Tensor]], at: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield what to do: kind, H, first matrix, place in the state. Its matrices join `parts`."""
    _require_plain(part)
    # A subclass may do something else at every step.
    if type(part) is Residual:
        yield kernels.KEEP, part.output_size, 0, 0
        yield from _lines(part.inner(), parts, at)
        yield kernels.ADD, part.output_size, 0, 0
    elif isinstance(part, Dropout | WeightDrop) and type(part) in (Dropout, WeightDrop):
        yield from _lines(part.inner(), parts, at)
    elif type(part) is Stack:
        for n in range(len(part.cells)):
            inner = part.inner(n)
            yield from _lines(inner, parts, at)
            at += sum(tensor.shape[1] for tensor in flatten(inner.initial_state()).values())
    elif isinstance(part, LSTMCell | GRUCell) and type(part) in (LSTMCell, GRUCell):
        if unusual := part.unusual():
            raise ConfigError(
                f"prepacked: {type(part).__name__} with {unusual} cannot be packed, only the usual "
                "tanh and sigmoid"
            )
        kind = kernels.LSTM
        H, first = part.hidden_size, len(parts)
        parts += [(part.weight_ih, part.bias_ih), (part.weight_hh, part.bias_hh)]
        if isinstance(part, GRUCell):
            kind = kernels.GRU
            if not part.reset_after:
                kind = kernels.GRU_BEFORE
                weight, bias = parts.pop()
                parts += [(weight[: 2 * H], bias[: 2 * H]), (weight[2 * H :], bias[2 * H :])]
        yield kind, H, first, at
    else:
        raise ConfigError(
            f"prepacked: {type(part).__name__} cannot be packed, only LSTMCell and GRUCell in "
            "Stack, Residual, Dropout and WeightDrop"
        )


def _require_plain(part: nn.Module) -> None:
    name = type(part).__name__
    if is_watched(part):
        raise ConfigError(f"prepacked: {name} has hooks, which packed weights cannot run")
    for each in part.parameters():
        if each.device.type != "cpu" or each.dtype != torch.float32:
            raise ConfigError(
                f"prepacked: {name} is of {each.dtype} on {each.device}, expected torch.float32 on "
                "the processor: .float().cpu()"
            )
        if not bool(each.isfinite().all()):
            raise ConfigError(f"prepacked: {name} has weights that are not finite")


@torch.no_grad()
def _packed(parts: list[tuple[Tensor, Tensor]], precision: Precision) -> Packed:
    reason = missing()
    if reason:
        raise ConfigError(f"prepacked: {reason}")
    if precision not in get_args(Precision):
        raise ConfigError(f"a prepacked model is of float32 or int8, got {precision!r:.80}")
    lines, weights, scales, biases = [], [], [], []
    at = row = 0
    for weight, bias in parts:
        own, scale, padded = packed(weight.numpy(), bias.numpy(), precision)
        lines.append((at, row, weight.shape[1], len(padded) // BLOCK))
        at, row = at + len(own), row + len(padded)
        weights.append(own)
        scales.append(scale)
        biases.append(padded)
    return Packed(
        np.array(lines, np.int64),
        _aligned(np.concatenate(weights)),
        np.concatenate(scales) if precision == "int8" else None,
        np.concatenate(biases),
    )


def _aligned(numbers: NDArray[Any]) -> NDArray[Any]:
    """Return the same numbers at the start of a line of the processor's caches."""
    room = np.empty(numbers.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    found = room[start : start + numbers.nbytes].view(numbers.dtype)
    found[:] = numbers
    return found
