"""What torch can do to a module, each done to any recurrence and held against plain autograd.

B rows, T steps, I inputs, O outputs. Every entry of TRANSFORMS takes a recurrence in evaluation
mode and raises where a number is wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

from recurra.nn.cells import CELLS
from recurra.nn.state import flatten
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers import WRAPPERS
from recurra.nn.wrappers.base import Recurrence

B, T = 2, 5
SHAPES = [
    (2, 3),
    (3, 5),
    (4, 8),
    (2, 9),
    (5, 5),
    (3, 12),
    (2, 4),
    (6, 7),
    (4, 11),
    (3, 6),
    (2, 13),
    (5, 10),
]
close = torch.testing.assert_close


class Outputs(nn.Module):
    """A recurrence as a module of sequences, as people write it."""

    def __init__(self, cell: Recurrence, how: Callable[..., Any] = unroll) -> None:
        super().__init__()
        self.cell = cell
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self.cell, x)[0]


def inputs(cell: Recurrence, *leading: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (*leading, B, T, cell.input_size)
    return torch.randn(shape, generator=generator, dtype=next(cell.parameters()).dtype)


def outcome(run: Any, cell: Recurrence, x: Tensor) -> list[Tensor]:
    """Outputs, and the gradients of all parameters, and of x where it wants one."""
    y = run(x)
    y = y if isinstance(y, Tensor) else y[0]
    leaves = [*cell.parameters()] + ([x] if x.requires_grad else [])
    loss = (y * y.detach().cos()).sum()
    found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [y.detach(), *found]


def compiled(cell: Recurrence, backend: str, watched: bool) -> None:
    run = torch.compile(Outputs(cell), backend=backend, fullgraph=True)
    x = inputs(cell).requires_grad_(watched)
    close(outcome(run, cell, x), outcome(Outputs(cell), cell, x), rtol=1e-4, atol=1e-5)


def any_shape(cell: Recurrence, backend: str) -> None:
    """Twelve lengths and batches, two graphs."""
    counter = CompileCounterWithBackend(backend)
    run = torch.compile(Outputs(cell), backend=counter, fullgraph=True)
    for rows, steps in SHAPES:
        x = torch.randn(rows, steps, cell.input_size)
        close(outcome(run, cell, x), outcome(Outputs(cell), cell, x), rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2, f"{counter.frame_count} compilations"


def exported(cell: Recurrence) -> None:
    dim = torch.export.Dim
    shapes = {"x": {0: dim("batch", min=2), 1: dim("time", min=2)}}
    program = torch.export.export(Outputs(cell), (inputs(cell),), dynamic_shapes=shapes)
    for rows, steps in SHAPES[:3]:
        x = torch.randn(rows, steps, cell.input_size)
        close(program.module()(x), Outputs(cell)(x), rtol=1e-4, atol=1e-5)


def over_inputs(cell: Recurrence) -> None:
    x = inputs(cell, 3)
    module = Outputs(cell)
    close(vmap(module)(x), torch.stack([module(each) for each in x]))


def several(cell: Recurrence) -> tuple[list[Outputs], dict[str, Tensor], dict[str, Tensor]]:
    """An ensemble: copies with other weights, and their parameters side by side."""
    modules = []
    for seed in range(3):
        other = copy.deepcopy(cell)
        generator = torch.Generator().manual_seed(seed)
        for parameter in other.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data += 0.1 * noise
        modules.append(Outputs(other))
    return modules, *stack_module_state(modules)


def over_weights(cell: Recurrence) -> None:
    modules, parameters, buffers = several(cell)
    x = inputs(cell)

    def one(parameters: Any, buffers: Any) -> Tensor:
        return functional_call(modules[0], (parameters, buffers), (x,))

    close(vmap(one)(parameters, buffers), torch.stack([module(x) for module in modules]))


def over_both(cell: Recurrence) -> None:
    modules, parameters, buffers = several(cell)
    x = inputs(cell, 3)

    def one(parameters: Any, buffers: Any, x: Tensor) -> Tensor:
        return functional_call(modules[0], (parameters, buffers), (x,))

    expected = torch.stack([module(each) for module, each in zip(modules, x)])
    close(vmap(one)(parameters, buffers, x), expected)


def own(cell: Recurrence) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in Outputs(cell).named_parameters()}


def loss_of(cell: Recurrence) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    module = Outputs(cell)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, parameters, (x,)).sin().sum()

    return loss


def by_autograd(cell: Recurrence, x: Tensor) -> dict[str, Tensor]:
    module = Outputs(cell)
    loss = module(x).sin().sum()
    names, parameters = zip(*module.named_parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found))


def gradient(cell: Recurrence) -> None:
    x = inputs(cell)
    close(grad(loss_of(cell))(own(cell), x), by_autograd(cell, x))


def per_sample(cell: Recurrence) -> None:
    """Each row's own gradient, as private training asks for it."""
    x = inputs(cell)
    each = vmap(
        lambda parameters, row: grad(loss_of(cell))(parameters, row.unsqueeze(0)), (None, 0)
    )
    found = each(own(cell), x)
    for n, row in enumerate(x):
        expected = by_autograd(cell, row.unsqueeze(0))
        close({name: value[n] for name, value in found.items()}, expected)


