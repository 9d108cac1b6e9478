"""CUDA graphs: what a function launches on the GPU, recorded once for a shape and then replayed.

A loop over steps keeps a GPU waiting for Python; its replay does not. A graph reads and writes
the memory that it was recorded with, so inputs are copied into it, outputs and gradients out of
it, and what a backward pass needs of its forward pass is made again where another forward pass
has been in between. The first calls are compared with the function itself; one that cannot be
recorded, or whose replay differs, is run as it is from then on.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import unserved
from recurra.nn.kernels.device.recorder import Recorder, RecordingError, watched

__all__ = ["Function", "Graphs"]

Function = Callable[..., Sequence[Tensor]]
"""Tensors in, tensors out, and nothing else of the world read that changes, or written."""

SEEN, RECORDED, USE, PROOFS = 64, 4, 3, 2
"""Of one owner: shapes that are counted, and recorded; the use of a shape at which it is
recorded, and how many of its calls are compared with the function."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""By how much, of the largest number, a replay may differ; other dtypes have few digits."""


class Graphs:
    """The recordings of functions, each held as long as what owns it lives.

    Args:
        recorder: makes them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._owned: WeakKeyDictionary[object, _Owned] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def missing(self, owner: object, like: Tensor) -> str | None:
        """Return why nothing of an owner is recorded, or replayed, just now.

        Args:
            owner: a cell or wrapper.
            like: an input.
        """
        if torch.compiler.is_compiling():
            return "torch.compile is at work"
        if reason := self.recorder.missing(like):
            return reason
        if reason := unserved(like):
            return reason
        if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
            return "hooks are set on what is saved for the backward pass"
        owned = self._owned.get(owner)
        return owned.refusal if owned else None

    def __call__(
        self, owner: object, kind: Hashable, function: Function, inputs: Sequence[Tensor]
    ) -> tuple[Tensor, ...] | None:
        """Return what `function(*inputs)` does, by a replay; None where it is to be run itself.

        Args:
            owner: what the function belongs to.
            kind: all that the function depends on beside its inputs.
            function: what is recorded at the third use of a kind and shapes.
            inputs: tensors; gradients flow to those that require them.
        """
        # A number from elsewhere would stand in the graph as it was.
        if self.missing(owner, inputs[0]) or len({tensor.device for tensor in inputs}) > 1:
            return None
        grads = torch.is_grad_enabled()
        needed = tuple(grads and tensor.requires_grad for tensor in inputs)
        device = inputs[0].device.type
        narrow = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        key = (
            kind,
            narrow,
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cuda.matmul.fp32_precision,
            needed,
            tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in inputs),
        )
        # Not waited for: its holder may be recording a step that comes here, by itself or by going
        # back in another thread.
        if not self._lock.acquire(blocking=False):
            return None
        try:
            owned = self._owned.setdefault(owner, _Owned())
            recording = owned.of(key)
            if recording is None and not owned.due(key):
                return None
            try:
                # Copies on the graph's side are to outlive an inference mode of the caller's.
                with torch.inference_mode(False), _autocast(device, narrow):
                    if recording is None:
                        recording = _Recording(function, inputs, needed, self.recorder)
                        owned.keep(key, recording)
                    if recording.unproven:
                        _prove(recording, function, inputs)
            except Exception as error:  # whatever it was, the function itself can do without
                owned.refuse(owner, error)
                return None
        finally:
            self._lock.release()
        replay: Any = _Replay.apply
        return tuple(replay(recording, function, narrow, *inputs))


class _Owned:
    """What is known of an owner's functions."""

    def __init__(self) -> None:
        self.uses: dict[Hashable, int] = {}
        self.recordings: dict[Hashable, _Recording] = {}
        self.refusal: str | None = None

    def of(self, key: Hashable) -> _Recording | None:
        found = self.recordings.pop(key, None)
        if found is not None:
            self.recordings[key] = found  # the last is the latest used
        return found

    def due(self, key: Hashable) -> bool:
        if len(self.uses) >= SEEN:
            self.uses.clear()
        self.uses[key] = self.uses.get(key, 0) + 1
        return self.uses[key] >= USE

    def keep(self, key: Hashable, recording: _Recording) -> None:
        self.uses.pop(key, None)
        self.recordings[key] = recording
        if len(self.recordings) > RECORDED:
            del self.recordings[next(iter(self.recordings))]

    def refuse(self, owner: object, error: Exception) -> None:
        said = str(error).strip().splitlines() or [type(error).__name__]
        self.refusal = said[0]
        self.recordings.clear()
        self.uses.clear()
        if not isinstance(error, RecordingError):
            name = type(owner).__name__
            warnings.warn(f"{name}: no CUDA graph of its loop: {said[0]}", stacklevel=2)


