"""Everything that runs on a GPU beside the plain loop there; all of it is skipped without one."""

from __future__ import annotations

import copy
import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.learning.optimization import make_optimizer, take_step
from recurra.learning.options import TrainOptions
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell, GRUState
from recurra.nn.cells.layer_norm_lstm import LayerNormLSTMCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.mgu import MGUCell
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.graphed import GRAPHS
from recurra.nn.kernels.device.lstm import Kind, _differences
from recurra.nn.state import State, detach, flatten, map_tensors
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState
from recurra.nn.wrappers.weight_drop import WeightDrop
from recurra.nn.wrappers.zoneout import Zoneout
from recurra.randomness import generator

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU here: cuDNN, CUDA graphs and Triton are not tried"
)

LENGTHS, T = torch.tensor([9, 0, 3, 1]), 9

RECURRENCES: dict[str, Callable[[], Recurrence]] = {
    **{name: (lambda name=name: CELLS[name](6, 8)) for name in CELLS},
    "rnn relu": lambda: RNNCell(6, 8, nonlinearity="relu"),
    "gru reset before": lambda: GRUCell(6, 8, reset_after=False),
    "peephole clipped": lambda: PeepholeLSTMCell(6, 8, cell_clip=0.3),
    "layer norm of 80": lambda: LayerNormLSTMCell(6, 80),
    "stack": lambda: Stack([LSTMCell(6, 5), MGUCell(5, 8)]),
    "bidirectional": lambda: Bidirectional(LSTMCell(6, 8), GRUCell(6, 8)),
    "dilated": lambda: Dilated(MGUCell(6, 8), 2),
    "learned start": lambda: TrainableState(Stack([LSTMCell(6, 5), MGUCell(5, 8)])),
    "mogrifier": lambda: Mogrifier(LSTMCell(6, 8), rounds=3),
    "dropout of state": lambda: Dropout(LSTMCell(6, 8), input=0.2, output=0.3, state=0.4),
    "zoneout": lambda: Zoneout(LSTMCell(6, 8), hidden=0.3, memory=0.2),
    "dropped weights": lambda: WeightDrop(LSTMCell(6, 8), 0.5),
}

OPTIONS: dict[str, dict[str, Tensor]] = {
    "whole": {},
    "lengths": {"lengths": LENGTHS},
    "lengths and reset": {"lengths": LENGTHS, "reset": torch.arange(4 * T).view(4, T) % 5 == 3},
}


@pytest.fixture(autouse=True)
def _exact_products() -> Any:
    """Products in float32 throughout, which cuDNN's default is not."""
    rnn: Any = torch.backends.cudnn.rnn
    before, rnn.fp32_precision = rnn.fp32_precision, "ieee"
    yield
    rnn.fp32_precision = before


def results(
    how: Callable[..., Any], cell: Recurrence, x: Tensor, state: State, **options: Any
) -> dict[str, Tensor]:
    x, state = map_tensors(lambda tensor: tensor.clone().requires_grad_(), (x, state))
    y, after = how(cell, x, state, generator=torch.Generator().manual_seed(7), **options)
    found = {"y": y, **flatten(after)}
    waves = [torch.arange(t.numel(), device="cuda").sin().view_as(t).to(t) for t in found.values()]
    leaves = {"x": x, **flatten(state, "before"), **dict(cell.named_parameters())}
    gradients = torch.autograd.grad(
        list(found.values()),
        list(leaves.values()),
        waves,
        allow_unused=True,
        materialize_grads=True,
    )
    return found | {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}