def forward_mode(cell: Recurrence) -> None:
    """jvp and vjp tell one story, as does a dual number."""
    x, v = inputs(cell), inputs(cell, seed=4)
    module = Outputs(cell)
    y, along = jvp(module, (x,), (v,))
    u = torch.randn_like(y)
    leaf = x.clone().requires_grad_()
    (back,) = torch.autograd.grad((module(leaf) * u).sum(), leaf)
    close((along * u).sum(), (back * v).sum(), rtol=1e-5, atol=1e-5)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(module(forward_ad.make_dual(x, v)))
        close(dual.primal, y)
        close(dual.tangent, along)


def jacobians(cell: Recurrence) -> None:
    x = inputs(cell)[:1, :3]
    module = Outputs(cell)
    close(jacfwd(module)(x), jacrev(module)(x), rtol=1e-4, atol=1e-5)


def curvature(cell: Recurrence) -> None:
    x = inputs(cell)[:1, :3]
    module = Outputs(cell)
    found = hessian(lambda x: module(x).sin().sum())(x)
    plain = torch.autograd.functional.hessian(lambda x: module(x).sin().sum(), x)
    assert found.isfinite().all()
    close(found, plain, rtol=1e-4, atol=1e-5)


def twice(cell: Recurrence, how: Callable[..., Any] = unroll) -> None:
    """Gradients of gradients against finite differences in float64."""
    cell = copy.deepcopy(cell).double()
    module = Outputs(cell, how)
    x = inputs(cell)[:, :3].requires_grad_()
    assert torch.autograd.gradgradcheck(module, (x,), atol=1e-5)
    names = [name for name, _ in module.named_parameters()]
    leaves = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]

    def of_weights(*values: Tensor) -> Tensor:
        return functional_call(module, dict(zip(names, values)), (x.detach(),))

    assert torch.autograd.gradgradcheck(of_weights, leaves, atol=1e-5, fast_mode=True)


def meta(cell: Recurrence) -> None:
    expected = unroll(cell, inputs(cell))
    y, state = unroll(copy.deepcopy(cell).to("meta"), inputs(cell).to("meta"))
    assert y.is_meta and y.shape == expected[0].shape
    shapes = {name: part.shape for name, part in flatten(expected[1]).items()}
    assert {name: part.shape for name, part in flatten(state).items()} == shapes


def fake(cell: Recurrence) -> None:
    expected = unroll(cell, inputs(cell))
    cell = copy.deepcopy(cell)  # not within the mode, which refuses to copy buffers
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        y, state = unroll(cell, mode.from_tensor(inputs(cell)))
    assert y.shape == expected[0].shape and y.dtype == expected[0].dtype
    shapes = {name: part.shape for name, part in flatten(expected[1]).items()}
    assert {name: part.shape for name, part in flatten(state).items()} == shapes


