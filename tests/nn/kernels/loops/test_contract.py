"""One contract for every compiled loop, run as cells and wrappers run it, beside the plain loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from recurra.errors import ShapeError
from recurra.nn.cells.base import Kernel
from recurra.nn.cells.coupled_lstm import CoupledLSTMCell, CoupledLSTMState
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.layer_norm_gru import LayerNormGRUCell
from recurra.nn.cells.layer_norm_lstm import LayerNormLSTMCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.mgu import MGUCell
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.cells.projected_lstm import ProjectedLSTMCell
from recurra.nn.cells.recurrent_highway import RecurrentHighwayCell
from recurra.nn.cells.rnn import RNNCell, RNNState
from recurra.nn.cells.slstm import SLSTMCell
from recurra.nn.kernels import loops
from recurra.nn.kernels.loops.lstm import LSTMParts, LSTMWeights
from recurra.nn.kernels.loops.rnn import rnn_sequence
from recurra.nn.proven import trusting
from recurra.nn.state import State, map_tensors
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers import zoneout
from recurra.nn.wrappers.base import Recurrence, Wrapper
from recurra.nn.wrappers.masks import Masks
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.zoneout import Zoneout


class Relative(CoupledLSTMCell):
    """Any member of the LSTM's family: parts that no cell of the package has together."""

    kernel = CoupledLSTMCell.kernel

    def __init__(self, input_size: int, hidden_size: int, *parts: str) -> None:
        super().__init__(input_size, hidden_size)
        H, G = hidden_size, (3 if "coupled" in parts else 4) * hidden_size
        shapes = {"weight_ih": (G, input_size), "weight_hh": (G, H), "bias_ih": (G,),
                  "bias_hh": (G,), "peephole": (3, H), "gains": (2, G), "norm": (2, H)}  # fmt: skip
        for name, shape in shapes.items():
            has = name in parts or name.startswith(("weight", "bias"))
            setattr(self, name, nn.Parameter(0.3 * torch.randn(shape)) if has else None)
        self.coupled, self.clip = "coupled" in parts, 0.3 if "clip" in parts else None

    def family(self) -> tuple[LSTMWeights, LSTMParts]:
        weights = self.weight_ih, self.weight_hh, self.bias_ih + self.bias_hh
        own = (self.peephole, self.gains, self.norm)
        return weights, LSTMParts(*own, coupled=self.coupled, clip=self.clip, eps=1e-5)

    def forward(self, x: Tensor, state: CoupledLSTMState) -> tuple[Tensor, CoupledLSTMState]:
        h, c = state
        p_i, p_f, p_o = [0.0] * 3 if self.peephole is None else self.peephole
        into, from_h = x @ self.weight_ih.T, h @ self.weight_hh.T
        if self.gains is not None:
            into, from_h = (
                gain * F.layer_norm(sums, sums.shape[1:])
                for gain, sums in zip(self.gains, (into, from_h))
            )
        sums = into + from_h + self.bias_ih + self.bias_hh
        *i, f, g, o = sums.split(self.hidden_size, dim=1)
        forget = (f + p_f * c).sigmoid()
        take = 1 - forget if self.coupled else (i[0] + p_i * c).sigmoid()
        c = forget * c + take * g.tanh()
        c = c if self.clip is None else c.clamp(-self.clip, self.clip)
        read = (
            c if self.norm is None else self.norm[0] * F.layer_norm(c, c.shape[1:]) + self.norm[1]
        )
        h = (o + p_o * c).sigmoid() * read.tanh()
        return h, CoupledLSTMState(h, c)