def inputs(cell: Recurrence) -> tuple[Tensor, State]:
    dtype = next(cell.parameters()).dtype
    x = torch.randn(4, T, cell.input_size, device="cuda", dtype=dtype)
    return x, detach(unroll_plain(cell, x, generator=torch.Generator().manual_seed(3))[1])


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor], bound: float = 2e-4) -> None:
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        size = tensor.abs().max().clamp(min=1e-2) if tensor.numel() else 1
        assert tensor.isfinite().all(), name
        assert ((got[name] - tensor).abs() <= bound * size).all(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("make", RECURRENCES.values(), ids=RECURRENCES)
def test_every_recurrence_is_equal_to_its_loop(make, options, dtype):
    cell = make().to("cuda", dtype)
    options = {name: tensor.cuda() for name, tensor in options.items()}
    for _ in range(5):  # the third use of a shape makes the graph
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
        x, state = inputs(cell)
        got = results(unroll, cell, x, state, **options)
        expected = results(unroll_plain, cell, x, state, **options)
        assert_same(got, expected, 2e-4 if dtype == torch.float32 else 1e-8)


def test_the_loop_on_the_gpu_is_that_on_the_processor():
    cell = Stack([LSTMCell(6, 8), GRUCell(8, 8)])
    x = torch.randn(4, T, 6)
    expected = unroll_plain(cell, x)[0]
    for how in (unroll, unroll_plain):
        got = how(copy.deepcopy(cell).cuda(), x.cuda())[0].cpu()
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_plans_name_what_runs():
    triton = pytest.importorskip("triton", reason="triton is not installed")
    assert triton
    said = {
        "lstm": "cuDNN's LSTM",
        "gru": "cuDNN's GRU",
        "rnn": "cuDNN's RNN",
        "mgu": "a CUDA graph of the loop",
        "peephole_lstm": "one Triton kernel of the LSTM",
        "layer_norm_lstm": "one Triton kernel of the LSTM",
    }
    for name, kernel in said.items():
        assert kernel in plan(CELLS[name](6, 8).cuda()), name
    assert "a CUDA graph of the loop" in plan(Dilated(MGUCell(6, 8), 2).cuda())
    assert "products and Triton kernels" in plan(LayerNormLSTMCell(6, 80).cuda())


@pytest.mark.parametrize(
    "parts",
    [(4, False, False, False), (4, True, False, True), (3, False, False, False),
     (4, False, True, False)],
    ids=["plain", "peephole clipped", "coupled", "layer norm"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("H", "whole"), [(5, True), (32, True), (64, True), (5, False), (200, False), (1500, False)]
)
def test_triton_kernels_do_what_steps_in_torch_do(parts, H, whole):
    pytest.importorskip("triton", reason="triton is not installed")
    assert max(_differences(Kind(H, *parts, whole), torch.device("cuda:0"))) < 1e-4


class OwnCell(Cell):
    """A cell of someone's own, that may read a number back."""

    reads_back = False

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.weight = torch.nn.Parameter(torch.randn(3, 3))

    def initial_state(self, batch_size: int = 1, **kind: Any) -> GRUState:
        return GRUState(self.zeros(batch_size, 3, kind.get("device"), kind.get("dtype")))

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        h = torch.tanh(x @ self.weight + state[0])
        if self.reads_back and h.sum().item() > 1e9:
            h = h + 1
        return h, GRUState(h)


def used(cell: Recurrence) -> Recurrence:
    for _ in range(5):
        x, state = inputs(cell)
        results(unroll, cell, x, state)
    return cell


def recordings(cell: Recurrence) -> int:
    return len(GRAPHS._owned[cell].recordings)


def test_a_graph_is_recorded_and_replays_in_any_order():
    cell = used(OwnCell().cuda())
    assert recordings(cell) == 1
    calls = [map_tensors(lambda t: t.requires_grad_(), inputs(cell)) for _ in range(3)]
    ours = [unroll(cell, *call)[0] for call in calls]
    plain = [unroll_plain(cell, *call)[0] for call in calls]
    for n in (1, 0, 2, 1):
        both = [torch.autograd.grad(ys[n].pow(2).sum(), cell.weight, retain_graph=True)[0]
                for ys in (ours, plain)]  # fmt: skip
        torch.testing.assert_close(*both, rtol=1e-4, atol=1e-5)


def test_gradients_of_graphs_add_up():
    cell = used(OwnCell().cuda())
    other = copy.deepcopy(cell)
    for _ in range(3):
        x, state = map_tensors(lambda t: t.requires_grad_(), inputs(cell))
        unroll(cell, x, state)[0].pow(2).sum().backward()
        unroll_plain(other, x, state)[0].pow(2).sum().backward()
    torch.testing.assert_close(cell.weight.grad, other.weight.grad, rtol=1e-4, atol=1e-5)


def test_no_graph_where_a_number_is_read_back_and_random_numbers_go_on():
    cell = OwnCell().cuda()
    cell.reads_back = True
    used(cell)
    assert recordings(cell) == 0
    assert "reads a number back" in (GRAPHS.missing(cell, torch.zeros(1, device="cuda")) or "")
    torch.rand(3, device="cuda")  # a recording that fails halfway would leave this broken


def test_a_stream_of_its_own_takes_the_loop():
    cell = used(OwnCell().cuda())
    x, state = inputs(cell)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        got = results(unroll, cell, x, state)
        expected = results(unroll_plain, cell, x, state)
        torch.cuda.current_stream().synchronize()
    assert_same(got, expected)


def test_memory_is_given_back_with_the_cell():
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        cell = used(MGUCell(64, 256).cuda())
        del cell
    gc.collect()
    assert torch.cuda.memory_allocated() < before + 2**24


@pytest.mark.parametrize("name", ["lstm", "gru", "mgu", "layer_norm_lstm"])
def test_under_autocast(name):
    cell = CELLS[name](6, 8).cuda()
    for _ in range(5):
        x, state = inputs(cell)
        with torch.autocast("cuda", torch.bfloat16):
            got = results(unroll, cell, x, state)
            expected = results(unroll_plain, cell, x, state)
        assert_same(got, expected, 5e-2)


def test_a_language_model_learns_as_on_the_processor():
    options = NetworkOptions(hidden_size=32, num_layers=2, dropout=0.0, precision="float32")
    losses = []
    for device in ("cpu", "cuda"):
        network = (
            LanguageNetwork(options, 50, generator(1, "init"), sparse=False).to(device).train()
        )
        training = TrainOptions(learning_rate=1.0, clip_norm=0.5)
        optimizer = make_optimizer(list(network.parameters()), training)
        state = network.initial_state(4)
        source = torch.Generator().manual_seed(1)
        each = []
        for step in range(6):
            ids = torch.randint(0, 50, (4, 11), generator=source).to(device)
            masks = generator(1, "dropout", 0, step)
            loss, after = network.loss(ids[:, :-1], ids[:, 1:], state, masks)
            loss.backward()
            take_step(optimizer, training, 1.0)
            optimizer.zero_grad()
            state = detach(after)
            each.append(loss.item())
        losses.append(each)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_modes_of_training_and_evaluation_in_turn():
    cell = used(OwnCell().cuda())
    modes = (torch.no_grad, torch.inference_mode, torch.enable_grad)
    for mode, _ in itertools.product(modes, range(4)):
        with mode():
            x = torch.randn(4, T, 3, device="cuda")
            got, expected = unroll(cell, x)[0], unroll_plain(cell, x)[0]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