def autocast(cell: Recurrence) -> None:
    x = inputs(cell)
    with torch.autocast("cpu", torch.bfloat16):
        found = outcome(Outputs(cell), cell, x)
    close(found[0].float(), Outputs(cell)(x), rtol=0.1, atol=0.1)
    assert all(each.isfinite().all() for each in found)


def copied(cell: Recurrence) -> None:
    x = inputs(cell)
    twin = copy.deepcopy(cell)
    close(outcome(Outputs(twin), twin, x), outcome(Outputs(cell), cell, x), rtol=0, atol=0)


def called_with(cell: Recurrence) -> None:
    modules, parameters, buffers = several(cell)
    x = inputs(cell)
    other = {name: value[1] for name, value in {**parameters, **buffers}.items()}
    close(functional_call(modules[0], other, (x,)), modules[1](x))


def checkpointed(cell: Recurrence) -> None:
    x = inputs(cell).requires_grad_()
    again = lambda x: checkpoint(Outputs(cell), x, use_reentrant=False)  # noqa: E731
    close(outcome(again, cell, x), outcome(Outputs(cell), cell, x))


Make = Callable[[int, int], Recurrence]


def _wrapped(name: str, make: Make) -> Recurrence:
    wrap = WRAPPERS[name]
    if name == "stack":
        return wrap([make(3, 4), make(4, 3)])
    if name == "bidirectional":
        return wrap(make(3, 4), make(3, 3))
    options: dict[str, dict[str, Any]] = {
        "dropout": {"input": 0.3, "output": 0.5},
        "weight_drop": {"probability": 0.5},
        "projection": {"output_size": 2},
        "attention": {"window": 3},
        "mogrifier": {"rounds": 3},
        "zoneout": {"hidden": 0.3},
        "dilated": {"dilation": 2},
    }
    same = name in ("residual", "highway")
    return wrap(
        make(3, 3) if same else make(2 if name == "reset" else 3, 4), **options.get(name, {})
    )


def subject(name: str) -> Recurrence:
    """Return a cell by its name, or a wrapper around one, `stack(lstm)`, in evaluation mode."""
    wrapper, _, cell = name.rstrip(")").rpartition("(")
    torch.manual_seed(1)
    made = _wrapped(wrapper, CELLS[cell]) if wrapper else CELLS[cell](3, 4)
    return made.eval()


SUBJECTS = [*CELLS, *(f"{wrapper}({cell})" for wrapper in WRAPPERS for cell in ("lstm", "gru"))]
"""Every cell, and every wrapper around two."""


def exactly(check: Callable[[Recurrence], None]) -> Callable[[Recurrence], None]:
    """The same in float64."""
    return lambda cell: check(copy.deepcopy(cell).double())


TRANSFORMS: dict[str, Callable[[Recurrence], None]] = {
    "compile": lambda cell: compiled(cell, "aot_eager", True),
    "compile, plain inputs": lambda cell: compiled(cell, "aot_eager", False),
    "any shape": lambda cell: any_shape(cell, "aot_eager"),
    "export": exported,
    "vmap over inputs": exactly(over_inputs),
    "vmap over weights": exactly(over_weights),
    "vmap over both": exactly(over_both),
    "grad": exactly(gradient),
    "vmap of grad": exactly(per_sample),
    "jvp": forward_mode,
    "jacfwd and jacrev": exactly(jacobians),
    "hessian": exactly(curvature),
    "second derivatives": twice,
    "second derivatives of the loop": lambda cell: twice(cell, unroll_plain),
    "meta": meta,
    "fake tensors": fake,
    "autocast": autocast,
    "deepcopy": copied,
    "functional_call": called_with,
    "checkpoint": checkpointed,
}
"""Name -> check of a recurrence."""

BY_INDUCTOR: dict[str, Callable[[Recurrence], None]] = {
    "inductor": lambda cell: compiled(cell, "inductor", True),
    "inductor, plain inputs": lambda cell: compiled(cell, "inductor", False),
    "any shape by inductor": lambda cell: any_shape(cell, "inductor"),
}
"""The same of what compiles C++: minutes for all."""