class CompiledRNNCell(RNNCell):
    """The network on our own loop, which elsewhere runs within `torch.compile` alone."""

    def kernel(self, x: Tensor) -> Kernel:
        def run(x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
            y, h = rnn_sequence(x, state[0], weights, self.nonlinearity, lengths)
            return y, RNNState(h)

        return Kernel("the compiled RNN", run)


Make = Callable[[int, int], Recurrence]
OPERATORS: dict[str, dict[str, Make]] = {
    "gru_sequence": {"after": GRUCell, "before": partial(GRUCell, reset_after=False)},
    "layer_norm_gru_sequence": {"": LayerNormGRUCell},
    "mgu_sequence": {"": MGUCell},
    "rnn_sequence": {
        "tanh": CompiledRNNCell,
        "relu": partial(CompiledRNNCell, nonlinearity="relu"),
    },
    "projected_lstm_sequence": {
        "": lambda i, h: ProjectedLSTMCell(i, h // 2, h),
        "clip": lambda i, h: ProjectedLSTMCell(i, h // 2, h, cell_clip=0.4),
    },
    "slstm_sequence": {
        "": SLSTMCell,
        "heads": partial(SLSTMCell, num_heads=3),
        "exponential": partial(SLSTMCell, forget="exponential"),
    },
    "highway_sequence": {
        "": RecurrentHighwayCell,
        "one layer": partial(RecurrentHighwayCell, depth=1),
    },
    "mogrifier_sequence": {
        "one round": lambda i, h: Mogrifier(LSTMCell(i, h), 1),
        "two rounds": lambda i, h: Mogrifier(LSTMCell(i, h), 2),
        "five rounds": lambda i, h: Mogrifier(LSTMCell(i, h), 5),
        "rank": lambda i, h: Mogrifier(LSTMCell(i, h), 5, rank=2),
    },
    "lstm_family": {
        "plain": Relative,
        "peephole": PeepholeLSTMCell,
        "peephole, clip": partial(PeepholeLSTMCell, cell_clip=0.3),
        "coupled": CoupledLSTMCell,
        "layer norm": LayerNormLSTMCell,
        "zoneout": lambda i, h: Zoneout(LSTMCell(i, h), 0.4, 0.3),
        "zoneout of the memory": lambda i, h: Zoneout(LSTMCell(i, h), 0, 0.3),
        "expected zoneout": lambda i, h: Zoneout(LSTMCell(i, h), 0.4, 0.3).eval(),
        "expected zoneout of h": lambda i, h: Zoneout(LSTMCell(i, h), 0.4).eval(),
        "peephole, zoneout of h": lambda i, h: Zoneout(PeepholeLSTMCell(i, h), 0.4),
        "coupled, peephole, clip, zoneout": lambda i, h: Zoneout(
            Relative(i, h, "coupled", "peephole", "clip"), 0.4, 0.3
        ),
        "norm, peephole, clip, expected zoneout": lambda i, h: Zoneout(
            Relative(i, h, "gains", "norm", "peephole", "clip"), 0.4, 0.3
        ).eval(),
    },
}
LENGTHS = torch.tensor([4, 0, 1, 3, 2])
SINGLE, DOUBLE = {"rtol": 1e-4, "atol": 1e-4}, {"rtol": 1e-9, "atol": 1e-10}


class Loop(NamedTuple):
    """What runs on a compiled loop, and that loop's operator."""

    operator: str
    make: Make


LOOPS = {
    f"{operator} {name}".strip(): Loop(operator, make)
    for operator, members in OPERATORS.items()
    for name, make in members.items()
}


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setattr(zoneout, "RELATIVES", (*zoneout.RELATIVES, Relative))
    assert isinstance(request.param, Loop)
    return request.param


def made(loop: Loop, kind: torch.dtype = torch.float64, I: int = 3, H: int = 21) -> Recurrence:  # noqa: E741
    cell = loop.make(I, H).to(kind)
    for name, parameter in cell.named_parameters():
        if name.split(".")[-1].startswith(("bias", "gain", "peephole")):
            nn.init.normal_(parameter)
    assert ": the compiled " in plan(cell).splitlines()[0]
    return cell


def given(cell: Recurrence, B: int = 5, T: int = 4) -> tuple[Tensor, State]:
    """Return inputs and a first state, of which gradients are asked."""
    draw, kind = torch.Generator().manual_seed(5), next(cell.parameters()).dtype

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=kind, requires_grad=True)

    x = random(B, T, cell.input_size)
    return x, map_tensors(lambda part: random(*part.shape), cell.initial_state(B))


def results(
    run: Callable[..., Any], cell: Recurrence, x: Tensor, state: State, **options: Any
) -> list[Tensor]:
    """Return the outputs and each part of the last state."""
    y, end = run(cell, x, state, generator=torch.Generator().manual_seed(7), **options)
    return [y, *end]


def everything(
    run: Callable[..., Any], cell: Recurrence, x: Tensor, state: State, **options: Any
) -> list[Tensor]:
    """Return the results, and the gradients of all that goes in: inputs, state, parameters."""
    made = results(run, cell, x, state, **options)
    loss = sum((each * torch.arange(each.numel()).sin().view_as(each)).sum() for each in made)
    return [*made, *torch.autograd.grad(loss, [x, *state, *cell.parameters()])]


def direct(
    cell: Recurrence,
    x: Tensor,
    state: State,
    *,
    lengths: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, State]:
    """Run the loop without what `unroll` does to lengths, and to what lies past them."""
    masks = Masks(generator, x.shape[1])
    kernel: Any = cell.fused(x, masks) if isinstance(cell, Wrapper) else cell.kernel(x)
    return kernel.run(x, state, lengths)  # type: ignore[no-any-return]


def test_every_loop_of_the_package_is_here() -> None:
    modules = [
        import_module(f"{loops.__name__}.{each.name}") for each in iter_modules(loops.__path__)
    ]
    names = {name for module in modules for name in module.__all__ if name.endswith("_sequence")}
    assert {name.removesuffix("_sequence") for name in names} == {
        operator.removesuffix("_sequence") for operator in OPERATORS
    }


@pytest.mark.parametrize(
    ("kind", "lengths", "close"),
    [
        (torch.float32, None, SINGLE),
        (torch.float32, LENGTHS, SINGLE),
        (torch.float64, LENGTHS, DOUBLE),
    ],
    ids=["single whole", "single ragged", "double ragged"],
)
def test_the_loop_over_steps(
    loop: Loop, kind: torch.dtype, lengths: Tensor | None, close: dict[str, float]
) -> None:
    cell = made(loop, kind)
    x, state = given(cell)
    got, expected = (
        everything(run, cell, x, state, lengths=lengths) for run in (unroll, unroll_plain)
    )
    torch.testing.assert_close(got, expected, **close)
    if lengths is not None:
        assert all(torch.equal(after[1], before[1]) for after, before in zip(got[1:], state))


def test_resets_cut_it(loop: Loop) -> None:
    cell = made(loop)
    options = {"reset": torch.rand(5, 4) < 0.3, "lengths": LENGTHS}
    got, expected = (results(run, cell, *given(cell), **options) for run in (unroll, unroll_plain))
    torch.testing.assert_close(got, expected, **DOUBLE)


def test_what_the_padding_holds_does_not_matter(loop: Loop) -> None:
    cell = made(loop)
    x, state = given(cell)
    past = (torch.arange(4) >= LENGTHS.unsqueeze(1)).unsqueeze(2)
    other = x.detach().masked_fill(past, 99.0).requires_grad_()

    def within(*args: Any, **options: Any) -> tuple[Tensor, State]:
        y, end = direct(*args, **options)
        return y.masked_fill(past, 0), end

    got = everything(within, cell, other, state, lengths=LENGTHS.int())
    expected = everything(unroll, cell, x, state, lengths=LENGTHS)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)
    assert not got[1 + len(state) :][0].masked_select(past).any()


def test_gradients_are_those_of_differences(loop: Loop) -> None:
    cell = made(loop, I=2, H=3)
    x, state = given(cell, B=2, T=3)

    def outcome(*_: Tensor) -> tuple[Tensor, ...]:
        # gradcheck moves the leaves in place, so the cell and the state see it.
        return tuple(results(unroll, cell, x, state, lengths=torch.tensor([3, 2])))

    is_one_of_many = loop.operator == "lstm_family"
    leaves = (x, *state, *cell.parameters())
    assert torch.autograd.gradcheck(outcome, leaves, fast_mode=is_one_of_many)


def test_many_rows_and_the_gradient_of_each_result(loop: Loop) -> None:
    cell = made(loop)
    x, state = given(cell, B=29, T=4)  # more rows than a block of the product, and a rest
    leaves = [x, *state, *cell.parameters()]
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    got, expected = (
        [(each, torch.autograd.grad(each.sum(), leaves, **options)) for each in made]
        for made in (results(run, cell, x, state) for run in (unroll, unroll_plain))
    )
    torch.testing.assert_close(got, expected, **DOUBLE)


def test_the_numbers_do_not_depend_on_threads(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = made(loop, torch.float32)
    x, state = given(cell)
    runs = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        runs.append(everything(unroll, cell, x, state, lengths=LENGTHS))
    alone, *others = runs
    for parts in others:
        # Only what is summed over rows may come in another order.
        own = len(alone) - len(list(cell.parameters()))
        assert all(map(torch.equal, parts[:own], alone[:own]))
        torch.testing.assert_close(parts, alone)


def test_the_same_numbers_without_gradients_and_under_autocast(loop: Loop) -> None:
    cell = made(loop, torch.float32)
    x, state = given(cell)
    expected = everything(unroll, cell, x, state)
    with torch.no_grad():
        assert all(map(torch.equal, results(unroll, cell, x, state), expected))
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, everything(unroll, cell, x, state), expected))