class _Recording:
    """A function as recorded for inputs of given shapes.

    Args:
        function: what is recorded.
        inputs: of the shapes.
        needed: which of them a gradient is asked for.
        recorder: makes the graphs.
    """

    def __init__(
        self,
        function: Function,
        inputs: Sequence[Tensor],
        needed: Sequence[bool],
        recorder: Recorder,
    ) -> None:
        self.lock = threading.Lock()
        self.unproven = PROOFS
        self.calls = 0
        self.standing = 0
        """The call whose forward pass the graphs' memory holds; 0 for none."""
        self.needed = needed
        self.inputs = [tensor.detach().clone() for tensor in inputs]
        launches = _Launches(function, self.inputs, needed)
        with watched(self.inputs):
            launches.forward()
            launches.refuse_other_leaves()
            launches.backward()
        recorder.warm_up(lambda: (launches.forward(), launches.backward()))
        self.outputs, self._forward = recorder.record(launches.forward)
        self.differentiable = launches.differentiable
        if any(self.differentiable):
            self.cotangents = launches.cotangents
            self.gradients, self._backward = recorder.record(launches.backward)
        launches.forget()

    def forward(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], int]:
        """Return the outputs, and the number of this call."""
        with self.lock, torch.no_grad():
            self.calls += 1
            self._load(inputs, self.calls)
            return tuple(output.clone() for output in self.outputs), self.calls

    def backward(
        self, call: int, inputs: Sequence[Tensor], cotangents: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of the inputs of a call."""
        with self.lock, torch.no_grad():
            if self.standing != call:
                self._load(inputs, call)
            kept = [g for g, yes in zip(cotangents, self.differentiable, strict=True) if yes]
            for static, given in zip(self.cotangents, kept, strict=True):
                static.copy_(given)
            self._backward()
            self.standing = 0  # going back has used up what the forward pass kept
            # Copies: torch would make a parameter's .grad of what it is given.
            return tuple(None if g is None else g.clone() for g in self.gradients)

    def _load(self, inputs: Sequence[Tensor], call: int) -> None:
        self.standing = 0
        torch._foreach_copy_(self.inputs, list(inputs))
        self._forward()
        self.standing = call


class _Launches:
    """A function's forward and backward pass over fixed memory."""

    def __init__(
        self, function: Function, inputs: Sequence[Tensor], needed: Sequence[bool]
    ) -> None:
        self.function = function
        self.inputs = inputs
        self.needed = needed
        self.leaves: list[Tensor] = []
        self.made: tuple[Tensor, ...] = ()
        self.differentiable: list[bool] = []
        self.cotangents: list[Tensor] = []

    def forward(self) -> tuple[Tensor, ...]:
        # New leaves each time: a leaf remembers the stream that it was first used on.
        pairs = zip(self.inputs, self.needed, strict=True)
        self.leaves = [tensor.detach().requires_grad_(need) for tensor, need in pairs]
        with torch.set_grad_enabled(any(self.needed)):
            self.made = tuple(self.function(*self.leaves))
        self.differentiable = [output.requires_grad for output in self.made]
        if not self.cotangents:
            self.cotangents = [torch.zeros_like(o) for o in self.made if o.requires_grad]
        return tuple(output.detach() for output in self.made)

    def backward(self) -> tuple[Tensor | None, ...]:
        outputs = [output for output in self.made if output.requires_grad]
        if not outputs:
            return ()
        return _gradients(outputs, self.leaves, self.needed, self.cotangents)

    def refuse_other_leaves(self) -> None:
        """Raise RecordingError where a gradient would go to what is no input, and be lost."""
        known = {id(leaf) for leaf in self.leaves}
        seen, left = set(), [output.grad_fn for output in self.made]
        while left:
            node = left.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)
            if leaf is not None and id(leaf) not in known:
                raise RecordingError("it reads parameters of others")
            left += [next_node for next_node, _ in node.next_functions]

    def forget(self) -> None:
        self.leaves, self.made = [], ()


