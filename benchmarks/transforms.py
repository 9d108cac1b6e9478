"""Time what torch's transforms make of a recurrence, beside `nn.LSTM` and `nn.GRU` if they can.

Contestants of one transform take turns in one run on one thread, with the same weights and inputs;
how far what they return lies from the first one's is kept beside the times. What fails is kept in
torch's words. It takes under three minutes, and ends with the table of docs/guide/torch.md.

    python benchmarks/transforms.py [--rounds 5] [--out benchmarks/results/transforms.json]
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

import recurra as rc
from record import machine, spread, write
from recurra.nn.unroll import unroll_plain
from recurra.randomness import generator

B, T, H = 20, 35, 128
"""B rows, T steps, H units and inputs."""

MEMBERS, WARMUP, STEPS = 8, 2, 50
KINDS = {"lstm": (nn.LSTM, nn.LSTMCell), "gru": (nn.GRU, nn.GRUCell)}
SHAPES = [(20, 35), (7, 12), (33, 50), (4, 3), (16, 100), (9, 21)]
Step = Callable[[], Any]


class Outputs(nn.Module):
    """A recurrence, ours or torch's, as a module of sequences."""

    def __init__(self, recurrence: nn.Module) -> None:
        super().__init__()
        self.recurrence = recurrence

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs alone."""
        if isinstance(self.recurrence, nn.RNNBase):
            return self.recurrence(x)[0]
        return rc.unroll(self.recurrence, x)[0]


def cell_of(kind: str, **options: Any) -> nn.Module:
    """Return one of our cells, with weights that are always the same."""
    cell = rc.CELLS[kind](H, H, **options)
    cell.reset_parameters(generator(1, "transforms weights"))
    return cell


def pair(kind: str) -> tuple[Outputs, Outputs]:
    """Return our cell and torch's module of the same weights."""
    cell = cell_of(kind)
    theirs = KINDS[kind][0](H, H, batch_first=True)
    ours = dict(cell.named_parameters())
    theirs.load_state_dict({f"{name}_l0": weight.detach() for name, weight in ours.items()})
    return Outputs(cell), Outputs(theirs)


def inputs(*shape: int) -> Tensor:
    return torch.randn(*(shape or (B, T, H)), generator=generator(1, "transforms inputs"))


def backward(module: nn.Module, run: Callable[[Tensor], Tensor]) -> Step:
    x, weights = inputs(), list(module.parameters())
    return lambda: torch.autograd.grad(run(x).square().sum(), weights)


def compiled(kind: str) -> dict[str, Step]:
    ours, theirs = pair(kind)
    return {
        "recurra": backward(ours, ours),
        "nn": backward(theirs, theirs),
        "recurra, compiled": backward(ours, torch.compile(ours, fullgraph=True)),
        "nn, in one graph": backward(theirs, torch.compile(theirs, fullgraph=True)),
        "nn, compiled": backward(theirs, torch.compile(theirs)),
    }


def scanned(kind: str) -> dict[str, Step]:
    """A cell that no kernel runs, for its activation: the plain loop, or a scan."""
    module = Outputs(cell_of(kind, activation="softplus"))
    scan = torch.compile(module, fullgraph=True)
    return {"not compiled": backward(module, module), "compiled": backward(module, scan)}


def ensemble(kind: str) -> dict[str, Step]:
    x = inputs()
    steps: dict[str, Step] = {}
    for name, module in zip(("recurra", "nn"), pair(kind)):
        members = [copy.deepcopy(module) for _ in range(MEMBERS)]
        state = stack_module_state(members)

        def one(parameters: Any, buffers: Any, module: nn.Module = module) -> Tensor:
            return functional_call(module, (parameters, buffers), (x,))

        steps[f"{name}, vmap"] = lambda one=one, state=state: vmap(one)(*state).detach()
        steps[f"{name}, one by one"] = lambda members=members: torch.stack(
            [member(x).detach() for member in members]
        )
    return steps