def test_one_step_at_a_time(loop: Loop) -> None:
    cell = made(loop).eval()
    x, state = map_tensors(Tensor.detach, given(cell))
    y, end = unroll(cell.requires_grad_(False), x, state)
    stepped, alone = state, state
    for t in range(4):
        step, stepped = cell(x[:, t], stepped)
        one, alone = unroll(cell, x[:, t : t + 1], alone)
        assert torch.equal(one[:, 0], alone[0])
        torch.testing.assert_close([step, one[:, 0]], [y[:, t]] * 2, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close([stepped, alone], [end, end], rtol=1e-12, atol=1e-12)


def test_large_sums_saturate_and_what_comes_of_a_nan_is_one(loop: Loop) -> None:
    cell = made(loop, torch.float32)
    x, state = given(cell)
    large = (1e6 * x.detach()).requires_grad_()
    assert all(each.isfinite().all() for each in everything(unroll, cell, large, state))
    x.data[1, 2, 1] = torch.nan
    got, expected = (results(run, cell, x, state) for run in (unroll, unroll_plain))
    torch.testing.assert_close(got, expected, equal_nan=True, **SINGLE)
    y, *end = results(unroll, cell.eval(), x, state)
    assert y[[0, 2, 3, 4]].isfinite().all() and y[1, :2].isfinite().all()
    assert y[1, 2:].isnan().all() and all(part[1].isnan().all() for part in end)


def test_second_and_third_derivatives_are_those_of_the_loop(loop: Loop) -> None:
    cell = made(loop, I=2, H=6)
    x, state = given(cell, B=2, T=3)
    leaves = [x, *state, *cell.parameters()]
    options = {"allow_unused": True, "materialize_grads": True}
    # Of what torch normalises, as the cells do, the third derivative is wrong.
    orders = 2 if any("gain" in name for name, _ in cell.named_parameters()) else 3

    def derivatives(run: Callable[..., Any], lengths: Tensor | None) -> list[Tensor]:
        found = results(run, cell, x, state, lengths=lengths)
        for _ in range(orders):
            loss = sum((each * torch.arange(each.numel()).sin().view_as(each)).sum()
                       for each in found[-len(leaves):])  # fmt: skip
            once = torch.autograd.grad(loss, leaves, retain_graph=True, **options)
            further = torch.autograd.grad(loss, leaves, create_graph=True, **options)
            found += [*once, *further]
        return found

    for lengths in (None, torch.tensor([3, 1])):
        got, expected = (derivatives(run, lengths) for run in (unroll, unroll_plain))
        torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-8)


