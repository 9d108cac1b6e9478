"""Cells that are broken, each in one way that people get wrong, and words that name the fault."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel
from recurra.nn.state import State

BROKEN: dict[str, tuple[type[Cell], str]] = {}
"""What is wrong -> the cell, and a pattern that the first failure must match."""


def broken(what: str, pattern: str) -> Callable[[type[Cell]], type[Cell]]:
    def note(kind: type[Cell]) -> type[Cell]:
        BROKEN[what] = kind, pattern
        return kind

    return note


class HState(NamedTuple):
    h: Tensor


class Sound(Cell):
    """A plain cell without a fault, which each broken one changes in one place."""

    state_type: Any = HState

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.read = nn.Linear(input_size, output_size)
        self.weight = nn.Parameter(torch.randn(output_size, output_size) / 2)

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.read(x) + h @ self.weight)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = self.h(x, state.h)
        return h, HState(h)


@broken("looks across the batch", "mixes the rows")
class AcrossTheBatch(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h - h.mean(0))


@broken("keeps state on the module", r"keeps state on the module: self\.last")
class OnTheModule(Sound):
    last: Any = None

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        h = super().h(x, h if self.last is None or len(self.last) != len(h) else self.last)
        self.last = h.detach()
        return h


@broken("changes state in place", "changes the state h it is given in place")
class StateInPlace(Sound):
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = self.h(x, state.h)
        with torch.no_grad():
            state.h.mul_(0.5)
        return h, HState(h)


@broken("detaches", "no gradient of the .* reaches the first state h.*cuts it off")
class Detaches(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h.detach())


@broken("float32 whatever comes", "output is of float32 where .* float64")
class Float32(Sound):
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = torch.tanh(F.linear(x.float(), self.read.weight.float()) + state.h.float())
        return h, HState(h.to(state.h.dtype))


@broken("torch's global randomness", "draws from the global generator of torch")
class TorchRandomness(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h + 0.01 * torch.randn_like(h))


@broken("float32 inside, and back", "less than float64")
class Float32Inside(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x.float().to(x.dtype), h)


@broken("a dropout in training", "draws from the global generator of torch in training mode")
class DropsInside(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return F.dropout(super().h(x, h), 0.2, self.training)


@broken("numpy's randomness", "draws from the global generator of numpy")
class NumpyRandomness(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) * (1 + 0.01 * float(np.random.rand()))


@broken("Python's randomness", "draws from the global generator of Python in training")
class PythonRandomness(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) * (random.random() if self.training else 1)


@broken("a random first state", "initial_state draws from the global generator")
class RandomStart(Sound):
    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        start = super().initial_state(batch_size, device=device, dtype=dtype)
        return HState(torch.randn_like(start.h))


@broken("batch norm", "keeps state on the module.*BatchNorm1d.*mix the rows of a batch")
class Normalises(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.norm = nn.BatchNorm1d(output_size)

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return self.norm(super().h(x, h)) if len(x) > 1 else super().h(x, h)


@broken("batch norm without statistics", r"mixes the rows of a batch \(norm")
class NormalisesBatches(Normalises):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.norm = nn.BatchNorm1d(output_size, track_running_stats=False)


@broken("changes x in place", "changes its input x in place")
class InputInPlace(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        with torch.no_grad():
            x.clamp_(-0.5, 0.5)
        return super().h(x, h)


@broken("rows of the state swapped", "rows in another order")
class Swapped(Sound):
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = self.h(x, state.h)
        return h, HState(h.flip(0))


@broken("the input of the call before", r"keeps state on the module: self\.before")
class InputBefore(Sound):
    before: Any = None

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        before = x if self.before is None or self.before.shape != x.shape else self.before
        self.before = x
        return super().h(x + before.to(x), h)


MEMORY: dict[str, Tensor] = {}


@broken("state in a global", "keeps state outside of the module, in a global say")
class InAGlobal(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        before = MEMORY.get("h")
        MEMORY["h"] = x.detach()[:1]
        return super().h(x if before is None or before.dtype != x.dtype else x + before, h)


@broken("a counter in a buffer", "keeps state on the module: its buffer steps")
class Counts(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.register_buffer("steps", torch.zeros(()))

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        self.steps += 1
        return super().h(x, h)


@broken("weights changed as it runs", "changes its parameter weight in place")
class ChangesWeights(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.div_(self.weight.norm())
        return super().h(x, h)


@broken("another output in training", "between training mode and evaluation")
class OtherInTraining(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) * (0.9 if self.training else 1.0)


@broken(
    "a batch size of its own", "batch of B = 2|B = 2.*batches? of 5 pass|batch_size is not heeded"
)
class FixedBatch(Sound):
    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        return super().initial_state(5, device=device, dtype=dtype)


@broken("a view of a fixed batch", r"a step of B = 1 raises .*broken_cells\.py:\d+.*batches of 2")
class FixedView(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) if len(x) == 2 else super().h(x.view(2, -1), h)


@broken("a device of its own", r"device is not heeded")
class FixedDevice(Sound):
    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        return super().initial_state(batch_size, device=torch.device("cpu"), dtype=dtype)


@broken("a tensor made on the processor", r"another device .*broken_cells\.py:\d+")
class OnTheProcessor(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) + torch.ones(x.shape[0], h.shape[1], dtype=x.dtype, device="cpu")


@broken("a dtype of its own", r"gives state h of float32: dtype is not heeded")
class FixedDtype(Sound):
    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        return super().initial_state(batch_size, device=device, dtype=torch.float32)


@broken(
    "no options of the first state", r"initial_state\(2, dtype=torch.float16\) raises TypeError"
)
class NoOptions(Sound):
    def initial_state(self, batch_size: int = 1) -> Any:  # type: ignore[override]
        return HState(torch.zeros(batch_size, self.output_size))


@broken("parameters in a list", r"self\.weights\[0\] is learned but not registered")
class InAList(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.weights = [nn.Parameter(torch.ones(output_size))]

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) * self.weights[0].to(x)


@broken("layers in a list", r"self\.layers\[0\] holds Linear where torch does not see it")
class LayersInAList(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.layers = [nn.Linear(output_size, output_size)]


@broken("NaN is hidden", "NaN in the input does not reach the output.*nan_to_num")
class HidesNaN(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.nan_to_num(super().h(x, h))


@broken("output_size lies", r"output of shape \(2, 8\), expected \(2, 4\)")
class Lies(Sound):
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = self.h(x, state.h)
        return torch.cat([h, h], 1), HState(h)


@broken(
    "a hook scales the gradient",
    r"gradient .* by (x|weight|the first state h) .*0\.5 times|weight .*0\.5 times",
)
class HookScales(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.weight.register_hook(lambda gradient: gradient * 0.5)


@broken("a hook clips the gradient", "does not grow with the loss.*clips")
class HookClips(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        made = super().h(x, h)
        if made.requires_grad:
            made.register_hook(lambda gradient: gradient.clamp(-5, 5))
        return made


class WrongBack(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        y = x.tanh()
        context.save_for_backward(y)
        return y

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (y,) = context.saved_tensors
        return gradient * (1 - y)


@broken("a wrong way back", "gradient of the output by x is .* finite differences")
class WrongGradient(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return WrongBack.apply(self.read(x) + h @ self.weight)  # type: ignore[no-any-return]


@broken("a learned start that is cut off", "reaches start.*cuts it off|reaches start")
class StartCutOff(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.start = nn.Parameter(torch.full((output_size,), 0.3))

    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        start = self.start.detach().to(device=device, dtype=dtype)
        return HState(start.expand(batch_size, -1))


@broken("a start that is written over", "in place")
class StartWrittenOver(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.register_buffer("start", torch.zeros(1, output_size))

    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        start = self.start.to(device=device, dtype=dtype)
        return HState(start.expand(batch_size, -1))

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state.h.copy_(self.h(x, state.h))
        return state.h, HState(state.h)


@broken("the state it was given, as a view", "in place")
class StateAsAView(Sound):
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = self.h(x, state.h)
        view = state.h.view_as(h)
        view.data.copy_(h)
        return h, HState(view)


@broken("a projection that is not saved", r"self\.project(ion)? is a tensor")
class NotSaved(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.project = torch.randn(input_size, input_size)

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x @ self.project.to(x), h)


@broken("drawn and not saved", "load_state_dict.*gives another output")
class DrawnNotSaved(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.register_buffer("fixed", torch.randn(input_size), persistent=False)

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x * self.fixed, h)


@broken("a norm of nothing", "the gradient of .* is NaN for an input of zeros")
class NormOfNothing(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) * (x.pow(2).sum(1, keepdim=True).sqrt() + 1)


@broken("divides by nothing", "not finite for an input of zeros|not finite")
class DividesByNothing(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x / x.norm(dim=1, keepdim=True), h)


@broken("a state of another dtype", "state h of float64, expected float32")
class StateOfAnother(Sound):
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = self.h(x, state.h)
        return h, HState(h.double())


@broken("no tuple", r"forward returns \(y, state\), got Tensor")
class NoTuple(Sound):
    def forward(self, x: Tensor, state: Any) -> Any:
        return self.h(x, state.h)


@broken("an error inside", r"raises ZeroDivisionError: .*broken_cells\.py:\d+\)")
class Raises(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) / (1 / (self.output_size - 4))


@broken(
    "a place in the batch",
    "depends on how many rows there are, or on where one stands|another order",
)
class PlaceInTheBatch(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) + 0.1 * torch.arange(len(x), dtype=x.dtype, device=x.device)[:, None]


@broken("a product with 0 for a mask", "not finite where row 2's input is NaN")
class ProductWithNothing(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        eye = torch.eye(len(x), dtype=x.dtype, device=x.device)
        return super().h(eye @ x, h)


@broken("weights in two places", "functional_call|weights of a copy|copy gives")
class TwoPlaces(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.both = [self.weight]

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.read(x) + h @ self.both[0])


class WithKernel(Sound):
    """A sound kernel, each part of which a broken one changes."""

    def kernel(self, x: Tensor) -> Kernel | str:
        return Kernel("a loop of one's own", self.run)

    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        h, outputs = state[0], []
        for t in range(x.shape[1]):
            new = self.h(x[:, t], h)
            h = new if lengths is None else torch.where((lengths > t).unsqueeze(1), new, h)
            outputs.append(new)
        return torch.stack(outputs, 1), HState(h)


@broken("a kernel of 1.1 times the outputs", "kernel's output is not the step's, but 1.1 times it")
class KernelTimes(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        y, state = super().run(x, state, lengths)
        return 1.1 * y, state


@broken("a kernel that heeds no lengths", "does not heed lengths")
class KernelOfNoLengths(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        return super().run(x, state, None)


@broken("a kernel that starts at zero", "does not start from the state that it is given")
class KernelFromZero(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        return super().run(x, HState(torch.zeros_like(state[0])), lengths)


@broken(
    "a kernel without the weights' gradient", "kernel's gradient of weight .* is 0, as if cut off"
)
class KernelWithoutWeights(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        twin = self.weight.detach()
        h, outputs = state[0], []
        for t in range(x.shape[1]):
            new = torch.tanh(self.read(x[:, t]) + h @ twin)
            h = new if lengths is None else torch.where((lengths > t).unsqueeze(1), new, h)
            outputs.append(new)
        return torch.stack(outputs, 1), HState(h)


@broken("a kernel without the state's gradient", "kernel's gradient of the first state h .* is 0")
class KernelWithoutState(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        return super().run(x, HState(state[0].detach()), lengths)


@broken("a kernel of contiguous tensors", "tensors not contiguous")
class KernelOfContiguous(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        strides = (x.shape[1] * x.shape[2], x.shape[2], 1)
        return super().run(x.as_strided(x.shape, strides), state, lengths)


@broken("a kernel of even lengths", r"T = 3\b.*shape|kernel.*T = 3")
class KernelOfEven(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        even = x.shape[1] // 2 * 2
        y, state = super().run(x[:, : max(1, even)], state, lengths)
        return F.pad(y, (0, 0, 0, x.shape[1] - y.shape[1])), state


@broken("a kernel that sees the future", "kernel's output is not the step's")
class KernelOfTheFuture(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        return super().run(x - 0.1 * x.mean(1, keepdim=True), state, lengths)


@broken("a kernel that writes into x", "unroll changes its input x in place")
class KernelInPlace(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        result = super().run(x.clone(), state, lengths)
        x.data.zero_()
        return result


@broken("a kernel of float32", "kernel gives output of float32, the step of float64")
class KernelOfFloat32(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        y, state = super().run(x, state, lengths)
        return y.float(), state


@broken("a kernel whose output is its state", "shares memory")
class KernelShares(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        y, after = super().run(x, state, lengths)
        return y, HState(y[:, -1]) if lengths is None else after


@broken("a kernel that raises", r"the kernel raises RuntimeError: .*broken_cells\.py:\d+")
class KernelRaises(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        return super().run(x.view(x.shape[0], 2, -1), state, lengths)


@broken("a mean over the rows of large batches", r"output of 9 rows is not that of 4 and of 5")
class MixesManyRows(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        made = super().h(x, h)
        return made + 0.1 * made.mean(0) if len(x) >= 8 else made


@broken("a gradient cut at large inputs", r"gradient of the output by x .* inputs up to 10")
class CutAtLarge(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(torch.where(x.abs() > 5, x.detach(), x), h)


class Counted(NamedTuple):
    h: Tensor
    count: Tensor


@broken("a state cut off late", r"no gradient of the output reaches .*T = 64.*cuts it off")
class CutLate(Sound):
    state_type = Counted

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"count": ()}

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        late = (state.count >= 40).unsqueeze(1)
        h = self.h(x, torch.where(late, state.h.detach(), state.h))
        return h, Counted(h, state.count + 1)


@broken("a state cut off at wide cells", r"reaches the state h before it.*20 units")
class CutWhereWide(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h.detach() if self.output_size >= 16 else h)


@broken("a kernel of 64 units", r"the kernel's output is not the step's \(.*72 units")
class KernelOf64(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        y, after = super().run(x, state, lengths)
        return torch.cat([y[..., :64], torch.zeros_like(y[..., 64:])], 2), after


class TurnsLarge(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return torch.where(x.abs() > 5, -gradient, gradient)


@broken("a kernel that turns a gradient", r"the kernel's gradient of x is not the step's .*T = 64")
class KernelTurns(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        return super().run(TurnsLarge.apply(x), state, lengths)


@broken(
    "a constructor that draws from numpy", r"^made twice from one seed of torch, weight differs"
)
class DrawnByNumpy(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        drawn = np.random.default_rng().normal(size=(output_size, output_size))
        self.weight.data.copy_(torch.from_numpy(drawn))


class MatrixState(NamedTuple):
    S: Tensor


class OfMatrices(Sound):
    """A matrix of 2 x 2 beside each unit, whose shape a broken one does not say right."""

    state_type = MatrixState

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = torch.tanh(self.read(x))
        S = torch.tanh(torch.einsum("bhij,bh->bhij", state.S, h) + h[:, :, None, None])
        return S.sum((2, 3)), MatrixState(S)


@broken("a matrix that nobody speaks of", r"state_shapes\(\) says, without B, which are not \(B, 4")
class ShapesMissing(OfMatrices):
    pass


@broken("shapes as a tuple", r"^ShapesAsTuple: state_shapes\(\) must be a dict .* got \(4, 2, 2\)$")
class ShapesAsTuple(OfMatrices):
    def state_shapes(self) -> Any:
        return (self.output_size, 2, 2)


@broken("shapes of another name", r"state_shapes\(\) names 's', the state has S$")
class ShapesMisspelt(OfMatrices):
    def state_shapes(self) -> Any:
        return {"s": (self.output_size, 2, 2)}


@broken(
    "shapes with a batch", r"^state_shapes\(\) must be a dict of shapes without B, got .*1, 4, 2"
)
class ShapesWithBatch(OfMatrices):
    def state_shapes(self) -> Any:
        return {"S": (1, self.output_size, 2, 2)}


@broken(
    "a layer named as a method", r"^gates is a method of rc\.Cell; give .*broken_cells\.py:\d+\)"
)
class NamesALayerGates(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.gates = nn.Linear(input_size, output_size)  # type: ignore[assignment,method-assign]


@broken(
    "a hook on the output's gradient in training",
    r"gradient of the output by x .* in training mode \(B = 2, T = 1\)",
)
class HookInTraining(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        made = super().h(x, h)
        if self.training and made.requires_grad:
            made.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
        return made


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * 0.5


@broken("a gradient halved in training", r"0\.5 times it in training mode \(B = 2, T = 1\)")
class HalvedInTraining(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        made = super().h(x, h)
        return Halved.apply(made) if self.training else made  # type: ignore[no-any-return]


def learns(cell: nn.Module) -> bool:
    return cell.training and torch.is_grad_enabled()


@broken("a dropout where it learns", "generator of torch in training mode with gradients")
class DropsWhereItLearns(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return F.dropout(super().h(x, h), 0.2, learns(self))


@broken("across the batch where it learns", "mixes the rows .* in training mode with gradients")
class AcrossWhereItLearns(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        made = super().h(x, h)
        return made - 0.5 * made.mean(0) if learns(self) else made


@broken("another output where it learns", "training mode with gradients and evaluation")
class OtherWhereItLearns(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) * (0.9 if learns(self) else 1.0)


@broken("a buffer that moves where it learns", "training mode with gradients: its buffer average")
class MovesWhereItLearns(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.register_buffer("average", torch.ones(output_size))

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        made = super().h(x, h) / self.average
        if learns(self):
            self.average.mul_(0.9).add_(0.1 * made.detach().abs().mean(0))
        return made


@broken("a kernel of 1.5 times in training", r"but 1\.5 times it \(B = 2, T = 3, in training mode;")
class KernelInTraining(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        y, state = super().run(x, state, lengths)
        return y * (1.5 if self.training else 1.0), state


@broken("a kernel cut off in training", r"kernel's gradient of x .* is 0.* in training mode")
class KernelCutInTraining(WithKernel):
    def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        return super().run(x.detach() if self.training else x, state, lengths)


@broken("spectral norm", r"in training mode.*its buffer read\..* \(spectral_norm of read\.weight,")
class SpectralNorm(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        nn.utils.parametrizations.spectral_norm(self.read)


CACHE: dict[Any, tuple[Tensor, Tensor]] = {}


@broken("weights kept by their address", "changed in place, as an optimizer does, .* of others")
class KeptByAddress(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.is_meta:
            return super().h(x, h)
        key = self.weight.data_ptr(), self.weight.dtype
        CACHE.setdefault(key, (self.weight, self.weight.detach().clone()))
        return torch.tanh(self.read(x) + h @ CACHE[key][1])


@broken("two parameters over one memory", "weight and second are two over one memory")
class OverOneMemory(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.second = nn.Parameter(self.weight.data)

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) + h @ self.second


@broken("a parameter over another's transpose", "weight and second are two over one memory")
class OverATranspose(OverOneMemory):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.second = nn.Parameter(self.weight.data.t())


@broken("a seed of its own", "sets the seed of torch's global generator: two seeds give the same")
class SeedsItself(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        torch.manual_seed(0)
        super().__init__(input_size, output_size)


ALL_SHARE: dict[int, nn.Parameter] = {}


@broken("one parameter for all", "its parameter shared is that of every other one too")
class OneForAll(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.shared = ALL_SHARE.setdefault(output_size, nn.Parameter(torch.ones(output_size)))

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) * self.shared


@broken("a parameter made by the first call", "its parameter extra is made by the first call")
class MadeByTheCall(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        if not hasattr(self, "extra"):
            self.extra = nn.Parameter(torch.ones(h.shape[1], dtype=h.dtype))
        return super().h(x, h) * self.extra


@broken("a lazy layer", r"lazy\.weight has no shape before the first call \(LazyLinear\)")
class LazyInside(Sound):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.lazy = nn.LazyLinear(output_size)

    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x, h) + self.lazy(x)


@broken("another start in training", r"initial_state\(3\) gives another state h in training mode")
class StartInTraining(Sound):
    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        start = super().initial_state(batch_size, device=device, dtype=dtype)
        return HState(start.h + 1) if self.training else start


@broken("a start for each row", r"initial_state\(3\) gives rows of state h that differ")
class StartOfRows(Sound):
    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        h = super().initial_state(batch_size, device=device, dtype=dtype).h
        return HState(h + 0.1 * torch.arange(batch_size, device=h.device)[:, None].to(h))


@broken("a start of the batch's size", r"gives another state h than initial_state\(1\)")
class StartOfSize(Sound):
    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        start = super().initial_state(batch_size, device=device, dtype=dtype)
        return HState(start.h + 1 / batch_size)


STARTS: dict[Any, Any] = {}


@broken("one start for all", r"initial_state\(3\) returns the same memory each time \(state h\)")
class OneStart(Sound):
    def initial_state(self, batch_size: int = 1, *, device: Any = None, dtype: Any = None) -> Any:
        key = batch_size, str(device or self.weight.device), dtype or self.weight.dtype
        start = super().initial_state(batch_size, device=device, dtype=dtype)
        return STARTS.setdefault(key, start)


@broken("gates that raise", r"gates\(x, state\) raises ValueError: no .*broken_cells\.py:\d+")
class GatesRaise(Sound):
    def gates(self, x: Tensor, state: Any) -> dict[str, Tensor]:
        raise ValueError("no")


@broken("random gates", r"gates\(x, state\) gives another k the second time .* random")
class GatesRandom(Sound):
    def gates(self, x: Tensor, state: Any) -> dict[str, Tensor]:
        return {"k": torch.rand_like(state.h)}


@broken("gates without rows", r"gates\(x, state\) gives k of shape \(4,\), expected 2 rows")
class GatesWithoutRows(Sound):
    def gates(self, x: Tensor, state: Any) -> dict[str, Tensor]:
        return {"k": torch.sigmoid(self.read(x)).mean(0)}


@broken("gates that write", r"gates\(x, state\) changes its state h in place")
class GatesWrite(Sound):
    def gates(self, x: Tensor, state: Any) -> dict[str, Tensor]:
        return {"k": state.h.mul_(0.5)}


@broken(
    "gradients switched off", r"a setting of the whole process: torch\.set_grad_enabled, from True"
)
class SwitchesGradients(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        made = super().h(x, h)
        torch.set_grad_enabled(False)
        return made


@broken(
    "a default dtype",
    r"setting .*: torch\.set_default_dtype, from torch\.float32 to torch\.float64",
)
class SetsDefault(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return super().h(x, h)


@broken("small numbers flushed", r"setting .*: torch\.set_flush_denormal, from False to True")
class Flushes(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        torch.set_flush_denormal(True)
        return super().h(x, h)


@broken("narrow products allowed", r"setting .*allow_tf32\), from highest to high")
class AllowsNarrow(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        torch.backends.cuda.matmul.allow_tf32 = True
        return super().h(x, h)


@broken(
    "threads of its own in training", r"torch\.set_num_threads, from \d+ to \d+ in training mode"
)
class SetsThreads(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        if self.training:
            torch.set_num_threads(torch.get_num_threads() + 1)
        return super().h(x, h)


@broken("a gradient halved in float32", r"gradient of .* in float32 is not .*but 0\.5 times it")
class HalvedInFloat32(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        made = super().h(x, h)
        return Halved.apply(made) if made.dtype == torch.float32 else made  # type: ignore[no-any-return]


@broken("bfloat16 inside of float32", r"in float32 is not that in float64")
class Bfloat16Inside(Sound):
    def h(self, x: Tensor, h: Tensor) -> Tensor:
        return super().h(x.bfloat16().float() if x.dtype == torch.float32 else x, h)