def per_sample(kind: str) -> dict[str, Step]:
    x = inputs()
    steps: dict[str, Step] = {}
    for name, module in zip(("recurra", "nn"), pair(kind)):
        weights = {key: value.detach() for key, value in module.named_parameters()}

        def loss(weights: Any, row: Tensor, module: nn.Module = module) -> Tensor:
            return functional_call(module, weights, (row.unsqueeze(0),)).square().sum()

        def one_by_one(module: nn.Module = module) -> list[Tensor]:
            leaves = list(module.parameters())
            found = [
                torch.autograd.grad(module(row.unsqueeze(0)).square().sum(), leaves) for row in x
            ]
            return [torch.stack(each) for each in zip(*found)]

        each = vmap(grad(loss), (None, 0))
        steps[f"{name}, vmap"] = lambda each=each, w=weights: tuple(each(w, x).values())
        steps[f"{name}, each"] = one_by_one
    return steps


def twice(kind: str) -> dict[str, Step]:
    """A gradient penalty, and its gradients."""

    def step(module: nn.Module, run: Callable[[Tensor], Tensor]) -> Step:
        x = inputs().requires_grad_()

        def penalised() -> tuple[Tensor, ...]:
            (slope,) = torch.autograd.grad(run(x).square().sum(), x, create_graph=True)
            return torch.autograd.grad(slope.square().sum(), list(module.parameters()))

        return penalised

    ours, theirs = pair(kind)
    plain = lambda x: unroll_plain(ours.recurrence, x)[0]  # noqa: E731
    return {
        "recurra": step(ours, ours),
        "recurra, plain": step(ours, plain),
        "nn": step(theirs, theirs),
    }


def forward_mode(kind: str) -> dict[str, Step]:
    x = inputs()
    return {
        name: lambda module=module: jvp(module, (x,), (x,))[1].detach()
        for name, module in zip(("recurra", "nn"), pair(kind))
    }


def one_step(kind: str) -> dict[str, Step]:
    """One row, one step, time and again; ours and torch's cell, and both as a sequence of one."""
    ours, theirs = pair(kind)
    x = inputs(1, 1, H)
    cell, first = ours.recurrence, ours.recurrence.initial_state(1)
    alone = KINDS[kind][1](H, H)
    alone.load_state_dict(cell.state_dict())
    zero = torch.zeros(1, H)
    flat, deep = ((zero, zero), (zero[None], zero[None])) if kind == "lstm" else (zero, zero[None])

    @torch.inference_mode()
    def of(run: Callable[[], Any]) -> Tensor:
        for _ in range(STEPS):
            y = run()
        return (y[0] if isinstance(y, tuple) else y).reshape(1, H)

    return {
        "recurra, cell": lambda: of(lambda: cell(x[:, 0], first)),
        "recurra, unroll": lambda: of(lambda: rc.unroll(cell, x, first)),
        "nn, cell": lambda: of(lambda: alone(x[:, 0], flat)),
        "nn, sequence": lambda: of(lambda: theirs.recurrence(x, deep)),
    }


TABLE = [
    ("forward and backward", "the kernel", "compile", "recurra", "nn"),
    (
        "the same compiled",
        "the kernel, in one graph",
        "compile",
        "recurra, compiled",
        "nn, compiled",
    ),
    ("a cell without a kernel", "the plain loop", "no kernel", "not compiled", ""),
    ("the same compiled", "torch's `scan`, in one graph", "no kernel", "compiled", ""),
    ("8 models by `vmap`", "the plain loop", "ensemble", "recurra, vmap", "nn, vmap"),
    ("8 models one by one", "the kernel", "ensemble", "recurra, one by one", "nn, one by one"),
    ("gradients of 20 rows by `vmap`", "the plain loop", "rows", "recurra, vmap", "nn, vmap"),
    ("gradients of 20 rows one by one", "the kernel", "rows", "recurra, each", "nn, each"),
    ("second derivatives", "the kernel, then its steps in torch", "twice", "recurra", "nn"),
    ("the same by `unroll_plain`", "the plain loop", "twice", "recurra, plain", ""),
    ("forward mode by `jvp`", "the plain loop", "jvp", "recurra", "nn"),
    ("50 single steps, `cell(x, state)`", "the step", "steps", "recurra, cell", "nn, cell"),
    ("50 sequences of one step", "the step", "steps", "recurra, unroll", "nn, sequence"),
]
"""What is done, what of ours runs, the transform, and its contestants: ours, torch's if any."""