def test_second_derivatives_are_those_of_differences(loop: Loop) -> None:
    cell = made(loop, I=2, H=3)
    x, state = given(cell, B=2, T=3)

    def outcome(*_: Tensor) -> tuple[Tensor, ...]:
        return tuple(results(unroll, cell, x, state, lengths=torch.tensor([3, 2])))

    leaves = (x, *state, *cell.parameters())
    assert torch.autograd.gradgradcheck(outcome, leaves, fast_mode=True)


def test_what_does_not_fit_is_refused(loop: Loop) -> None:
    cell = made(loop)
    x, state = given(cell)
    for lengths in ([4, 4, 4, 4, 5], [-1, 1, 1, 1, 1], [1]):
        with pytest.raises(ShapeError, match=r"lengths are 5 integers in 0 \.\.\. 4, got"):
            results(direct, cell, x, state, lengths=torch.tensor(lengths))
    for name, weight in cell.named_parameters():
        name = name.split(".")[-1]
        whole = weight.data
        for other in (whole[..., :-1, :], whole.float()) if name.startswith("weight") else ():
            weight.data = other
            fault = rf"{name} is \(.*\) of torch.float64 where B = 5.* got .* of {other.dtype}"
            with pytest.raises(ShapeError, match=fault):
                results(direct, cell, x, state)
            weight.data = whole


class Calls(TorchDispatchMode):
    """Keeps what operators of the package are called with."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.names = [f"recurra::{operator}", f"recurra::{operator}_backward"]
        self.kept: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name() in self.names:
            self.kept.append((func, args))
        return func(*args, **(kwargs or {}))


def test_the_operators_are_well_formed(loop: Loop) -> None:
    cell = made(loop, H=6)
    x, state = given(cell, B=2, T=3)
    for run, watched in ((everything, True), (results, False)):
        with torch.set_grad_enabled(watched), Calls(loop.operator) as calls, trusting():
            run(unroll, cell, x, state, lengths=torch.tensor([3, 1]))
        assert [function.name() for function, _ in calls.kept] == calls.names[: 1 + watched]

        def leaf(part: Any, watched: bool = watched) -> Any:
            is_float = isinstance(part, Tensor) and part.is_floating_point()
            return part.detach().requires_grad_(watched) if is_float else part

        for function, arguments in calls.kept:
            if not watched and arguments[-1] is not False:  # called alike either way
                continue
            given_anew = torch.utils._pytree.tree_map(leaf, arguments)
            kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
            torch.library.opcheck(function, given_anew, test_utils=kinds)