class _Replay(torch.autograd.Function):
    """A call of a recording."""

    @staticmethod
    def forward(
        ctx: Any,
        recording: _Recording,
        function: Function,
        narrow: torch.dtype | None,
        *inputs: Tensor,
    ) -> Any:
        outputs, ctx.call = recording.forward(inputs)
        ctx.recording, ctx.function, ctx.narrow = recording, function, narrow
        ctx.save_for_backward(*inputs)
        pairs = zip(outputs, recording.differentiable, strict=True)
        ctx.mark_non_differentiable(*(output for output, yes in pairs if not yes))
        return outputs

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[3:]
        if not torch.is_grad_enabled():
            return None, None, None, *ctx.recording.backward(ctx.call, inputs, cotangents)
        # Asked for a derivative of the derivative, which no recording has.
        aliases = [tensor.view_as(tensor) for tensor in inputs]
        with _autocast(inputs[0].device.type, ctx.narrow):
            pairs = list(zip(ctx.function(*aliases), cotangents, strict=True))
        outputs = [output for output, _ in pairs if output.requires_grad]
        kept = [gradient for output, gradient in pairs if output.requires_grad]
        return None, None, None, *_gradients(outputs, aliases, needed, kept, create_graph=True)


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    needed: Sequence[bool],
    cotangents: Sequence[Tensor],
    create_graph: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradient of each input, None where none is needed or there is none."""
    asked = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
    found = iter(
        torch.autograd.grad(
            outputs, asked, cotangents, create_graph=create_graph, allow_unused=True
        )
    )
    return tuple(next(found) if need else None for need in needed)


def _prove(recording: _Recording, function: Function, inputs: Sequence[Tensor]) -> None:
    """Raise unless the recording does what the function does with these inputs."""
    launches = _Launches(function, [t.detach().clone() for t in inputs], recording.needed)
    expected: list[Tensor | None] = [*launches.forward()]
    outputs, call = recording.forward(inputs)
    got: list[Tensor | None] = [*outputs]
    if any(recording.differentiable):
        for number, cotangent in enumerate(launches.cotangents, 1):
            waves = torch.arange(cotangent.numel(), device=cotangent.device) * (0.7 * number)
            cotangent.copy_(waves.cos().view_as(cotangent))
        kept = iter(launches.cotangents)
        full = [next(kept) if yes else o for o, yes in zip(outputs, recording.differentiable)]
        gradients = launches.backward()
        for _ in range(2):  # the second time without what the forward pass has kept
            expected += gradients
            got += recording.backward(call, inputs, full)
    if not all(map(_agree, got, expected)):
        raise RuntimeError("its replay differs from the loop")
    recording.unproven -= 1


def _agree(got: Tensor | None, expected: Tensor | None) -> bool:
    if got is None or expected is None:
        return got is expected
    if not got.is_floating_point():
        return torch.equal(got, expected)
    size = expected.nan_to_num(0, 0, 0).abs().max().item() if expected.numel() else 0.0
    bound = TOLERANCE.get(got.dtype, 1e-2) * max(size, 1e-6)
    return torch.allclose(got, expected, rtol=0, atol=bound, equal_nan=True)


@contextmanager
def _autocast(device: str, dtype: torch.dtype | None) -> Iterator[None]:
    """Cast as given, without the cache of narrowed weights, which a recording would be left in."""
    with torch.autocast(device, dtype=dtype, enabled=dtype is not None, cache_enabled=False):
        yield