TRANSFORMS: dict[str, Callable[[str], dict[str, Step]]] = {
    "compile": compiled,
    "no kernel": scanned,
    "ensemble": ensemble,
    "rows": per_sample,
    "twice": twice,
    "jvp": forward_mode,
    "steps": one_step,
}


def flat(result: Any) -> Tensor:
    parts = [result] if isinstance(result, Tensor) else list(result)
    return torch.cat([part.detach().flatten() for part in parts])


def race(steps: dict[str, Step], rounds: int) -> dict[str, Any]:
    """Return the milliseconds of each contestant's turns, and what the first call took."""
    found: dict[str, Any] = {}
    expected: Tensor | None = None
    for name, step in steps.items():
        begun = time.perf_counter()
        try:
            made = flat(step())
        except Exception as error:  # what torch's own modules cannot do is a result too
            lines = [line for line in str(error).splitlines() if line.strip()]
            found[name] = {"fails": f"{type(error).__name__}: {lines[0][:160]}"}
            continue
        expected = made if expected is None else expected
        away = float((made - expected).abs().max() / expected.abs().max())
        found[name] = {"first_call_ms": (time.perf_counter() - begun) * 1e3, "away": away}
    times: dict[str, list[float]] = {name: [] for name in found if "away" in found[name]}
    for _ in range(WARMUP + rounds):
        for name in times:
            begun = time.perf_counter()
            steps[name]()
            times[name].append((time.perf_counter() - begun) * 1e3)
    for name, each in times.items():
        found[name]["ms"] = spread(each[WARMUP:])
    return found


def compilations(kind: str) -> dict[str, int]:
    """Return how many graphs serve six batches and lengths, forward and backward."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    module, _ = pair(kind)
    run = torch.compile(module, backend=counter, fullgraph=True)
    for rows, steps in SHAPES:
        run(inputs(rows, steps, H)).sum().backward()
    return {"shapes": len(SHAPES), "graphs": counter.frame_count}


def table(result: dict[str, Any]) -> str:
    """Return the page's table: milliseconds, the least of all rounds.

    Of what compiles, the first call is told too.
    """
    lines = [
        "| | what runs | `LSTMCell` | `nn.LSTM` | `GRUCell` | `nn.GRU` |",
        "|---|---|---|---|---|---|",
    ]
    for done, runs, transform, *names in TABLE:
        cells = []
        for kind in KINDS:
            rows = result[kind][transform]
            cells += [told(rows.get(name), "compiled" in done) for name in names]
        lines.append(f"| {' | '.join([done, runs, *cells])} |")
    return "\n".join(lines)


def told(row: dict[str, Any] | None, compiled: bool) -> str:
    """Return one cell of the table."""
    if row is None:
        return ""
    if "fails" in row:
        return "fails"
    first = f", after {row['first_call_ms'] / 1e3:.1f} s" if compiled else ""
    return f"{row['ms']['min']:.1f}{first}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default="benchmarks/results/transforms.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch._inductor.config.force_disable_caches = True  # what compiling takes is told too
    warnings.simplefilter("ignore")  # torch's, of what it has no rule for
    result: dict[str, Any] = {"machine": machine(), "rounds": arguments.rounds}
    result |= {"B": B, "T": T, "H": H}
    for kind in KINDS:
        result[kind] = {"compilations": compilations(kind)}
        for transform, contestants in TRANSFORMS.items():
            torch._dynamo.reset()
            rows = result[kind][transform] = race(contestants(kind), arguments.rounds)
            print(f"{kind}, {transform}")
            for name, row in rows.items():
                said = row.get("fails") or f"{row['ms']['min']:8.2f} ms   {row['away']:.0e} away"
                print(f"  {name:26} {said}", flush=True)
    write(arguments.out, result)
    print(table(result))


if __name__ == "__main__":
    main()
